package rotation

import (
	"context"

	"rotator/rotation/journal"
	"rotator/rotation/reason"
)

// explained shows that an event of the policy's chain tells how the key became ours, and says of it what its row says: its id, its
// name, its team and its fingerprint. A row that was put into the journal, or changed to name another key, has none.
func explained(ctx context.Context, r *run, k *journal.Key) error {
	told, err := r.engine.ledger.Explanations(ctx, k.Ref)
	if err != nil {
		return err
	}
	if k.Policy == r.claim.Policy && k.ExplainedBy(told) {
		return nil
	}
	return reason.Errorf(reason.Unexplained, "no event of the audit trail tells how key %s (%s) became ours: it is not touched; `rotator audit verify` says what was changed", k.ID, k.Name)
}

// tellRefusal tells that the gate let a key be, once for each reason: its job asks again and again.
func tellRefusal(r *run, ref string, kind journal.EffectKind, err error) {
	why, k := reason.Of(err), r.rec.Key(ref)
	if err == nil || why == "" || k == nil || k.Reason == why {
		return
	}
	r.tell(journal.GateRefused, "key_id", k.ID, "effect", string(kind), "reason", string(why), "error", err.Error())
}
