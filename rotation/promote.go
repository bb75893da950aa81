package rotation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"rotator/internal/secret"
	"rotator/rotation/effect"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/rotation/target"
	"rotator/stores"
	"rotator/xai"
)

// proofPace is the pause between two questions to a key that answered badly.
const proofPace = 2 * time.Second

// plannedExisting prepares an existing key to be promoted again: it is turned on where it is off, and proves itself.
// Consumers keep what they have meanwhile.
func plannedExisting(ctx context.Context, r *run) Outcome {
	rot := r.rec.Rotation
	k := r.rec.Key(rot.KeyRef)
	if k.State == journal.DisabledKey || maybeOff(r, k) && !wantedOnAgain(r, k) { // a disable may have landed without an answer
		switch err := turnOn(ctx, r, k); {
		case gone(ctx, err):
			return failed(err)
		case reason.Is(err, reason.OldKeyBad):
			return unusable(r, err)
		case err != nil:
			return failed(err)
		}
		return moved
	}
	handles, err := r.handles(r.plan)
	if err != nil {
		return failed(err)
	}
	value, err := valueOf(ctx, r, k, handles)
	if reason.Is(err, reason.NoOldValue) {
		return unusable(r, err)
	}
	if err != nil {
		return failed(err)
	}
	k = r.rec.Key(rot.KeyRef)
	if err := prove(ctx, r, value, k, true); err != nil {
		return oldUnproved(r, k, err)
	}
	if _, ok := isReliable(r, k); !ok {
		if err := r.xaiTime(ctx, k.Team); err != nil { // without xAI's clock nothing is known to be quiet
			return failed(err)
		}
	}
	if until, ok := isReliable(r, r.rec.Key(rot.KeyRef)); !ok && !allDead(r, handles) {
		return waits(until, reason.WaitQuarantine)
	}
	pointOfNoReturn(r, k)
	return promoting(ctx, r)
}

// unusable ends a rotation to a key that cannot be used again. A rollback stays wanted and waits for people: they may bring
// the key back, or say that they want another one. Where consumers have no other key, a new one is wanted.
func unusable(r *run, err error) Outcome {
	if r.rec.Rotation.Trigger == journal.ByRollback {
		return failed(err)
	}
	abort(r, err.Error())
	if r.rec.Live() == nil && r.rec.Policy.WantedAt.IsZero() {
		wantKey(r, journal.ByBadKey, err.Error(), "")
	}
	return moved
}

// oldUnproved waits for a key that was turned on a moment ago, and gives up one that stays bad.
func oldUnproved(r *run, k *journal.Key, err error) Outcome {
	if !xai.ProvesBad(err) {
		return failed(err)
	}
	bad := answeredBad(r, k)
	limit := r.engine.limits.BadSpan
	if _, ok := isReliable(r, k); !ok { // an enable takes its time to reach every cluster
		limit += r.engine.limits.Quarantine
	}
	if bad && r.now().Sub(r.rec.Rotation.EnteredAt).Abs() > limit {
		k.Health, k.HealthAt = journal.HealthDead, r.now()
		return unusable(r, reason.Errorf(reason.OldKeyBad, "key %s, to go back to, is refused: %w; `rotator rotate %s --supersede` makes a new one", k.ID, err, r.claim.Policy))
	}
	return waits(r.now().Add(proofPace), reason.WaitProof)
}

// isReliable reports whether no disable of a key can land any more, nor undo the last enable of it; if not, until when to
// wait at least.
func isReliable(r *run, k *journal.Key) (until time.Time, ok bool) {
	if k.State == journal.DisabledKey {
		return r.now(), false
	}
	for _, e := range r.rec.Effects {
		if e.Key != k.Ref || e.Kind != journal.EffectDisable && e.Kind != journal.EffectEnable || !e.ClosedAt.IsZero() {
			continue
		}
		if at := minTime(e.QuietAt, r.now().Add(switchPace(r, k))); effect.Pending(e, r.clock()) || owesEnable(r, e) {
			if !at.After(r.now()) {
				at = r.now().Add(time.Second)
			}
			return at, false
		}
	}
	return noTime, true
}

// allDead reports whether every target holds a key that was proved dead: then nothing that is put there is worse.
func allDead(r *run, handles []target.Handle) bool {
	for _, h := range handles {
		if !holdsDead(r, h.ID) {
			return false
		}
	}
	return true
}

func holdsDead(r *run, id journal.TargetID) bool {
	k := r.rec.KeyByID(r.reader.Row(id).KeyID)
	return k != nil && k.Health == journal.HealthDead
}

// promoting gives the key to consumers, target by target. From its first line on the rotation only goes forward, or
// another one takes over: both keys work until every target was read back.
//
// A crash anywhere in here leaves rows that say which targets may hold the key. The next turn reads each target again, and
// writes those that lack it.
func promoting(ctx context.Context, r *run) Outcome {
	rot := r.rec.Rotation
	k := r.rec.Key(rot.KeyRef)
	if k == nil || k.Compromised() {
		supersede(r, journal.Superseded, "the key was reported compromised")
		return moved
	}
	handles, err := r.handles(r.plan)
	if err != nil {
		return failed(err)
	}
	value, err := valueOf(ctx, r, k, handles)
	if reason.Is(err, reason.NoOldValue) {
		// Nothing outside holds the key: it was promoted nowhere, and consumers still read the old one.
		return successorBad(r, "the new key's value is nowhere any more")
	}
	if err != nil {
		return failed(err)
	}
	first, alone := canaryOf(r, handles)
	if alone && !rot.CanaryFrom.IsZero() {
		if out, over := canaryOver(ctx, r, first); !over {
			return out
		}
		alone = false
	}
	if alone {
		handles = []target.Handle{first}
	}
	k = r.rec.Key(rot.KeyRef)
	defer freePlace(ctx, r)
	if wait, err := firstPlace(ctx, r, k, handles); err != nil {
		return failed(err)
	} else if !wait.IsZero() {
		return waits(wait, reason.WaitPlace)
	}
	if err := prove(ctx, r, value, k, rot.Existing || someHold(r, handles, k)); err != nil {
		if !xai.ProvesBad(err) {
			return failed(err)
		}
		if answeredBad(r, k) {
			markDead(r, k)
			if !r.rec.Policy.RemovedAt.IsZero() {
				return successorBad(r, "the new key is proved dead") // nothing heals a removed policy
			}
			return moved // heal decides what consumers get
		}
		return waits(r.now().Add(proofPace), reason.WaitProof)
	}
	if out, ok := promoteAll(ctx, r, k, value, handles); !ok {
		return out
	}
	if alone {
		if err := r.xaiTime(ctx, k.Team); err != nil {
			return failed(err)
		}
		beginCanary(r, first)
		return moved
	}
	if was := r.rec.Base.Rotation; was == nil || was.State != journal.Promoting {
		return moved // nothing had to be written, and one commit takes a rotation one step
	}
	if err := r.xaiTime(ctx, k.Team); err != nil { // from which the overlap counts
		return failed(err)
	}
	goLive(r)
	return moved
}

// someHold reports whether a target was seen to hold the key: consumers rely on it, and both keys have to work until every target has it.
func someHold(r *run, handles []target.Handle, k *journal.Key) bool {
	return slices.ContainsFunc(handles, func(h target.Handle) bool { return r.reader.Row(h.ID).KeyID == k.ID })
}

// promoteAll writes every target that does not hold the key yet: those of this policy alone with one commit of all intents,
// and then one by one those in secrets that other policies write too. A target that fails does not stop the others: both
// keys work.
func promoteAll(ctx context.Context, r *run, k *journal.Key, value secret.Text, handles []target.Handle) (Outcome, bool) {
	p := &promotion{run: r, ref: k.Ref, value: value}
	var alone, shared []target.Handle
	for _, h := range handles {
		place, err := "", error(nil)
		if p.writes(h) {
			place, err = placeOf(ctx, r, h.ID)
		}
		switch {
		case err != nil:
			return failed(err), false
		case place == "":
			alone = append(alone, h)
		default:
			shared = append(shared, h)
		}
	}
	err := p.at(ctx, alone...)
	if err == nil {
		err = p.shared(ctx, shared)
	}
	if err != nil {
		return failed(err), false
	}
	if err := errors.Join(p.errs...); err != nil {
		if errors.Is(err, stores.ErrStale) && len(p.errs) == 1 {
			since := r.now().Sub(waitingSince(r)).Abs()
			if since > target.Lag { // this is no lag any more: people are notified
				return failed(err), false
			}
			pace := since / 8
			return stands(r.now().Add(min(max(pace, lagPace), time.Minute)), reason.StoreLags, err.Error()), false
		}
		return failed(err), false
	}
	return p.late, p.late.Wait.IsZero()
}

// waitingSince is since when the rotation in flight is in its state.
func waitingSince(r *run) time.Time {
	if rot := r.rec.Rotation; rot != nil {
		return rot.EnteredAt
	}
	return r.now()
}

// prepare reads a target and says whether the key must be written there; or until when an earlier write of another key
// that cannot be fenced off is waited for.
func prepare(ctx context.Context, r *run, k *journal.Key, h target.Handle) (need bool, wait time.Time, err error) {
	row := r.reader.Row(h.ID)
	if r.now().Sub(row.SeenAt).Abs() > lagPace || row.Status == journal.TargetUnreadable || row.Error != "" {
		if _, err := r.reader.Read(ctx, h); err != nil {
			return false, noTime, err
		}
	}
	if until, err := fenceOff(ctx, r, k, h); err != nil || !until.IsZero() {
		return false, until, err
	}
	row = r.reader.Row(h.ID)
	if row.Fingerprint == k.Fingerprint {
		settleLanded(r, k.Ref, h.ID)
		row.Replaceable, row.Status = row.Fingerprint, journal.TargetOK
		return false, noTime, nil
	}
	v, err := assess(ctx, r, h.ID)
	if err != nil {
		return false, noTime, err
	}
	return true, noTime, v.Err(*r.reader.Row(h.ID))
}

// fenceOff makes sure that no earlier write of another key can land in a target any more: by a fence and a read where the
// store can, else by waiting until it is too late for them.
func fenceOff(ctx context.Context, r *run, k *journal.Key, h target.Handle) (until time.Time, err error) {
	var pending []string
	for _, e := range r.rec.Effects {
		if e.Kind == journal.EffectPromote && e.Target == h.ID && (k == nil || e.Key != k.Ref) && effect.Pending(e, r.clock()) {
			pending = append(pending, e.ID)
			until = e.QuietAt
		}
	}
	if len(pending) == 0 {
		return noTime, nil
	}
	if !h.CanFence() || r.reader.Row(h.ID).Fingerprint == "" {
		return until, nil
	}
	ref := ""
	if k != nil {
		ref = k.Ref
	}
	err = r.runner.Do(ctx, journal.Effect{Key: ref, Kind: journal.EffectFence, Target: h.ID}, h.Fence)
	if absent(err) || errors.Is(err, stores.ErrCannotFence) {
		return until, nil
	}
	if err != nil {
		return noTime, err
	}
	if _, err := r.reader.Read(ctx, h); err != nil {
		return noTime, err
	}
	for _, id := range pending {
		r.runner.Settle(id)
	}
	return noTime, nil
}

// settleLanded settles a write of a key to a target that was found to have had its effect. Of several writes of one key, that it
// is there says only that one of them landed: the others stay open until a fence, or until they cannot land any more.
func settleLanded(r *run, ref string, id journal.TargetID) {
	var unknown []string
	writes := 0
	for _, e := range r.rec.Effects {
		if e.Kind != journal.EffectPromote || e.Key != ref || e.Target != id || !e.ClosedAt.IsZero() {
			continue
		}
		switch e.State {
		case journal.EffectUnknown:
			unknown = append(unknown, e.ID)
			writes++
		case journal.EffectDone:
			writes++
		}
	}
	if writes > 1 {
		return
	}
	for _, one := range unknown {
		r.runner.Settle(one)
	}
}

// write writes one target and reads it back. What is read is compared byte by byte: the proof is of what consumers get.
func write(ctx context.Context, r *run, ref string, value secret.Text, h target.Handle, e *journal.Effect) error {
	err := r.runner.Send(ctx, e.ID, func(ctx context.Context) error { return h.Promote(ctx, ref, value, e.Expected) })
	if errors.Is(err, effect.ErrWithdrawn) {
		return err
	}
	if errors.Is(err, stores.ErrConflict) {
		if _, err := r.reader.Read(ctx, h); err != nil {
			return err
		}
		v, lookErr := assess(ctx, r, h.ID)
		if lookErr != nil {
			return lookErr
		}
		if err := v.Err(*r.reader.Row(h.ID)); err != nil {
			return err
		}
		return fmt.Errorf("%s changed at the same moment: %w", h.ID, stores.ErrStale) // a neighbor field, or an earlier write of ours
	}
	if err != nil {
		return err
	}
	v, err := h.Current(ctx)
	if absent(err) || err == nil && !v.Equal(value) {
		return fmt.Errorf("%s acknowledged the new key and serves another value: %w", h.ID, stores.ErrStale)
	}
	if err != nil {
		return err
	}
	k := r.rec.Key(ref)
	r.reader.Wrote(h.ID, k, v)
	r.tell(journal.TargetPromoted, "target", h.ID.String(), "key_id", k.ID)
	return nil
}

// successorBad ends a rotation whose key turned out bad after the intent to promote, and wants another one.
func successorBad(r *run, why string) Outcome {
	supersede(r, journal.Superseded, why)
	wantKey(r, journal.ByBadKey, why, "")
	return moved
}

// wantKey records that a rotation is wanted until a new key is live. What was wanted for a better reason stays.
func wantKey(r *run, trigger journal.Trigger, why, by string) {
	p := &r.rec.Policy
	if p.WantedTrigger == journal.ByCompromise && trigger != journal.ByCompromise {
		return
	}
	p.WantedAt, p.WantedTrigger, p.WantedWhy, p.WantedBy = r.now(), trigger, why, by
}
