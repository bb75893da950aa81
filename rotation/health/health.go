// Package health says how a policy is, in one word: what proves that all is well, what is late, and what needs people. It
// is pure. A policy's owner asks it at each commit and stores the answer; code that shows it asks [Shown], which adds what
// time has done since, so that a dead daemon shows too.
package health

import (
	"time"

	"rotator/rotation/journal"
)

// Health is one word for how a policy is.
type Health = journal.PolicyHealth

// The words, the worst first. The first that applies is shown.
const (
	Overdue        Health = "overdue"         // a promise is broken: something is late
	ActionRequired Health = "action_required" // trying again alone is unlikely to help
	Degraded       Health = "degraded"        // it may get worse: it fails, is held, or was not looked at for two watches
	Progressing    Health = "progressing"     // something is under way, in time
	OK             Health = "ok"              // proved by recent evidence; nothing is due
)

// All are the words, the worst first.
var All = []Health{Overdue, ActionRequired, Degraded, Progressing, OK}

// The reasons of a policy's health that are not reasons why it waits. What each means is in package reason.
const (
	CompromisedAccepted journal.Reason = "compromised_accepted"
	OverAge             journal.Reason = "over_age"
	RotationLate        journal.Reason = "rotation_late"
	RetirementLate      journal.Reason = "retirement_late"
	KeyDead             journal.Reason = "key_dead"
	Removed             journal.Reason = "policy_removed"
	Failing             journal.Reason = "failing"
	NotWatched          journal.Reason = "not_watched"
	SpecRefused         journal.Reason = "spec_error"
	NeverRotated        journal.Reason = "never_rotated"
	ExpiryNear          journal.Reason = "expiry_near"
	Unproved            journal.Reason = "live_key_unproved"

	keyDrift      journal.Reason = "key_drift"      // also a reason why a policy waits
	updateRefused journal.Reason = "update_refused" // likewise

	held        journal.Reason = "held"             // also a reason why a policy waits
	reconciling journal.Reason = "restored_journal" // likewise
	observeMode journal.Reason = "observe_mode"     // likewise
)

const (
	// LateBy is how late a rotation or a retirement may be before its policy is overdue.
	LateBy = time.Hour
	// CompromisedFor is how long xAI may accept a key that was reported compromised before its policy is overdue.
	CompromisedFor = 15 * time.Minute
	// FailuresTold is how many times in a row something fails before it is reported: a hiccup is no news.
	FailuresTold = 3
	// ExpiryTold is how long a key may be due because of its expiry before that is reported, though nothing else is late.
	ExpiryTold = 15 * time.Minute
	// expiryWarning is how long before its replacement is due the expiry of a key is reported that nothing replaces by itself.
	expiryWarning = 7 * 24 * time.Hour
)

// Facts are what a policy's health follows from. A zero time means never. [FactsOf] gathers them.
type Facts struct {
	// Overdue.
	AgeLimit      time.Time // when the oldest key that works is as old as max_age allows
	DueAt         time.Time // when a rotation is to begin, or should have begun or been live: after hold and freeze
	RetireAt      time.Time // the earliest time at which an old key should be off, or gone
	CompromisedAt time.Time // the earliest report of a compromised key that xAI still accepts

	// Action required.
	Human       journal.Reason // a reason in force that waits for people
	KeyDead     bool           // consumers read a key that is proved dead or blocked
	Reconciling bool           // the journal may not be the newest, and is compared
	Removed     bool           // the policy is in no file any more
	Keys        bool           // keys are left that consumers may read, or that could be turned on

	// Degraded.
	Failures  int            // in a row, the most of any job
	Reason    journal.Reason // why nothing moves, as the last turn said
	SpecError bool           // the policy acted on is older than its file, which is refused
	Held      bool           // by a human
	HeldUntil time.Time      // zero: until released
	ExpiryAt  time.Time      // from when the expiry of a key in use is near that was neither moved nor replaced in time
	Alone     time.Time      // the same where nothing replaces it by itself: in observe mode
	Key       journal.Reason // why a key in use is not what its policy says
	SeenAt    time.Time      // the oldest of the last reads of all targets and the live key's last proof; where one is lacking, since when

	// Progressing.
	Moving bool // a rotation is in flight or wanted, or keys are being retired

	Observing bool // observe mode: see [Facts.Observed]

	// OK.
	Live   bool // a key is live
	Proved bool // it proved itself, and every target was read and holds it; how long ago SeenAt says

	Watch time.Duration // between two looks at targets and keys
}

// Of returns a policy's health, why, and when that changes next if nothing happens but that time passes (zero: never).
func Of(f Facts, now time.Time) (h Health, why journal.Reason, next time.Time) {
	h, why = f.at(now)
	for _, t := range []time.Time{f.AgeLimit, f.DueAt, late(f.DueAt), late(f.RetireAt), f.compromisedUntil(), f.StaleAt(), f.HeldUntil, f.ExpiryAt} {
		if !t.After(now) || !next.IsZero() && !t.Before(next) {
			continue
		}
		if then, because := f.at(t); then != h || because != why {
			next = t
		}
	}
	return h, why, next
}

func (f Facts) at(now time.Time) (Health, journal.Reason) {
	past := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
	switch {
	case past(f.compromisedUntil()):
		return Overdue, CompromisedAccepted
	case past(f.AgeLimit):
		return Overdue, OverAge
	case past(late(f.DueAt)):
		return Overdue, RotationLate
	case past(late(f.RetireAt)):
		return Overdue, RetirementLate

	case f.KeyDead:
		return ActionRequired, KeyDead
	case f.Human != "":
		return ActionRequired, f.Human
	case f.Reconciling:
		return ActionRequired, reconciling
	case f.Removed && f.Keys:
		return ActionRequired, Removed

	case f.Failures >= FailuresTold && f.Reason != "":
		return Degraded, f.Reason
	case f.Failures >= FailuresTold:
		return Degraded, Failing
	case !f.Removed && past(f.StaleAt()):
		return Degraded, NotWatched
	case past(f.ExpiryAt):
		return Degraded, ExpiryNear
	case f.SpecError:
		return Degraded, SpecRefused
	case f.Key != "":
		return Degraded, f.Key
	case f.Held && !past(f.HeldUntil):
		return Degraded, held

	case f.Observing && f.Moving:
		return Degraded, observeMode
	case f.Observing && (f.Removed || f.Proved):
		return OK, observeMode

	case f.Moving || past(f.DueAt):
		return Progressing, f.Reason
	case f.Removed || f.Proved:
		return OK, ""
	case f.Live:
		return Degraded, Unproved
	}
	return Degraded, NeverRotated
}

// Observed returns the facts in observe mode. What the rotator may not do there is not late. A key is as old as it is all the
// same, and known to others for as long: those stay overdue.
func (f Facts) Observed() Facts {
	f.Observing, f.DueAt, f.RetireAt, f.ExpiryAt = true, time.Time{}, time.Time{}, f.Alone
	return f
}

// StaleAt is from when the evidence is too old to say that all is well.
func (f Facts) StaleAt() time.Time {
	if f.SeenAt.IsZero() {
		return time.Time{}
	}
	return f.SeenAt.Add(2 * f.Watch)
}

// OverdueAt is from when the policy is overdue if nothing happens, and why; zero: never.
func (f Facts) OverdueAt() (at time.Time, why journal.Reason) {
	for _, c := range []struct {
		at  time.Time
		why journal.Reason
	}{
		{f.compromisedUntil(), CompromisedAccepted}, {f.AgeLimit, OverAge}, {late(f.DueAt), RotationLate}, {late(f.RetireAt), RetirementLate},
	} {
		if !c.at.IsZero() && (at.IsZero() || c.at.Before(at)) {
			at, why = c.at, c.why
		}
	}
	return at, why
}

func (f Facts) compromisedUntil() time.Time {
	if f.CompromisedAt.IsZero() {
		return time.Time{}
	}
	return f.CompromisedAt.Add(CompromisedFor)
}

func late(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Add(LateBy)
}

// Alarming reports whether people are notified when a policy becomes so, and when it is so no longer.
func Alarming(h Health) bool { return h == Overdue || h == ActionRequired }

// Shown is a policy's health for whoever looks at now: as its owner stored it, or worse where time has passed since. A
// policy that no owner ever looked at is degraded.
func Shown(p *journal.Policy, h journal.Hold, now time.Time) (Health, journal.Reason) {
	past := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
	switch {
	case p.Health == Overdue:
		return Overdue, p.HealthReason
	case past(p.OverdueAt):
		return Overdue, p.OverdueReason
	case p.Health == "":
		return Degraded, NotWatched
	case p.Health != OK && p.Health != Progressing:
		return p.Health, p.HealthReason
	case p.RemovedAt.IsZero() && past(p.StaleAt):
		return Degraded, NotWatched
	case h.Active(now):
		return Degraded, held
	case p.Health == OK && p.HealthReason != observeMode && p.RemovedAt.IsZero() && past(p.DueAt):
		return Progressing, p.Reason
	}
	return p.Health, p.HealthReason
}
