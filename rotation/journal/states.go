package journal

import "slices"

// State is the state of a rotation. What is durably true in each state, what its next step does and where it may go
// is said once, in [States]: the documentation and the database's CHECK constraints are made from it.
type State string

// The states of a rotation.
const (
	Planned    State = "planned"
	Staged     State = "staged"
	Verified   State = "verified"
	Promoting  State = "promoting"
	Live       State = "live"
	Aborted    State = "aborted"
	Superseded State = "superseded"
	RolledBack State = "rolled_back"
)

// Shown are the words that status adds for what follows a rotation, and for one that goes back.
const (
	Overlap     State = "overlap"      // live, and an old key works
	Soaking     State = "soaking"      // live, and an old key is off
	Done        State = "done"         // live, and all old keys are gone
	RollingBack State = "rolling_back" // in flight, to an existing key that a human chose
)

// Mark is a fact about a rotation, kept in a column, that a state requires.
type Mark string

// The marks: column names of the rotations table.
const (
	MarkKey       Mark = "key_ref"      // the key is known
	MarkPromoting Mark = "promoting_at" // the intent to promote is recorded
	MarkLive      Mark = "live_at"      // every target read back the key
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
	// Needs are the marks that a rotation in this state must have; Never those that it must not.
	Needs, Never []Mark
}

// Final reports whether a rotation in this state is over: the next one may begin. The keys that it replaced may still have
// to be retired.
func (s State) Final() bool { return len(s.Info().To) == 0 }

// CanAbort reports whether a rotation in this state can still go back without a trace: before the first promote.
func (s State) CanAbort() bool { return slices.Contains(s.Info().Never, MarkPromoting) && s != Aborted }

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
		True:  "The intent: the policy as recorded. For every create, a key with a name of its own is recorded before anything happens outside.",
		Next:  "For a new key: reads every target and shows that it can be written; creates the key; records its id and fingerprint; stages the value in every target. After a crash it goes on with a value found in memory or staged; otherwise the key is rejected, or its name is searched for, and another key is begun. For an existing key: turns it on if it is off.",
		To:    []State{Staged, Promoting, Aborted, Superseded},
		Never: []Mark{MarkPromoting, MarkLive, MarkEnded},
	},
	{
		State: Staged,
		True:  "The new key's id and fingerprint; every target that can holds its value beside the current one.",
		Next:  "Waits until every cluster knows the key; reads back every staged value and proves those bytes by the policy's verification.",
		To:    []State{Verified, Planned, Aborted, Superseded},
		Needs: []Mark{MarkKey},
		Never: []Mark{MarkPromoting, MarkLive, MarkEnded},
	},
	{
		State: Verified,
		True:  "The staged bytes were proved.",
		Next:  "Checks that every target still holds what may be replaced, proves the key again, and records the intent to promote.",
		To:    []State{Promoting, Staged, Planned, Aborted, Superseded},
		Needs: []Mark{MarkKey},
		Never: []Mark{MarkPromoting, MarkLive, MarkEnded},
	},
	{
		State: Promoting,
		True:  "The point of no return: consumers may read the key from now on.",
		Next:  "For each target: settles an earlier write whose outcome is unknown, proves the key, writes, and reads back. A value that got lost is recovered from any target that holds it.",
		To:    []State{Live, RolledBack, Superseded},
		Needs: []Mark{MarkKey, MarkPromoting},
		Never: []Mark{MarkLive, MarkEnded},
	},
	{
		State: Live,
		True:  "Consumers read the key from every target. The keys that it replaced are retired, each by itself; ended_at is set when the last of them is gone.",
		Next:  "Nothing.",
		Needs: []Mark{MarkKey, MarkPromoting, MarkLive},
	},
	{
		State: Aborted,
		True:  "It went back before anything was promoted; a new key is rejected, an existing one keeps its state.",
		Next:  "Nothing.",
		Needs: []Mark{MarkEnded},
		Never: []Mark{MarkPromoting, MarkLive},
	},
	{
		State: Superseded,
		True:  "A newer rotation took over: the key of this one is among those that it replaces.",
		Next:  "Nothing.",
		Needs: []Mark{MarkEnded},
		Never: []Mark{MarkLive},
	},
	{
		State: RolledBack,
		True:  "A human chose the replaced key while this one was being promoted.",
		Next:  "Nothing.",
		Needs: []Mark{MarkKey, MarkPromoting, MarkEnded},
		Never: []Mark{MarkLive},
	},
}
