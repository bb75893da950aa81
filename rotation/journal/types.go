package journal

import (
	"slices"
	"strings"
	"time"
)

// Record is all that belongs to one policy: what its owner loads, changes and commits.
type Record struct {
	Policy   Policy
	Rotation *Rotation // in flight, or nil
	Attempts []Attempt // those not settled, and those of the rotation in flight
	Keys     []Key     // those not known to be deleted
	Targets  []Target  // of this policy, also targets that it no longer names but that were not forgotten
	Hold     Hold      // written only where the owner changed it: a rotation that a human turned back leaves one
	Orders   []Order   // not yet carried out, oldest first; carried out: DoneAt is set

	// Ended are rotations that the next commit ends besides Rotation, when a new one takes over in the same moment.
	Ended []Rotation

	// Woken: when the last commit was written, somebody had spoken since the claim was made. The next claim's record has it.
	Woken bool

	Base *Record // as it was loaded, for the journal to see what changed; nil for nobody else
}

// Clone copies the record, so that the copy can be changed without the original (Base is not copied).
func (r *Record) Clone() *Record {
	c := *r
	c.Base = nil
	if r.Rotation != nil {
		rot := *r.Rotation
		c.Rotation = &rot
	}
	c.Attempts = slices.Clone(r.Attempts)
	c.Keys = slices.Clone(r.Keys)
	c.Targets = slices.Clone(r.Targets)
	c.Orders = slices.Clone(r.Orders)
	c.Ended = slices.Clone(r.Ended)
	return &c
}

// Spec is a policy as the loader found it.
type Spec struct {
	Name, Team, Owner, RenamedFrom string
	Canonical                      string // the policy in its canonical form
}

// Policy is what stands in a policy's row.
type Policy struct {
	// Written by the loader.
	Name, Team, Owner string
	Spec              string    // the policy in its canonical form, as last loaded
	FirstSeen         time.Time // when the loader first found it
	RemovedAt         time.Time // when it vanished from the files

	// Written by the policy's owner.
	NextRunAt   time.Time // when the engine looks at it again; the column that claims go by
	StepAt      time.Time // before then the rotation's next step is not tried (a wait, or the backoff)
	DueAt       time.Time // when the next rotation is due
	DueCause    string    // why then: schedule, max_age, expiry, new_target
	NotBefore   time.Time // no rotation begins by itself before then: the pause after one that failed
	WatchAt     time.Time // when targets and keys are looked at again
	RotationID  string    // in flight
	KeyID       string    // in use
	Fingerprint string    // of the key in use
	LiveSince   time.Time // since when consumers read it
	LastSuccess time.Time // when a rotation last became live
	OldestKey   time.Time // creation of the oldest key of the policy that xAI still accepts
	KeyExpires  time.Time
	Reason      Reason    // why nothing moves, or ""
	Error       string    // the last failure, without any secret; "" when the last step went well
	Since       time.Time // since when Reason stands
	Failures    int       // failures in a row, for the backoff
	AgeAlertAt  time.Time // when age over limit was last told
}

// Reason says why a policy waits: a closed list, documented in docs/reasons.md.
type Reason string

// Trigger is why a rotation began.
type Trigger string

// The triggers.
const (
	BySchedule   Trigger = "schedule"
	ByMaxAge     Trigger = "max_age"
	ByExpiry     Trigger = "expiry"
	ByHand       Trigger = "manual"
	ByCompromise Trigger = "compromised"
	ByNewTarget  Trigger = "new_target"
	ByBadKey     Trigger = "successor_bad"
	ByAdoption   Trigger = "adopt"
)

// IDs is a set of ids in one comparable value: separated by spaces, in the order they came.
type IDs string

// List returns the ids.
func (s IDs) List() []string { return strings.Fields(string(s)) }

// Has reports whether id is in the set.
func (s IDs) Has(id string) bool { return slices.Contains(s.List(), id) }

// With returns the set with id in it.
func (s IDs) With(id string) IDs {
	if id == "" || s.Has(id) {
		return s
	}
	return IDs(strings.TrimSpace(string(s) + " " + id))
}

// Rotation is one rotation of a policy.
type Rotation struct {
	ID, Policy  string
	State       State
	Trigger     Trigger
	Why         string // a human's reason
	Spec        string // the policy as recorded when the rotation was planned
	Attempt     string // the attempt whose key this rotation carries; "" before there is one
	KeyID       string // the successor
	Fingerprint string
	OldKeyIDs   IDs // the predecessors
	Tries       int // attempts made

	StartedAt   time.Time
	EnteredAt   time.Time // when the present state began
	StagedAt    time.Time
	VerifiedAt  time.Time // when the staged bytes were proved
	PromotingAt time.Time
	LiveAt      time.Time
	DisabledAt  time.Time // when all predecessors were off
	EndedAt     time.Time

	PropagatedAt  time.Time // when the propagation map became all true
	PropagationOK bool      // a human passed over the propagation map
	BadSince      time.Time // first answer of the present row of "bad" answers
	BadCount      int       // answers in that row
	BadAt         time.Time // the last of them
	IdleWaitFrom  time.Time // since when only require_idle holds up the retirement
	Discarded     bool      // nothing is staged any more
	RestoredAt    time.Time // rolling back: when every target held the old key again
	HoldAfter     string    // the reason of the hold that a human's abort or rollback leaves when it has ended
	RestoreKeyID  string    // rolling back: the old key that was chosen
	Error         string    // why it ended as it did
}

// Reached is the furthest state of its way to done that the rotation is known to have reached, whatever became of it:
// planned, staged, verified, promoting, live or retiring.
func (r *Rotation) Reached() State {
	switch {
	case !r.DisabledAt.IsZero() && r.RestoreKeyID == "": // rolling back it is the successor that was disabled
		return Retiring
	case !r.LiveAt.IsZero():
		return Live
	case !r.PromotingAt.IsZero():
		return Promoting
	case !r.VerifiedAt.IsZero():
		return Verified
	case !r.StagedAt.IsZero():
		return Staged
	}
	return Planned
}

// AttemptState is where an attempt to create a key stands.
type AttemptState string

// The states of an attempt. Names of attempts are kept for ever.
const (
	Intended AttemptState = "intended" // the create may be on its way
	Created  AttemptState = "created"  // xAI answered with an id, which stands in keys too
	InDoubt  AttemptState = "in_doubt" // the create's outcome is not known: the sweep looks for the name
	Lost     AttemptState = "lost"     // the id is known, the value is gone: the key is to be deleted
	Settled  AttemptState = "settled"  // the key is in use, gone, or was never made
)

// Attempt is one create, intended before it was sent.
type Attempt struct {
	ID, Rotation, Policy, Team string // Rotation is "" for the key of a rehearsal
	Name                       string // the key's name at xAI, which holds the id: unique for ever
	State                      AttemptState
	KeyID, Fingerprint         string
	CreatedAt                  time.Time // of the intent
	QuarantineUntil            time.Time // in doubt: a key of this name may still appear until then
	SweepAt                    time.Time // in doubt: when the sweep looks next
	SettledAt                  time.Time
	Error                      string
}

// Origin says how a key became ours.
type Origin string

// The origins.
const (
	OfAttempt  Origin = "created"
	OfAdoption Origin = "adopted"
)

// Use is what a key is for.
type Use string

// The uses of a key.
const (
	UseSuccessor   Use = "successor"   // made, not yet live
	UseCurrent     Use = "current"     // what consumers read
	UsePredecessor Use = "predecessor" // to be retired
	UseRejected    Use = "rejected"    // never promoted, to be deleted
)

// Key is a key that is ours by this journal: created by it or adopted.
type Key struct {
	ID, Policy, Team, Name, Fingerprint string
	Origin                              Origin
	Attempt                             string
	Use                                 Use
	CreatedAt, ExpiresAt                time.Time // as xAI says
	DisableSentAt, DisabledAt           time.Time // the intent, and the effect
	DeleteSentAt, DeletedAt             time.Time
	Health                              string    // what the watch saw last: ok, dead, disabled, blocked; "" never looked
	HealthAt                            time.Time // since when
	BadAnswers                          int       // answers in a row that spoke against it
}

// TargetID names a target.
type TargetID struct{ Store, Path, Field string }

// String returns store:path#field, as logs and commands write a target.
func (t TargetID) String() string {
	s := t.Store + ":" + t.Path
	if t.Field != "" {
		s += "#" + t.Field
	}
	return s
}

// TargetStatus is what was last found in a target.
type TargetStatus string

// The statuses of a target.
const (
	TargetNew        TargetStatus = ""           // never read
	TargetEmpty      TargetStatus = "empty"      // read, and nothing there
	TargetOK         TargetStatus = "ok"         // holds the key the journal names, or the baseline
	TargetDrift      TargetStatus = "drift"      // holds something that is neither ours nor the baseline
	TargetForeign    TargetStatus = "foreign"    // held, at first contact, something that only a human may replace
	TargetUnreadable TargetStatus = "unreadable" // could not be read
)

// Decision is a human's word on a target.
type Decision string

// The decisions.
const (
	Undecided Decision = ""
	Overwrite Decision = "overwrite" // what stands there now may be replaced
	Leave     Decision = "leave"     // what stands there now stays, and is no news
	Drop      Decision = "drop"      // the target is no longer ours to write
	Adopt     Decision = "adopt"     // of an order, on keys: they become this policy's
)

// Target is a row of the map "target → key last seen", which spans all policies and every target ever used.
type Target struct {
	TargetID
	Policy      string // whose target it is, or was last
	Status      TargetStatus
	KeyID       string // the key last seen there; "" nothing, or not an API key that we know
	Fingerprint string // of the value last seen
	Replaceable string // fingerprint of the value that a promote may replace ("" = an empty target)
	NextKeyID   string // a promote of this key was begun
	PrevKeyID   string // what stood there before the last promote
	PrevPrint   string // its fingerprint
	Decision    Decision
	DecidedFor  string    // the fingerprint that the decision speaks of
	ContactAt   time.Time // of the first contact; zero: not yet made
	SeenAt      time.Time
	RemovedAt   time.Time // since when its policy no longer names it
	Error       string
}

// Hold keeps a policy from starting, disabling and deleting.
type Hold struct {
	Reason, By string
	At, Until  time.Time // Until zero: until released
}

// Active reports whether the hold holds at now.
func (h Hold) Active(now time.Time) bool {
	return !h.At.IsZero() && (h.Until.IsZero() || now.Before(h.Until))
}

// OrderKind is what a human asks for.
type OrderKind string

// The orders.
const (
	OrderRotate      OrderKind = "rotate"
	OrderAbort       OrderKind = "abort"
	OrderRollback    OrderKind = "rollback"
	OrderRevive      OrderKind = "revive"
	OrderResolve     OrderKind = "resolve"     // Target and Decision; or Adopt and KeyIDs
	OrderPropagation OrderKind = "propagation" // pass over a propagation map that stays incomplete
	OrderRehearse    OrderKind = "rehearse"    // take a key with the least rights through its whole life, to see what holds of xAI
)

// Order is a human's word that the policy's owner carries out.
type Order struct {
	ID         int64
	Policy     string
	Kind       OrderKind
	Trigger    Trigger // rotate: manual or compromised
	Supersede  bool    // rotate: also while an earlier rotation is live or retiring
	Target     TargetID
	Decision   Decision
	KeyIDs     IDs // Adopt: the keys that were agreed to
	Why, By    string
	At, DoneAt time.Time
	Refused    string // why it was not carried out; "" when it was
	RotationID string // what it began or joined
}

// Team is what is known of a team.
type Team struct {
	Name, ID, Scope       string
	ManagementKeyID       string
	ValidatedAt, ListedAt time.Time
	Managed, Unmanaged    int // keys in the last list
	Orphans               int // keys with our prefix that no intent names
	Error                 string
}

// Event is something that happened. Data holds facts by name and never a secret.
type Event struct {
	ID               int64
	At               time.Time
	Policy, Rotation string
	Kind             Kind
	Data             map[string]string
}

// Summary is a policy with what is in flight, and who acts for it at this moment.
type Summary struct {
	Policy     Policy
	Rotation   *Rotation
	Hold       Hold
	Owner      string    // "" nobody: also when his lease ran out
	OwnedSince time.Time // when he claimed it; zero: not known
	Drifted    int       // targets that hold neither a key of ours nor the baseline
}

// StaleAfter is how long a replica may not be seen before it counts as gone: three of its beats, which come every 10 s or
// more often.
const StaleAfter = 30 * time.Second

// Replica is one of the processes that act for the policies of a journal. Its times are on the journal's clock.
type Replica struct {
	Name      string // the owner of its claims
	Host      string
	Version   string
	StartedAt time.Time
	SeenAt    time.Time     // when it last beat
	Unseen    time.Duration // since then
	Claims    int           // policies that it acts for at this moment
}
