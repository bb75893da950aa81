package rotation

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"rotator/internal/secret"
	"rotator/rotation/inventory"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/xai"
)

// Paces and bounds of a rehearsal.
const (
	rehearsalBound = 3 * time.Minute  // for any one delay that is measured
	rehearsalPace  = time.Second      // between two looks
	rehearsalSweep = 15 * time.Minute // after which the key of a rehearsal that died is deleted
)

// rehearse takes a key with the least rights through its whole life at xAI, to see whether what is assumed of it holds:
// each assumption becomes an event. The key is one that is being created from before it is made and a rejected one
// afterwards, so whatever happens here, also a crash, it is found and deleted through the gate.
func rehearse(ctx context.Context, r *run) (refused string, err error) {
	if r.rec.Hold.Active(r.now()) {
		return "held: " + r.rec.Hold.Reason, nil
	}
	team, err := r.team(ctx, r.policy.Team)
	if err == nil {
		err = mayCreate(ctx, r) // a key that the gate would keep from being deleted must not be made
	}
	if err == nil {
		err = reconciling(ctx, r)
	}
	switch {
	case gone(ctx, err), reason.Is(err, reason.RestoredJournal):
		return "", err
	case err != nil:
		return err.Error(), nil
	}
	ref := newRef()
	r.rec.Keys = append(r.rec.Keys, journal.Key{
		Ref: ref, Policy: r.claim.Policy, Team: r.policy.Team, Name: inventory.Prefix + r.claim.Policy + "-" + ref, Spec: r.rec.Policy.Spec,
		Origin: journal.OfAttempt, State: journal.CreatingKey, CreatedAt: r.now(), TryAt: r.now().Add(rehearsalSweep),
	})
	h := &rehearsal{run: r, team: team, ref: ref}
	if err := h.live(ctx); gone(ctx, err) {
		return "", err
	}
	if k := r.rec.Key(ref); k != nil {
		r.engine.hand.drop(ref)
		k.TryAt = noTime // what is left of it is dealt with at once
	}
	return "", nil
}

// rehearsal is one life of one key.
type rehearsal struct {
	run   *run
	team  Team
	ref   string
	value secret.Text
}

func (h *rehearsal) key() *journal.Key { return h.run.rec.Key(h.ref) }

// found records what was seen of an assumption. detail holds no key.
func (h *rehearsal) found(assumption string, holds bool, detail string) {
	answer := "confirmed"
	if !holds {
		answer = "not confirmed"
	}
	h.answer(assumption, answer, detail)
}

func (h *rehearsal) answer(assumption, answer, detail string) {
	h.run.tell(journal.Assumption, "assumption", assumption, "answer", answer, "detail", detail)
}

// saw records an assumption that one call shows.
func (h *rehearsal) saw(assumption string, err error) error {
	detail := ""
	if err != nil {
		detail = err.Error()
	}
	h.found(assumption, err == nil, detail)
	return err
}

func (h *rehearsal) live(ctx context.Context) error {
	if err := h.create(ctx); err != nil {
		return err
	}
	h.measure(ctx, "a list shows the new key", func() (bool, error) { return h.listed(ctx, true) })
	h.measure(ctx, "propagation names clusters, and all of them get to know the key", func() (bool, error) {
		p, err := h.team.Keys.Propagation(ctx, h.key().ID)
		return p.Complete(), err
	})
	h.measure(ctx, "/v1/api-key names the key, three times in a row", func() (bool, error) { return h.named(ctx) })
	h.chat(ctx)
	qpm := 7
	_ = h.saw("limits can be updated", h.update(ctx, journal.EffectUpdate, xai.KeyUpdate{QPM: &qpm}))
	h.offAndOn(ctx)
	id := h.key().ID
	if err := h.saw("the key can be deleted", erase(ctx, h.run, h.key())); err != nil {
		return err
	}
	h.measure(ctx, "a deleted key is refused as unknown", func() (bool, error) {
		return xai.ClassOf(accepts(ctx, h.run, h.value, h.key())) == xai.ClassKeyUnknown, nil
	})
	h.measure(ctx, "a list lacks the deleted key", func() (bool, error) { return h.listedID(ctx, id, false) })
	return nil
}

// update changes the key of the rehearsal, which nothing uses.
func (h *rehearsal) update(ctx context.Context, kind journal.EffectKind, u xai.KeyUpdate) error {
	id := h.key().ID
	return h.run.runner.Do(ctx, journal.Effect{Key: h.ref, Kind: kind}, func(ctx context.Context) error {
		_, err := h.team.Keys.UpdateKey(ctx, h.team.ID, id, u)
		return err
	})
}

func (h *rehearsal) create(ctx context.Context) error {
	qpm := 5
	made, err := sendCreate(ctx, h.run, h.ref, h.run.policy.Team, xai.CreateRequest{Name: h.key().Name, ACLs: leastACLs(h.run.policy.Key.ACLs), QPM: &qpm})
	_ = h.saw("a key can be created, and the answer holds its id and its value", err)
	if made.ID == "" {
		return err
	}
	h.value = made.Secret
	h.run.move(h.key(), journal.RejectedKey)
	h.key().TryAt = h.run.now().Add(rehearsalSweep)
	return errors.Join(err, h.run.commit(ctx, false))
}

// chat talks to the policy's model, where it names one.
func (h *rehearsal) chat(ctx context.Context) {
	const assumption = "a chat call with one token works"
	model := h.run.policy.Verify.Model
	for _, acl := range leastACLs(h.run.policy.Key.ACLs) {
		if name, ok := strings.CutPrefix(acl, "api-key:model:"); ok && model == "" && name != "*" {
			model = name
		}
	}
	if model == "" {
		h.answer(assumption, "not asked", "the policy names no model")
		return
	}
	_ = h.saw(assumption, h.team.Probe.Chat(ctx, h.value, model))
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

func (h *rehearsal) listed(ctx context.Context, want bool) (bool, error) {
	return h.listedID(ctx, h.key().ID, want)
}

func (h *rehearsal) listedID(ctx context.Context, id string, want bool) (bool, error) {
	list, err := h.team.Keys.ListKeys(ctx, h.team.ID)
	if err != nil {
		return false, err
	}
	for _, k := range list.Keys {
		if k.ID == id {
			return want, nil
		}
	}
	return !want, nil
}

func (h *rehearsal) named(ctx context.Context) (bool, error) {
	for range h.run.engine.limits.Proofs {
		who, err := h.team.Probe.WhoAmI(ctx, h.value)
		if xai.ProvesBad(err) {
			return false, nil
		}
		if err != nil || who.KeyID != h.key().ID {
			return false, err
		}
	}
	return true, nil
}

// offAndOn disables the key and enables it again, which no reference confirms.
func (h *rehearsal) offAndOn(ctx context.Context) {
	on := false
	if _, err := disable(ctx, h.run, h.key()); h.saw("a key can be disabled by an update", err) != nil {
		return
	}
	h.measure(ctx, "a disabled key is refused", func() (bool, error) {
		return xai.ProvesBad(accepts(ctx, h.run, h.value, h.key())), nil
	})
	if h.saw("a key can be enabled again", h.update(ctx, journal.EffectEnable, xai.KeyUpdate{Disabled: &on})) != nil {
		return
	}
	h.measure(ctx, "an enabled key works again", func() (bool, error) {
		for range h.run.engine.limits.Proofs {
			if err := accepts(ctx, h.run, h.value, h.key()); err != nil && !authorized(err) {
				return false, nil
			}
		}
		return true, nil
	})
}

// measure looks until it is so, and records how long that took.
func (h *rehearsal) measure(ctx context.Context, assumption string, look func() (bool, error)) {
	start := h.run.now()
	var last error
	for h.run.now().Sub(start) < rehearsalBound && ctx.Err() == nil {
		ok, err := look()
		if ok {
			h.found(assumption, true, "after "+h.run.now().Sub(start).Round(10*time.Millisecond).String())
			return
		}
		if notOffered(err) {
			h.answer(assumption, "not asked", "xAI does not offer it")
			return
		}
		if last = err; h.run.engine.pause(ctx, rehearsalPace) != nil {
			break
		}
	}
	detail := fmt.Sprintf("not within %s", rehearsalBound)
	if last != nil {
		detail += ": " + last.Error()
	}
	h.found(assumption, false, detail)
}
