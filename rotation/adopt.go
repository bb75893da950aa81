package rotation

import (
	"context"
	"fmt"
	"slices"
	"time"

	"rotator/rotation/journal"
	"rotator/rotation/target"
)

// orderAdopt records the keys that were agreed to, as what they are now. What the journal knows already is nothing to do.
func orderAdopt(ctx context.Context, r *run, o *journal.Order) (refused string, err error) {
	if !r.rec.Policy.RemovedAt.IsZero() {
		return "the policy was removed", nil
	}
	if r.rec.Policy.Leaving() { // what people accepted for its keys is not said of this one
		return decommissioned(r), nil
	}
	use, found, err := adoptable(ctx, r)
	switch {
	case gone(ctx, err):
		return "", err
	case err != nil: // kept open it would hold everything else up
		return fmt.Sprintf("nothing was adopted: %v", err), nil
	}
	var agreed []Adoption
	why := "xAI does not list it as a key that this policy could adopt"
	for _, a := range found {
		asked := o.KeyIDs.Has(a.Key.ID)
		switch {
		case a.As != AdoptCurrent && a.As != AdoptPredecessor:
			if asked || a.As == AdoptWaits {
				why = a.Why
			}
		case asked:
			agreed = append(agreed, a)
		case a.As == AdoptCurrent:
			return fmt.Sprintf("%s holds key %s now, which was not agreed to", a.Target, a.Key.ID), nil
		}
	}
	for _, id := range o.KeyIDs.List() {
		if r.rec.KeyByID(id) == nil && !slices.ContainsFunc(agreed, func(a Adoption) bool { return a.Key.ID == id }) {
			return fmt.Sprintf("key %s is not adopted: %s", id, why), nil
		}
	}
	if len(agreed) > 0 {
		adoptAll(r, use, agreed, o)
	}
	return "", nil
}

// adoptable looks at the policy's targets and keys, as its owner. What other policies' targets hold is known from their
// sightings.
func adoptable(ctx context.Context, r *run) (use journal.Target, found []Adoption, err error) {
	if err := sight(ctx, r); err != nil {
		return use, nil, err
	}
	if use, err = inUseNow(r); err != nil {
		return use, nil, err
	}
	list, err := r.list(ctx, r.policy.Team)
	if err != nil {
		return use, nil, err
	}
	found, err = adoptions(ctx, r, use, list.Keys, func(ctx context.Context, keyID string) (string, error) {
		rows, err := r.engine.ledger.SightingsOf(ctx, keyID, "")
		for _, row := range rows {
			if row.Policy != r.claim.Policy {
				return heldBy(row.TargetID, row.Policy), err
			}
		}
		return "", err
	})
	return use, found, err
}

// adoptAll records the keys. When every target holds the policy's live key, a rotation that is live from now on retires all
// the others: they get a full overlap, since no one can say since when consumers read the live key. Otherwise the next
// rotation does, which gives every target one key.
func adoptAll(r *run, use journal.Target, agreed []Adoption, o *journal.Order) {
	for _, a := range agreed {
		as := journal.RetiringKey
		fingerprint := ""
		if a.As == AdoptCurrent {
			as, fingerprint = journal.LiveKey, use.Fingerprint
		}
		k := adoptAs(r, a.Key, fingerprint, as)
		if as == journal.RetiringKey {
			k.RetireFrom = r.clock().Later()
			if a.Key.Disabled {
				k.State, k.DisabledAt = journal.DisabledKey, k.RetireFrom
			}
		} else {
			putInUse(r, *k)
		}
		mayBeStaged(r, k)
		r.tell(journal.KeyAdopted, append(k.Explanation(), "target", a.Target, "as", string(k.State), "by", o.By)...)
	}
	p := &r.rec.Policy
	p.ReconcileFrom = noTime
	if r.mark != nil {
		p.ReconcileMark = *r.mark
	}
	live := r.rec.Live()
	if live == nil || !everywhere(r, live) {
		return
	}
	r.begin(journal.ByAdoption, o.Why, o.By)
	rot := r.rec.Rotation
	rot.Existing, rot.KeyRef, rot.KeyID, rot.Fingerprint = true, live.Ref, live.ID, live.Fingerprint
	rot.State, rot.PromotingAt = journal.Promoting, rot.StartedAt
	success := p.LastSuccess
	goLive(r)
	p.LastSuccess = success
	computeDue(r)
}

// mayBeStaged makes sure that what someone may have staged of an adopted key is removed: no one remembers its rotation.
func mayBeStaged(r *run, k *journal.Key) {
	if _, _, ours := keyName(k.Name); !ours {
		return
	}
	for _, pt := range r.policy.Targets {
		r.rec.Effects = append(r.rec.Effects, journal.Effect{
			ID: newRef(), Policy: r.claim.Policy, Key: k.Ref, Kind: journal.EffectStage, Target: target.IDOf(pt),
			State: journal.EffectDone, At: r.now(), QuietAt: r.now(), AckAt: r.now().Add(-time.Hour),
		})
	}
}

// putInUse makes an adopted key what a promote may replace in the targets that hold it.
func putInUse(r *run, k journal.Key) {
	for _, pt := range r.policy.Targets {
		if row := r.reader.Row(target.IDOf(pt)); row.KeyID == k.ID && !target.Excluded(*row) {
			row.Status, row.Replaceable = journal.TargetOK, row.Fingerprint
			row.Decision, row.DecidedFor = journal.Undecided, ""
		}
	}
}

// overtaken reports that the live key had long given way to another when the journal was restored from a backup: every
// target holds one live key that the journal does not know.
func overtaken(r *run) bool {
	for _, pt := range r.policy.Targets {
		if row := r.reader.Row(target.IDOf(pt)); !target.Excluded(*row) {
			k := journal.Key{ID: row.KeyID}
			return row.KeyID != "" && r.rec.KeyByID(row.KeyID) == nil && everywhere(r, &k)
		}
	}
	return false
}
