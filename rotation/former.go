package rotation

import (
	"context"
	"errors"
	"slices"

	"rotator/internal/secret"
	"rotator/rotation/journal"
	"rotator/rotation/target"
	"rotator/stores"
)

// A store may keep former values as versions of a whole secret, so that the promotions of its other fields push them out.
// There the key that a promotion replaces is staged first, under its own ref, and stays so until it can no longer be gone
// back to: a rollback finds it where it finds every staged value. Like every stage it is an effect that owes an unstage.

// keepFormer stages the key that a target holds, before another one is promoted there. A key that is not to be used again
// is not kept, and neither is one that is no key of this policy's.
func keepFormer(ctx context.Context, r *run, h target.Handle) error {
	old := r.rec.KeyByID(r.reader.Row(h.ID).KeyID)
	if old == nil || old.Fingerprint == "" || old.Compromised() || old.Health == journal.HealthDead || isKept(r, journal.Object{Key: old.Ref, Target: h.ID}) {
		return nil
	}
	several, err := hasOtherFields(ctx, r, h.ID)
	if err != nil || !several {
		return err
	}
	if forgets, err := h.Forgets(ctx); err != nil || !forgets {
		return err
	}
	ref, fingerprint := old.Ref, old.Fingerprint
	v, err := h.Current(ctx)
	if err != nil || !target.Is(v, fingerprint) { // what it holds now is looked at before it is replaced
		return err
	}
	if !secret.Fingerprint(fingerprint).Is(v) {
		v = v.Trimmed() // what the fingerprint is of
	}
	err = r.runner.Do(ctx, journal.Effect{Key: ref, Kind: journal.EffectStage, Target: h.ID, Expected: fingerprint}, func(ctx context.Context) error {
		return h.Stage(ctx, ref, v)
	})
	if errors.Is(err, stores.ErrNoStaging) {
		return nil
	}
	return err
}

// isKept reports whether a key's value was staged, or may have been, because it was about to be replaced.
func isKept(r *run, at journal.Object) bool {
	return slices.ContainsFunc(r.rec.Effects, func(e journal.Effect) bool { return keepsFormer(e) && e.Object() == at })
}

// keepsFormer reports whether an effect keeps a former value.
func keepsFormer(e journal.Effect) bool {
	return e.Kind == journal.EffectStage && e.Expected != "" && e.ClosedAt.IsZero() && e.State == journal.EffectDone
}

// needsFormer reports whether a former value is kept further: while its key may be gone back to.
func needsFormer(r *run, e journal.Effect) bool {
	k := r.rec.Key(e.Key)
	if k == nil || k.Compromised() || !isKept(r, e.Object()) {
		return false
	}
	switch k.State {
	case journal.RetiringKey, journal.DisabledKey:
		return true
	case journal.LiveKey, journal.PromotingKey:
		rot := r.rec.Rotation
		replacing := rot != nil && rot.State == journal.Promoting && rot.KeyRef != k.Ref
		return replacing || r.reader.Row(e.Target).KeyID != k.ID
	}
	return false
}

// hasOtherFields reports whether the target's secret has other targets, of this policy or of others.
func hasOtherFields(ctx context.Context, r *run, id journal.TargetID) (bool, error) {
	row := *r.reader.Row(id)
	if slices.ContainsFunc(r.rec.Targets, func(other journal.Target) bool {
		return other.TargetID != id && other.Store == row.Store && other.RemovedAt.IsZero() && sameSecret(other, row)
	}) {
		return true, nil
	}
	place, err := placeOf(ctx, r, id)
	return place != "", err
}
