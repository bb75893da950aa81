package rotation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"rotator/internal/secret"
	"rotator/rotation/journal"
	"rotator/stores"
	"rotator/xai"
)

// rollingBack gives the old key back to consumers, as a human asked, and then retires the new one like any old key:
// consumers that read it have the overlap to reload.
func (t *turn) rollingBack(ctx context.Context) (next, error) {
	r := t.rec.Rotation
	if r.RestoredAt.IsZero() {
		return t.restore(ctx)
	}
	if n, err := t.lateDisable(ctx); err != nil || n != onward {
		return n, err
	}
	if r.DisabledAt.IsZero() {
		if n, err := t.retire(ctx, r.RestoredAt); err != nil || n != onward {
			return n, err
		}
	}
	if !r.DisabledAt.IsZero() {
		if n, err := t.soaked(ctx); err != nil || n != onward {
			return n, err
		}
	}
	t.leaveHold()
	return t.finish(journal.RolledBack)
}

// restore enables the old key, finds its value, proves it, and puts it back into every target.
func (t *turn) restore(ctx context.Context) (next, error) {
	r := t.rec.Rotation
	old := t.key(r.RestoreKeyID)
	if old == nil {
		return next{}, stuckf(NoOldValue, "the journal does not name key %s any more", r.RestoreKeyID)
	}
	if !old.DisableSentAt.IsZero() {
		if err := t.enable(ctx, old.ID); err != nil {
			return next{}, err
		}
	}
	spots, err := t.spots(t.plan)
	if err != nil {
		return next{}, err
	}
	value, err := t.oldValue(ctx, spots, *old)
	if err != nil {
		return next{}, err
	}
	if err := t.proveUsed(ctx, value, old.ID); err != nil {
		if !xai.ProvesBad(err) {
			return next{}, err
		}
		if t.now().Sub(r.EnteredAt).Abs() > t.limits.BadSpan+t.limits.Quarantine {
			return next{}, stuckf(OldKeyBad, "key %s, to be rolled back to, is refused: %w; `rotator rotate %s --supersede` makes a new one", old.ID, err, t.claim.Policy)
		}
		return wait(t.now().Add(5*time.Second), WaitProof), nil // an enable takes its time to reach every cluster
	}
	var errs []error
	for _, s := range spots {
		if err := t.putBack(ctx, s, *old, value); err != nil {
			errs = append(errs, err)
		}
	}
	if r.Attempt != "" { // an adoption made none
		errs = append(errs, t.discardAll(ctx, r.Attempt))
	}
	errs = append(errs, t.discardAll(ctx, r.ID))
	if err := errors.Join(errs...); err != nil {
		return next{}, err
	}
	t.restored(old.ID)
	return again, nil
}

// oldValue finds the old key's bytes: in a target that still holds them, or where a store keeps what it replaced.
func (t *turn) oldValue(ctx context.Context, spots []spot, old journal.Key) (secret.Text, error) {
	want := secret.Fingerprint(old.Fingerprint)
	var errs []error
	for _, s := range spots {
		v, err := s.current(ctx)
		if err != nil || !want.Is(v) {
			v, err = s.previous(ctx, want)
		}
		if err == nil && want.Is(v) {
			return v, nil
		}
		if err != nil && !errors.Is(err, stores.ErrNotFound) {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return secret.Text{}, err
	}
	return secret.Text{}, stuckf(NoOldValue, "no store keeps the value of key %s", old.ID)
}

func (t *turn) putBack(ctx context.Context, s spot, old journal.Key, value secret.Text) error {
	row := t.row(s.id)
	row.NextKeyID = old.ID
	expected := row.Replaceable
	if row.Fingerprint == t.rec.Rotation.Fingerprint {
		expected = row.Fingerprint // promoted, and not yet written down as such
	}
	err := s.promote(ctx, t.rec.Rotation.ID, value, expected)
	if errors.Is(err, stores.ErrConflict) {
		// The target was read before the promote of this rotation, or after: either is ours to replace.
		if _, err := t.look(ctx, s); err != nil {
			return err
		}
		if row = t.row(s.id); row.KeyID == t.rec.Rotation.KeyID {
			err = s.promote(ctx, t.rec.Rotation.ID, value, row.Fingerprint)
		}
	}
	if err != nil {
		return err
	}
	v, err := s.current(ctx)
	if err != nil {
		return err
	}
	if !v.Equal(value) {
		return fmt.Errorf("%s said yes to the old key and serves another value", s.id)
	}
	row = t.row(s.id)
	row.PrevKeyID, row.PrevPrint = t.rec.Rotation.KeyID, t.rec.Rotation.Fingerprint
	t.wrote(row, old.ID, old.Fingerprint)
	return nil
}

// restored records that every target holds the old key: the new one is its predecessor now.
func (t *turn) restored(oldID string) {
	r, p := t.rec.Rotation, &t.rec.Policy
	if a := t.attempt(); a != nil {
		a.State, a.SettledAt = journal.Settled, t.now()
		t.drop(a.ID)
	}
	for i := range t.rec.Keys {
		switch k := &t.rec.Keys[i]; {
		case k.ID == oldID:
			k.Use = journal.UseCurrent
			p.KeyID, p.Fingerprint = k.ID, k.Fingerprint
		case k.ID == r.KeyID:
			k.Use = journal.UsePredecessor
		}
	}
	r.RestoredAt, r.DisabledAt, r.Discarded = t.now(), noTime, true
	p.LiveSince = r.RestoredAt
	t.schedule()
}

// lateDisable waits until no disable of the old key that was sent earlier can still land, and turns it on again if one did.
func (t *turn) lateDisable(ctx context.Context) (next, error) {
	r := t.rec.Rotation
	old := t.key(r.RestoreKeyID)
	if old == nil || old.DisableSentAt.IsZero() {
		return onward, nil
	}
	spots, err := t.spots(t.plan)
	if err != nil {
		return next{}, err
	}
	v, err := t.look(ctx, spots[0])
	if err != nil {
		return next{}, err
	}
	if string(v.Fingerprint()) == old.Fingerprint {
		switch err := t.proveUsed(ctx, v, old.ID); {
		case xai.ClassOf(err) == xai.ClassKeyDisabled:
			if err := t.enable(ctx, old.ID); err != nil {
				return next{}, err
			}
			return wait(t.now().Add(time.Second), WaitQuarantine), nil
		case err != nil && !xai.ProvesBad(err):
			return next{}, err
		}
	}
	if end := old.DisableSentAt.Add(t.limits.Quarantine); t.now().Before(end) {
		// Often at first: consumers read this key, and a disable that is late is seldom late by much.
		pace := min(max(t.now().Sub(old.DisableSentAt)/8, 2*time.Second), 15*time.Second)
		return wait(minTime(end, t.now().Add(pace)), WaitQuarantine), nil
	}
	old.DisableSentAt = noTime
	return onward, nil
}

// lateRevived keeps the old keys on that a human revived: a disable that was sent before the revive may land after it. The
// key is looked at until none can land any more. One that is listed as off longer after our disable was turned off by
// somebody else, and stays so.
func (t *turn) lateRevived(ctx context.Context) (next, error) {
	for _, id := range t.predecessors() {
		k := t.key(id)
		if k.DisableSentAt.IsZero() || !k.DisabledAt.IsZero() || !k.DeleteSentAt.IsZero() || k.Health == healthLeaked {
			continue
		}
		team, err := t.team(ctx, k.Team)
		if err != nil {
			return next{}, err
		}
		asked := t.now()
		on, err := listedOn(ctx, team, id)
		if err != nil {
			return next{}, err
		}
		if !on {
			if err := t.enable(ctx, id); err != nil {
				return next{}, err
			}
		}
		if end := k.DisableSentAt.Add(t.limits.Quarantine); asked.Before(end) {
			pace := min(max(asked.Sub(k.DisableSentAt)/8, 2*time.Second), 15*time.Second)
			return wait(minTime(end, t.now().Add(pace)), WaitQuarantine), nil
		}
		k.DisableSentAt = noTime
	}
	return onward, nil
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
