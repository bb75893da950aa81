package journal

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Key is one key of xAI's, from before its create until its absence is proved. There is one row for each, and everything
// that is true of a key is in it.
type Key struct {
	Ref         string // the UUIDv7 in the key's name; adopted keys get one. Never changes
	ID          string // as xAI names it; "" until it says so
	Policy      string
	Team        string
	Name        string // as it was asked for, rotator-POLICY-REF; an adopted key's own. Never changes
	KeptName    string // the name that xAI keeps, where it shortened the one asked for; "" otherwise
	Rotation    string // that made it; "" for a rehearsal or an adopted key
	UserID      string // whose key it is at xAI: a list shows it to that user and to admins
	Spec        string // the policy that it was made under: what it may do, and how it can prove itself
	Origin      Origin
	State       KeyState
	Fingerprint string // "" when its value was never seen

	CreatedAt time.Time // as xAI says; before that, when the create was intended
	ExpiresAt time.Time // as xAI says
	ExposedAt time.Time // since when consumers may read it: the intent to promote, or the adoption
	LiveAt    time.Time // when every target last read it back
	// RetireFrom is when another key became live, on the later of xAI's clock and the journal's; or when a key whose policy was
	// decommissioned, and that xAI does not turn off, could have been turned off.
	RetireFrom time.Time
	IdleFrom   time.Time // since when only its use holds up the retirement
	DisabledAt time.Time // when it was seen off, on the later of the two clocks
	DeletedAt  time.Time // when its absence was proved, on xAI's clock: lists that are not younger say nothing of the key

	ReplacedBy     string // the ref of the key that became live in its place
	RetireRotation string // the rotation that replaced it

	// Compromised: the key is known to others. It is never promoted or turned on again, and goes at once.
	CompromisedAt  time.Time
	CompromisedWhy string
	CompromisedBy  string
	// RevokedAt is when a human said that a compromised key ends now, whatever reads it: it is turned off, else deleted.
	RevokedAt time.Time

	PropagatedAt        time.Time // when every cluster was seen to know it
	PropagationWaivedAt time.Time // when a human passed over what xAI says of its propagation

	Despite string // targets whose silence a human passed over, a line each

	NeverDisabled bool      // xAI refused to turn it off: it is deleted without
	Health        Health    // what was seen last of a key that consumers may read
	HealthAt      time.Time // since when
	BadAnswers    int       // answers in a row that spoke against it
	BadSince      time.Time // the first of them
	ProvedAt      time.Time // when it last proved itself

	// What the key may do. Package grant reads and writes these texts, and says what follows from them.
	Asked  string // what its policy last asked of xAI for it; "" of a key that was adopted, before the first edit
	Shown  string // what xAI was to show from then on
	Listed string // what xAI showed last, as lists say too
	// Of the job that updates it.
	Drift        string // what someone changed at xAI, as it was reported
	UpdateFor    string // the policy's word that the following is about
	Refused      string // parts that xAI does not change, separated by spaces
	UpdateAt     time.Time
	UpdateTries  int
	UpdateReason Reason
	UpdateError  string

	// Of the job that retires or settles it.
	TryAt  time.Time
	Tries  int
	Reason Reason
	Error  string
}

// Compromised reports whether the key is known to others.
func (k *Key) Compromised() bool { return !k.CompromisedAt.IsZero() }

// Revoked reports whether the key is to end now, whatever reads it, or did. A report that was taken back ends that.
func (k *Key) Revoked() bool { return k.Compromised() && !k.RevokedAt.IsZero() }

// Expiry is when the key expires; zero: never, as far as is known. An expiry that is not later than the creation is not
// believed: the key would never be new enough.
func (k *Key) Expiry() time.Time {
	if !k.ExpiresAt.After(k.CreatedAt) {
		return time.Time{}
	}
	return k.ExpiresAt
}

// ListedName is the name under which xAI lists the key.
func (k *Key) ListedName() string { return cmp.Or(k.KeptName, k.Name) }

// Passed reports whether a human passed over the silence of a target, which may hold the key.
func (k *Key) Passed(t TargetID) bool {
	return slices.Contains(strings.Split(k.Despite, "\n"), t.String())
}

// Origin says how a key became ours.
type Origin string

// The origins.
const (
	OfAttempt  Origin = "created"
	OfAdoption Origin = "adopted"
)

// Health is what was last seen of a key.
type Health string

// What the watch may find of a key.
const (
	HealthUnknown  Health = ""
	HealthOK       Health = "ok"
	HealthSuspect  Health = "suspect"  // answered badly, not often enough to prove anything
	HealthDead     Health = "dead"     // proved bad
	HealthBlocked  Health = "blocked"  // xAI blocked the key or its team
	HealthExpiring Health = "expiring" // expires before a rotation could replace it in time
)

// KeyState is the state of a key. What is durably true in each state, who moves it and what a crash leaves is said once, in
// [KeyStates]: the documentation and the database's CHECK constraints are made from it.
type KeyState string

// The states of a key.
const (
	CreatingKey  KeyState = "creating"
	CandidateKey KeyState = "candidate"
	PromotingKey KeyState = "promoting"
	StandbyKey   KeyState = "standby"
	LiveKey      KeyState = "live"
	RetiringKey  KeyState = "retiring"
	DisabledKey  KeyState = "disabled"
	RejectedKey  KeyState = "rejected"
	DeletingKey  KeyState = "deleting"
	DeletedKey   KeyState = "deleted"
	AbsentKey    KeyState = "absent"
	ForgottenKey KeyState = "forgotten"
)

// KeyStateInfo is one line of the table of a key's states.
type KeyStateInfo struct {
	State KeyState
	True  string // what is durably true
	Moves string // who moves it on
	Crash string // what happens after a crash
	To    []KeyState
	// Columns that a key in this state must have, and those that it must not have.
	Needs, Never []KeyMark
}

// KeyMark is a fact about a key, kept in a column, that a state requires.
type KeyMark string

// The marks: column names of the keys table.
const (
	MarkKeyID    KeyMark = "id"          // xAI's id is known
	MarkExposed  KeyMark = "exposed_at"  // consumers may read it
	MarkDisabled KeyMark = "disabled_at" // seen off
	MarkDeleted  KeyMark = "deleted_at"  // absence proved
)

// KeyStates is the life of a key.
var KeyStates = []KeyStateInfo{
	{CreatingKey, "Its name is recorded; the create may be under way.", "rotate, settle",
		"The create's outcome is unknown: lists are searched for the name, and the rotation takes another key.",
		[]KeyState{CandidateKey, RejectedKey, AbsentKey}, nil, []KeyMark{MarkKeyID, MarkExposed, MarkDisabled, MarkDeleted}},
	{CandidateKey, "Its id and fingerprint are recorded; no consumer can read it.", "rotate",
		"The rotation goes on with the value from memory or from staging; if it is nowhere, the key is rejected.",
		[]KeyState{PromotingKey, StandbyKey, RejectedKey, ForgottenKey}, []KeyMark{MarkKeyID}, []KeyMark{MarkExposed, MarkDisabled, MarkDeleted}},
	{PromotingKey, "The intent to promote it is recorded: consumers may read it.", "rotate",
		"Writes whose outcome is unknown are settled, the key proves itself, and the promote goes on.",
		[]KeyState{LiveKey, RetiringKey, ForgottenKey}, []KeyMark{MarkKeyID, MarkExposed}, []KeyMark{MarkDisabled, MarkDeleted}},
	{StandbyKey, "It proved itself and is kept ready; no consumer can read it.", "rotate",
		"Nothing.",
		[]KeyState{PromotingKey, RejectedKey, ForgottenKey}, []KeyMark{MarkKeyID}, []KeyMark{MarkExposed, MarkDisabled, MarkDeleted}},
	{LiveKey, "Every target read it back. A policy has at most one.", "rotate, revoke, decommission",
		"Nothing.",
		[]KeyState{RetiringKey, DisabledKey, DeletingKey, ForgottenKey}, []KeyMark{MarkKeyID, MarkExposed}, []KeyMark{MarkDisabled, MarkDeleted}},
	{RetiringKey, "Another key is live; this one works until its overlap is over.", "retire, revoke, decommission",
		"The step is repeated.",
		[]KeyState{DisabledKey, DeletingKey, PromotingKey, LiveKey, ForgottenKey}, []KeyMark{MarkKeyID, MarkExposed}, []KeyMark{MarkDisabled, MarkDeleted}},
	{DisabledKey, "It was seen off, and can be turned on again.", "retire, revive, rollback",
		"The step is repeated.",
		[]KeyState{DeletingKey, RetiringKey, PromotingKey, ForgottenKey}, []KeyMark{MarkKeyID, MarkExposed, MarkDisabled}, []KeyMark{MarkDeleted}},
	{RejectedKey, "No consumer ever read it, and none will.", "retire",
		"The step is repeated.",
		[]KeyState{DeletingKey, RetiringKey, ForgottenKey}, []KeyMark{MarkKeyID}, []KeyMark{MarkDeleted}},
	{DeletingKey, "Its delete was sent, or is about to be. Nothing relies on it again.", "retire",
		"The gate is passed again, and the delete repeated until the key's absence is proved.",
		[]KeyState{DeletedKey}, []KeyMark{MarkKeyID}, []KeyMark{MarkDeleted}},
	{DeletedKey, "xAI was shown to have it no more.", "the team's inventory, if a list shows it again",
		"Nothing.",
		[]KeyState{DeletingKey}, []KeyMark{MarkKeyID, MarkDeleted}, nil},
	{AbsentKey, "Its create had no effect, and cannot have one any more.", "the team's inventory, if a list shows its name",
		"Nothing.",
		[]KeyState{RejectedKey}, nil, []KeyMark{MarkKeyID, MarkExposed, MarkDeleted}},
	{ForgottenKey, "A human let it go: it is not ours any more.", "adoption",
		"Nothing.",
		[]KeyState{LiveKey, RetiringKey}, nil, []KeyMark{MarkDeleted}},
}

// Info returns the state's line of the table; the zero KeyStateInfo for a state that does not exist.
func (s KeyState) Info() KeyStateInfo {
	i := slices.IndexFunc(KeyStates, func(i KeyStateInfo) bool { return i.State == s })
	if i < 0 {
		return KeyStateInfo{}
	}
	return KeyStates[i]
}

// May reports whether a key may go from s to t.
func (s KeyState) May(t KeyState) bool { return s == t || slices.Contains(s.Info().To, t) }

// Gone reports whether nothing is left to do with a key in this state.
func (s KeyState) Gone() bool { return s == DeletedKey || s == AbsentKey || s == ForgottenKey }

// Exposed reports whether consumers may read a key in this state and it has not been seen off.
func (s KeyState) Exposed() bool { return s == PromotingKey || s == LiveKey || s == RetiringKey }

// Works reports whether xAI accepts a key in this state as far as is known, and it counts for the age that a policy
// promises.
func (s KeyState) Works() bool { return s.Exposed() || s == StandbyKey }
