package rotation

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"rotator/internal/secret"
	"rotator/policies"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/rotation/target"
	"rotator/xai"
)

// proofLasts is how long a key's proof allows a promote, within the turn that made it.
const proofLasts = 30 * time.Second

// The answers in a row, and over how long, that prove a key dead that consumers may read.
const (
	deadAnswers = 3
	deadSpan    = 5 * time.Second
)

// prove lets a key prove itself with its own value: by who it says it is, and by a call that its own rights allow. nil: it
// is that key and works. An error for which xai.ProvesBad is true counts against the key; any other says nothing about it.
//
// relied says that consumers may read the key already. Then an answer to the call that is not about the key (its model was
// retired, billing) leaves the identity as proof enough, and an event says so.
func prove(ctx context.Context, r *run, value secret.Text, k *journal.Key, relied bool) error {
	if at, ok := r.proofs[k.Ref]; ok && r.now().Sub(at).Abs() < proofLasts {
		return nil
	}
	known, err := identify(ctx, r, value, k)
	if err != nil {
		return err
	}
	v, ok := verification(r, k)
	if ok && v.Method != policies.MethodWhoami {
		err = verify(ctx, r, value, k, v)
	}
	if !known && (!ok || v.Method == policies.MethodWhoami) || notOffered(err) && v.Method == policies.MethodModels {
		switch v = chatOf(r, k); {
		case v.Model != "":
			err = verify(ctx, r, value, k, v)
		case !known:
			return reason.Errorf(reason.NotOffered, "xAI does not say who a key is, and key %s names no model to prove itself with: set verify.model", k.ID)
		default: // who it is must do: its rights are to be used where xAI offers that
			err = nil
		}
	}
	known = known || authorized(err)
	if err != nil && (!relied || !known || xai.ProvesBad(err) || gone(ctx, err)) {
		return err
	}
	noteUnproved(r, k, err)
	markProved(r, k)
	return nil
}

// noteUnproved reports, once for each cause, that a key that consumers read says who it is and could not be proved by a call.
func noteUnproved(r *run, k *journal.Key, err error) {
	text := ""
	if err != nil {
		text = "not proved by a call: " + string(xai.ClassOf(err))
	}
	if k.State != journal.LiveKey && k.State != journal.PromotingKey || k.Error == text {
		return
	}
	if k.Error = text; err != nil {
		r.tell(journal.KeyUnproved, "key_id", k.ID, "error", err.Error())
	}
}

// markProved notes that a key works.
func markProved(r *run, k *journal.Key) {
	r.proofs[k.Ref] = r.now()
	k.BadAnswers, k.BadSince = 0, noTime
	if k.ProvedAt.Add(r.engine.limits.Watch / 2).Before(r.now()) {
		k.ProvedAt = r.now()
	}
}

// identify asks xAI whether a value is the key. known is false where xAI does not offer that; then a key that we made is
// known by the fingerprint of its value.
func identify(ctx context.Context, r *run, value secret.Text, k *journal.Key) (known bool, err error) {
	if !target.Is(value, k.Fingerprint) {
		return false, reason.Errorf(reason.WrongIdentity, "the value at hand is not that of key %s", k.ID)
	}
	team, err := r.team(ctx, k.Team)
	if err != nil {
		return false, err
	}
	who, err := team.Probe.WhoAmI(ctx, value)
	switch {
	case notOffered(err):
		return false, nil
	case err != nil:
		return false, err
	case who.KeyID != k.ID:
		return false, reason.Errorf(reason.WrongIdentity, "xAI says that the value is key %s, and the journal says %s", who.KeyID, k.ID)
	case who.KeyDisabled || who.KeyBlocked:
		return false, &xai.Error{Op: xai.OpWhoAmI, Class: xai.ClassKeyDisabled, Status: 200}
	}
	if k.Spec == "" && len(who.ACLs) > 0 { // adopted: its rights are what it says they are
		r.acls[k.Ref] = who.ACLs
	}
	return true, nil
}

// verification is the call that a key can prove itself with: the policy's, if the key's rights cover it, else that of the
// policy that it was made under. false: who it is must be enough.
func verification(r *run, k *journal.Key) (policies.Verify, bool) {
	spec := specOf(k)
	acls := r.acls[k.Ref]
	if spec != nil {
		acls = spec.Key.ACLs
	}
	if covers(acls, r.policy.Verify) {
		return r.policy.Verify, true
	}
	if spec != nil && covers(spec.Key.ACLs, spec.Verify) {
		return spec.Verify, true
	}
	return policies.Verify{}, false
}

// chatOf is a chat call with a model that the key may use; Model is "" when none is known.
func chatOf(r *run, k *journal.Key) policies.Verify {
	acls := r.acls[k.Ref]
	if spec := specOf(k); spec != nil {
		if spec.Verify.Model != "" {
			return policies.Verify{Method: policies.MethodChat, Model: spec.Verify.Model}
		}
		acls = spec.Key.ACLs
	}
	if name := modelIn(acls); name != "" {
		return policies.Verify{Method: policies.MethodChat, Model: name}
	}
	v := policies.Verify{Method: policies.MethodChat, Model: r.policy.Verify.Model}
	if v.Model == "" {
		v.Model = modelIn(r.policy.Key.ACLs)
	}
	return v
}

// modelIn is the first model that rights name, or "".
func modelIn(acls []string) string {
	for _, acl := range acls {
		if name, ok := strings.CutPrefix(acl, "api-key:model:"); ok && name != "*" {
			return name
		}
	}
	return ""
}

// covers reports whether rights allow a verification.
func covers(acls []string, v policies.Verify) bool {
	switch v.Method {
	case policies.MethodWhoami:
		return true
	case policies.MethodModels:
		return policies.Covers(acls, "api-key:endpoint:models")
	}
	return policies.Covers(acls, "api-key:endpoint:chat") && policies.Covers(acls, "api-key:model:"+v.Model)
}

func verify(ctx context.Context, r *run, value secret.Text, k *journal.Key, v policies.Verify) error {
	team, err := r.team(ctx, k.Team)
	if err != nil {
		return err
	}
	if v.Method == policies.MethodModels {
		_, err := team.Probe.Models(ctx, value)
		return err
	}
	if err := team.Probe.Chat(ctx, value, v.Model); err != nil {
		return fmt.Errorf("model %s: %w", v.Model, err)
	}
	return nil
}

// authorized reports that xAI knew the key that was sent, and looked at its rights: only the call was not allowed.
func authorized(err error) bool {
	c := xai.ClassOf(err)
	return c == xai.ClassACL || c == xai.ClassModel
}

// accepts asks xAI with a key's own value whether it takes it: nil, if it does. Where xAI does not say who a key is, chat does.
func accepts(ctx context.Context, r *run, value secret.Text, k *journal.Key) error {
	team, err := r.team(ctx, k.Team)
	if err != nil {
		return err
	}
	who, err := team.Probe.WhoAmI(ctx, value)
	switch chat := chatOf(r, k); {
	case err == nil && (who.KeyDisabled || who.KeyBlocked):
		return &xai.Error{Op: xai.OpWhoAmI, Class: xai.ClassKeyDisabled, Status: 200}
	case notOffered(err) && chat.Model != "":
		err = team.Probe.Chat(ctx, value, chat.Model)
	}
	return err
}

// notOffered reports that xAI does not have the route that was asked.
func notOffered(err error) bool { return errors.Is(err, xai.ErrNotOffered) }

// answeredBad counts an answer against a key that consumers may read. proved: there were enough of them, over long enough.
func answeredBad(r *run, k *journal.Key) (proved bool) {
	now := r.now()
	if k.BadAnswers == 0 || k.BadSince.After(now) { // the clock was set back
		k.BadSince = now
	}
	k.BadAnswers++
	return k.BadAnswers >= deadAnswers && now.Sub(k.BadSince) >= deadSpan
}

// valueOf finds the bytes of a key: in memory, in a target, staged, or where a store keeps what it replaced.
// reason.NoOldValue is certain: every place was read, and none has them. Any other error means that a place could not be
// read.
func valueOf(ctx context.Context, r *run, k *journal.Key, handles []target.Handle) (secret.Text, error) {
	if v, ok := r.engine.hand.get(k.Ref); ok {
		return v, nil
	}
	want := secret.Fingerprint(k.Fingerprint)
	if k.Fingerprint == "" {
		return secret.Text{}, reason.Errorf(reason.NoOldValue, "the value of key %s was never seen", k.ID)
	}
	var errs []error
	for _, read := range []func(target.Handle) (secret.Text, error){
		func(h target.Handle) (secret.Text, error) { return h.Current(ctx) },
		func(h target.Handle) (secret.Text, error) { return h.Staged(ctx, k.Ref) },
		func(h target.Handle) (secret.Text, error) { return h.Previous(ctx, want) },
	} {
		for _, h := range handles {
			switch v, err := read(h); {
			case err == nil && want.Is(v):
				r.engine.hand.keep(r.claim.Policy, k.Ref, v)
				return v, nil
			case err == nil && want.Is(v.Trimmed()):
				r.engine.hand.keep(r.claim.Policy, k.Ref, v.Trimmed())
				return v.Trimmed(), nil
			case err != nil && !absent(err):
				errs = append(errs, err)
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return secret.Text{}, err
	}
	return secret.Text{}, reason.Errorf(reason.NoOldValue, "no store keeps the value of key %s", k.ID)
}

// validate shows that the management key speaks for the team, and what time it is at xAI. Where xAI does not offer that, a
// list of the team's keys does.
func validate(ctx context.Context, r *run, name string) (Team, error) {
	team, err := r.team(ctx, name)
	if err != nil {
		return team, err
	}
	mk, err := team.About.Validate(ctx)
	switch {
	case notOffered(err):
		_, err = r.list(ctx, name)
		return team, err
	case err != nil:
		return team, err
	case mk.TeamID != "" && mk.TeamID != team.ID:
		return team, reason.Errorf(reason.ManagementKey, "the management key of team %s belongs to another team", name)
	}
	return team, nil
}

// clocksAgree refuses where our clock and xAI's differ by more than they may.
func clocksAgree(r *run) error {
	if !r.timed {
		return reason.Errorf(reason.ClockSkew, "xAI's answer has no date to compare our clock with")
	}
	if skew := r.ahead.Abs(); skew > r.engine.limits.ClockSkew {
		return reason.Errorf(reason.ClockSkew, "our clock and xAI's differ by %s", skew.Round(time.Minute))
	}
	return nil
}

// noteSkew reports clocks that differ also while nothing is to be destroyed. A rotation in flight goes on anyway, and
// says what it waits for. A turn that did not see xAI's clock repeats what the last one said.
func noteSkew(r *run) {
	if r.rec.Rotation != nil {
		return
	}
	text := ""
	switch err := clocksAgree(r); {
	case r.timed && err != nil:
		text = err.Error()
	case !r.timed && r.rec.Policy.Reason == reason.ClockSkew:
		text = r.rec.Policy.Error
	}
	if text != "" {
		r.notes = append(r.notes, note{"clock", stands(noTime, reason.ClockSkew, text)})
	}
}

// list asks for the team's keys, now.
func (r *run) list(ctx context.Context, name string) (xai.KeyList, error) {
	team, err := r.team(ctx, name)
	if err != nil {
		return xai.KeyList{}, err
	}
	list, err := team.Keys.ListKeys(ctx, team.ID)
	if err != nil {
		return list, fmt.Errorf("list the keys of team %s: %w", name, err)
	}
	return list, nil
}
