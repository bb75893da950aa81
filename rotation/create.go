package rotation

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"rotator/internal/secret"
	"rotator/rotation/journal"
	"rotator/stores"
	"rotator/xai"
)

// planned makes the successor and stages it in every target.
//
// Order, and what a crash after each line leaves behind:
//  1. every target is read and can be written: nothing;
//  2. the attempt is recorded: an attempt in doubt, which the sweep settles;
//  3. the key is created: the same, and a key of that name, which the sweep finds and deletes;
//  4. its id and fingerprint are recorded: a lost attempt, whose key is deleted by its id;
//  5. the value is staged: the attempt goes on from any target that holds it.
func (t *turn) planned(ctx context.Context) (next, error) {
	if n, stop := t.changed(); stop {
		return n, nil
	}
	if t.held() {
		return wait(t.rec.Hold.Until, Held), nil
	}
	if a := t.attempt(); a != nil {
		return t.resume(ctx, a)
	}
	if err := t.mayCreate(ctx); err != nil {
		return next{}, err
	}
	spots, err := t.ready(ctx)
	if err != nil {
		return next{}, err
	}
	value, err := t.create(ctx)
	if err != nil {
		return next{}, err
	}
	return t.stage(ctx, spots, t.attempt(), value)
}

// changed aborts a rotation whose policy was edited or removed before the promote: it is planned anew.
func (t *turn) changed() (next, bool) {
	switch {
	case !t.rec.Policy.RemovedAt.IsZero():
		t.abort("the policy was removed")
	case !t.plan.SameRotation(t.policy):
		t.abort("the policy was edited")
	default:
		return next{}, false
	}
	return again, true
}

// attempt is the one whose key the rotation carries, or nil.
func (t *turn) attempt() *journal.Attempt {
	r := t.rec.Rotation
	for i := range t.rec.Attempts {
		if r.Attempt != "" && t.rec.Attempts[i].ID == r.Attempt {
			return &t.rec.Attempts[i]
		}
	}
	return nil
}

// ready reads every target now and shows that each can be written and holds what may be replaced. A store that is down
// must not cost a key: without this no create is sent.
func (t *turn) ready(ctx context.Context) ([]spot, error) {
	if err := t.contact(ctx, t.plan); err != nil {
		return nil, err
	}
	if err := t.unmet(t.plan); err != nil {
		return nil, err
	}
	spots, err := t.spots(t.plan)
	if err != nil {
		return nil, err
	}
	for _, s := range spots {
		if err := t.replaceable(ctx, s); err != nil {
			return nil, err
		}
		if err := s.check(ctx); err != nil {
			return nil, err
		}
	}
	return spots, nil
}

// replaceable reads a target afresh and refuses when it holds what a promote must not replace.
func (t *turn) replaceable(ctx context.Context, s spot) error {
	if _, err := t.look(ctx, s); err != nil {
		return err
	}
	return t.objection(t.row(s.id))
}

// objection says why what a target was last seen to hold must not be replaced without a human's word, or nil.
func (t *turn) objection(row *journal.Target) error {
	say := fmt.Sprintf("say `rotator resolve %s --target %s --overwrite|--leave|--drop`", t.claim.Policy, row.TargetID)
	switch {
	case t.judge(row):
		return nil
	case row.Status == journal.TargetForeign && row.KeyID != "":
		return stuckf(AdoptedElsewhere, "%s holds key %s, which another policy or another Rotator manages; give it to one policy only, or %s", row.TargetID, row.KeyID, say)
	case row.Status == journal.TargetForeign:
		return stuckf(ForeignValue, "%s holds something that is not an API key; %s", row.TargetID, say)
	case row.Fingerprint == "":
		return stuckf(TargetMissing, "%s is empty, and held a value before; restore it, or %s", row.TargetID, say)
	}
	return stuckf(DriftFound, "%s holds a value that is neither ours nor the baseline; %s", row.TargetID, say)
}

// create records the intent, makes the key, and records what became of it. The plaintext it returns exists nowhere else.
func (t *turn) create(ctx context.Context) (secret.Text, error) {
	r := t.rec.Rotation
	team, err := t.team(ctx, t.plan.Team)
	if err != nil {
		return secret.Text{}, err
	}
	id := uuid.Must(uuid.NewV7()).String()
	t.rec.Attempts = append(t.rec.Attempts, journal.Attempt{
		ID: id, Rotation: r.ID, Policy: t.claim.Policy, Team: t.plan.Team,
		Name: KeyPrefix + t.claim.Policy + "-" + id, State: journal.Intended, CreatedAt: t.now(),
	})
	r.Attempt = id
	r.Tries++
	if err := t.commit(ctx, false); err != nil {
		return secret.Text{}, err
	}
	a := t.attempt()
	made, err := team.Keys.CreateKey(ctx, team.ID, xai.CreateRequest{
		Name: a.Name, ACLs: t.plan.Key.ACLs, QPS: t.plan.Key.QPS, QPM: t.plan.Key.QPM, TPM: t.plan.Key.TPM,
	})
	switch {
	case errors.Is(err, journal.ErrLost):
		return secret.Text{}, err
	case err != nil && made.ID != "":
		t.record(a, made) // xAI named the key and withheld its value
		t.lose(a, "xAI's answer did not hold the key's value")
		return secret.Text{}, err
	case err != nil && xai.OutcomeUnknown(err):
		t.doubt(a, err.Error())
		return secret.Text{}, err
	case err != nil: // refused: there is no key
		a.State, a.SettledAt, a.Error = journal.Settled, t.now(), err.Error()
		r.Attempt = ""
		return secret.Text{}, err
	}
	t.keep(t.claim.Policy, a.ID, made.Secret)
	t.record(a, made)
	if err := t.commit(ctx, false); err != nil {
		return secret.Text{}, err
	}
	return made.Secret, nil
}

// record writes down which key an attempt made: from here on it can be deleted by its id.
func (t *turn) record(a *journal.Attempt, made xai.CreatedKey) {
	r := t.rec.Rotation
	a.State, a.KeyID, a.Fingerprint = journal.Created, made.ID, string(made.Secret.Fingerprint())
	r.KeyID, r.Fingerprint = a.KeyID, a.Fingerprint
	created := made.Created
	if created.IsZero() {
		created = a.CreatedAt
	}
	t.rec.Keys = append(t.rec.Keys, journal.Key{
		ID: made.ID, Policy: t.claim.Policy, Team: a.Team, Name: a.Name, Fingerprint: a.Fingerprint,
		Origin: journal.OfAttempt, Attempt: a.ID, Use: journal.UseSuccessor, CreatedAt: created, ExpiresAt: made.Expires,
	})
	t.tell(journal.KeyCreated, "key_id", made.ID, "attempt", a.ID)
}

// doubt gives up an attempt whose create may or may not have had its effect: the sweep looks for its name.
func (t *turn) doubt(a *journal.Attempt, why string) {
	a.State, a.Error = journal.InDoubt, why
	a.QuarantineUntil, a.SweepAt = t.now().Add(t.limits.Quarantine), t.now()
	t.tell(journal.KeyInDoubt, "attempt", a.ID, "name", a.Name, "error", why)
	t.leave(a)
}

// lose gives up an attempt whose key is known and whose value is gone: the key is deleted by its id. Whoever had the value
// may be frozen in the middle of staging it, so that what is staged is looked for again after the quarantine.
func (t *turn) lose(a *journal.Attempt, why string) {
	a.State, a.Error, a.SweepAt = journal.Lost, why, t.now()
	if a.Fingerprint != "" {
		a.QuarantineUntil = t.now().Add(t.limits.Quarantine)
	}
	if k := t.key(a.KeyID); k != nil {
		k.Use = journal.UseRejected
	}
	t.tell(journal.KeyLost, "attempt", a.ID, "key_id", a.KeyID, "error", why)
	t.leave(a)
}

// leave takes an attempt away from the rotation in flight, which then begins a new one.
func (t *turn) leave(a *journal.Attempt) {
	t.drop(a.ID)
	if r := t.rec.Rotation; r != nil && r.Attempt == a.ID {
		r.Attempt, r.KeyID, r.Fingerprint = "", "", ""
		r.PropagationOK = false // it was said of this key
		r.PropagatedAt, r.BadSince, r.BadAt, r.BadCount = noTime, noTime, noTime, 0
	}
}

// resume goes on with an attempt that was begun earlier, perhaps by a process that is no more.
func (t *turn) resume(ctx context.Context, a *journal.Attempt) (next, error) {
	if a.State == journal.Intended {
		t.doubt(a, "the process ended while the create was under way")
		return again, nil
	}
	spots, err := t.spots(t.plan)
	if err != nil {
		return next{}, err
	}
	value, err := t.value(ctx, spots, a)
	if errors.Is(err, stores.ErrNotFound) {
		t.lose(a, "the process ended before the value was staged anywhere")
		return again, nil
	}
	if err != nil {
		return next{}, err
	}
	return t.stage(ctx, spots, a, value)
}

// stage puts the value beside the current one in every target that can hold it there.
func (t *turn) stage(ctx context.Context, spots []spot, a *journal.Attempt, value secret.Text) (next, error) {
	var errs []error
	held := 0
	for _, s := range spots {
		switch err := s.stage(ctx, a.ID, value); {
		case err == nil:
			held++
		case errors.Is(err, stores.ErrNoStaging): // it waits in another target, or in memory
		default:
			errs = append(errs, err) // the others are still staged: the value must not be lost with this process
		}
	}
	if err := errors.Join(errs...); err != nil {
		return next{}, err
	}
	if held > 0 {
		t.drop(a.ID)
	}
	r := t.rec.Rotation
	t.enter(journal.Staged)
	r.StagedAt = t.now()
	t.tell(journal.KeyStaged, "key_id", a.KeyID, "targets", fmt.Sprint(len(spots)))
	return again, nil
}

// value finds the bytes of an attempt's key: in memory, staged, or already promoted. ErrNotFound is certain: every place
// was read, and none holds them. Any other error means that a place could not be read.
func (t *turn) value(ctx context.Context, spots []spot, a *journal.Attempt) (secret.Text, error) {
	if v, ok := t.inHand(a.ID); ok {
		return v, nil
	}
	if string(t.read.Fingerprint()) == a.Fingerprint {
		return t.read, nil
	}
	var errs []error
	for _, read := range []func(spot) (secret.Text, error){
		func(s spot) (secret.Text, error) { return s.staged(ctx, a.ID) },
		func(s spot) (secret.Text, error) { return s.current(ctx) },
	} {
		for _, s := range spots {
			switch v, err := read(s); {
			case err == nil && string(v.Fingerprint()) == a.Fingerprint:
				t.read = v
				return v, nil
			case err != nil && !errors.Is(err, stores.ErrNotFound):
				errs = append(errs, err)
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return secret.Text{}, err
	}
	return secret.Text{}, fmt.Errorf("the value of attempt %s: %w", a.ID, stores.ErrNotFound)
}

// unsettled returns the policy's attempts that a sweep has to settle.
func (t *turn) unsettled() []string {
	var ids []string
	for _, a := range t.rec.Attempts {
		if a.State == journal.InDoubt || a.State == journal.Lost {
			ids = append(ids, a.ID)
		}
	}
	return slices.Clip(ids)
}
