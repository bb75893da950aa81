package rotation

import (
	"time"

	"rotator/rotation/due"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
)

// missedBy is how late a scheduled run must be to count as missed while no one looked.
const missedBy = time.Minute

// computeDue computes when the next rotation is due, and why then.
func computeDue(r *run) {
	r.rec.Summarize()
	facts := due.FactsOf(r.policy, r.rec)
	facts.Freezes = r.env.Freezes()
	r.start = facts.Start(r.policy, r.now())
	at, cause, p := r.start.At, r.start.Cause, &r.rec.Policy
	if cause == due.NewTarget && r.start.Delay == "" && p.DueCause == string(cause) && !p.DueAt.IsZero() && p.DueAt.Before(at) {
		at = p.DueAt // since it was empty: how long it waits counts
	}
	p.DueAt, p.DueCause = at, string(cause)
}

// delayed is the wait for a rotation that begins later than it is due.
func delayed(r *run) Outcome {
	out := waits(r.start.At, "")
	if r.start.Due.After(r.now()) {
		return out // it is not due yet
	}
	switch r.start.Delay {
	case due.ByWindow:
		out.Reason = reason.WaitWindow
	case due.ByFreeze:
		out.Reason, out.Says = reason.Frozen, r.start.Why
	}
	return out
}

// frozen reports whether a freeze keeps a rotation that people asked for from beginning. It keeps none that a hold would not
// keep either.
func frozen(r *run, trigger journal.Trigger) (Outcome, bool) {
	z, ok := due.Frozen(r.env.Freezes(), r.policy, due.Schedule, r.now())
	if !ok || !heldBack(r, trigger) {
		return nothing, false
	}
	_, until := z.Span(r.policy)
	return Outcome{Wait: until, Reason: reason.Frozen, Says: z.Why}, true
}

// frozenKey reports whether a freeze keeps an old key from being disabled or deleted. It keeps no compromised one; and, unless
// it is hard, none that works and gets too old.
func frozenKey(r *run, k *journal.Key) (Outcome, bool) {
	cause, now := due.Schedule, r.now()
	end := noTime
	if r.policy.MaxAge > 0 && k.State == journal.RetiringKey {
		if end = k.CreatedAt.Add(due.RetirementAge(r.policy)); !now.Before(end) {
			cause = due.MaxAge
		}
	}
	z, ok := due.Frozen(r.env.Freezes(), r.policy, cause, now)
	if !ok || k.Compromised() {
		return nothing, false
	}
	_, until := z.Span(r.policy)
	if end.After(now) && end.Before(until) {
		until = end
	}
	return Outcome{Wait: until, Reason: reason.Frozen, Says: z.Why}, true
}
