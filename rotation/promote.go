package rotation

import (
	"context"
	"errors"
	"fmt"

	"rotator/internal/secret"
	"rotator/rotation/journal"
	"rotator/stores"
)

// promoting gives the successor to consumers, target by target. From its first line on the rotation only goes forward,
// or is rolled back by a human: both keys work until every target was read back.
func (t *turn) promoting(ctx context.Context) (next, error) {
	spots, err := t.spots(t.plan)
	if err != nil {
		return next{}, err
	}
	a := t.attempt()
	value, err := t.value(ctx, spots, a)
	if errors.Is(err, stores.ErrNotFound) {
		// Nothing outside holds the successor, and it was promoted nowhere: consumers still read the old key.
		return t.supersedeBad(ctx, "the new key's value is nowhere any more")
	}
	if err != nil {
		return next{}, err
	}
	var errs []error
	for _, s := range spots {
		if err := t.promote(ctx, s, a, value); err != nil {
			errs = append(errs, err) // the other targets go on: both keys work
		}
	}
	if err := errors.Join(errs...); err != nil {
		return next{}, err
	}
	if n, err := t.proves(ctx, value, t.plan.Verify); err != nil || n != onward {
		return n, err
	}
	// What is staged has done its work. When it can't be removed now, live goes on trying: consumers are served.
	if err := t.discardStaged(ctx); gone(ctx, err) {
		return next{}, err
	}
	t.goLive()
	return again, nil
}

// promote writes one target and reads it back. value is compared with what is read, byte by byte: the proof that
// follows is of what consumers get.
func (t *turn) promote(ctx context.Context, s spot, a *journal.Attempt, value secret.Text) error {
	row := t.row(s.id)
	err := s.promote(ctx, a.ID, value, row.Replaceable)
	if errors.Is(err, stores.ErrConflict) {
		err = stuckf(DriftFound, "%s was changed by somebody else; say `rotator resolve %s --target %s --overwrite|--leave|--drop`: %w", s.id, t.claim.Policy, s.id, err)
	}
	if err == nil && journal.Fenced {
		err = reads(ctx, s, value)
	}
	if err != nil {
		return err
	}
	if row.Replaceable == a.Fingerprint {
		return nil
	}
	row.PrevKeyID, row.PrevPrint = "", row.Replaceable
	if k := t.keyOfPrint(row.Replaceable); k != nil {
		row.PrevKeyID = k.ID
	}
	row.KeyID, row.Fingerprint, row.Replaceable, row.NextKeyID = a.KeyID, a.Fingerprint, a.Fingerprint, ""
	row.Status, row.Error, row.SeenAt = journal.TargetOK, "", t.now()
	row.Decision, row.DecidedFor = journal.Undecided, ""
	t.tell(journal.TargetPromoted, "target", s.id.String(), "key_id", a.KeyID)
	return nil
}

// reads shows that consumers of a target now read the value: a store may say yes and serve another.
func reads(ctx context.Context, s spot, value secret.Text) error {
	v, err := s.current(ctx)
	if err == nil && !v.Equal(value) {
		err = fmt.Errorf("%s said yes to the new key and serves another value", s.id)
	}
	return err
}

// goLive records that every target holds the successor: the old keys become predecessors.
func (t *turn) goLive() {
	r, p := t.rec.Rotation, &t.rec.Policy
	a := t.attempt()
	a.State, a.SettledAt = journal.Settled, t.now()
	t.drop(a.ID)
	for i := range t.rec.Keys {
		k := &t.rec.Keys[i]
		switch {
		case k.ID == r.KeyID:
			k.Use, k.Health, k.HealthAt = journal.UseCurrent, healthOK, t.now()
		case k.Use == journal.UseCurrent:
			k.Use = journal.UsePredecessor
			r.OldKeyIDs = r.OldKeyIDs.With(k.ID)
		}
	}
	t.enter(journal.Live)
	r.LiveAt = t.now()
	p.KeyID, p.Fingerprint, p.LiveSince, p.LastSuccess = r.KeyID, r.Fingerprint, r.LiveAt, r.LiveAt
	t.schedule()
	t.tell(journal.Promoted, "key_id", r.KeyID, "old_key_ids", string(r.OldKeyIDs), "trigger", string(r.Trigger))
}
