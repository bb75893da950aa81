package rotation

import (
	"context"
	"fmt"
	"time"

	"rotator/internal/secret"
	"rotator/policies"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/rotation/target"
	"rotator/xai"
)

// lagPace is the pause between two reads of a store whose reads lag behind its writes.
const lagPace = time.Second

// staged waits until xAI knows the key everywhere, reads back what every target staged, proves those bytes, and asks once
// more whether the key is known everywhere.
func staged(ctx context.Context, r *run) Outcome {
	rot := r.rec.Rotation
	k := r.rec.Key(rot.KeyRef)
	if k == nil || k.State != journal.CandidateKey {
		return resumeLost(r, k)
	}
	if k.PropagatedAt.IsZero() {
		if out, ok := propagated(ctx, r, k); !ok {
			return out
		}
	}
	value, out, ok := readBack(ctx, r, k)
	if !ok {
		return out
	}
	if out, ok := proveNew(ctx, r, k, value); !ok {
		return out
	}
	// The set of clusters is not fixed: one that the map did not name before the proofs may be in it now.
	if out, ok := propagated(ctx, r, k); !ok {
		return out
	}
	r.enter(journal.Verified)
	rot.VerifiedAt = r.now()
	r.tell(journal.KeyVerified, "key_id", rot.KeyID)
	return moved
}

// resumeLost begins another key in place of one that was given up meanwhile.
func resumeLost(r *run, k *journal.Key) Outcome {
	r.enter(journal.Planned)
	if k != nil {
		r.log.Info("key given up; the rotation takes another", "key_id", k.ID, "state", k.State)
	}
	leaveKey(r)
	return moved
}

// verified checks that every target still holds what may be replaced, proves the key once more, and records the intent to
// promote: a pause of any length may lie between this step and the last.
func verified(ctx context.Context, r *run) Outcome {
	rot := r.rec.Rotation
	k := r.rec.Key(rot.KeyRef)
	if k == nil || k.State != journal.CandidateKey {
		return resumeLost(r, k)
	}
	handles, err := r.handles(r.plan)
	if err != nil {
		return failed(err)
	}
	if err := unmet(r, r.plan); err != nil {
		return failed(err)
	}
	value, err := valueOf(ctx, r, k, handles)
	if reason.Is(err, reason.NoOldValue) {
		return loseCandidate(r, k, handles, "no target holds the staged value any more")
	}
	if err != nil {
		return failed(err)
	}
	for _, h := range handles {
		if err := replaceable(ctx, r, h); err != nil {
			return failed(err)
		}
	}
	if k = r.rec.Key(rot.KeyRef); !longEnough(r, k) {
		return failed(reason.Errorf(reason.ExpiryTooShort, "key %s expires at %s, sooner than it could be replaced", k.ID, k.ExpiresAt.Format(timeFormat)))
	}
	if out, ok := proveNew(ctx, r, k, value); !ok {
		return out
	}
	pointOfNoReturn(r, k)
	return promoting(ctx, r)
}

// pointOfNoReturn records the intent to promote. The next commit writes it, with the intents to write the targets.
func pointOfNoReturn(r *run, k *journal.Key) {
	rot := r.rec.Rotation
	if k.State != journal.LiveKey { // after a rollback from promoting the old key never ceased to be live
		exposeKey(r, k)
	}
	r.enter(journal.Promoting)
	rot.PromotingAt = r.now()
	r.tell(journal.PromoteBegun, "key_id", rot.KeyID)
}

// propagated waits until every cluster that xAI names knows the key.
func propagated(ctx context.Context, r *run, k *journal.Key) (Outcome, bool) {
	team, err := r.team(ctx, k.Team)
	if err != nil {
		return failed(err), false
	}
	p, err := team.Keys.Propagation(ctx, k.ID)
	now := r.now()
	since := now.Sub(r.rec.Rotation.StagedAt).Abs() // of a clock that was set back too
	switch {
	case err == nil && (p.Complete() || !k.PropagationWaivedAt.IsZero()):
		if k.PropagatedAt.IsZero() {
			k.PropagatedAt = now
		}
		return nothing, true
	case err != nil && xai.ClassOf(err) != xai.ClassNotFound:
		return failed(err), false
	}
	k.PropagatedAt = noTime // until this is settled nothing else is asked
	switch {
	case err != nil:
		return badCandidate(r, k, err), false
	case since > r.engine.limits.Stuck:
		return failed(reason.Errorf(reason.PropagationStuck, "key %s did not reach all of %d clusters in %s; `rotator resolve %s --propagation` passes over it",
			k.ID, len(p), since.Round(time.Minute), r.claim.Policy)), false
	}
	// Often at first, since a second is the rule; then less and less.
	return waits(now.Add(min(max(since/8, 250*time.Millisecond), 15*time.Second)), reason.WaitPropagation), false
}

// readBack reads what each target staged and returns the bytes that all of them hold. What a target lost is staged again,
// unless the store's reads may only lag behind its writes.
func readBack(ctx context.Context, r *run, k *journal.Key) (secret.Text, Outcome, bool) {
	none := secret.Text{}
	handles, err := r.handles(r.plan)
	if err != nil {
		return none, failed(err), false
	}
	var value secret.Text
	var missing []target.Handle
	for _, h := range handles {
		switch v, err := h.Staged(ctx, k.Ref); {
		case err == nil && string(v.Fingerprint()) == k.Fingerprint:
			value = v
		case err == nil, absent(err):
			if stagedAgo(r, k, h.ID) < target.Lag {
				return none, waits(r.now().Add(lagPace), reason.StoreLags), false
			}
			missing = append(missing, h)
		default:
			return none, failed(err), false
		}
	}
	if value.Empty() {
		value, err = valueOf(ctx, r, k, handles)
		if reason.Is(err, reason.NoOldValue) {
			return none, loseCandidate(r, k, handles, "no target holds the staged value any more"), false
		}
		if err != nil {
			return none, failed(err), false
		}
	}
	r.engine.hand.keep(r.claim.Policy, k.Ref, value)
	if len(missing) > 0 {
		if err := stageAll(ctx, r, k.Ref, value, missing); err != nil {
			return none, failed(err), false
		}
		for _, h := range missing {
			if stagedAgo(r, k, h.ID) < target.Lag {
				return none, moved, false // it is read back in the next pass; others cannot stage, and the value is in memory
			}
		}
	}
	return value, nothing, true
}

// stagedAgo is how long ago a target acknowledged that it staged a key.
func stagedAgo(r *run, k *journal.Key, id journal.TargetID) time.Duration {
	ago := time.Duration(1 << 62)
	for _, e := range r.rec.Effects {
		if e.Kind == journal.EffectStage && e.Key == k.Ref && e.Target == id && e.State == journal.EffectDone {
			ago = min(ago, r.now().Sub(e.AckAt).Abs())
		}
	}
	return ago
}

// proveNew lets a key that is not live yet prove itself, several times by who it is and once by the policy's verification,
// and counts the answers that say it is bad: only a row of them over some time proves that, since "incorrect key" also
// means "not yet".
func proveNew(ctx context.Context, r *run, k *journal.Key, value secret.Text) (Outcome, bool) {
	if _, fresh := r.proofs[k.Ref]; !fresh && r.rec.Rotation.State == journal.Staged {
		for range r.engine.limits.Proofs - 1 {
			if known, err := identify(ctx, r, value, k); err != nil {
				return unproved(r, k, err), false
			} else if !known {
				break
			}
		}
	}
	if err := prove(ctx, r, value, k, false); err != nil {
		return unproved(r, k, err), false
	}
	return nothing, true
}

func unproved(r *run, k *journal.Key, err error) Outcome {
	if xai.ProvesBad(err) {
		return badCandidate(r, k, err)
	}
	return failed(err)
}

// badCandidate counts an answer against a key that consumers cannot read yet. Proved bad, the rotation is aborted and
// pauses.
func badCandidate(r *run, k *journal.Key, err error) Outcome {
	now := r.now()
	if k.BadAnswers == 0 || k.BadSince.After(now) { // the clock was set back
		k.BadSince = now
	}
	k.BadAnswers++
	if l := r.engine.limits; k.BadAnswers < l.BadAnswers || now.Sub(k.BadSince) < l.BadSpan {
		return waits(now.Add(min(max(now.Sub(k.BadSince)/2, 500*time.Millisecond), l.BadSpan/4)), reason.WaitProof)
	}
	abort(r, fmt.Sprintf("the new key is bad: %d answers in a row: %v", k.BadAnswers, err))
	r.rec.Policy.NotBefore = now.Add(r.engine.limits.MaxBackoff) // or a broken xAI would cost a key every two minutes
	return moved
}

// longEnough reports whether a key would not be due for replacement again at once.
func longEnough(r *run, k *journal.Key) bool {
	if k.ExpiresAt.IsZero() {
		return true
	}
	live := r.rec.Live()
	if live != nil && (live.Health == journal.HealthDead || !live.ExpiresAt.IsZero() && live.ExpiresAt.Before(k.ExpiresAt)) {
		return true // the live key is worse
	}
	return k.ExpiresAt.Sub(r.now()) > r.policy.Retire.Overlap.Std()+policies.Margin
}
