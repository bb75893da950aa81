package rotation

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"rotator/policies"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/rotation/target"
	"rotator/xai"
)

// A policy that is decommissioned ends: no rotation begins, and its keys are turned off, soak, and are deleted without a
// successor. Its own targets may hold them then, so a key is turned off only when its use shows that no one needs it, or people
// accepted the outage. That stays wanted in the policy's row, whether the policy is in a file or not, until all keys are gone.
// abort takes it back; a policy that is still in a file stays decommissioned until then.

// decommissionIdle is how long a key must have been idle where the policy asks for nothing.
const decommissionIdle = 24 * time.Hour

// billingLag is how old the newest hour of billing may be when it is taken as proof: it says nothing of the hours after it.
const billingLag = 3 * time.Hour

// orderDecommission ends what is in flight and records that the policy's keys are to go. Said again, it may accept the outage.
func orderDecommission(r *run, o *journal.Order) (refused string) {
	p := &r.rec.Policy
	if !p.DecommissionedAt.IsZero() {
		return fmt.Sprintf("it was decommissioned at %s; `rotator abort %s` takes that back", p.DecommissionedAt.Format(timeFormat), p.Name)
	}
	if !p.Leaving() {
		if rot := r.rec.Rotation; rot != nil {
			o.RotationID = rot.ID
			supersede(r, journal.Superseded, "the policy is decommissioned")
		}
		p.DecommissionAt, p.DecommissionWhy, p.DecommissionBy = r.now(), o.Why, o.By
		p.WantedAt, p.WantedTrigger, p.WantedWhy, p.WantedBy = noTime, "", "", ""
	}
	p.DecommissionOutage = p.DecommissionOutage || o.AcceptOutage
	for i := range r.rec.Keys {
		r.rec.Keys[i].TryAt = noTime
	}
	accepted := ""
	if o.AcceptOutage {
		accepted = "accepted"
	}
	r.tell(journal.Decommission, "why", o.Why, "by", o.By, "outage", accepted)
	return ""
}

// decommissioned is why an order that needs a key is refused.
func decommissioned(r *run) string {
	return fmt.Sprintf("%s is decommissioned (%s); `rotator abort %s` takes that back first", r.claim.Policy, r.rec.Policy.DecommissionWhy, r.claim.Policy)
}

// orderWithdraw takes a decommission back: the key that consumers read is wanted on again. One whose deletion was sent, or whose
// value is nowhere any more, is replaced by a new one. A store that does not answer is not waited for: the soak goes on meanwhile.
func orderWithdraw(ctx context.Context, r *run, o *journal.Order) (string, error) {
	p := &r.rec.Policy
	var old string
	if r.rec.Live() == nil {
		if k := newestKept(r); k != nil {
			old = k.Ref
		}
	}
	removed := !p.RemovedAt.IsZero()
	if k := r.rec.Key(old); removed && k != nil && k.State == journal.DisabledKey {
		if err := turnOn(ctx, r, k); err != nil && !reason.Is(err, reason.OldKeyBad) {
			return "", err
		}
	}
	usable := false
	if k := r.rec.Key(old); !removed && k != nil {
		handles, err := r.handles(r.policy)
		if err == nil {
			_, err = valueOf(ctx, r, k, handles)
		}
		if gone(ctx, err) || r.unsure != nil {
			return "", err
		}
		usable = !reason.Is(err, reason.NoOldValue)
	}
	p.DecommissionAt, p.DecommissionWhy, p.DecommissionBy, p.DecommissionOutage, p.DecommissionedAt = noTime, "", "", false, noTime
	for i := range r.rec.Keys {
		k := &r.rec.Keys[i]
		k.IdleFrom, k.TryAt = noTime, noTime
		if k.State == journal.LiveKey {
			k.RetireFrom = noTime
		}
	}
	r.tell(journal.DecommissionWithdrawn, "why", o.Why, "by", o.By)
	switch {
	case removed || r.rec.Live() != nil:
	case usable:
		beginTo(r, r.rec.Key(old), journal.ByHealing, "the decommission was taken back", o.By)
	default:
		wantKey(r, journal.ByHand, "the decommission was taken back", o.By)
	}
	return "", nil
}

// newestKept is the newest key of a policy without a live one that consumers may read and that can be turned on again.
func newestKept(r *run) (best *journal.Key) {
	for i := range r.rec.Keys {
		k := &r.rec.Keys[i]
		if (k.State == journal.DisabledKey || k.State.Exposed()) && !k.Compromised() && k.Fingerprint != "" && (best == nil || k.ExposedAt.After(best.ExposedAt)) {
			best = k
		}
	}
	return best
}

// leaves reports whether a key goes since its policy is decommissioned.
func leaves(r *run, k *journal.Key) bool {
	return r.rec.Policy.Leaving() && (k.State.Exposed() || k.State == journal.DisabledKey)
}

// leave takes a key of a decommissioned policy a step further: it is turned off when it is idle, and deleted after the soak. As
// long as an order to take the decommission back is open, the key stays as it is.
func leave(ctx context.Context, r *run, k *journal.Key) Outcome {
	if slices.ContainsFunc(r.rec.Orders, func(o journal.Order) bool { return o.Kind == journal.OrderAbort && o.DoneAt.IsZero() }) {
		return waits(r.now().Add(r.engine.limits.Watch), k.Reason)
	}
	switch k.State {
	case journal.PromotingKey:
		if err := r.xaiTime(ctx, k.Team); err != nil { // from which the overlap counts
			return failed(err)
		}
		retireKey(r, k, r.rec.Live(), k.RetireRotation)
		return moved
	case journal.DisabledKey:
		return soaking(ctx, r, k)
	}
	if k.State == journal.RetiringKey && !r.rec.Policy.DecommissionOutage {
		if out, ok := deadlinePassed(ctx, r, k, k.RetireFrom.Add(overlapOf(r, k)), reason.WaitOverlap); !ok {
			return out
		}
	}
	if out, kept := keptBack(r, k); kept {
		return out
	}
	ref := k.Ref
	if out, ok := provedUnused(ctx, r, k); !ok {
		return out
	}
	if k = r.rec.Key(ref); !k.NeverDisabled {
		err := turnOff(ctx, r, k)
		if k = r.rec.Key(ref); k != nil && k.NeverDisabled && k.State.Exposed() {
			k.RetireFrom = r.clock().Later()
		}
		return doneOr(r, err)
	}
	// xAI does not turn keys off: the soak is waited out with the key on, since it could have been turned off, and then it is deleted.
	if k.RetireFrom.IsZero() {
		if err := r.xaiTime(ctx, k.Team); err != nil {
			return failed(err)
		}
		k = r.rec.Key(ref)
		k.RetireFrom = r.clock().Later()
		return moved
	}
	if out, ok := deadlinePassed(ctx, r, k, later(k.RetireFrom, r.rec.Policy.DecommissionAt).Add(r.policy.Retire.Soak.Std()), reason.WaitSoak); !ok {
		return out
	}
	k = r.rec.Key(ref)
	return doneOr(r, erase(ctx, r, k))
}

// provedUnused holds a key back while it is in use or its use is not known, unless people accepted the outage. max_wait does
// not bound that: there is no other key for its consumers.
func provedUnused(ctx context.Context, r *run, k *journal.Key) (Outcome, bool) {
	if r.rec.Policy.DecommissionOutage {
		return nothing, true
	}
	ref := k.Ref
	idle, err := isUnused(ctx, r, k)
	if gone(ctx, err) {
		return failed(err), false
	}
	if k = r.rec.Key(ref); err == nil && idle {
		r.unused[ref] = true
		return nothing, true
	}
	if k.IdleFrom.IsZero() {
		k.IdleFrom = r.now()
	}
	if err == nil && k.NeverDisabled {
		k.RetireFrom = r.clock().Later() // perhaps used in its soak, which starts over
	}
	say := fmt.Sprintf("key %s is in use, or its use is not known; `rotator decommission %s --accept-outage --why W` ends it anyway", k.ID, r.claim.Policy)
	switch waited := r.now().Sub(k.IdleFrom); {
	case waited >= overdueAfter:
		return failed(reason.Errorf(reason.RetireOverdue, "%s", say)), false
	case err != nil:
		return failed(err), false
	}
	out := waits(r.now().Add(r.engine.limits.Watch), reason.WaitIdle)
	out.Says = say
	return out, false
}

// isUnused reports whether a key's use proves that no one needs it. Billing reports that only up to the
// last hour in which any key of the team was used: zeros may only mean that it has not heard yet. So that hour must be recent,
// and consumers must have had the key for the whole idle time before it. An answer that reports no use, or is only a part,
// says nothing.
func isUnused(ctx context.Context, r *run, k *journal.Key) (bool, error) {
	idle := r.policy.Retire.RequireIdle.Std()
	if idle == 0 {
		idle = decommissionIdle
	}
	since := r.now().Add(-idle)
	from := since.Add(-idle).Add(-time.Hour)
	if began := k.ExposedAt.Add(-24 * time.Hour); !k.ExposedAt.IsZero() && began.Before(from) {
		from = began
	}
	team, err := r.team(ctx, k.Team)
	if err != nil {
		return false, err
	}
	u, err := team.About.Usage(ctx, team.ID, xai.UsageQuery{From: from, To: r.now()})
	switch xai.ClassOf(err) {
	case xai.ClassInvalid, xai.ClassForbidden, xai.ClassACL, xai.ClassRoute:
		return false, nil
	}
	if err != nil || u.Limited {
		return false, err
	}
	newest, told := u.LastUse()
	if !told || newest.Before(r.now().Add(-billingLag)) || newest.Before(k.ExposedAt.Add(idle)) {
		return false, nil
	}
	used, _ := u.UsedSince(k.ID, minTime(newest, r.now()).Add(-idle)) // an answer that names others and not it: idle
	return !used, nil
}

// mayCutOff reports whether a target that a decommissioned policy owns may hold a key that is turned off or deleted: it is off
// already, was proved unused in this turn, or people accepted the outage.
func mayCutOff(r *run, k *journal.Key) bool {
	if !r.rec.Policy.Leaving() {
		return false
	}
	off := k.State == journal.DisabledKey || k.State == journal.DeletingKey
	return off || r.rec.Policy.DecommissionOutage || r.unused[k.Ref]
}

// owns reports whether the policy's files name a target, or did last, and nothing took it out of the policy's hands.
func owns(r *run, id journal.TargetID) bool {
	return !target.Excluded(*r.reader.Row(id)) && slices.ContainsFunc(r.policy.Targets, func(pt policies.Target) bool { return target.IDOf(pt) == id })
}

// endDecommission notes that a decommissioned policy has no key any more. What stores still hold is a key that is dead: no
// store can remove it, so people are told where it is.
func endDecommission(r *run) {
	p := &r.rec.Policy
	if !p.Leaving() || r.rec.Rotation != nil || slices.ContainsFunc(r.rec.Keys, func(k journal.Key) bool { return !k.State.Gone() }) {
		return
	}
	if p.DecommissionedAt.IsZero() {
		p.DecommissionedAt = r.now()
		var left []string
		for _, row := range r.rec.Targets {
			if row.KeyID != "" && owns(r, row.TargetID) {
				left = append(left, row.TargetID.String())
			}
		}
		r.tell(journal.DecommissionEnded, "why", p.DecommissionWhy, "by", p.DecommissionBy, "targets", strings.Join(left, " "))
	}
	if !p.RemovedAt.IsZero() { // a policy of this name that comes later is another one
		p.DecommissionAt, p.DecommissionWhy, p.DecommissionBy, p.DecommissionOutage, p.DecommissionedAt = noTime, "", "", false, noTime
	}
}
