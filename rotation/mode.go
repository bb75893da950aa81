package rotation

import (
	"context"
	"fmt"
	"time"

	"rotator/rotation/journal"
	"rotator/rotation/reason"
)

// Observe mode. Targets and keys are read and compared as always, and keys, ages and drift are recorded. Nothing is changed at xAI
// or in a store: the runner refuses every effect, which alone is enough. The code here keeps jobs from asking in vain, and says
// what they would do. A rotation in flight, and the retirement of old keys, is paused until the mode is rotate.

// observing returns why nothing may be changed outside; nil: the mode is rotate. A reload that changes the mode applies at once,
// also to turns in hand.
func (e *Engine) observing() error {
	if !e.environment().Observes() {
		return nil
	}
	return reason.Errorf(reason.ObserveMode, "observe mode: nothing is changed at xAI or in a store; set `mode: rotate` in rotator.yaml first")
}

// would is the outcome of a job that may not act. It has no time at which to try again: the end of the mode wakes the policy.
func would(do string) Outcome {
	return Outcome{Reason: reason.ObserveMode, Says: "would " + do}
}

// onlyRecords reports whether an order changes what the journal says, and nothing outside.
func onlyRecords(o *journal.Order) bool {
	switch o.Kind {
	case journal.OrderAbort, journal.OrderPropagation:
		return true
	case journal.OrderResolve:
		return o.Decision != journal.Adopt
	}
	return false
}

// wouldRotate says since when a rotation is due, or what people have to decide first.
func wouldRotate(ctx context.Context, r *run, trigger journal.Trigger, since time.Time) Outcome {
	if err := objections(ctx, r); err != nil {
		return Outcome{Err: err, Wait: r.now().Add(r.engine.limits.Watch)}
	}
	text := fmt.Sprintf("rotate, due since %s (%s)", since.UTC().Format(timeFormat), trigger)
	if live := r.rec.Live(); live != nil {
		text += ", and retire key " + live.ID
		if live.Origin == journal.OfAdoption {
			text += ", which was adopted"
		}
	}
	return would(text)
}

// wouldContinue says where the rotation in flight is paused, or what people have to decide first.
func wouldContinue(ctx context.Context, r *run) Outcome {
	if err := objections(ctx, r); err != nil {
		return Outcome{Err: err, Wait: r.now().Add(r.engine.limits.Watch)}
	}
	rot := r.rec.Rotation
	return would(fmt.Sprintf("continue rotation %s, which is %s since %s", rot.ID, rot.State, rot.EnteredAt.UTC().Format(timeFormat)))
}

// wouldRetire says which old keys would be disabled or deleted by now, as far as the journal's clock shows.
func wouldRetire(r *run) (all Outcome) {
	for i := range r.rec.Keys {
		k := &r.rec.Keys[i]
		if !unwanted(r, k) {
			continue
		}
		do, since, why := "delete", time.Time{}, reason.WaitSoak
		switch k.State {
		case journal.RetiringKey:
			since = k.RetireFrom.Add(overlapOf(r, k))
			if k.NeverDisabled {
				since = since.Add(soakOf(r, k))
			} else if r.policy.Retire.Soak.Std() > 0 {
				do, why = "disable", reason.WaitOverlap
			}
		case journal.LiveKey, journal.PromotingKey: // of a policy that is being decommissioned
			all = foremostOf(all, would("retire key "+k.ID))
			continue
		case journal.DisabledKey:
			since = k.DisabledAt.Add(r.policy.Retire.Soak.Std())
		}
		if since.After(r.now()) {
			all = foremostOf(all, waits(since, why))
			continue
		}
		all = foremostOf(all, would(do+" key "+k.ID))
	}
	return all
}
