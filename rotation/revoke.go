package rotation

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"rotator/rotation/effect"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/rotation/turn"
	"rotator/xai"
)

// A revoked key ends now, whatever reads it: it is turned off, else deleted. That stays wanted, in the key's row, until a list
// shows it off or its absence is proved, whatever becomes of the policy. It is done before anything else in a turn, and in a
// turn of its own first, which asks for no store: a store that hangs does not keep a leaked key alive.

// revokePace is the longest pause between two tries to end a revoked key.
const revokePace = time.Minute

// orderRevoke marks a key as one that is to end now. It is compromised from then on, with all that follows: another one is
// wanted where consumers read it.
func orderRevoke(ctx context.Context, r *run, o *journal.Order) (refused string, err error) {
	ids := o.KeyIDs.List()
	if len(ids) != 1 {
		return "name one key", nil
	}
	if !o.AcceptOutage {
		return "revoke ends a key whatever reads it: --accept-outage says that this is accepted", nil
	}
	k := r.rec.KeyByID(ids[0])
	if k == nil {
		return goneAlready(ctx, r, ids[0])
	}
	if k.State == journal.DisabledKey && k.Revoked() {
		return fmt.Sprintf("key %s was revoked at %s, and is off", k.ID, k.RevokedAt.Format(timeFormat)), nil
	}
	read := slices.Contains([]journal.KeyState{journal.LiveKey, journal.PromotingKey}, k.State)
	was, ref := k.State, k.Ref
	r.tell(journal.KeyRevoked, "key_id", k.ID, "state", string(was), "why", o.Why, "by", o.By, "readers", strings.Join(readersOf(r, k), " "))
	compromiseKey(r, k, o.Why, o.By)
	if k.RevokedAt.IsZero() {
		k.RevokedAt = r.now()
	}
	k.TryAt, k.Tries, k.Reason, k.Error = noTime, 0, "", ""
	if rot := r.rec.Rotation; was == journal.PromotingKey {
		rotation := k.RetireRotation
		if rot != nil && rot.KeyRef == ref {
			rotation = rot.ID
			supersede(r, journal.Superseded, "the key was revoked")
		}
		retireKey(r, r.rec.Key(ref), r.rec.Live(), rotation)
	}
	if read && r.rec.Policy.RemovedAt.IsZero() && !r.rec.Policy.Leaving() {
		wantKey(r, journal.ByCompromise, o.Why, o.By)
	}
	return "", nil
}

// goneAlready says why a key of that id cannot be revoked: the record has none.
func goneAlready(ctx context.Context, r *run, id string) (string, error) {
	known, err := r.engine.ledger.Keys(ctx, []string{id})
	if err != nil {
		return "", err
	}
	for _, k := range known {
		switch {
		case k.Policy != r.claim.Policy:
			return fmt.Sprintf("key %s belongs to policy %s", id, k.Policy), nil
		case k.State == journal.ForgottenKey:
			return fmt.Sprintf("key %s was let go: it is not this rotator's any more; delete it at xAI", id), nil
		case k.State == journal.DeletedKey:
			return fmt.Sprintf("key %s was deleted at %s", id, k.DeletedAt.Format(timeFormat)), nil
		}
	}
	return fmt.Sprintf("no key %s of %s in the journal", id, r.claim.Policy), nil
}

// readersOf names the targets of the policy that hold a key, or may.
func readersOf(r *run, k *journal.Key) (names []string) {
	for _, row := range r.rec.Targets {
		if k.ID != "" && row.KeyID == k.ID || sighted(r, row.TargetID, k) {
			names = append(names, row.TargetID.String())
		}
	}
	return names
}

// isEnding reports whether a key that was revoked has still to be ended: until it is seen off and nothing can turn it on again,
// or it is gone.
func isEnding(r *run, k *journal.Key) bool {
	if !k.Revoked() || k.State.Gone() || k.State == journal.CreatingKey {
		return false
	}
	_, owed := owedDisable(r, k)
	return k.State != journal.DisabledKey || owed
}

// owedDisable is an enable of a revoked key that may turn it on, or did: until a disable was acknowledged that was intended when
// it could not land any more.
func owedDisable(r *run, k *journal.Key) (last journal.Effect, owed bool) {
	for _, e := range r.rec.Effects {
		if e.Key != k.Ref || e.Kind != journal.EffectEnable || e.State != journal.EffectDone && e.State != journal.EffectUnknown {
			continue
		}
		undone := slices.ContainsFunc(r.rec.Effects, func(off journal.Effect) bool {
			return off.Key == k.Ref && off.Kind == journal.EffectDisable && !off.AckAt.IsZero() && !off.At.Before(e.QuietAt)
		})
		if !undone && !last.QuietAt.After(e.QuietAt) {
			last, owed = e, true
		}
	}
	return last, owed
}

// revoke ends the keys that people revoked.
func revoke(ctx context.Context, r *run) Outcome {
	all, _ := eachKey(ctx, r, work{wants: isEnding, do: endKey, pause: revokePace})
	return all
}

// endKey turns a revoked key off, or deletes it where xAI does not.
func endKey(ctx context.Context, r *run, k *journal.Key) Outcome {
	switch {
	case k.State == journal.RejectedKey, k.State == journal.DeletingKey, k.NeverDisabled && k.State != journal.DisabledKey:
		return doneOr(r, erase(ctx, r, k))
	case k.State == journal.DisabledKey:
		return keepOff(ctx, r, k)
	}
	return doneOr(r, turnOff(ctx, r, k))
}

// keepOff turns a revoked key off again that an earlier enable turned on, or still may: whenever it is seen on, and once more
// when that can land no more.
func keepOff(ctx context.Context, r *run, k *journal.Key) Outcome {
	ref := k.Ref
	if err := r.xaiTime(ctx, k.Team); err != nil {
		return failed(err)
	}
	k = r.rec.Key(ref)
	on, _ := owedDisable(r, k)
	if !effect.Quiet(on, r.clock()) {
		off, err := seemsOff(ctx, r, k)
		if err != nil {
			return failed(err)
		}
		if off {
			pace := min(max(r.now().Sub(on.At)/4, 2*time.Second), switchPace(r, k))
			return waits(minTime(later(on.QuietAt, r.now().Add(time.Second)), r.now().Add(pace)), reason.WaitQuarantine)
		}
	}
	_, err := disable(ctx, r, k)
	switch {
	case xai.ClassOf(err) == xai.ClassNotFound:
		err = confirmGone(ctx, r, r.rec.Key(ref))
	case xai.ClassOf(err) == xai.ClassInvalid, xai.ClassOf(err) == xai.ClassRoute:
		err = erase(ctx, r, r.rec.Key(ref))
	}
	return doneOr(r, err)
}

// isUrgent reports whether a revoked key can be ended now, or one was revoked that no one heard of.
func isUrgent(r *run) bool {
	return slices.ContainsFunc(r.rec.Orders, func(o journal.Order) bool { return o.Kind == journal.OrderRevoke && o.DoneAt.IsZero() }) ||
		slices.ContainsFunc(r.rec.Keys, func(k journal.Key) bool { return isEnding(r, &k) && !r.postponed(k.TryAt) })
}

// urgentJobs are those of a turn that only ends revoked keys.
var urgentJobs = []job{{"commands", revocations}, {"revoke", revoke}}

// revocations carries out orders to revoke, and no others: they may need a store.
func revocations(ctx context.Context, r *run) Outcome {
	return carryOut(ctx, r, func(o *journal.Order) bool { return o.Kind == journal.OrderRevoke })
}

// endRevoked is a turn that ends revoked keys and asks xAI alone. The policy is due at once afterwards, for all else.
func endRevoked(ctx context.Context, r *run, task *turn.Task) error {
	if err := task.Admit(teamsOf(r)); err != nil {
		return r.unadmitted(task, err)
	}
	for again, pass := true, 0; again && pass < maxPasses; pass++ {
		var err error
		if again, err = r.pass(ctx, urgentJobs); err != nil {
			return err
		}
		if err := r.commit(ctx, false); err != nil {
			return err
		}
	}
	for _, n := range r.notes {
		if n.Err != nil {
			r.log.Warn("key not revoked yet; will retry", "job", n.job, "reason", n.Reason, "err", n.Err)
		}
	}
	r.rec.Policy.NextRunAt = r.now().Add(time.Millisecond)
	if slices.ContainsFunc(r.rec.Orders, func(o journal.Order) bool { return o.Kind == journal.OrderRevoke && o.DoneAt.IsZero() }) {
		r.rec.Policy.NextRunAt = r.now().Add(time.Second) // the journal did not answer what it needs
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	return r.commit(ctx, true)
}

// teamsOf are the teams that the turn may call.
func teamsOf(r *run) []turn.Resource {
	var list []turn.Resource
	for _, one := range r.resources() {
		if strings.HasPrefix(one.Name, teamResource) {
			list = append(list, one)
		}
	}
	return list
}

// gateRevoked is what the gate asks for a key that was revoked: whose it is, and whether we may speak for its team. What reads
// the key, who holds the policy, and what the clocks say is passed over: people accepted the outage. A journal that is another
// installation's speaks for no key.
func gateRevoked(ctx context.Context, r *run, k *journal.Key, kind journal.EffectKind) (Team, error) {
	ref := k.Ref
	if r.engine.unclaimed() {
		return Team{}, reconciling(ctx, r)
	}
	if kind != journal.EffectDisable && kind != journal.EffectDelete || kind == journal.EffectDisable && (k.State == journal.DeletingKey || k.State == journal.RejectedKey) {
		return Team{}, reason.Errorf(reason.Internal, "%s key %s: it is %s", kind, k.ID, k.State)
	}
	team, err := validate(ctx, r, k.Team)
	if err != nil {
		return team, err
	}
	if err := explained(ctx, r, r.rec.Key(ref)); err != nil && r.engine.without != ruleExplained {
		return team, err
	}
	if r.engine.without == ruleIdentity {
		return team, nil
	}
	return team, listedAsOurs(ctx, r, r.rec.Key(ref))
}
