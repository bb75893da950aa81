package journal

import (
	"slices"
	"strings"
	"time"
)

// Record is all that belongs to one policy: what its owner loads, changes and commits.
type Record struct {
	Policy    Policy
	Rotation  *Rotation  // in flight, or nil
	Retired   []Rotation // live, and not all of the keys that they replaced are gone; oldest first
	Keys      []Key      // those neither deleted, absent nor forgotten
	Effects   []Effect   // those not closed: open, owed, or perhaps still to land
	Targets   []Target   // of this policy, also targets that it no longer names but that were not forgotten
	Sightings []Sighting // what was seen in those targets and may still be there
	Hold      Hold       // written only where the owner changed it: a rotation that a human turned back leaves one
	Orders    []Order    // not yet carried out, oldest first; carried out: DoneAt is set

	// Ended are rotations that the next commit ends besides Rotation, when a new one takes over in the same moment.
	Ended []Rotation

	// Woken: when the last commit was written, a human had spoken since the claim was made. The next claim's record has it.
	Woken bool

	// Doubted: the last commit failed, and may have been written. The next one writes whatever it may have changed.
	Doubted bool

	Base *Record // as it was loaded, for the journal to see what changed; nil for no one else
}

// Clone copies the record, so that the copy can be changed without the original (Base is not copied).
func (r *Record) Clone() *Record {
	c := *r
	c.Base = nil
	if r.Rotation != nil {
		rot := *r.Rotation
		c.Rotation = &rot
	}
	c.Retired = slices.Clone(r.Retired)
	c.Keys = slices.Clone(r.Keys)
	c.Effects = slices.Clone(r.Effects)
	c.Targets = slices.Clone(r.Targets)
	c.Sightings = slices.Clone(r.Sightings)
	c.Orders = slices.Clone(r.Orders)
	c.Ended = slices.Clone(r.Ended)
	return &c
}

// Spec is a policy as the loader found it.
type Spec struct {
	Name, Team, Owner, RenamedFrom string
	File                           string // that it was read from
	Canonical                      string // the policy in its canonical form
	Targets                        []TargetID
}

// Policy is what is in a policy's row.
type Policy struct {
	// Written by the loader.
	Name, Team, Owner string
	Spec              string    // the policy in its canonical form, as last accepted
	FirstSeen         time.Time // when the loader first found it
	RemovedAt         time.Time // when it vanished from the files
	File              string    // that the accepted policy was read from
	SpecAt            time.Time // when the files last said something new, while the policy was not due
	SpecError         string    // why the files' word on it was refused: Spec is older than the file; "" when it is not

	// Written by the policy's owner.
	NextRunAt time.Time // when the engine looks at it again; the column that claims go by
	DueAt     time.Time // when the next rotation is due
	DueCause  string    // why then: schedule, max_age, expiry, new_target
	NotBefore time.Time // no rotation begins by itself, and no key is made, before then: the pause after one that failed
	WatchAt   time.Time // when targets and keys are looked at again
	LostKeys  int       // keys lost since the last rotation that became live: each doubles the pause before the next create
	StaysOn   bool      // xAI refused the last disable of a key of this policy: old keys work until they are deleted

	// What people wanted and what is not achieved yet. WantedAt zero: nothing.
	WantedAt      time.Time
	WantedTrigger Trigger
	WantedWhy     string
	WantedBy      string

	// The end of the policy, as people want it: its keys are turned off and deleted without a successor, and no rotation
	// begins. DecommissionAt zero: it is not wanted. DecommissionOutage: whatever still reads them. DecommissionedAt is when
	// the last of them was gone.
	DecommissionAt     time.Time
	DecommissionWhy    string
	DecommissionBy     string
	DecommissionOutage bool
	DecommissionedAt   time.Time

	// The comparison of a journal that may not be the newest with what is outside. ReconcileMark is the last mark of
	// [MetaRestored] that this policy was compared for; ReconcileFrom is since when it is being compared.
	ReconcileMark string
	ReconcileFrom time.Time

	LastSuccess time.Time // when a rotation last became live
	Reason      Reason    // why nothing moves, or ""
	Error       string    // the last failure, without any secret; "" when the last turn went well
	Since       time.Time // since when Reason is in force
	Failures    int       // turns in a row in which the job that Reason speaks of failed
	AgeAlertAt  time.Time // when age over limit was last reported
	HeldAt      time.Time // when the owner last saw a hold in force, or was in observe mode: until then nothing was late

	// How it is, as the owner said at its last commit. Code that shows it asks health.Shown, which knows what time did since.
	Health        PolicyHealth
	HealthReason  Reason
	OverdueAt     time.Time // from when it is overdue, unless its owner writes something else; zero: never
	OverdueReason Reason    // why then
	ProvedAt      time.Time // the oldest of the last reads of all targets and the live key's last proof; zero: one is lacking
	StaleAt       time.Time // from when that is too old to say that all is well

	Chain string // the last link of its chain of events; the journal's

	// Made from keys and rotations by [Record.Summarize] at every commit; no one else writes them.
	RotationID  string    // in flight
	KeyID       string    // of the live key
	Fingerprint string    // of the live key
	LiveSince   time.Time // since when consumers read it
	OldestKey   time.Time // creation of the oldest key of the policy that xAI still accepts
	KeyExpires  time.Time // of the live key
}

// Leaving reports whether the policy's keys are to go without a successor, or went so.
func (p *Policy) Leaving() bool { return !p.DecommissionAt.IsZero() }

// Summarize brings the columns of the policy's row that repeat what keys and rotations say up to date.
func (r *Record) Summarize() {
	p := &r.Policy
	p.RotationID, p.KeyID, p.Fingerprint, p.LiveSince, p.OldestKey, p.KeyExpires = "", "", "", time.Time{}, time.Time{}, time.Time{}
	if r.Rotation != nil && !r.Rotation.State.Final() {
		p.RotationID = r.Rotation.ID
	}
	for i := range r.Keys {
		k := &r.Keys[i]
		if k.State == LiveKey {
			p.KeyID, p.Fingerprint, p.LiveSince, p.KeyExpires = k.ID, k.Fingerprint, k.LiveAt, k.Expiry()
		}
		if k.State.Works() && (p.OldestKey.IsZero() || k.CreatedAt.Before(p.OldestKey)) {
			p.OldestKey = k.CreatedAt
		}
	}
}

// Key returns a key of the record by its ref, or nil. The pointer is good until the next key is added.
func (r *Record) Key(ref string) *Key {
	for i := range r.Keys {
		if ref != "" && r.Keys[i].Ref == ref {
			return &r.Keys[i]
		}
	}
	return nil
}

// KeyByID returns a key of the record by the id that xAI gave it, or nil.
func (r *Record) KeyByID(id string) *Key {
	for i := range r.Keys {
		if id != "" && r.Keys[i].ID == id {
			return &r.Keys[i]
		}
	}
	return nil
}

// Live returns the policy's live key, or nil.
func (r *Record) Live() *Key {
	for i := range r.Keys {
		if r.Keys[i].State == LiveKey {
			return &r.Keys[i]
		}
	}
	return nil
}

// PolicyHealth is one word for how a policy is: a closed list, which package health has.
type PolicyHealth string

// Reason says why a policy waits: a closed list, documented in docs/reasons.md.
type Reason string

// ObserveMode is why a policy waits that only a replica in observe mode looked at.
const ObserveMode Reason = "observe_mode"

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
	ByRollback   Trigger = "rollback" // to an existing key, as a human asked
	ByHealing    Trigger = "heal"     // to an existing key, since what consumers read was proved bad
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

// Rotation makes one key the live key: a new one, or one that exists already (a rollback, a healing).
type Rotation struct {
	ID, Policy  string
	State       State
	Trigger     Trigger
	Why, By     string // a human's reason, and who it was
	Spec        string // the policy as recorded when the rotation was planned
	KeyRef      string // the key that it makes live; "" before there is one
	KeyID       string // its id at xAI
	Fingerprint string
	Existing    bool // the key existed before the rotation: nothing is created, staged or given up
	OldKeyIDs   IDs  // the keys that it replaces
	Tries       int  // creates sent

	StartedAt   time.Time
	EnteredAt   time.Time // when the present state began
	StagedAt    time.Time
	VerifiedAt  time.Time // when the staged bytes were proved
	PromotingAt time.Time
	CanaryFrom  time.Time // since when one target alone holds the key; zero: there is no canary, or not yet
	CanaryOver  time.Time // when the other targets were to get the key
	LiveAt      time.Time
	EndedAt     time.Time // of a live one: when the last key that it replaced was gone

	TryAt    time.Time // before then the next step is not tried (a wait, or the back-off)
	Failures int       // failures in a row, for the back-off
	Reason   Reason    // why it does not move, or ""
	Error    string    // the last failure, or why it ended as it did
}

// Reached is the furthest state of its way that the rotation is known to have reached, whatever became of it: planned,
// staged, verified, promoting or live.
func (r *Rotation) Reached() State {
	switch {
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
