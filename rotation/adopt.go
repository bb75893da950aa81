package rotation

import (
	"context"
	"fmt"
	"slices"

	"rotator/rotation/journal"
)

// orderAdopt records the keys that were agreed to, as what they are now. What the journal knows already is nothing to do.
func (t *turn) orderAdopt(ctx context.Context, o *journal.Order) (refused string, err error) {
	if !t.rec.Policy.RemovedAt.IsZero() {
		return "the policy was removed", nil
	}
	use, found, err := t.adoptable(ctx)
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
		if t.key(id) == nil && !slices.ContainsFunc(agreed, func(a Adoption) bool { return a.Key.ID == id }) {
			return fmt.Sprintf("key %s is not adopted: %s", id, why), nil
		}
	}
	if len(agreed) == 0 {
		return "", nil
	}
	if t.rec.Rotation != nil { // which was overtaken
		switch err := t.supersede(ctx, "overtaken by the rotation of the key that was adopted"); {
		case gone(ctx, err):
			return "", err
		case err != nil:
			return fmt.Sprintf("nothing was adopted: %v", err), nil
		}
	}
	t.adoptAll(use, agreed, o)
	return "", nil
}

// adoptable looks at the policy's targets and keys, as its owner. What other policies' targets hold is known from the map.
func (t *turn) adoptable(ctx context.Context) (use journal.Target, found []Adoption, err error) {
	if err := t.sight(ctx); err != nil {
		return use, nil, err
	}
	if use, err = t.use(); err != nil {
		return use, nil, err
	}
	team, err := t.team(ctx, t.policy.Team)
	if err != nil {
		return use, nil, err
	}
	list, err := team.Keys.ListKeys(ctx, team.ID)
	if err != nil {
		return use, nil, err
	}
	found, err = t.adoptions(ctx, use, list.Keys, func(ctx context.Context, keyID string) (string, error) {
		rows, err := t.journal.TargetsOf(ctx, keyID)
		for _, row := range rows {
			if row.Policy != t.claim.Policy {
				return heldBy(row), err
			}
		}
		return "", err
	})
	return use, found, err
}

// adoptAll records the keys. When every target holds the policy's key in use, a rotation that is live from now on retires
// all the others: they get a full overlap, since nobody can say since when consumers read the key in use. Otherwise the
// next rotation does, which gives every target one key.
func (t *turn) adoptAll(use journal.Target, agreed []Adoption, o *journal.Order) {
	p := &t.rec.Policy
	for _, a := range agreed {
		k := journal.Key{
			ID: a.Key.ID, Policy: p.Name, Team: t.policy.Team, Name: a.Key.Name,
			Origin: journal.OfAdoption, Use: journal.UsePredecessor, CreatedAt: a.Key.Created, ExpiresAt: a.Key.Expires,
		}
		if a.As == AdoptCurrent {
			k.Use, k.Fingerprint = journal.UseCurrent, use.Fingerprint
			t.succeedCurrent()
			t.putInUse(k)
		} else if a.Key.Disabled {
			k.DisableSentAt, k.DisabledAt = t.now(), t.now()
		}
		t.rec.Keys = append(t.rec.Keys, k)
		t.tell(journal.KeyAdopted, "key_id", k.ID, "name", k.Name, "target", a.Target, "use", string(k.Use), "by", o.By)
	}
	if !t.everywhere(p.KeyID) {
		return
	}
	t.begin(journal.ByAdoption, o.Why)
	r := t.rec.Rotation
	r.State, r.KeyID, r.Fingerprint = journal.Live, p.KeyID, p.Fingerprint
	r.PromotingAt, r.LiveAt = r.StartedAt, r.StartedAt
	r.OldKeyIDs = ""
	for _, id := range t.predecessors() {
		r.OldKeyIDs = r.OldKeyIDs.With(id)
	}
}

// succeedCurrent makes what was the key in use a predecessor of the one that is adopted.
func (t *turn) succeedCurrent() {
	for i := range t.rec.Keys {
		if k := &t.rec.Keys[i]; k.Use == journal.UseCurrent {
			k.Use = journal.UsePredecessor
		}
	}
}

// putInUse makes an adopted key the policy's key in use, and what a promote may replace in the targets that hold it.
func (t *turn) putInUse(k journal.Key) {
	p := &t.rec.Policy
	p.KeyID, p.Fingerprint, p.LiveSince = k.ID, k.Fingerprint, noTime
	if _, _, ours := keyName(k.Name); ours && k.CreatedAt.After(p.LastSuccess) {
		p.LastSuccess = k.CreatedAt // it went live soon afterwards: the schedule goes on as it was
	}
	for _, pt := range t.policy.Targets {
		if row := t.row(idOf(pt)); row.KeyID == k.ID && !excluded(*row) {
			row.Status, row.Replaceable = journal.TargetOK, row.Fingerprint
			row.Decision, row.DecidedFor = journal.Undecided, ""
		}
	}
}
