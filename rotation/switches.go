package rotation

import (
	"context"
	"errors"
	"slices"
	"time"

	"rotator/rotation/effect"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/xai"
)

// owesEnable reports that a disable may have turned a key off that is wanted on: until an enable was acknowledged that was
// intended when no disable could land any more.
func owesEnable(r *run, e journal.Effect) bool {
	k := r.rec.Key(e.Key)
	if e.Kind != journal.EffectDisable || e.State != journal.EffectDone && e.State != journal.EffectUnknown || k == nil ||
		k.Compromised() || r.rec.Policy.Leaving() || !k.State.Exposed() || k.State == journal.RetiringKey && !wantedOnAgain(r, k) {
		return false
	}
	return !slices.ContainsFunc(r.rec.Effects, func(on journal.Effect) bool {
		return on.Key == e.Key && on.Kind == journal.EffectEnable && !on.AckAt.IsZero() && !on.At.Before(e.QuietAt)
	})
}

// wantedOnAgain reports that a key that is being retired was wanted on again after its last disable.
func wantedOnAgain(r *run, k *journal.Key) bool {
	var on, off time.Time
	for _, e := range r.rec.Effects {
		if e.Key != k.Ref {
			continue
		}
		if e.Kind == journal.EffectEnable && e.At.After(on) {
			on = e.At
		}
		if e.Kind == journal.EffectDisable && e.At.After(off) {
			off = e.At
		}
	}
	return on.After(off)
}

// switches sees to it that a key that is wanted on is on, while an earlier disable of it may still land, and once more
// when it cannot.
func switches(ctx context.Context, r *run) Outcome {
	var all Outcome
	for _, e := range slices.Clone(r.rec.Effects) {
		if !owesEnable(r, e) {
			continue
		}
		k := r.rec.Key(e.Key)
		if err := r.xaiTime(ctx, k.Team); err != nil {
			all = foremostOf(all, Outcome{Err: err, Wait: r.now().Add(settlePace)})
			continue
		}
		k = r.rec.Key(e.Key)
		if !effect.Quiet(e, r.clock()) {
			off, err := seemsOff(ctx, r, k)
			if gone(ctx, err) {
				return failed(err)
			}
			if err == nil && !off {
				// Often at first: a disable that is late is seldom late by much.
				pace := min(max(r.now().Sub(e.At)/4, 2*time.Second), switchPace(r, k))
				all = foremostOf(all, waits(minTime(later(e.QuietAt, r.now().Add(time.Second)), r.now().Add(pace)), reason.WaitQuarantine))
				continue
			}
		}
		err := turnOn(ctx, r, k)
		if gone(ctx, err) || r.unsure != nil {
			return failed(err)
		}
		if err != nil {
			all = foremostOf(all, Outcome{Err: err, Wait: r.now().Add(15 * time.Second)})
			continue
		}
		all = foremostOf(all, waits(r.now().Add(2*time.Second), reason.WaitQuarantine))
	}
	return all
}

// switchPace is the longest pause between two looks at a key that a late disable may turn off: consumers may read it.
func switchPace(r *run, k *journal.Key) time.Duration {
	if holdsAnywhere(r, k) {
		return 15 * time.Second
	}
	return time.Minute
}

// seemsOff asks whether a key is off: the key itself where its value is at hand, else a list.
func seemsOff(ctx context.Context, r *run, k *journal.Key) (bool, error) {
	if value, ok := r.engine.hand.get(k.Ref); ok {
		err := accepts(ctx, r, value, k)
		if err == nil || xai.ProvesBad(err) {
			return err != nil, nil
		}
	}
	list, err := r.list(ctx, k.Team)
	for _, have := range list.Keys {
		if have.ID == k.ID {
			return have.Disabled, nil
		}
	}
	return false, err
}

// turnOn enables a key. It destroys nothing and needs no gate. A compromised key is never turned on.
func turnOn(ctx context.Context, r *run, k *journal.Key) error {
	if k.Compromised() {
		return reason.Errorf(reason.OldKeyBad, "key %s was reported compromised: it is not turned on again", k.ID)
	}
	team, err := r.team(ctx, k.Team)
	if err != nil {
		return err
	}
	if err := r.xaiTime(ctx, k.Team); err != nil {
		return err
	}
	k = r.rec.Key(k.Ref)
	on := false
	ref, id := k.Ref, k.ID
	var got xai.Key
	err = r.runner.Do(ctx, journal.Effect{Key: ref, Kind: journal.EffectEnable}, func(ctx context.Context) (err error) {
		got, err = team.Keys.UpdateKey(ctx, team.ID, id, xai.KeyUpdate{Disabled: &on})
		return err
	})
	k = r.rec.Key(ref)
	switch class := xai.ClassOf(err); {
	case class == xai.ClassInvalid && k.DisabledAt.IsZero(): // xAI turns keys neither off nor on, perhaps
		if off, listErr := seemsOff(ctx, r, k); off || listErr != nil {
			return errors.Join(err, listErr)
		}
		settleAll(r, ref, journal.EffectDisable)
	case class == xai.ClassNotFound:
		return reason.Errorf(reason.OldKeyBad, "enable key %s: it is gone; `rotator rotate %s --supersede` makes a new one: %w", id, r.claim.Policy, err)
	case err != nil:
		return err
	case got.Disabled:
		return &xai.Error{Op: xai.OpUpdate, Class: xai.ClassUnavailable, Code: "still_disabled"}
	}
	if k.State == journal.DisabledKey {
		r.move(k, journal.RetiringKey)
		k.RetireFrom = r.clock().Later()
	}
	k.DisabledAt = noTime
	delete(r.proofs, ref)
	r.tell(journal.KeyEnabled, "key_id", id)
	return nil
}
