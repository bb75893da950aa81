package rotation

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"rotator/internal/secret"
	"rotator/policies"
	"rotator/rotation/journal"
	"rotator/xai"
)

// Paces and bounds of a rehearsal.
const (
	rehearsalBound = 3 * time.Minute  // for any one delay that is measured
	rehearsalPace  = time.Second      // between two looks
	rehearsalSweep = 15 * time.Minute // after which the sweep deletes the key of a rehearsal that died
)

// rehearse takes a key with the least rights through its whole life at xAI, to see whether what is assumed of it holds:
// each assumption becomes an event. The key is an attempt in doubt from before it is made and a lost one afterwards, so
// whatever happens here, also a crash, the sweep deletes it through the gate.
func (t *turn) rehearse(ctx context.Context) (refused string, err error) {
	if t.held() {
		return "held: " + t.rec.Hold.Reason, nil
	}
	team, err := t.team(ctx, t.policy.Team)
	if err == nil {
		err = t.mayCreate(ctx) // a key that the gate would keep from being deleted must not be made
	}
	switch {
	case gone(ctx, err):
		return "", err
	case err != nil:
		return err.Error(), nil
	}
	id := uuid.Must(uuid.NewV7()).String()
	t.rec.Attempts = append(t.rec.Attempts, journal.Attempt{
		ID: id, Policy: t.claim.Policy, Team: t.policy.Team, Name: KeyPrefix + t.claim.Policy + "-" + id,
		State: journal.InDoubt, CreatedAt: t.now(), QuarantineUntil: t.now().Add(rehearsalSweep), SweepAt: t.now().Add(rehearsalSweep),
	})
	if err := t.commit(ctx, false); err != nil {
		return "", err
	}
	r := &rehearsal{turn: t, team: team, attempt: id}
	if err := r.run(ctx); gone(ctx, err) {
		return "", err
	}
	a := t.attemptByID(id)
	if a.State != journal.Settled {
		a.SweepAt = t.now() // at once, in this turn
	}
	return "", nil
}

// rehearsal is one life of one key.
type rehearsal struct {
	*turn
	team    Team
	attempt string
	key     xai.Key
	value   secret.Text
}

// found records what was seen of an assumption. detail holds no key.
func (r *rehearsal) found(assumption string, holds bool, detail string) {
	answer := "confirmed"
	if !holds {
		answer = "not confirmed"
	}
	r.answer(assumption, answer, detail)
}

func (r *rehearsal) answer(assumption, answer, detail string) {
	r.tell(journal.Assumption, "assumption", assumption, "answer", answer, "detail", detail)
}

// saw records an assumption that one call shows.
func (r *rehearsal) saw(assumption string, err error) error {
	detail := ""
	if err != nil {
		detail = err.Error()
	}
	r.found(assumption, err == nil, detail)
	return err
}

func (r *rehearsal) run(ctx context.Context) error {
	if err := r.create(ctx); err != nil {
		return err
	}
	defer r.drop(r.attempt)
	r.measure(ctx, "a list shows the new key", func() (bool, error) { return r.listed(ctx, true) })
	r.measure(ctx, "propagation names clusters, and all of them get to know the key", func() (bool, error) {
		p, err := r.team.Keys.Propagation(ctx, r.key.ID)
		return p.Complete(), err
	})
	r.measure(ctx, "/v1/api-key names the key, three times in a row", func() (bool, error) { return r.named(ctx) })
	r.chat(ctx)
	qpm := 7
	_, err := r.team.Keys.UpdateKey(ctx, r.team.ID, r.key.ID, xai.KeyUpdate{QPM: &qpm})
	_ = r.saw("limits can be updated", err)
	r.offAndOn(ctx)
	if err := r.saw("the key can be deleted", r.destroy(ctx, remove, r.key.ID)); err != nil {
		return err
	}
	r.measure(ctx, "a deleted key is refused as unknown", func() (bool, error) {
		_, err := r.team.Probe.WhoAmI(ctx, r.value)
		return xai.ClassOf(err) == xai.ClassKeyUnknown, nil
	})
	r.measure(ctx, "a list lacks the deleted key", func() (bool, error) { return r.listed(ctx, false) })
	a := r.attemptByID(r.attempt)
	a.State, a.SettledAt = journal.Settled, r.now()
	return nil
}

func (r *rehearsal) create(ctx context.Context) error {
	a := r.attemptByID(r.attempt)
	qpm := 5
	made, err := r.team.Keys.CreateKey(ctx, r.team.ID, xai.CreateRequest{Name: a.Name, ACLs: leastACLs(r.plan.Key.ACLs), QPM: &qpm})
	if err := r.saw("a key can be created, and the answer holds its id and its value", err); err != nil && made.ID == "" {
		if !xai.OutcomeUnknown(err) {
			a.State, a.SettledAt, a.Error = journal.Settled, r.now(), err.Error()
		}
		return err
	}
	r.key, r.value = made.Key, made.Secret
	a.State, a.KeyID, a.SweepAt = journal.Lost, made.ID, r.now().Add(rehearsalSweep)
	r.rec.Keys = append(r.rec.Keys, journal.Key{
		ID: made.ID, Policy: r.claim.Policy, Team: a.Team, Name: a.Name, Fingerprint: string(made.Secret.Fingerprint()),
		Origin: journal.OfAttempt, Attempt: a.ID, Use: journal.UseRejected, CreatedAt: a.CreatedAt,
	})
	return errors.Join(err, r.commit(ctx, false))
}

// chat talks to the policy's model, where it names one.
func (r *rehearsal) chat(ctx context.Context) {
	const assumption = "a chat call with one token works"
	model := r.plan.Verify.Model
	for _, acl := range leastACLs(r.plan.Key.ACLs) {
		if name, ok := strings.CutPrefix(acl, "api-key:model:"); ok && model == "" && name != "*" {
			model = name
		}
	}
	if model == "" {
		r.answer(assumption, "not asked", "the policy names no model")
		return
	}
	_ = r.saw(assumption, r.prove(ctx, r.value, r.key.ID, policies.Verify{Method: policies.MethodChat, Model: model}))
}

// leastACLs are the rights that a chat with one model needs.
func leastACLs(of []string) []string {
	least := []string{"api-key:endpoint:chat"}
	for _, acl := range of {
		if strings.HasPrefix(acl, "api-key:model:") {
			return append(least, acl)
		}
	}
	return append(least, "api-key:model:*")
}

func (r *rehearsal) listed(ctx context.Context, want bool) (bool, error) {
	list, err := r.team.Keys.ListKeys(ctx, r.team.ID)
	if err != nil {
		return false, err
	}
	for _, k := range list.Keys {
		if k.ID == r.key.ID {
			return want, nil
		}
	}
	return !want, nil
}

func (r *rehearsal) named(ctx context.Context) (bool, error) {
	for range r.limits.Proofs {
		who, err := r.team.Probe.WhoAmI(ctx, r.value)
		if xai.ProvesBad(err) {
			return false, nil
		}
		if err != nil || who.KeyID != r.key.ID {
			return false, err
		}
	}
	return true, nil
}

// offAndOn disables the key and enables it again, which no reference confirms.
func (r *rehearsal) offAndOn(ctx context.Context) {
	if r.saw("a key can be disabled by an update", r.destroy(ctx, disable, r.key.ID)) != nil {
		return
	}
	if r.turn.key(r.key.ID).DisabledAt.IsZero() {
		r.found("a disabled key is refused", false, "xAI did not disable it: old keys are deleted after the soak without being disabled")
		return
	}
	r.measure(ctx, "a disabled key is refused", func() (bool, error) {
		who, err := r.team.Probe.WhoAmI(ctx, r.value)
		return xai.ProvesBad(err) || err == nil && who.KeyDisabled, nil
	})
	if r.saw("a key can be enabled again", r.enable(ctx, r.key.ID)) != nil {
		return
	}
	r.measure(ctx, "an enabled key works again", func() (bool, error) { return r.named(ctx) })
}

// measure looks until it is so, and records how long that took.
func (r *rehearsal) measure(ctx context.Context, assumption string, look func() (bool, error)) {
	start := r.now()
	var last error
	for r.now().Sub(start) < rehearsalBound && ctx.Err() == nil {
		ok, err := look()
		if ok {
			r.found(assumption, true, "after "+r.now().Sub(start).Round(10*time.Millisecond).String())
			return
		}
		if last = err; r.pause(ctx, rehearsalPace) != nil {
			break
		}
	}
	detail := fmt.Sprintf("not within %s", rehearsalBound)
	if last != nil {
		detail += ": " + last.Error()
	}
	r.found(assumption, false, detail)
}
