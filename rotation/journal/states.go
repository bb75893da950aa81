package journal

import "slices"

// State is where a rotation stands. What is durably true in each state, what its next step does and where it may go
// is said once, in [States]: the documentation and the database's CHECK constraints are made from it.
type State string

// The states of a rotation.
const (
	Planned     State = "planned"
	Staged      State = "staged"
	Verified    State = "verified"
	Promoting   State = "promoting"
	Live        State = "live"
	Retiring    State = "retiring"
	Done        State = "done"
	Superseded  State = "superseded"
	Aborting    State = "aborting"
	Aborted     State = "aborted"
	RollingBack State = "rolling_back"
	RolledBack  State = "rolled_back"
)

// Mark is a fact about a rotation, kept in a column, that a state requires.
type Mark string

// The marks: column names of the rotations table.
const (
	MarkKey       Mark = "key_id"       // the successor is known by id and fingerprint
	MarkPromoting Mark = "promoting_at" // the intent to promote is recorded
	MarkLive      Mark = "live_at"      // every target read back the successor
	MarkEnded     Mark = "ended_at"     // nothing is left to do
)

// StateInfo is one line of the state table.
type StateInfo struct {
	State State
	// True is what is durably true in this state.
	True string
	// Next is what the next step does, also after a crash.
	Next string
	// To are the states that the next steps may lead to.
	To []State
	// Needs are the marks that a rotation in this state must bear; Never those that it must not.
	Needs, Never []Mark
}

// Ended reports whether a rotation in this state has nothing left to do.
func (s State) Ended() bool { return slices.Contains(s.Info().Needs, MarkEnded) }

// CanAbort reports whether a rotation in this state can still go back without a trace: before the first promote.
func (s State) CanAbort() bool { return slices.Contains(s.Info().Never, MarkPromoting) && !s.Ended() }

// May reports whether a rotation may go from s to t.
func (s State) May(t State) bool { return s == t || slices.Contains(s.Info().To, t) }

// Info returns the state's line of the table; the zero StateInfo for a state that does not exist.
func (s State) Info() StateInfo {
	i := slices.IndexFunc(States, func(i StateInfo) bool { return i.State == s })
	if i < 0 {
		return StateInfo{}
	}
	return States[i]
}

// States is the state machine of a rotation, in the order of its life.
var States = []StateInfo{
	{
		State: Planned,
		True:  "The intent: the policy as recorded, its targets, and for every create an attempt with a name of its own, written down before anything outside happens.",
		Next:  "Reads every target and shows that it can be written; creates the key under the attempt's name; records its id and fingerprint; stages the value in every target. After a crash a staged value with the recorded fingerprint is resumed from; otherwise the attempt is lost (its id is known, the key is deleted; what a frozen process may stage of it later is discarded after the quarantine) or in doubt (its id is not known, the sweep looks for its name), and a new attempt begins.",
		To:    []State{Staged, Aborting},
		Never: []Mark{MarkPromoting, MarkLive, MarkEnded},
	},
	{
		State: Staged,
		True:  "The successor's id and fingerprint; every target that can holds its value beside the current one.",
		Next:  "Waits until every cluster knows the key and until it names itself three times in a row; reads back every staged value and proves those bytes by the policy's verification.",
		To:    []State{Verified, Planned, Aborting},
		Needs: []Mark{MarkKey},
		Never: []Mark{MarkPromoting, MarkLive, MarkEnded},
	},
	{
		State: Verified,
		True:  "The staged bytes were proved.",
		Next:  "Checks that every target still holds what may be replaced, proves the staged bytes again, and records the intent to promote.",
		To:    []State{Promoting, Staged, Planned, Aborting},
		Needs: []Mark{MarkKey},
		Never: []Mark{MarkPromoting, MarkLive, MarkEnded},
	},
	{
		State: Promoting,
		True:  "The point of no return: consumers may read the successor from now on.",
		Next:  "Promotes in every target, reads back each current value and proves it; a value that got lost is recovered from any target that holds it; then discards what is staged, everywhere.",
		To:    []State{Live, RollingBack, Superseded},
		Needs: []Mark{MarkKey, MarkPromoting},
		Never: []Mark{MarkLive, MarkEnded},
	},
	{
		State: Live,
		True:  "Consumers read the successor from every target; the old keys still work.",
		Next:  "Watches the targets and the keys; after the overlap, and where the policy asks for it when the old key is seen idle, disables the old keys.",
		To:    []State{Retiring, Done, RollingBack, Superseded},
		Needs: []Mark{MarkKey, MarkPromoting, MarkLive},
		Never: []Mark{MarkEnded},
	},
	{
		State: Retiring,
		True:  "The old keys are off, and can be turned on again by one command.",
		Next:  "After the soak, deletes the old keys.",
		To:    []State{Done, Live, RollingBack, Superseded},
		Needs: []Mark{MarkKey, MarkPromoting, MarkLive},
		Never: []Mark{MarkEnded},
	},
	{
		State: Done,
		True:  "The successor is the policy's only key; everything staged is discarded.",
		Next:  "Nothing.",
		Needs: []Mark{MarkKey, MarkPromoting, MarkLive, MarkEnded},
	},
	{
		State: Superseded,
		True:  "A newer rotation took over: the keys of this one are its predecessors.",
		Next:  "Nothing.",
		Needs: []Mark{MarkKey, MarkPromoting, MarkEnded},
	},
	{
		State: Aborting,
		True:  "The rotation goes back; nothing was promoted.",
		Next:  "Discards what is staged and deletes the new key; an attempt in doubt is left to the sweep.",
		To:    []State{Aborted},
		Never: []Mark{MarkPromoting, MarkLive, MarkEnded},
	},
	{
		State: Aborted,
		True:  "Nothing staged is left, and the new key is gone or in quarantine.",
		Next:  "Nothing.",
		Needs: []Mark{MarkEnded},
		Never: []Mark{MarkPromoting, MarkLive},
	},
	{
		State: RollingBack,
		True:  "A human chose the old key.",
		Next:  "Enables the old key and waits until it proves itself; puts it back into every target; waits out a disable that may still be on its way; proves it again; then retires the new key.",
		To:    []State{RolledBack, Superseded},
		Needs: []Mark{MarkKey, MarkPromoting},
		Never: []Mark{MarkEnded},
	},
	{
		State: RolledBack,
		True:  "The old key is the policy's only key again.",
		Next:  "Nothing.",
		Needs: []Mark{MarkKey, MarkPromoting, MarkEnded},
	},
}
