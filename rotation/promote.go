package rotation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"rotator/internal/secret"
	"rotator/policies"
	"rotator/rotation/journal"
	"rotator/stores"
	"rotator/xai"
)

// proofAge is how old a proof of the successor may be when the first target of a turn is written.
const proofAge = 30 * time.Second

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
	// A process may stop for days between the intent and the first write, and a store may be down just as long.
	if t.proved.IsZero() || t.now().Sub(t.proved).Abs() > proofAge {
		verify := t.plan.Verify
		if t.promotedSomewhere(a) {
			verify = policies.Verify{Method: "whoami"}
		}
		if n, err := t.proves(ctx, value, verify); err != nil || n != onward {
			return n, err
		}
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
	n, err := t.proves(ctx, value, t.plan.Verify)
	if xai.ClassOf(err) == xai.ClassModel { // it says nothing of the key, which consumers read already
		n, err = t.proves(ctx, value, policies.Verify{Method: "whoami"})
	}
	if err != nil || n != onward {
		return n, err
	}
	// What is staged has done its work. When it can't be removed now, live goes on trying: consumers are served.
	if err := t.discardStaged(ctx); gone(ctx, err) {
		return next{}, err
	}
	t.goLive()
	return again, nil
}

// promotedSomewhere reports whether consumers of a target may read the attempt's key already.
func (t *turn) promotedSomewhere(a *journal.Attempt) bool {
	return slices.ContainsFunc(t.rec.Targets, func(row journal.Target) bool { return row.Fingerprint == a.Fingerprint })
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
	t.wrote(row, a.KeyID, a.Fingerprint)
	row.Decision, row.DecidedFor = journal.Undecided, ""
	t.tell(journal.TargetPromoted, "target", s.id.String(), "key_id", a.KeyID)
	return nil
}

// wrote records that a target holds a key that we put there.
func (t *turn) wrote(row *journal.Target, keyID, print string) {
	row.KeyID, row.Fingerprint, row.Replaceable, row.NextKeyID = keyID, print, print, ""
	row.Status, row.Error, row.SeenAt = journal.TargetOK, "", t.now()
}

// giveBack puts the key in use into a target again, where a human says that what stands there now may be replaced and the
// rotation in flight has done its promoting: without it the old keys would never be retired, and no promote comes by. Where
// the key is gone or refused it does nothing: then a new rotation replaces what stands there. Repeating it after a crash is
// harmless, and the order stays until it was done.
func (t *turn) giveBack(ctx context.Context, id journal.TargetID) error {
	r, k := t.rec.Rotation, t.key(t.rec.Policy.KeyID)
	if k == nil || r == nil || r.State != journal.Live && r.State != journal.Retiring && r.RestoredAt.IsZero() {
		return nil
	}
	named := slices.Concat(t.plan.Targets, t.policy.Targets) // one that the policy names since may hold an old key, and be in the way
	i := slices.IndexFunc(named, func(pt policies.Target) bool { return idOf(pt) == id })
	if i < 0 {
		return nil
	}
	s, err := t.spot(named[i])
	if err != nil {
		return err
	}
	if t.row(id).Fingerprint != k.Fingerprint {
		spots, err := t.spots(t.plan)
		if isReason(err, NoTargets) {
			return nil
		}
		if err != nil {
			return err
		}
		value, err := t.oldValue(ctx, spots, *k)
		if err == nil {
			err = t.proveUsed(ctx, value, k.ID)
		}
		if isReason(err, NoOldValue) || xai.ProvesBad(err) {
			return nil
		}
		if err != nil {
			return err
		}
		row := t.row(id)
		row.NextKeyID = k.ID
		if err := t.commit(ctx, false); err != nil { // the gate counts the target as holding the key from here on
			return err
		}
		if err := s.promote(ctx, r.ID, value, row.Fingerprint); err != nil {
			return err
		}
		if err := reads(ctx, s, value); err != nil {
			return err
		}
		t.wrote(row, k.ID, k.Fingerprint)
	}
	return s.discard(ctx, r.ID)
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
