package rotation

import (
	"cmp"
	"context"
	"slices"
	"time"

	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/xai"
)

// turnOff disables a key behind the gate. That it is off is recorded only when a list shows it.
func turnOff(ctx context.Context, r *run, k *journal.Key) error {
	if !wasDisabled(r, k) {
		ref := k.Ref
		sent, err := disable(ctx, r, k)
		if !sent {
			return err
		}
		switch class := xai.ClassOf(err); {
		case gone(ctx, err):
			return err
		case class == xai.ClassNotFound:
			return confirmGone(ctx, r, r.rec.Key(ref))
		case class == xai.ClassInvalid, class == xai.ClassRoute && isEnding(r, r.rec.Key(ref)): // a list says whether it is off anyway
			off, err := listedOff(ctx, r, r.rec.Key(ref))
			if err != nil {
				return err
			}
			if !off {
				return neverOff(ctx, r, r.rec.Key(ref))
			}
		case err != nil:
			return err
		}
		k = r.rec.Key(ref)
	}
	return seenOff(ctx, r, k)
}

// disable sends a disable behind the gate. sent is false when the gate refused it.
func disable(ctx context.Context, r *run, k *journal.Key) (sent bool, err error) {
	team, err := gate(ctx, r, k, journal.EffectDisable)
	if err != nil {
		return false, err
	}
	off := true
	k = r.rec.Key(k.Ref)
	id := k.ID
	return true, r.runner.Do(ctx, journal.Effect{Key: k.Ref, Kind: journal.EffectDisable}, func(ctx context.Context) error {
		_, err := team.Keys.UpdateKey(ctx, team.ID, id, xai.KeyUpdate{Disabled: &off})
		return err
	})
}

// seenOff records that a key is off, if a list says so.
func seenOff(ctx context.Context, r *run, k *journal.Key) error {
	list, err := r.list(ctx, k.Team)
	if err != nil {
		return err
	}
	for _, have := range list.Keys {
		switch {
		case have.ID != k.ID:
		case have.Disabled:
			seenOffNow(r, k)
			return nil
		default:
			return stillOn(ctx, r, k)
		}
	}
	// No list shows it, or not yet: its own value may. Whether it is gone the next call that names it tells.
	if value, ok := r.engine.hand.get(k.Ref); ok && xai.ClassOf(accepts(ctx, r, value, k)) == xai.ClassKeyDisabled {
		seenOffNow(r, r.rec.Key(k.Ref))
		return nil
	}
	return stillOn(ctx, r, r.rec.Key(k.Ref))
}

// seenOffNow records that a key was seen off.
func seenOffNow(r *run, k *journal.Key) {
	k.DisabledAt = r.clock().Later()
	r.rec.Policy.StaysOn = false
	r.move(k, journal.DisabledKey)
	r.tell(journal.KeyDisabled, "key_id", k.ID)
}

// stillOn waits for a disable that xAI acknowledged to be seen, and after a while takes it that xAI turns no keys off.
func stillOn(ctx context.Context, r *run, k *journal.Key) error {
	if disabledAgo(r, k) > time.Minute {
		return neverOff(ctx, r, k)
	}
	return &xai.Error{Op: xai.OpUpdate, Class: xai.ClassUnavailable, Code: "still_enabled"}
}

// listedOff reports whether a list shows the key, and shows it as off.
func listedOff(ctx context.Context, r *run, k *journal.Key) (bool, error) {
	list, err := r.list(ctx, k.Team)
	return slices.ContainsFunc(list.Keys, func(have xai.Key) bool { return have.ID == k.ID && have.Disabled }), err
}

// wasDisabled reports that a disable of the key was acknowledged, and only has to be seen.
func wasDisabled(r *run, k *journal.Key) bool { return disabledAgo(r, k) < 2*time.Minute }

// disabledAgo is how long ago xAI acknowledged a disable of the key that no enable followed.
func disabledAgo(r *run, k *journal.Key) time.Duration {
	ago := time.Duration(1 << 62)
	for _, e := range r.rec.Effects {
		if e.Key == k.Ref && e.Kind == journal.EffectDisable && e.State == journal.EffectDone {
			ago = r.now().Sub(e.AckAt).Abs()
		}
		if e.Key == k.Ref && e.Kind == journal.EffectEnable {
			ago = time.Duration(1 << 62)
		}
	}
	return ago
}

// neverOff notes that xAI does not turn the key off: it is deleted after the soak as it is, a compromised one at once.
func neverOff(ctx context.Context, r *run, k *journal.Key) error {
	if !k.NeverDisabled {
		k.NeverDisabled = true
		r.rec.Policy.StaysOn = true // its successors are replaced earlier
		r.tell(journal.KeyNotDisabled, "key_id", k.ID)
	}
	if k.Compromised() {
		return erase(ctx, r, k)
	}
	return nil
}

// erase deletes a key for good, behind the gate. From the intent on nothing relies on the key again: its state says so, in
// the commit that records the intent.
func erase(ctx context.Context, r *run, k *journal.Key) error {
	team, err := gate(ctx, r, k, journal.EffectDelete)
	if err != nil {
		return err
	}
	k = r.rec.Key(k.Ref)
	ref, id := k.Ref, k.ID
	tried := k.Tries
	r.move(k, journal.DeletingKey)
	k.Tries = tried
	err = r.runner.Do(ctx, journal.Effect{Key: ref, Kind: journal.EffectDelete}, func(ctx context.Context) error {
		return team.Keys.DeleteKey(ctx, id)
	})
	k = r.rec.Key(ref)
	switch {
	case gone(ctx, err):
		return err
	case xai.ClassOf(err) == xai.ClassNotFound:
		return confirmGone(ctx, r, k)
	case err != nil:
		return err
	}
	goneForGood(r, k)
	return nil
}

// goneForGood records that a key's absence is proved. Whatever was sent for it has nothing left to change.
func goneForGood(r *run, k *journal.Key) {
	for i := range r.rec.Effects {
		switch e := &r.rec.Effects[i]; {
		case e.Key != k.Ref || e.Kind.OnTarget() || !e.ClosedAt.IsZero():
		case e.State == journal.EffectUnknown:
			r.runner.Settle(e.ID)
		case e.State == journal.EffectDone: // also an enable or disable that clusters have yet to learn of
			e.ClosedAt = r.now()
		}
	}
	k.DeletedAt = cmp.Or(r.clock().XAI, r.now()) // every turn that destroys knows xAI's clock
	r.move(k, journal.DeletedKey)
	r.engine.hand.drop(k.Ref)
	r.tell(journal.KeyDeleted, "key_id", k.ID)
}

// badTwice is the pause between two answers of the old value that prove it deleted.
const badTwice = time.Minute

// confirmGone believes "cannot find" only on evidence: a full list lacks the id and could have shown it, since it shows
// another key of the same user; or the key's own value is refused as unknown, twice, a minute apart. A management key of
// someone else sees neither.
func confirmGone(ctx context.Context, r *run, k *journal.Key) error {
	list, err := r.list(ctx, k.Team)
	if err != nil {
		return err
	}
	could := false
	for _, have := range list.Keys {
		if have.ID == k.ID {
			return &xai.Error{Op: xai.OpDelete, Class: xai.ClassUnavailable, Code: "not_found_but_listed"}
		}
		could = could || k.UserID != "" && have.UserID == k.UserID
	}
	if !could {
		if could, err = refusedTwice(ctx, r, k); err != nil {
			return err
		}
	}
	if k.State != journal.DeletingKey { // a disable found it gone: someone else deleted it
		if !could {
			return reason.Errorf(reason.AbsenceUnproved, "xAI does not find key %s, and no list could have shown it", k.ID)
		}
		r.move(k, journal.DeletingKey)
		if err := r.commit(ctx, false); err != nil { // one move of the table in one commit
			return err
		}
		k = r.rec.Key(k.Ref)
	}
	if !could {
		return reason.Errorf(reason.AbsenceUnproved, "xAI does not find key %s, and no list could have shown it", k.ID)
	}
	goneForGood(r, k)
	return nil
}

// refusedTwice asks the key itself, where its value is at hand.
func refusedTwice(ctx context.Context, r *run, k *journal.Key) (bool, error) {
	value, ok := r.engine.hand.get(k.Ref)
	if !ok {
		return false, nil
	}
	switch err := accepts(ctx, r, value, k); {
	case gone(ctx, err):
		return false, err
	case xai.ClassOf(err) != xai.ClassKeyUnknown:
		k.BadSince = noTime
		return false, nil
	}
	if now := r.clock().Later(); k.BadSince.IsZero() || k.BadSince.After(now) {
		k.BadSince = now
	}
	return r.clock().Passed(k.BadSince.Add(badTwice)), nil
}

// couldShow reports whether a list could have shown a key that a create without an answer may have made: it shows another
// key of the same user. The management key of a member shows only that member's keys. Whose the key would be is known from
// the management key that was validated before the create, else from the keys that this policy made.
func couldShow(r *run, list xai.KeyList, k *journal.Key) bool {
	users := map[string]bool{k.UserID: true}
	if k.UserID == "" || !madeBy(r, k.UserID) { // it need not be true that a key is of the management key's user
		for _, other := range r.rec.Keys {
			if other.Origin == journal.OfAttempt && other.Team == k.Team {
				users[other.UserID] = true
			}
		}
	}
	delete(users, "")
	return slices.ContainsFunc(list.Keys, func(have xai.Key) bool { return users[have.UserID] })
}

// madeBy reports that xAI said of a key that this policy made that it is of that user.
func madeBy(r *run, user string) bool {
	return slices.ContainsFunc(r.rec.Keys, func(k journal.Key) bool { return k.Origin == journal.OfAttempt && k.ID != "" && k.UserID == user })
}
