package rotation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"rotator/internal/secret"
	"rotator/policies"
	"rotator/rotation/journal"
	"rotator/stores"
	"rotator/xai"
)

// staged waits until xAI knows the key everywhere, reads back what every target staged, proves those bytes, and asks once
// more whether the key is known everywhere.
func (t *turn) staged(ctx context.Context) (next, error) {
	if n, stop := t.changed(); stop {
		return n, nil
	}
	if t.held() {
		return wait(t.rec.Hold.Until, Held), nil
	}
	if t.rec.Rotation.PropagatedAt.IsZero() {
		if n, err := t.propagated(ctx); err != nil || n != onward {
			return n, err
		}
	}
	value, n, err := t.readBack(ctx)
	if err != nil || n != onward {
		return n, err
	}
	for range t.limits.Proofs {
		if n, err := t.proves(ctx, value, policies.Verify{Method: "whoami"}); err != nil || n != onward {
			return n, err
		}
	}
	if n, err := t.proves(ctx, value, t.plan.Verify); err != nil || n != onward {
		return n, err
	}
	// The set of clusters is not fixed: one that the map did not name before the proofs may be in it now.
	if n, err := t.propagated(ctx); err != nil || n != onward {
		return n, err
	}
	t.enter(journal.Verified)
	t.rec.Rotation.VerifiedAt = t.now()
	t.tell(journal.KeyVerified, "key_id", t.rec.Rotation.KeyID)
	return again, nil
}

// verified checks that every target still holds what may be replaced, proves the staged bytes once more, and records
// the intent to promote: a pause of any length may lie between this step and the last.
func (t *turn) verified(ctx context.Context) (next, error) {
	if n, stop := t.changed(); stop {
		return n, nil
	}
	if t.held() {
		return wait(t.rec.Hold.Until, Held), nil
	}
	spots, err := t.spots(t.plan)
	if err != nil {
		return next{}, err
	}
	if err := t.unmet(t.plan); err != nil {
		return next{}, err
	}
	r := t.rec.Rotation
	value, err := t.value(ctx, spots, t.attempt())
	if errors.Is(err, stores.ErrNotFound) {
		return t.restart()
	}
	if err != nil {
		return next{}, err
	}
	if len(spots) > 1 { // with one, the promote's own comparison is as good; with more, none shall be found changed half-way
		for _, s := range spots {
			if err := t.replaceable(ctx, s); err != nil {
				return next{}, err
			}
		}
	}
	if n, err := t.proves(ctx, value, t.plan.Verify); err != nil || n != onward {
		return n, err
	}
	for _, s := range spots {
		row := t.row(s.id)
		row.NextKeyID = r.KeyID // the gate counts the target as holding the key from here on
	}
	t.enter(journal.Promoting)
	r.PromotingAt = t.now()
	t.tell(journal.PromoteBegun, "key_id", r.KeyID)
	return again, nil
}

// restart begins a new attempt because the value of the present one is nowhere any more.
func (t *turn) restart() (next, error) {
	a := t.attempt()
	t.enter(journal.Planned)
	t.lose(a, "no target holds the staged value any more")
	return again, nil
}

// propagated waits until every cluster that xAI names knows the key.
func (t *turn) propagated(ctx context.Context) (next, error) {
	team, err := t.team(ctx, t.plan.Team)
	if err != nil {
		return next{}, err
	}
	r := t.rec.Rotation
	p, err := team.Keys.Propagation(ctx, r.KeyID)
	now := t.now()
	since := now.Sub(r.StagedAt).Abs() // of a clock that was set back too
	switch {
	case err == nil && (p.Complete() || r.PropagationOK):
		if r.PropagatedAt.IsZero() {
			r.PropagatedAt = now
		}
		t.answeredWell()
		return onward, nil
	case err != nil && xai.ClassOf(err) != xai.ClassNotFound:
		return next{}, err
	}
	r.PropagatedAt = noTime // until this is settled nothing else is asked
	switch {
	case err != nil:
		return t.answeredBad(ctx, err)
	case since > t.limits.Stuck:
		return next{}, stuckf(PropagationStuck, "key %s did not reach all of %d clusters in %s; `rotator resolve %s --propagation` passes over it", r.KeyID, len(p), since.Round(time.Minute), t.claim.Policy)
	}
	// Often at first, since a second is the rule; then less and less.
	return wait(now.Add(min(max(since/8, 250*time.Millisecond), 15*time.Second)), WaitPropagation), nil
}

// readBack reads what each target staged and returns the bytes that all of them hold. What a target lost is staged again.
func (t *turn) readBack(ctx context.Context) (secret.Text, next, error) {
	a := t.attempt()
	spots, err := t.spots(t.plan)
	if err != nil {
		return secret.Text{}, next{}, err
	}
	var value secret.Text
	var missing []spot
	for _, s := range spots {
		switch v, err := s.staged(ctx, a.ID); {
		case err == nil && string(v.Fingerprint()) == a.Fingerprint:
			value = v
		case err == nil, errors.Is(err, stores.ErrNotFound):
			missing = append(missing, s)
		default:
			return secret.Text{}, next{}, err
		}
	}
	if value.Empty() {
		if value, err = t.value(ctx, spots, a); errors.Is(err, stores.ErrNotFound) {
			n, err := t.restart()
			return secret.Text{}, n, err
		}
		if err != nil {
			return secret.Text{}, next{}, err
		}
	}
	for _, s := range missing {
		if err := t.restage(ctx, s, a, value); err != nil {
			return secret.Text{}, next{}, err
		}
	}
	t.read = value
	return value, onward, nil
}

func (t *turn) restage(ctx context.Context, s spot, a *journal.Attempt, value secret.Text) error {
	err := s.stage(ctx, a.ID, value)
	if errors.Is(err, stores.ErrNoStaging) {
		return nil
	}
	if err != nil {
		return err
	}
	v, err := s.staged(ctx, a.ID)
	if err != nil {
		return err
	}
	if !v.Equal(value) {
		return fmt.Errorf("%s said yes to a staged value and serves another", s.id)
	}
	return nil
}

// proves lets the successor's value prove itself, and counts the answers that say it is bad: only a row of them over
// some time proves that, since "incorrect key" also means "not yet".
func (t *turn) proves(ctx context.Context, value secret.Text, v policies.Verify) (next, error) {
	r := t.rec.Rotation
	switch err := t.prove(ctx, value, r.KeyID, v); {
	case err == nil:
		t.proved = t.now()
		t.answeredWell()
		return onward, nil
	case xai.ProvesBad(err):
		t.proved = noTime
		return t.answeredBad(ctx, err)
	default:
		return next{}, err
	}
}

// prove asks xAI with the key itself. nil: it is the key keyID and does what the policy needs. An error for which
// xai.ProvesBad is true counts against the key; any other says nothing about it.
func (t *turn) prove(ctx context.Context, value secret.Text, keyID string, v policies.Verify) error {
	team, err := t.team(ctx, t.plan.Team)
	if err != nil {
		return err
	}
	switch v.Method {
	case "whoami":
		who, err := team.Probe.WhoAmI(ctx, value)
		if err != nil {
			return err
		}
		if who.KeyID != keyID {
			return stuckf(WrongIdentity, "xAI says that the value is key %s, and the journal says %s", who.KeyID, keyID)
		}
		if who.KeyDisabled || who.KeyBlocked {
			return &xai.Error{Op: xai.OpWhoAmI, Class: xai.ClassKeyDisabled, Status: 200}
		}
		return nil
	case "models":
		_, err = team.Probe.Models(ctx, value)
		return err
	default:
		return team.Probe.Chat(ctx, value, v.Model)
	}
}

// proveUsed is prove for a key that consumers read or have read. The rotation's own key also shows that it does what the
// policy needs, unless xAI does not offer the model any more. Any other key was made for another version of the policy, so
// that it only has to say who it is.
func (t *turn) proveUsed(ctx context.Context, value secret.Text, keyID string) error {
	identity := policies.Verify{Method: "whoami"}
	r := t.rec.Rotation
	if r == nil || keyID != r.KeyID {
		return t.prove(ctx, value, keyID, identity)
	}
	err := t.prove(ctx, value, keyID, t.plan.Verify)
	if xai.ClassOf(err) == xai.ClassModel {
		err = t.prove(ctx, value, keyID, identity)
	}
	return err
}

func (t *turn) answeredWell() {
	r := t.rec.Rotation
	r.BadSince, r.BadAt, r.BadCount = noTime, noTime, 0
}

// answeredBad counts an answer against the successor. Proved bad before the promote, the rotation goes back and pauses;
// afterwards what consumers read is at stake, and a new rotation takes over.
func (t *turn) answeredBad(ctx context.Context, err error) (next, error) {
	r := t.rec.Rotation
	now := t.now()
	if r.BadCount == 0 || r.BadSince.After(now) { // the clock was set back
		r.BadSince = now
	}
	r.BadCount++
	r.BadAt = now
	if r.BadCount < t.limits.BadAnswers || now.Sub(r.BadSince) < t.limits.BadSpan {
		return wait(now.Add(min(max(now.Sub(r.BadSince)/2, 500*time.Millisecond), t.limits.BadSpan/4)), WaitProof), nil
	}
	why := fmt.Sprintf("the new key is bad: %d answers in a row: %v", r.BadCount, err)
	if r.State.CanAbort() {
		t.rec.Policy.NotBefore = now.Add(t.limits.MaxBackoff) // or a broken xAI would cost a key every two minutes
		t.abort(why)
		return again, nil
	}
	return t.supersedeBad(ctx, why)
}
