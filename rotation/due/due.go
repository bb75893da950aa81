// Package due says when a policy is due and why. It is pure: the engine, `plan` and health all ask it, and get the same
// answer. When a policy's schedule runs next, and how long one cycle of it takes, package policies says.
package due

import (
	"slices"
	"time"

	"rotator/policies"
	"rotator/rotation/journal"
)

// Cause says why a rotation is due.
type Cause string

// The causes of a rotation that a policy itself can know.
const (
	Schedule  Cause = "schedule"   // its schedule
	MaxAge    Cause = "max_age"    // a key would otherwise get older than max_age before it could be retired
	Expiry    Cause = "expiry"     // a key would otherwise expire at xAI before it could be replaced
	NewTarget Cause = "new_target" // a target that holds no key of this policy yet
)

// Facts are what the journal knows of a policy and its keys. A zero time means that there is none.
type Facts struct {
	FirstSeen    time.Time         // when the policy was first loaded
	LastSuccess  time.Time         // when a rotation to a new key last went live
	OldestKey    time.Time         // creation of the live key; without one, of the oldest key that works
	KeyExpires   time.Time         // the expiry of the live key
	NotBefore    time.Time         // no rotation begins before then: the pause after one that failed, or a hold
	TargetsEmpty bool              // a target is known to be empty, or holds an older key than the others
	Freezes      []policies.Freeze // of rotator.yaml; those whose labels the policy lacks do not matter
	StaysOn      bool              // xAI refused to turn a key of this policy off: old keys work through their soak
}

// Of returns when the policy is due and why, by what its record says. See [Facts.Next].
func Of(p *policies.Policy, rec *journal.Record, now time.Time) (at time.Time, cause Cause) {
	return FactsOf(p, rec).Next(p, now)
}

// FactsOf gathers the facts from a policy's record. A hold is not among them: a policy that is held is due anyway.
func FactsOf(p *policies.Policy, rec *journal.Record) Facts {
	f := Facts{
		FirstSeen: rec.Policy.FirstSeen, LastSuccess: rec.Policy.LastSuccess,
		TargetsEmpty: targetsMiss(p, rec), StaysOn: rec.Policy.StaysOn,
	}
	live := rec.Live()
	if live != nil { // older keys were replaced already: another rotation would not end them sooner
		f.OldestKey, f.KeyExpires = live.CreatedAt, live.Expiry()
		return f
	}
	for _, k := range rec.Keys {
		if k.State.Works() && (f.OldestKey.IsZero() || k.CreatedAt.Before(f.OldestKey)) {
			f.OldestKey = k.CreatedAt
		}
	}
	return f
}

// targetsMiss reports whether a target waits for its first key, or for the one that the others hold.
func targetsMiss(p *policies.Policy, rec *journal.Record) bool {
	live := rec.Live()
	for _, pt := range p.Targets {
		id := journal.TargetID{Store: pt.Store, Path: pt.Path, Field: pt.Field}
		i := slices.IndexFunc(rec.Targets, func(t journal.Target) bool { return t.TargetID == id })
		if i < 0 || rec.Targets[i].Excluded() || rec.Targets[i].ContactAt.IsZero() {
			continue
		}
		row := rec.Targets[i]
		if row.Status == journal.TargetEmpty || row.Status == journal.TargetOK && live != nil && row.KeyID != live.ID {
			return true
		}
	}
	return false
}

// Next returns when the policy is due and why: the earliest of the next run of its schedule after the last success (or
// after the policy was first seen), the oldest key's max_age less what one cycle takes, and a key's expiry less overlap and
// an hour; now, where a target is empty or new. Of two causes at one instant, the schedule is named.
//
// A time that is not after now means due. What was missed while no one looked is due once, at its own time in the past:
// whoever finds many policies overdue spreads them by [policies.Policy.Offset]. The result is in UTC and depends on nothing
// but f, p and now; NotBefore is for [Facts.Starts]. It is the zero time only for a policy without a valid schedule, which
// policies.Parse and policies.Load never return.
func (f Facts) Next(p *policies.Policy, now time.Time) (at time.Time, cause Cause) {
	now = now.UTC().Round(0)
	if f.TargetsEmpty {
		return now, NewTarget
	}
	for _, c := range f.causes(p, now) {
		if at.IsZero() || c.at.Before(at) {
			at, cause = c.at, c.cause
		}
	}
	return at, cause
}

// candidate is one cause, and when it makes a policy due.
type candidate struct {
	at    time.Time
	cause Cause
}

// causes are when a policy becomes due, by each cause that there is.
func (f Facts) causes(p *policies.Policy, now time.Time) []candidate {
	var all []candidate
	if f.TargetsEmpty {
		all = append(all, candidate{now, NewTarget})
	}
	offset := p.Offset()
	if run := p.NextRun(f.since(now)); !run.IsZero() {
		all = append(all, candidate{run.Add(offset), Schedule})
	}
	// Jitter must not break a promise: these two are spread toward the past.
	if p.MaxAge > 0 && !f.OldestKey.IsZero() {
		// A promise that cannot be kept, since old keys stay on through their soak, must not make a key every minute.
		lead := min(p.Cycle(f.StaysOn)+offset, p.MaxAge.Std()-policies.Margin)
		all = append(all, candidate{f.OldestKey.UTC().Round(0).Add(p.MaxAge.Std() - lead), MaxAge})
	}
	if !f.KeyExpires.IsZero() {
		all = append(all, candidate{f.KeyExpires.UTC().Round(0).Add(-p.ExpiryLead() - offset), Expiry})
	}
	return all
}

// since is the instant from which the schedule counts.
func (f Facts) since(now time.Time) time.Time {
	switch {
	case !f.LastSuccess.IsZero():
		return f.LastSuccess
	case !f.FirstSeen.IsZero():
		return f.FirstSeen
	}
	return now
}

// RetirementAge is how old a key gets whose successor is due because of max_age, until it is off: the successor is live in
// the hour that is kept for it, and the old key goes when it should.
func RetirementAge(p *policies.Policy) time.Duration { return p.MaxAge.Std() - policies.Margin }

// Starts returns the next rotations that begin if each succeeds at once and its predecessor is retired in time; what is
// overdue comes first, at now. None begins before NotBefore, outside of a window, or in a freeze that keeps it. It returns
// those that begin before until or, if that is zero, the next n; and fewer for a policy without a valid schedule.
func (f Facts) Starts(p *policies.Policy, now, until time.Time, n int) []Start {
	at := now.UTC().Round(0)
	if f.NotBefore.After(at) {
		at = f.NotBefore.UTC().Round(0)
	}
	if !until.IsZero() {
		n = maxStarts
	}
	var all []Start
	for len(all) < n {
		next := f.Start(p, at)
		if next.At.IsZero() {
			break
		}
		if next.At.Before(at) {
			next.At = at
		}
		if at = next.At; !until.IsZero() && !at.Before(until) {
			break
		}
		all = append(all, next)
		f = f.Renewed(at)
	}
	return all
}

// maxStarts bounds what is predicted: an hourly schedule over a year.
const maxStarts = 10_000

// Renewed is the facts once a new key went live at an instant.
func (f Facts) Renewed(at time.Time) Facts {
	return Facts{FirstSeen: f.FirstSeen, LastSuccess: at, OldestKey: at, NotBefore: f.NotBefore, Freezes: f.Freezes, StaysOn: f.StaysOn}
}
