package rotation

import (
	"context"
	"time"

	"rotator/rotation/due"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/rotation/target"
)

// canaryOf returns the target that holds the new key first, and alone for a while. false: all targets get it now. A key that
// exists already was tried before; where consumers read a bad key, or none, nothing waits.
func canaryOf(r *run, handles []target.Handle) (target.Handle, bool) {
	rot, canary := r.rec.Rotation, r.plan.Canary
	if !canary.Wanted() || rot.Existing || !rot.CanaryOver.IsZero() || len(handles) < 2 || r.rec.Live() == nil {
		return target.Handle{}, false
	}
	switch rot.Trigger {
	case journal.ByCompromise, journal.ByBadKey, journal.ByNewTarget:
		return target.Handle{}, false
	}
	if consumersFail(r) || leaked(r) {
		return target.Handle{}, false
	}
	first, ok := target.Handle{}, false
	for _, h := range handles {
		if r.reader.Row(h.ID).Status == journal.TargetEmpty { // its consumers have no key yet
			return target.Handle{}, false
		}
		if h.ID.String() == canary.Target {
			first, ok = h, true
		}
	}
	return first, ok
}

// beginCanary notes that the canary holds the new key. A crash before the commit has the next turn read the canary again, and
// restart its time.
func beginCanary(r *run, h target.Handle) {
	rot := r.rec.Rotation
	rot.CanaryFrom = r.clock().Later()
	r.tell(journal.CanaryBegun, "target", h.ID.String(), "key_id", rot.KeyID, "for", r.plan.Canary.For.String())
}

// canaryOver reports whether the other targets are next: the canary's consumers use the new key, or its time is over. Until then
// every watch asks the new key who it is, as it does any key that consumers read; one that is proved dead is healed, which
// takes it from the canary. A hold keeps the others waiting.
func canaryOver(ctx context.Context, r *run, first target.Handle) (Outcome, bool) {
	rot := r.rec.Rotation
	if r.rec.Hold.Active(r.now()) {
		return waits(r.rec.Hold.Until, reason.Held), false
	}
	if row := r.reader.Row(first.ID); row.Error == "" && row.Fingerprint != rot.Fingerprint {
		if row.Decision == journal.Overwrite && row.DecidedFor == row.Fingerprint {
			rot.CanaryFrom = noTime // it is written again, and the wait starts over
			return moved, false
		}
		return failed(reason.Errorf(reason.DriftFound, "the canary %s does not hold the new key %s any more; `rotator resolve %s --target %s --overwrite` writes it again, `rotator rollback %s` takes the new key back",
			first.ID, rot.KeyID, r.claim.Policy, first.ID, r.claim.Policy)), false
	}
	alone := r.now().Sub(rot.CanaryFrom)
	if alone < -r.engine.limits.ClockSkew { // the clock was set back; xAI's may be ahead
		rot.CanaryFrom, alone = r.now(), 0
	}
	limit := due.CanaryEnd(r.plan, rot, r.rec.Live()).Sub(rot.CanaryFrom)
	why := "canary.for has passed"
	if alone < limit {
		used, err := canaryUsed(ctx, r)
		if gone(ctx, err) {
			return failed(err), false
		}
		if !used {
			return waits(r.now().Add(min(limit-alone, r.engine.limits.Watch)), reason.WaitCanary), false
		}
		why = "its consumers use the new key"
	}
	rot.CanaryOver = r.now()
	r.tell(journal.CanaryEnded, "target", r.plan.Canary.Target, "key_id", rot.KeyID, "why", why)
	return nothing, true
}

// canaryUsed reports whether billing says that the new key was used by others than the rotator, in an hour that began after its
// last chat call. What billing does not say, or not clearly, is no use: then the time decides.
func canaryUsed(ctx context.Context, r *run) (bool, error) {
	rot := r.rec.Rotation
	from := rot.CanaryFrom.Add(time.Hour).Truncate(time.Hour)
	if r.now().Before(from) {
		return false, nil
	}
	k := r.rec.Key(rot.KeyRef)
	usage, known, err := usageOf(ctx, r, k, rot.CanaryFrom.Add(-time.Hour))
	if err != nil || !known {
		return false, err
	}
	return usage.SurelyUsedFrom(k.ID, from), nil
}
