package rotation

import (
	"context"
	"slices"
	"time"

	"rotator/rotation/journal"
	"rotator/xai"
)

// live waits out the overlap, in which consumers reload, and then turns the old keys off.
func (t *turn) live(ctx context.Context) (next, error) {
	r := t.rec.Rotation
	if err := t.discardStaged(ctx); err != nil {
		return next{}, err
	}
	if t.held() {
		if n, err := t.lateRevived(ctx); err != nil || n != onward {
			return n, err
		}
	}
	if n, err := t.retire(ctx, r.LiveAt); err != nil || n != onward {
		return n, err
	}
	if r.DisabledAt.IsZero() { // there is nothing to soak
		return t.finish(journal.Done)
	}
	t.enter(journal.Retiring)
	return again, nil
}

// retiring waits out the soak, in which one command turns the old keys on again, and then deletes them.
func (t *turn) retiring(ctx context.Context) (next, error) {
	if n, err := t.soaked(ctx); err != nil || n != onward {
		return n, err
	}
	return t.finish(journal.Done)
}

// retire turns the old keys off once consumers had the overlap since from, or deletes them where no soak is asked.
// DisabledAt is set in the rotation when there is a soak to wait for.
func (t *turn) retire(ctx context.Context, from time.Time) (next, error) {
	old := t.predecessors()
	if len(old) == 0 {
		return onward, nil
	}
	if err := t.retireLeaked(ctx, old); err != nil {
		return next{}, err
	}
	overlap := t.plan.Retire.Overlap.Std()
	if t.rec.Rotation.Trigger == journal.ByCompromise {
		overlap = 0
	}
	if end := from.Add(overlap); t.now().Before(end) {
		return wait(end, WaitOverlap), nil
	}
	if t.held() {
		return wait(t.rec.Hold.Until, Held), nil
	}
	overdue, n, err := t.idleLongEnough(ctx, old)
	if err != nil || n != onward {
		return n, err
	}
	what := disable
	if t.plan.Retire.Soak.Std() == 0 {
		what = remove
	}
	for _, id := range old {
		if err := t.destroy(ctx, what, id); err != nil {
			return next{}, err
		}
	}
	if overdue != "" { // not before: the gate may refuse it for days
		t.tell(journal.Unretired, "key_id", overdue, "waited", t.now().Sub(t.rec.Rotation.IdleWaitFrom).String())
	}
	if what == disable {
		t.rec.Rotation.DisabledAt = t.now()
		t.schedule() // the oldest key that xAI accepts is a younger one now
	}
	return onward, nil
}

// retireLeaked turns compromised keys off without an overlap, or deletes them where xAI does not turn them off.
func (t *turn) retireLeaked(ctx context.Context, old []string) error {
	if t.held() {
		return nil
	}
	for _, id := range old {
		if !t.leaked(id) || !t.key(id).DisabledAt.IsZero() {
			continue
		}
		if err := t.destroy(ctx, disable, id); err != nil {
			return err
		}
		if k := t.key(id); k.DisabledAt.IsZero() && k.DeletedAt.IsZero() {
			if err := t.destroy(ctx, remove, id); err != nil {
				return err
			}
		}
	}
	return nil
}

// soaked deletes the old keys once they were off for the soak.
func (t *turn) soaked(ctx context.Context) (next, error) {
	r := t.rec.Rotation
	if end := r.DisabledAt.Add(t.plan.Retire.Soak.Std()); t.now().Before(end) {
		return wait(end, WaitSoak), nil
	}
	if t.held() {
		return wait(t.rec.Hold.Until, Held), nil
	}
	for _, id := range t.predecessors() {
		if err := t.destroy(ctx, remove, id); err != nil {
			return next{}, err
		}
	}
	return onward, nil
}

// retireLeft retires old keys that no rotation in flight retires: the rotation that replaced them was superseded, and the
// next one turned back. Their overlap began when the key in use went live. One that is still used is looked at again later.
func (t *turn) retireLeft(ctx context.Context) error {
	old := t.predecessors()
	p := &t.rec.Policy
	if len(old) == 0 || p.KeyID == "" || p.LiveSince.IsZero() || t.held() {
		return nil
	}
	if err := t.retireLeaked(ctx, old); err != nil {
		return err
	}
	end := p.LiveSince.Add(t.policy.Retire.Overlap.Std())
	for _, id := range old {
		if k := t.key(id); k.DeletedAt.IsZero() {
			if err := t.retireOne(ctx, k, end); err != nil {
				return err
			}
		}
	}
	return nil
}

// retireOne takes the next step for an old key whose overlap ends at end. Where xAI does not turn keys off, it is deleted
// once the soak is over too.
func (t *turn) retireOne(ctx context.Context, k *journal.Key, end time.Time) error {
	retire, id, now := t.policy.Retire, k.ID, t.now()
	soak := retire.Soak.Std()
	if off := k.DisabledAt; !off.IsZero() {
		if now.Before(off.Add(soak)) {
			return nil
		}
		return t.destroy(ctx, remove, id)
	}
	if now.Before(end) || t.ahead(k.DisableSentAt.Add(time.Hour)) {
		return nil
	}
	if retire.RequireIdle > 0 && (retire.MaxWait == 0 || now.Before(end.Add(retire.MaxWait.Std()))) {
		if busy, err := t.busy(ctx, []string{id}, now.Add(-retire.RequireIdle.Std())); err != nil || busy != "" {
			return err
		}
	}
	if soak == 0 {
		return t.destroy(ctx, remove, id)
	}
	if err := t.destroy(ctx, disable, id); err != nil {
		return err
	}
	if k = t.key(id); k.DisabledAt.IsZero() && !now.Before(end.Add(soak)) {
		return t.destroy(ctx, remove, id)
	}
	return nil
}

// predecessors returns the ids of the keys to be retired, the oldest first.
func (t *turn) predecessors() []string {
	var ids []string
	byAge := slices.Clone(t.rec.Keys)
	slices.SortStableFunc(byAge, func(a, b journal.Key) int { return a.CreatedAt.Compare(b.CreatedAt) })
	for _, k := range byAge {
		if k.Use == journal.UsePredecessor && k.DeletedAt.IsZero() {
			ids = append(ids, k.ID)
		}
	}
	return ids
}

// idleLongEnough holds the retirement up while an old key was used within require_idle, or its use is not known: a
// figure that is missing is no proof of idleness, and neither is an answer that fails. max_wait bounds it: overdue is the
// key that is retired all the same.
func (t *turn) idleLongEnough(ctx context.Context, old []string) (overdue string, n next, err error) {
	idle := t.plan.Retire.RequireIdle.Std()
	r := t.rec.Rotation
	if idle == 0 || r.Trigger == journal.ByCompromise {
		return "", onward, nil
	}
	now := t.now()
	busy, err := t.busy(ctx, old, now.Add(-idle))
	switch {
	case gone(ctx, err):
		return "", next{}, err
	case err != nil:
		busy = old[0]
	case busy == "":
		r.IdleWaitFrom = noTime
		return "", onward, nil
	}
	if r.IdleWaitFrom.IsZero() {
		r.IdleWaitFrom = now
	}
	if bound := t.plan.Retire.MaxWait.Std(); bound > 0 && now.Sub(r.IdleWaitFrom) >= bound {
		return busy, onward, nil
	}
	if err != nil {
		return "", next{}, err
	}
	return "", wait(now.Add(t.limits.Watch), WaitIdle), nil
}

// busy returns the first of the keys that was used since, or of which that is not known; "" when all are idle.
func (t *turn) busy(ctx context.Context, keys []string, since time.Time) (string, error) {
	team, err := t.team(ctx, t.plan.Team)
	if err != nil {
		return "", err
	}
	// Asked from a day before the promote: the old key was in use then, so that an answer that knows keys names it.
	begun := t.rec.Policy.LiveSince
	if r := t.rec.Rotation; r != nil && !r.PromotingAt.IsZero() {
		begun = r.PromotingAt
	}
	idle := t.now().Sub(since)
	from := minTime(begun, t.now()).Add(-max(24*time.Hour, idle))
	if since.Before(from) {
		from = since
	}
	usage, err := team.About.Usage(ctx, team.ID, xai.UsageQuery{From: from, To: t.now()})
	if c := xai.ClassOf(err); c == xai.ClassInvalid || c == xai.ClassForbidden || c == xai.ClassACL {
		return keys[0], nil // these mean "not known"
	}
	if err != nil {
		return "", err
	}
	silenceIsIdle := namesLiveKey(usage, t.rec.Policy.KeyID, from.Add(idle))
	for _, id := range keys {
		if used, known := usage.UsedSince(id, since); used || !known && !(silenceIsIdle && silentAbout(usage, id)) {
			return id, nil
		}
	}
	return "", nil
}

// namesLiveKey reports whether a whole answer names the key in use, up to an hour that ends at or after reached. Usage is
// known by key then, so that silence about another key until that hour means that nobody used it.
func namesLiveKey(u xai.Usage, live string, reached time.Time) bool {
	at, seen := u.Newest(live)
	_, known := u.UsedSince(live, u.From)
	return seen && known && !at.Add(time.Hour).Before(reached)
}

func silentAbout(u xai.Usage, id string) bool {
	_, seen := u.Newest(id)
	return !seen
}

// finish ends the rotation when nothing is left to do.
func (t *turn) finish(s journal.State) (next, error) {
	kind := journal.Finished
	if s == journal.RolledBack {
		kind = journal.RollbackEnded
	}
	t.tell(kind, "key_id", t.rec.Policy.KeyID, "reached", string(t.rec.Rotation.Reached()))
	t.end(s, t.rec.Rotation.Error)
	return again, nil
}

// supersedeBad ends a rotation whose successor was proved bad after the promote: the old keys are turned on again and
// kept, and a new rotation begins at once with all of them as predecessors.
func (t *turn) supersedeBad(ctx context.Context, why string) (next, error) {
	r := t.rec.Rotation
	for _, id := range t.predecessors() {
		if k := t.key(id); k.DisableSentAt.IsZero() || !k.DeleteSentAt.IsZero() || k.Health == healthLeaked { // a delete that was sent may land late
			continue
		}
		if err := t.enable(ctx, id); err != nil && xai.ClassOf(err) != xai.ClassNotFound {
			return next{}, err
		}
	}
	if k := t.key(r.KeyID); k != nil && k.Use == journal.UseSuccessor {
		k.Use = journal.UsePredecessor // some targets may hold it: retired later, like every key that consumers read
	}
	if err := t.supersede(ctx, why); err != nil {
		return next{}, err
	}
	if t.held() || t.mayCreate(ctx) != nil {
		return again, nil
	}
	t.begin(journal.ByBadKey, why)
	return again, nil
}

// supersede ends a rotation that a newer one takes over from. What it staged is discarded first: nobody comes back to it.
func (t *turn) supersede(ctx context.Context, why string) error {
	r := t.rec.Rotation
	if err := t.discardStaged(ctx); err != nil {
		return err
	}
	if r.State == journal.RollingBack {
		if err := t.discardAll(ctx, r.ID); err != nil {
			return err
		}
	}
	if a := t.attempt(); a != nil && a.State == journal.Created {
		a.State, a.SettledAt, a.Error = journal.Settled, t.now(), why
		t.drop(a.ID)
	}
	t.tell(journal.TakenOver, "key_id", r.KeyID, "reached", string(r.Reached()), "error", why)
	t.end(journal.Superseded, why)
	return nil
}
