package rotation

import (
	"context"
	"time"

	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/rotation/target"
	"rotator/xai"
)

// reconcileFor is how long keys and targets are only compared, at the least: what the rows that are lost had sent may still
// take effect. It is eleven minutes with the usual limits.
func reconcileFor(r *run) time.Duration { return r.engine.limits.Call + r.engine.limits.Quarantine }

// reconciling returns why nothing may be created, written or destroyed: the journal may not be the newest, or belongs to
// another installation. nil: it is known to agree with what is outside.
func reconciling(ctx context.Context, r *run) error {
	if r.engine.unclaimed() {
		return reason.Errorf(reason.OtherInstall, "the journal belongs to another installation; `rotator state claim --moved --why W` if that one is gone, --copy if this is a copy beside it")
	}
	if r.mark == nil {
		mark, err := r.engine.ledger.Meta(ctx, journal.MetaRestored)
		if err != nil {
			return err
		}
		r.mark = &mark
	}
	p := &r.rec.Policy
	if p.ReconcileFrom.IsZero() && *r.mark != p.ReconcileMark && *r.mark != "" {
		startReconciling(r, "the journal was restored, or may have lost its last commits")
	}
	if p.ReconcileFrom.IsZero() {
		return nil
	}
	return reason.Errorf(reason.RestoredJournal, "the journal may not be the newest: keys and targets of %s are compared since %s", p.Name, p.ReconcileFrom.Format(timeFormat))
}

// startReconciling begins to compare. What is known to be wrong stays until the comparison ends.
func startReconciling(r *run, why string) {
	p := &r.rec.Policy
	if p.ReconcileFrom.IsZero() {
		p.ReconcileFrom = r.now()
		r.log.Warn("journal is compared with targets and keys", "why", why)
	}
	p.WatchAt = minTime(p.WatchAt, later(r.now().Add(time.Second), p.ReconcileFrom.Add(reconcileFor(r))))
}

// reconcile ends the comparison where it can: the key that is in every target that could be read and proves itself is
// the live one, and the others are to be retired. Where the targets hold something else, a human decides. It is asked when
// the targets were just read.
func reconcile(ctx context.Context, r *run) error {
	err := reconciling(ctx, r)
	p := &r.rec.Policy
	if !reason.Is(err, reason.RestoredJournal) {
		return err
	}
	if end := p.ReconcileFrom.Add(reconcileFor(r)); r.now().Before(end) {
		p.WatchAt = minTime(p.WatchAt, end)
		return err
	}
	standing, err := standingKey(r)
	if err != nil {
		return err
	}
	if standing != nil {
		if err := settleOn(ctx, r, standing); err != nil {
			return err
		}
	}
	p.ReconcileFrom = noTime
	if r.mark != nil {
		p.ReconcileMark = *r.mark
	}
	r.tell(journal.Reconciled)
	return nil
}

// standingKey is the one key that every readable target holds; nil where they hold none of a rotator's, and all is as the
// journal has it.
func standingKey(r *run) (*journal.Key, error) {
	var standing *journal.Key
	for _, pt := range r.policy.Targets {
		row := *r.reader.Row(target.IDOf(pt))
		decided := row.Decision != journal.Undecided && row.DecidedFor == row.Fingerprint
		if row.Status == journal.TargetUnreadable || target.Excluded(row) || decided || row.Fingerprint == "" {
			continue
		}
		k := r.rec.KeyByID(row.KeyID)
		baseline := row.Fingerprint == row.Replaceable && row.Status != journal.TargetForeign
		if k == nil && r.rec.Live() == nil && (baseline || row.Status == journal.TargetOtherRotator) {
			continue // from before the first rotation, or someone else's: then people are asked for that
		}
		if k == nil || k.State == journal.DeletingKey || standing != nil && standing.Ref != k.Ref {
			return nil, reason.Errorf(reason.RestoredJournal, "the journal may not be the newest, and %s does not hold the key that it expects there; `rotator keys adopt %s` takes that over, or say `rotator resolve %s --target %s --overwrite|--leave|--drop`",
				row.TargetID, r.claim.Policy, r.claim.Policy, row.TargetID)
		}
		standing = k
		if k.Fingerprint == "" && target.IDOf(pt) == row.TargetID {
			k.Fingerprint = row.Fingerprint
		}
	}
	return standing, nil
}

// settleOn makes the key that is in the targets the live one, once it proved itself.
func settleOn(ctx context.Context, r *run, k *journal.Key) error {
	ref := k.Ref
	handles, err := r.handles(r.policy)
	if err != nil {
		return err
	}
	value, err := valueOf(ctx, r, k, handles)
	if err != nil {
		return err
	}
	if err := prove(ctx, r, value, r.rec.Key(ref), true); xai.ProvesBad(err) {
		return reason.Errorf(reason.RestoredJournal, "the journal may not be the newest, and key %s, which the targets hold, is refused: %w", k.ID, err)
	} else if err != nil {
		return err
	}
	if rot := r.rec.Rotation; rot != nil && rot.KeyRef != ref {
		supersede(r, journal.Superseded, "the journal was compared with the targets, which hold another key")
	} else if rot != nil && rot.State == journal.Promoting {
		return nil // it goes on where it was
	}
	if k = r.rec.Key(ref); k.State == journal.LiveKey {
		return nil
	}
	if err := r.xaiTime(ctx, k.Team); err != nil { // from which the overlap counts
		return err
	}
	k = r.rec.Key(ref)
	for i := range r.rec.Keys {
		if old := &r.rec.Keys[i]; old.Ref != ref && (old.State == journal.LiveKey || old.State == journal.PromotingKey) {
			retireKey(r, old, k, "")
		}
	}
	if k.State == journal.RejectedKey || k.State == journal.DisabledKey || k.State == journal.CandidateKey {
		retireKey(r, k, nil, "")
		k.DisabledAt = noTime
		if err := r.commit(ctx, false); err != nil { // one move of the table at a time
			return err
		}
		k = r.rec.Key(ref)
	}
	r.move(k, journal.LiveKey)
	k.LiveAt, k.RetireFrom = r.now(), noTime
	for _, pt := range r.policy.Targets {
		if row := r.reader.Row(target.IDOf(pt)); row.KeyID == k.ID {
			row.Replaceable, row.Status = row.Fingerprint, journal.TargetOK
		}
	}
	r.log.Info("key found in every target is live", "key_id", k.ID)
	return nil
}
