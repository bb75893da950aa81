package rotation

import (
	"context"
	"fmt"
	"strings"

	"rotator/rotation/inventory"
	"rotator/rotation/journal"
	"rotator/xai"
)

// orderOurs records that a key which xAI lists under a shortened name is the one that a lost create made. It is then
// deleted like every key that no consumer ever read, through the gate.
func orderOurs(ctx context.Context, r *run, o *journal.Order) (string, error) {
	ids := o.KeyIDs.List()
	if len(ids) != 1 {
		return "name one key with --key", nil
	}
	if k := r.rec.KeyByID(ids[0]); k != nil {
		return fmt.Sprintf("key %s is known already: it is %s", k.ID, k.State), nil
	}
	for i := range r.rec.Keys {
		k := &r.rec.Keys[i]
		if k.State != journal.CreatingKey || inFlightNames(r, k) {
			continue
		}
		list, err := r.list(ctx, k.Team)
		if err != nil {
			return "", err
		}
		k = &r.rec.Keys[i]
		for _, have := range list.Keys {
			if have.ID == ids[0] && (have.Name == k.Name || cutShort(r, have, k)) {
				if have.Name != k.Name {
					k.KeptName = have.Name // the gate compares it before the key is deleted
				}
				foundKey(r, k, have, o.By, o.Why)
				return "", nil
			}
		}
	}
	return fmt.Sprintf("no lost create of %s can have made key %s: its name is not one of them cut short", r.claim.Policy, ids[0]), nil
}

// cutShort reports whether xAI lists a key under a name that may be k's cut short.
func cutShort(r *run, have xai.Key, k *journal.Key) bool {
	least := len(inventory.Prefix+r.claim.Policy) + 1 + leastName
	return len(have.Name) >= least && len(have.Name) < len(k.Name) && strings.HasPrefix(k.Name, have.Name) && r.rec.KeyByID(have.ID) == nil
}

// foundKey records which key a lost create made: from here on it can be deleted by its id.
func foundKey(r *run, k *journal.Key, have xai.Key, by, why string) {
	k.ID, k.UserID, k.ExpiresAt = have.ID, have.UserID, have.Expiry()
	if !have.Created.IsZero() {
		k.CreatedAt = have.Created
	}
	r.move(k, journal.RejectedKey)
	r.tell(journal.KeyFound, append(k.Explanation(), "by", by, "why", why)...)
	settleAll(r, k.Ref, journal.EffectCreate)
}
