package rotation

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"rotator/policies"
	"rotator/rotation/due"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/rotation/target"
)

// rotate takes the rotation in flight to its next state, or begins one that is due.
func rotate(ctx context.Context, r *run) Outcome {
	rot := r.rec.Rotation
	if rot == nil {
		return idle(ctx, r)
	}
	if r.engine.observing() != nil {
		return wouldContinue(ctx, r)
	}
	if r.postponed(rot.TryAt) && !stirred(r) {
		return stands(rot.TryAt, rot.Reason, rot.Error)
	}
	before := rot.State
	out := step(ctx, r)
	if gone(ctx, out.Err) {
		return out
	}
	if rot = r.rec.Rotation; rot == nil || rot.State != before || out.Moved {
		if rot != nil {
			rot.TryAt, rot.Failures, rot.Reason, rot.Error = noTime, 0, "", ""
		}
		return out
	}
	if out.Err != nil {
		rot.Failures++
		rot.Reason, rot.Error = reason.Of(out.Err), out.Err.Error()
		out.Wait = r.now().Add(max(r.backoff(rot.Failures), retryAfter(out.Err)))
	} else {
		rot.Failures, rot.Reason, rot.Error = 0, out.Reason, out.Standing
	}
	rot.TryAt = out.Wait
	if rot.TryAt.IsZero() { // it waits for nothing but a human's word, which wakes it
		rot.TryAt = r.now().Add(r.engine.limits.Watch)
	}
	return out
}

// step does the next step of the rotation in flight.
func step(ctx context.Context, r *run) Outcome {
	rot := r.rec.Rotation
	if rot.State.CanAbort() {
		if why := changed(r); why != "" {
			abort(r, why)
			return moved
		}
		if h := r.rec.Hold; h.Active(r.now()) && heldBack(r, rot.Trigger) {
			return waits(h.Until, reason.Held)
		}
	}
	switch rot.State {
	case journal.Planned:
		if rot.Existing {
			return plannedExisting(ctx, r)
		}
		return planned(ctx, r)
	case journal.Staged:
		return staged(ctx, r)
	case journal.Verified:
		return verified(ctx, r)
	case journal.Promoting:
		return promoting(ctx, r)
	}
	return failed(reason.Errorf(reason.Internal, "rotation %s is in flight in state %q", rot.ID, rot.State))
}

// heldBack reports whether a hold stops a rotation that has promoted nothing. It stops none that gives consumers a key that
// works, nor one away from a key that is known to others.
func heldBack(r *run, t journal.Trigger) bool {
	switch t {
	case journal.ByHealing, journal.ByRollback, journal.ByCompromise:
		return false
	case journal.ByExpiry: // which the hold would let begin
		if r.rec.Hold.Scope == journal.HoldRotations {
			return false
		}
	}
	return !consumersFail(r) // for whatever reason it began
}

// changed says why a rotation that has promoted nothing is not what is wanted any more: its policy was edited or removed,
// or its key was reported compromised. It is planned again where it is still due.
func changed(r *run) string {
	rot := r.rec.Rotation
	k := r.rec.Key(rot.KeyRef)
	switch {
	case !r.rec.Policy.RemovedAt.IsZero():
		return "the policy was removed"
	case rot.Existing && (k == nil || k.Compromised() || k.State == journal.DeletingKey || k.State == journal.RejectedKey):
		return "the key to go back to can no longer be used"
	case !rot.Existing && !r.plan.SameRotation(r.policy):
		return "the policy was edited"
	case !rot.Existing && k != nil && k.State == journal.CandidateKey && notUpdated(k):
		return "the policy was edited, and xAI does not change the new key"
	}
	return ""
}

// stirred reports that what the step waited for may be over at another time than was said.
func stirred(r *run) bool {
	rot := r.rec.Rotation
	if rot.Reason == reason.WaitCanary && (!r.plan.Canary.Wanted() || consumersFail(r) || !r.now().Before(due.CanaryEnd(r.plan, rot, r.rec.Live()))) {
		return true
	}
	return rot.Reason == reason.Held && !(r.rec.Hold.Active(r.now()) && heldBack(r, rot.Trigger)) || rot.State.CanAbort() && changed(r) != ""
}

// idle decides whether a rotation begins.
func idle(ctx context.Context, r *run) Outcome {
	p := &r.rec.Policy
	if !p.RemovedAt.IsZero() || p.Leaving() {
		p.DueAt, p.DueCause = noTime, ""
		return nothing
	}
	computeDue(r)
	at := p.DueAt
	if h := r.rec.Hold; h.Active(r.now()) {
		if p.DueCause == string(due.Expiry) && !r.now().Before(at) {
			if h.Scope != journal.HoldRotations {
				return failed(reason.Errorf(reason.DueUnderHold, "key %s expires at %s, and %s is held: `rotator release %s`", p.KeyID, p.KeyExpires.Format(timeFormat), p.Name, p.Name))
			}
		} else if heldBack(r, p.WantedTrigger) {
			out := waits(h.Until, reason.Held)
			if err := objections(ctx, r); err != nil {
				out.Err = err
			}
			return out
		}
	}
	trigger := journal.Trigger(p.DueCause)
	if !p.WantedAt.IsZero() {
		trigger, at = p.WantedTrigger, p.WantedAt
	} else if leaked(r) { // through edits, aborts, removal and return
		trigger, at = journal.ByCompromise, r.now()
	} else if missed := r.now().Sub(at); r.engine.observing() == nil && missed > missedBy && p.NotBefore.IsZero() && p.DueCause == string(due.Schedule) && len(r.policy.Windows) == 0 {
		p.NotBefore = r.now().Add(r.policy.Offset()) // many runs missed together are not made up together
	}
	if p.NotBefore.After(at) {
		at = p.NotBefore
	}
	if r.now().Before(at) {
		if err := objections(ctx, r); err != nil {
			return Outcome{Wait: at, Err: err}
		}
		if at.Equal(r.start.At) {
			return delayed(r)
		}
		return waits(at, "")
	}
	if out, ok := frozen(r, trigger); ok && !p.WantedAt.IsZero() {
		if r.now().Before(r.start.At) {
			return out
		}
		trigger = journal.Trigger(r.start.Cause) // what wins over the freeze: no one who asks is worse off
	}
	if r.engine.ordered && p.WantedAt.IsZero() && trigger != journal.ByCompromise {
		return nothing // the daemon begins it; looking again here would find nothing to do
	}
	if r.engine.observing() != nil {
		return wouldRotate(ctx, r, trigger, at)
	}
	if err := mayCreate(ctx, r); err != nil {
		return failed(err)
	}
	if err := reconciling(ctx, r); err != nil {
		return failed(err)
	}
	r.begin(trigger, p.WantedWhy, p.WantedBy)
	return moved
}

// leaked reports that consumers read a key that was reported compromised.
func leaked(r *run) bool {
	if anyCompromisedLive(r) {
		return true
	}
	return slices.ContainsFunc(r.rec.Targets, func(row journal.Target) bool {
		k := r.rec.KeyByID(row.KeyID)
		return k != nil && k.Compromised() && row.RemovedAt.IsZero() && !target.Excluded(row)
	})
}

// begin plans a rotation to a new key. The plan is written down with the intent to create, or when the turn ends: before
// anything changes outside.
func (r *run) begin(trigger journal.Trigger, why, by string) {
	now := r.now()
	rot := &journal.Rotation{
		ID: uuid.Must(uuid.NewV7()).String(), Policy: r.claim.Policy, State: journal.Planned, Trigger: trigger, Why: why, By: by,
		Spec: r.rec.Policy.Spec, StartedAt: now, EnteredAt: now,
	}
	for _, k := range r.rec.Keys {
		if k.State.Exposed() || k.State == journal.DisabledKey {
			rot.OldKeyIDs = rot.OldKeyIDs.With(k.ID)
		}
	}
	r.rec.Policy.NotBefore = noTime
	r.rec.Rotation = rot
	r.plan = r.policy
	r.tell(journal.Started, "trigger", string(trigger), "why", why, "by", by)
	r.log.Info("rotation planned", "rotation", rot.ID, "trigger", trigger)
}

// beginTo plans a rotation that makes an existing key live.
func beginTo(r *run, k *journal.Key, trigger journal.Trigger, why, by string) {
	r.begin(trigger, why, by)
	rot := r.rec.Rotation
	rot.Existing, rot.KeyRef, rot.KeyID, rot.Fingerprint = true, k.Ref, k.ID, k.Fingerprint
}

// enter moves the rotation in flight to another state of the table.
func (r *run) enter(s journal.State) {
	rot := r.rec.Rotation
	if !rot.State.May(s) {
		panic(fmt.Sprintf("rotation %s may not go from %s to %s", rot.ID, rot.State, s)) // a defect: recovered by the scheduler
	}
	if rot.State != s {
		rot.State, rot.EnteredAt = s, r.now()
		rot.TryAt, rot.Failures, rot.Reason, rot.Error = noTime, 0, "", ""
	}
	r.log.Info("rotation "+string(s), "rotation", rot.ID, "key_id", rot.KeyID)
}

// end closes the rotation in flight in a final state. It is written by the next commit, together with what follows it.
func (r *run) end(s journal.State, why string) {
	rot := r.rec.Rotation
	r.enter(s)
	if s != journal.Live || !replaces(r, rot.ID) {
		rot.EndedAt = r.now()
	}
	rot.Error = why
	r.rec.Ended = append(r.rec.Ended, *rot)
	r.ended = append(r.ended, *rot)
	if rot.EndedAt.IsZero() {
		r.rec.Retired = append(r.rec.Retired, *rot)
	}
	r.rec.Rotation = nil
	r.plan = r.policy
}

// replaces reports whether keys that a rotation replaced are not gone yet.
func replaces(r *run, rotation string) bool {
	for _, k := range r.rec.Keys {
		if k.RetireRotation == rotation && (k.State == journal.RetiringKey || k.State == journal.DisabledKey || k.State == journal.DeletingKey) {
			return true
		}
	}
	return false
}

// abort turns a rotation back that has promoted nothing: a new key is rejected, an existing one keeps its state.
func abort(r *run, why string) {
	rot := r.rec.Rotation
	if k := r.rec.Key(rot.KeyRef); k != nil && !rot.Existing {
		if k.State == journal.CreatingKey {
			doubtKey(r, k, "the rotation was aborted while the create was under way")
		} else {
			rejectKey(r, k, why)
		}
	}
	r.tell(journal.AbortEnded, "reached", string(rot.Reached()), "error", why)
	r.end(journal.Aborted, why)
}

// supersede ends a rotation that a newer one takes over from. A key that consumers may read stays one that must be retired.
func supersede(r *run, s journal.State, why string) {
	rot := r.rec.Rotation
	if rot.State.CanAbort() {
		abort(r, why)
		return
	}
	r.tell(journal.TakenOver, "key_id", rot.KeyID, "reached", string(rot.Reached()), "error", why)
	r.end(s, why)
}

// goLive records that every target holds the key: those that consumers read before are to be retired.
func goLive(r *run) {
	rot, p := r.rec.Rotation, &r.rec.Policy
	ref := rot.KeyRef
	rot.OldKeyIDs = ""
	k := r.rec.Key(ref)
	for i := range r.rec.Keys {
		old := &r.rec.Keys[i]
		if old.Ref == ref {
			continue
		}
		switch old.State {
		case journal.LiveKey, journal.PromotingKey:
			retireKey(r, old, k, rot.ID)
		case journal.RetiringKey, journal.DisabledKey:
			old.RetireRotation = rot.ID
			if old.State == journal.RetiringKey && rot.Trigger == journal.ByRollback && old.ReplacedBy == "" {
				old.ReplacedBy = ref
			}
		default:
			continue
		}
		rot.OldKeyIDs = rot.OldKeyIDs.With(old.ID)
	}
	r.move(k, journal.LiveKey)
	r.engine.hand.drop(ref) // the targets have it
	k.LiveAt, k.Health, k.HealthAt = r.now(), journal.HealthOK, r.now()
	k.RetireFrom, k.IdleFrom, k.DisabledAt, k.ReplacedBy, k.RetireRotation = noTime, noTime, noTime, "", ""
	rot.LiveAt = r.now()
	p.LostKeys, p.NotBefore = 0, noTime
	if !rot.Existing {
		p.LastSuccess = rot.LiveAt
		if !p.WantedAt.IsZero() && (p.WantedTrigger != journal.ByCompromise || !anyCompromisedLive(r)) {
			p.WantedAt, p.WantedTrigger, p.WantedWhy, p.WantedBy = noTime, "", "", ""
		}
	}
	for i := range r.rec.Retired { // the keys that it still had to retire are this rotation's now
		if old := &r.rec.Retired[i]; old.EndedAt.IsZero() && !replaces(r, old.ID) {
			old.EndedAt = r.now()
			tellFinished(r, *old)
		}
	}
	kind, reached := journal.Promoted, ""
	switch rot.Trigger {
	case journal.ByRollback:
		kind, reached = journal.RollbackEnded, string(journal.Live)
	case journal.ByHealing:
		kind = journal.Healed
	}
	r.tell(kind, "key_id", rot.KeyID, "old_key_ids", string(rot.OldKeyIDs), "trigger", string(rot.Trigger), "reached", reached)
	ended := !replaces(r, rot.ID)
	r.end(journal.Live, "")
	if ended {
		tellFinished(r, r.rec.Ended[len(r.rec.Ended)-1])
	}
	computeDue(r)
}

// tellFinished reports that nothing is left to do for a rotation.
func tellFinished(r *run, rot journal.Rotation) {
	r.tell(journal.Finished, "rotation", rot.ID, "key_id", rot.KeyID, "reached", string(rot.Reached()), "trigger", string(rot.Trigger))
	r.events[len(r.events)-1].Rotation = rot.ID // not the one in flight
}

func anyCompromisedLive(r *run) bool {
	k := r.rec.Live()
	return k != nil && k.Compromised()
}

// handles returns the targets that are the policy's to write: all but those a human left or dropped.
func (r *run) handles(plan *policies.Policy) ([]target.Handle, error) {
	var out []target.Handle
	for _, pt := range plan.Targets {
		if target.Excluded(*r.reader.Row(target.IDOf(pt))) {
			continue
		}
		h, err := r.reader.Handle(pt)
		if err != nil {
			return nil, err
		}
		out = append(out, h)
	}
	if len(out) == 0 {
		return nil, reason.Errorf(reason.NoTargets, "every target of %s was left or dropped", r.claim.Policy)
	}
	return out, nil
}
