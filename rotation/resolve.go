package rotation

import (
	"context"
	"fmt"
	"slices"

	"rotator/policies"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/rotation/target"
	"rotator/xai"
)

// knownTarget is the target of that name: as the policy has it, or as the journal knows one of former times.
func knownTarget(r *run, id journal.TargetID) (pt policies.Target, known bool) {
	for _, pt := range r.policy.Targets {
		if target.IDOf(pt) == id {
			return pt, true
		}
	}
	known = slices.ContainsFunc(r.rec.Targets, func(row journal.Target) bool { return row.TargetID == id })
	return policies.Target{Store: id.Store, Path: id.Path, Field: id.Field}, known
}

// orderResolve records a human's decision on what is in a target now.
func orderResolve(ctx context.Context, r *run, o *journal.Order) (string, error) {
	switch o.Decision {
	case journal.Overwrite, journal.Leave, journal.Drop:
	default:
		return fmt.Sprintf("unknown decision %q", o.Decision), nil
	}
	pt, known := knownTarget(r, o.Target)
	if !known {
		return fmt.Sprintf("%s is no target of %s", o.Target, r.claim.Policy), nil
	}
	if rot := r.rec.Rotation; rot != nil && !rot.CanaryFrom.IsZero() && rot.CanaryOver.IsZero() && o.Decision != journal.Overwrite && o.Target.String() == r.plan.Canary.Target {
		return fmt.Sprintf("%s is the canary: without it every other target would get the new key now; `rotator rollback %s` takes the new key back, and without `canary` in the policy's file the others get it now",
			o.Target, r.claim.Policy), nil
	}
	if o.Decision != journal.Drop { // the word is about what is there now
		h, err := r.reader.Handle(pt)
		if err != nil {
			return err.Error(), nil
		}
		if _, err := r.reader.Read(ctx, h); gone(ctx, err) {
			return "", err
		} else if err != nil { // kept open it would hold everything else up
			return fmt.Sprintf("what is there now cannot be read; try again later: %v", err), nil
		}
	}
	live := r.rec.Live()
	if o.Decision == journal.Leave && live != nil && r.reader.Row(o.Target).KeyID == live.ID {
		return fmt.Sprintf("%s holds the key in use: left, it would keep that forever, and the key could never be retired; "+
			"--drop takes the target out of the policy's hands", o.Target), nil
	}
	row := r.reader.Row(o.Target)
	before := *row
	decide(r, row, o.Decision)
	if o.Decision == journal.Overwrite {
		switch refused, err := giveBack(ctx, r, pt); {
		case gone(ctx, err):
			return "", err
		case err != nil:
			*r.reader.Row(o.Target) = before
			return fmt.Sprintf("the key in use could not be put there; try again later: %v", err), nil
		case refused != "": // the decision remains anyway: the next key is written there
			r.tell(journal.TargetResolved, "target", o.Target.String(), "decision", string(o.Decision), "by", o.By)
			return refused, nil
		}
	}
	r.tell(journal.TargetResolved, "target", o.Target.String(), "decision", string(o.Decision), "by", o.By)
	return "", nil
}

func decide(r *run, row *journal.Target, d journal.Decision) {
	row.Decision, row.DecidedFor = d, row.Fingerprint
	if row.ContactAt.IsZero() {
		row.ContactAt = r.now()
	}
	row.Status = journal.TargetOK
	switch d {
	case journal.Overwrite:
		row.Replaceable = row.Fingerprint
		if row.Fingerprint == "" {
			row.Status = journal.TargetEmpty
		}
	case journal.Drop:
		row.RemovedAt = r.now()
	}
}

// valueLost says what works where the live key cannot be written again, since its value is nowhere any more.
func valueLost(ctx context.Context, r *run, live *journal.Key, id journal.TargetID) string {
	again := ""
	if _, what := retiredBy(r); what != "" {
		again = " --supersede"
	}
	say := fmt.Sprintf("nothing was written: no store and no memory has the value of key %s, which consumers read. What is in %s may be replaced from now on: `rotator rotate %s%s` makes a new key and writes it there",
		live.ID, id, r.claim.Policy, again)
	old := newestOld(r, live)
	if old == nil || old.Compromised() || old.Health == journal.HealthDead {
		return say
	}
	handles, err := r.handles(r.policy)
	if err == nil {
		_, err = valueOf(ctx, r, old, handles)
	}
	if err != nil {
		return say
	}
	return fmt.Sprintf("%s; `rotator rollback %s` goes back to key %s, whose value is kept", say, r.claim.Policy, old.ID)
}

// giveBack puts the live key into a target again, where a human says that what is there may be replaced and no
// rotation is about to write it. refused says why that cannot be done, and what works instead.
func giveBack(ctx context.Context, r *run, pt policies.Target) (refused string, err error) {
	live := r.rec.Live()
	id := target.IDOf(pt)
	if live == nil || r.rec.Rotation != nil || !namedTargets(r)[id] || r.reader.Row(id).Fingerprint == live.Fingerprint {
		return "", nil
	}
	if r.engine.observing() != nil {
		return "", nil // the decision remains: what was decided on is replaced when the mode is rotate
	}
	switch err := reconciling(ctx, r); {
	case gone(ctx, err):
		return "", err
	case err != nil:
		return "", nil // which key is live is not known yet: nothing is written before that
	}
	ref := live.Ref
	handles, err := r.handles(r.policy)
	if err != nil {
		return "", err
	}
	value, err := valueOf(ctx, r, live, handles)
	if reason.Is(err, reason.NoOldValue) {
		return valueLost(ctx, r, r.rec.Key(ref), id), nil
	}
	if err != nil {
		return "", err
	}
	if err := prove(ctx, r, value, r.rec.Key(ref), true); xai.ProvesBad(err) {
		return "", nil // a new rotation replaces what is there
	} else if err != nil {
		return "", err
	}
	h, err := r.reader.Handle(pt)
	if err != nil {
		return "", err
	}
	_, ok := promoteAll(ctx, r, r.rec.Key(ref), value, []target.Handle{h})
	if !ok && r.reader.Row(id).Fingerprint != r.rec.Key(ref).Fingerprint {
		return "", fmt.Errorf("write %s: it is tried again by itself", id)
	}
	return "", nil
}
