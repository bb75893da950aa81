package rotation

import (
	"context"
	"time"

	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/rotation/target"
	"rotator/xai"
)

// overdueAfter is how long the use of an old key, or silence about it, may hold up its retirement without a max_wait
// until people are notified.
const overdueAfter = 7 * 24 * time.Hour

// retire takes every key that is not wanted any more a step further, each at its own pace. It never holds a rotation up,
// and a key whose retirement is stuck never holds up another.
func retire(ctx context.Context, r *run) Outcome {
	if r.engine.observing() != nil {
		return wouldRetire(r)
	}
	if err := strays(ctx, r); gone(ctx, err) {
		return failed(err)
	}
	all, over := eachKey(ctx, r, work{wants: unwanted, stirred: released, do: retireOne})
	if over {
		return all
	}
	closeRotations(r)
	endDecommission(r)
	return all
}

// foremostOf puts two outcomes of one job together: it moved if either did, waits for the earlier, and says the worse.
func foremostOf(a, b Outcome) Outcome {
	worse := func(o Outcome) int {
		switch {
		case o.Err != nil || o.Standing != "":
			return 2
		case o.Reason != "":
			return 1
		}
		return 0
	}
	out := a
	if worse(b) > worse(a) {
		out = b
	}
	out.Moved = a.Moved || b.Moved
	switch {
	case a.Wait.IsZero():
		out.Wait = b.Wait
	case b.Wait.IsZero():
		out.Wait = a.Wait
	default:
		out.Wait = minTime(a.Wait, b.Wait)
	}
	return out
}

// strays makes keys ones to be retired that consumers may read, that no rotation names, and that are not live: once the
// live key is in every target.
func strays(ctx context.Context, r *run) error {
	live := r.rec.Live()
	if live == nil || !everywhere(r, live) {
		return nil
	}
	for i := range r.rec.Keys {
		k := &r.rec.Keys[i]
		if rot := r.rec.Rotation; k.State != journal.PromotingKey || rot != nil && rot.KeyRef == k.Ref {
			continue
		}
		if err := r.xaiTime(ctx, k.Team); err != nil { // from which the overlap counts
			return err
		}
		retireKey(r, k, live, k.RetireRotation)
	}
	return nil
}

// unwanted reports whether there is something to do to retire a key. One that the rotation in flight names is left alone.
func unwanted(r *run, k *journal.Key) bool {
	if rot := r.rec.Rotation; rot != nil && rot.KeyRef == k.Ref || isEnding(r, k) {
		return false
	}
	switch k.State {
	case journal.LiveKey, journal.PromotingKey:
		return leaves(r, k)
	case journal.RetiringKey, journal.DisabledKey, journal.RejectedKey, journal.DeletingKey:
		return true
	}
	return false
}

// released reports that what a key waited for may be over at another time than was said.
func released(r *run, k *journal.Key) bool {
	switch k.Reason {
	case reason.Held:
		return !r.rec.Hold.Stops(r.now())
	case reason.Frozen:
		_, still := frozenKey(r, k)
		return !still
	case reason.WaitOverlap, reason.WaitSoak: // the policy says how long, and may have been edited
		return true
	}
	return false
}

// unwritten reports that the key's state changed since the last commit.
func unwritten(r *run, k *journal.Key) bool {
	was := r.rec.Base.Key(k.Ref)
	return was == nil || was.State != k.State
}

func retireOne(ctx context.Context, r *run, k *journal.Key) Outcome {
	switch k.State {
	case journal.RejectedKey, journal.DeletingKey:
		return doneOr(r, erase(ctx, r, k))
	}
	switch {
	case leaves(r, k):
		return leave(ctx, r, k)
	case k.State == journal.DisabledKey:
		return soaking(ctx, r, k)
	}
	return overlapping(ctx, r, k)
}

func doneOr(r *run, err error) Outcome {
	if err != nil {
		return failed(err)
	}
	return moved
}

// overlapping waits until consumers had the overlap to read the live key and the old one is idle, and turns it off, or
// deletes it where no soak is asked.
func overlapping(ctx context.Context, r *run, k *journal.Key) Outcome {
	if rot := r.rec.Rotation; rot != nil && rot.State == journal.Promoting && (rot.CanaryFrom.IsZero() || !rot.CanaryOver.IsZero()) && !k.Compromised() {
		return waits(r.now().Add(r.engine.limits.Watch), reason.WaitOverlap) // the promote decides which key is the old one
	}
	if overlap := overlapOf(r, k); overlap > 0 { // without one no clock is asked: xAI's has whole seconds and may lag a moment
		if out, ok := deadlinePassed(ctx, r, k, k.RetireFrom.Add(overlap), reason.WaitOverlap); !ok {
			return out
		}
	}
	if out, ok := keptBack(r, k); ok {
		return out
	}
	overdue, out, ok := idleLongEnough(ctx, r, k)
	if !ok {
		return out
	}
	var err error
	off := r.policy.Retire.Soak.Std() > 0 && !k.NeverDisabled
	if off {
		err = turnOff(ctx, r, k)
	} else if soak := k.RetireFrom.Add(overlapOf(r, k) + soakOf(r, k)); k.NeverDisabled {
		// xAI does not turn keys off: the soak is waited out with the key on, and then it is deleted.
		if out, ok := deadlinePassed(ctx, r, k, soak, reason.WaitSoak); !ok {
			return out
		}
		err = erase(ctx, r, k)
	} else {
		err = erase(ctx, r, k)
	}
	if err != nil {
		return failed(err)
	}
	if overdue { // not before: the gate may refuse it for days
		r.tell(journal.Unretired, "key_id", k.ID, "waited", r.now().Sub(k.IdleFrom).String())
	}
	computeDue(r) // the oldest key that xAI accepts is a younger one now
	return moved
}

// keptBack reports whether a hold or a freeze keeps an old key as it is.
func keptBack(r *run, k *journal.Key) (Outcome, bool) {
	if r.rec.Hold.Stops(r.now()) {
		return waits(r.rec.Hold.Until, reason.Held), true
	}
	return frozenKey(r, k)
}

func soakOf(r *run, k *journal.Key) time.Duration {
	if k.Compromised() {
		return 0
	}
	return r.policy.Retire.Soak.Std()
}

// soaking waits out the soak, in which one command turns the old key on again, and deletes it.
func soaking(ctx context.Context, r *run, k *journal.Key) Outcome {
	if out, ok := deadlinePassed(ctx, r, k, k.DisabledAt.Add(r.policy.Retire.Soak.Std()), reason.WaitSoak); !ok {
		return out
	}
	if out, ok := keptBack(r, k); ok {
		return out
	}
	return doneOr(r, erase(ctx, r, k))
}

// deadlinePassed reports whether a deadline of destruction has passed: on the journal's clock and on xAI's, which is asked for
// only when the journal's says so.
func deadlinePassed(ctx context.Context, r *run, k *journal.Key, end time.Time, why journal.Reason) (Outcome, bool) {
	if r.now().Before(end) {
		return waits(end, why), false
	}
	if err := r.xaiTime(ctx, k.Team); err != nil {
		return failed(err), false
	}
	if r.clock().Passed(end) {
		return nothing, true
	}
	if err := clocksAgree(r); err != nil {
		return failed(err), false
	}
	return waits(r.now().Add(max(end.Sub(r.clock().XAI), time.Second)), why), false
}

// idleLongEnough holds the retirement up while the old key was used within require_idle, or its use is not known: a figure
// that is missing is no proof of idleness, and neither is an answer that fails. max_wait bounds it: overdue says that the
// key is retired anyway.
func idleLongEnough(ctx context.Context, r *run, k *journal.Key) (overdue bool, out Outcome, ok bool) {
	idle := r.policy.Retire.RequireIdle.Std()
	if idle == 0 || k.Compromised() || !k.DisabledAt.IsZero() {
		return false, nothing, true
	}
	now := r.now()
	busy, err := inUse(ctx, r, k, idle)
	if gone(ctx, err) {
		return false, failed(err), false
	}
	if err == nil && !busy {
		return false, nothing, true // IdleFrom stays: since then it is not late
	}
	if k.IdleFrom.IsZero() {
		k.IdleFrom = now
	}
	bound := r.policy.Retire.MaxWait.Std()
	switch waited := now.Sub(k.IdleFrom); {
	case bound > 0 && waited >= bound:
		return true, nothing, true
	case bound == 0 && waited >= overdueAfter:
		return false, failed(reason.Errorf(reason.RetireOverdue, "key %s is in use, or its use is not known, %s after its overlap ended", k.ID, waited.Round(time.Hour))), false
	case err != nil:
		return false, failed(err), false
	}
	return false, waits(now.Add(r.engine.limits.Watch), reason.WaitIdle), false
}

// inUse reports whether a key was used within the last while, or that this is not known. Idleness is proved only up to the
// newest hour that billing reports for the live key, which may still grow and so does not count: there the while ends, and it
// must not end longer ago than it lasts. Silence about the key means idle only where the answer about the live key names that
// one: then usage is reported by key.
func inUse(ctx context.Context, r *run, k *journal.Key, idle time.Duration) (bool, error) {
	live := r.rec.Live()
	if live == nil || live.Ref == k.Ref {
		return true, nil
	}
	since := r.now().Add(-idle)
	from := since.Add(-idle).Add(-time.Hour)
	if began := k.ExposedAt.Add(-24 * time.Hour); !k.ExposedAt.IsZero() && began.Before(from) {
		from = began
	}
	of, known, err := usageOf(ctx, r, live, from)
	if err != nil || !known {
		return true, err
	}
	newest, told := of.Newest(live.ID)
	if !told || newest.Before(since.Add(-time.Hour)) { // to the hour
		return true, nil
	}
	own, known, err := usageOf(ctx, r, k, from)
	if err != nil || !known {
		return true, err
	}
	used, _ := own.UsedSince(k.ID, minTime(newest, r.now()).Add(-idle)) // an answer that does not name it: idle
	return used, nil
}

// usageOf asks billing about one key. known is false where the answer says nothing: it was refused, or is only a part.
func usageOf(ctx context.Context, r *run, k *journal.Key, from time.Time) (u xai.Usage, known bool, err error) {
	team, err := r.team(ctx, k.Team)
	if err != nil {
		return u, false, err
	}
	q := xai.UsageQuery{From: from, To: r.now(), KeyID: k.ID}
	u, err = team.About.Usage(ctx, team.ID, q)
	if xai.ClassOf(err) == xai.ClassInvalid { // perhaps it takes no filter
		q.KeyID = ""
		u, err = team.About.Usage(ctx, team.ID, q)
	}
	switch xai.ClassOf(err) {
	case xai.ClassInvalid, xai.ClassForbidden, xai.ClassACL, xai.ClassRoute:
		return u, false, nil
	}
	return u, err == nil && !u.Limited, err
}

// closeRotations ends the rotations whose old keys are all gone.
func closeRotations(r *run) {
	for i := range r.rec.Retired {
		if rot := &r.rec.Retired[i]; rot.EndedAt.IsZero() && !replaces(r, rot.ID) {
			rot.EndedAt = r.now()
			tellFinished(r, *rot)
			r.ended = append(r.ended, *rot)
		}
	}
}

// everywhere reports whether every target that is ours to write holds the key, as it was last read.
func everywhere(r *run, k *journal.Key) bool {
	for _, pt := range r.policy.Targets {
		row := r.reader.Row(target.IDOf(pt))
		if !target.Excluded(*row) && (row.KeyID != k.ID || row.KeyID == "") {
			return false
		}
	}
	return true
}

// retiredBy is when the keys that are being retired will be gone, if nothing comes between.
func retiredBy(r *run) (at time.Time, what string) {
	for i := range r.rec.Keys {
		k := &r.rec.Keys[i]
		var end time.Time
		switch k.State {
		case journal.RetiringKey:
			end, what = k.RetireFrom.Add(overlapOf(r, k)+r.policy.Retire.Soak.Std()), "in its overlap"
		case journal.DisabledKey:
			end, what = k.DisabledAt.Add(r.policy.Retire.Soak.Std()), "in its soak"
		default:
			continue
		}
		if end.After(at) {
			at = end
		}
	}
	return at, what
}
