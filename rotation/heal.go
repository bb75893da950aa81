package rotation

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/rotation/target"
	"rotator/xai"
)

// heal sees to it that consumers read a key that works. Where one of their keys is proved dead, or nothing is live and
// nothing is on its way, it begins a rotation to the newest key that proves itself; where there is none, to a new key. No
// hold stops it.
func heal(ctx context.Context, r *run) Outcome {
	if !r.rec.Policy.RemovedAt.IsZero() || r.rec.Policy.Leaving() {
		return nothing
	}
	why := whyHurt(r)
	if why == "" {
		return nothing
	}
	if err := reconciling(ctx, r); err != nil {
		return nothing // rotate says so
	}
	if r.engine.observing() != nil {
		return would("give consumers a key that works: " + why)
	}
	if isHealing(r) {
		return nothing
	}
	k, out := healthiest(ctx, r)
	if k == nil && (out.Err != nil || !out.Wait.IsZero()) {
		return out
	}
	rot := r.rec.Rotation
	switch {
	case k != nil:
		if rot != nil {
			supersede(r, journal.Superseded, why)
		}
		beginTo(r, k, journal.ByHealing, why, "")
		wantKey(r, journal.ByBadKey, why, "")
		return moved
	case rot != nil && rot.State.CanAbort() && !rot.Existing:
		return nothing // a new key is on its way already
	case rot != nil:
		supersede(r, journal.Superseded, why)
		wantKey(r, journal.ByBadKey, why, "")
		return moved
	case r.rec.Policy.WantedAt.IsZero():
		wantKey(r, journal.ByBadKey, why, "")
		return moved
	}
	return nothing
}

// whyHurt says why consumers may not have a key that works; "" when they do.
func whyHurt(r *run) string {
	rot := r.rec.Rotation
	for _, row := range r.rec.Targets {
		if !row.RemovedAt.IsZero() || target.Excluded(row) || row.KeyID == "" {
			continue
		}
		if k := r.rec.KeyByID(row.KeyID); k != nil && k.Health == journal.HealthDead {
			return fmt.Sprintf("%s holds key %s, which is proved dead", row.TargetID, k.ID)
		}
	}
	live := r.rec.Live()
	switch {
	case live != nil && live.Health == journal.HealthDead:
		return "key " + live.ID + ", which consumers read, is proved dead"
	case rot != nil && rot.State == journal.Promoting:
		if k := r.rec.Key(rot.KeyRef); k != nil && k.Health == journal.HealthDead {
			return "key " + k.ID + ", which is being promoted, is proved dead"
		}
	case live == nil && rot == nil && slices.ContainsFunc(r.rec.Keys, func(k journal.Key) bool { return k.State.Exposed() }):
		return "no key is live and no rotation is under way"
	}
	return ""
}

// consumersFail reports that what consumers read is proved dead.
func consumersFail(r *run) bool { return whyHurt(r) != "" }

// isHealing reports that what is under way makes consumers read a key that works.
func isHealing(r *run) bool {
	rot := r.rec.Rotation
	if rot == nil {
		return false
	}
	k := r.rec.Key(rot.KeyRef)
	if rot.Existing || rot.State == journal.Promoting {
		return k != nil && k.Health != journal.HealthDead && !k.Compromised()
	}
	return false
}

// healthiest is the newest key that consumers may read and that proves itself: one that is on before one that is off. A
// key that cannot be asked now is waited for, unless another proves itself.
func healthiest(ctx context.Context, r *run) (*journal.Key, Outcome) {
	var fit []string
	for _, k := range r.rec.Keys {
		if (k.State.Exposed() || k.State == journal.DisabledKey) && !k.Compromised() && k.Fingerprint != "" && k.Health != journal.HealthDead {
			fit = append(fit, k.Ref)
		}
	}
	slices.SortStableFunc(fit, func(a, b string) int {
		ka, kb := r.rec.Key(a), r.rec.Key(b)
		return cmp.Or(boolCompare(ka.State == journal.DisabledKey, kb.State == journal.DisabledKey), kb.CreatedAt.Compare(ka.CreatedAt))
	})
	var out Outcome
	for _, ref := range fit {
		k := r.rec.Key(ref)
		handles, err := r.handles(r.policy)
		if err != nil {
			return nil, failed(err)
		}
		value, err := valueOf(ctx, r, k, handles)
		if reason.Is(err, reason.NoOldValue) {
			continue
		}
		if err == nil && k.State != journal.DisabledKey {
			err = prove(ctx, r, value, r.rec.Key(ref), true)
		}
		k = r.rec.Key(ref)
		switch {
		case err == nil:
			return k, nothing
		case gone(ctx, err):
			return nil, failed(err)
		case !xai.ProvesBad(err):
			out = foremostOf(out, failed(err))
		case answeredBad(r, k):
			markDead(r, k)
		default:
			out = foremostOf(out, waits(r.now().Add(proofPace), reason.WaitProof))
		}
	}
	return nil, out
}

func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}
