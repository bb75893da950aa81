package rotation

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"rotator/internal/secret"
	"rotator/rotation/effect"
	"rotator/rotation/grant"
	"rotator/rotation/inventory"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/rotation/target"
	"rotator/stores"
	"rotator/xai"
)

// mayCreate refuses to make a key while earlier creates are not settled, or one was lost a moment ago.
func mayCreate(ctx context.Context, r *run) error {
	n := 0
	for i := range r.rec.Keys {
		switch k := &r.rec.Keys[i]; {
		case k.Reason == reason.NamesCut:
			return reason.Errorf(reason.NamesCut, "xAI keeps names shorter than asked: the key that a lost create made cannot be identified")
		case k.State == journal.CreatingKey, k.State == journal.RejectedKey:
			n++
		}
	}
	if n >= r.engine.limits.Unresolved {
		return reason.Errorf(reason.TooManyAttempts, "%d creates of %s are not settled yet", n, r.claim.Policy)
	}
	return nil
}

// planned makes the new key and stages it in every target.
//
// Order, and what a crash after each line leaves behind:
//  1. every target is read and can be written: nothing;
//  2. the key's name is recorded with the intent to create: a key whose create is unknown; its name is searched for;
//  3. the key is created: the same, and a key of that name, which is found and deleted;
//  4. its id and fingerprint are recorded with the intent to stage: the key goes on from any target that holds its value,
//     else it is deleted by its id;
//  5. the value is staged: the same.
func planned(ctx context.Context, r *run) Outcome {
	rot := r.rec.Rotation
	if k := r.rec.Key(rot.KeyRef); k != nil {
		return resume(ctx, r, k)
	}
	if err := mayCreate(ctx, r); err != nil {
		return failed(err)
	}
	if at := r.rec.Policy.NotBefore; r.rec.Policy.LostKeys > 0 && r.now().Before(at) {
		return waits(at, reason.WaitLost)
	}
	handles, err := ready(ctx, r)
	if err != nil {
		return failed(err)
	}
	k, value, err := create(ctx, r)
	if err != nil {
		return failed(err)
	}
	return stage(ctx, r, k, value, handles)
}

// ready reads every target now and shows that each can be written and holds what may be replaced. A store that is down
// must not cost a key: without this no create is sent.
func ready(ctx context.Context, r *run) ([]target.Handle, error) {
	if err := contact(ctx, r, r.plan); err != nil {
		return nil, err
	}
	if err := unmet(r, r.plan); err != nil {
		return nil, err
	}
	handles, err := r.handles(r.plan)
	if err != nil {
		return nil, err
	}
	for _, h := range handles {
		if err := replaceable(ctx, r, h); err != nil {
			return nil, err
		}
		if err := r.engine.observing(); err != nil { // a check may write a probe
			return nil, err
		}
		if err := h.Check(ctx); err != nil {
			return nil, err
		}
	}
	return handles, nil
}

// replaceable reads a target again and refuses when it holds what a promote must not replace.
func replaceable(ctx context.Context, r *run, h target.Handle) error {
	if _, err := r.reader.Read(ctx, h); err != nil {
		return err
	}
	v, err := assess(ctx, r, h.ID)
	if err != nil {
		return err
	}
	return v.Err(*r.reader.Row(h.ID))
}

// create records the intent, makes the key, and records what became of it. The plaintext it returns exists nowhere else.
func create(ctx context.Context, r *run) (*journal.Key, secret.Text, error) {
	rot := r.rec.Rotation
	if _, told := r.owners[r.plan.Team]; !told { // whose the key will be, and xAI's clock: the intent counts from it
		if _, err := validate(ctx, r, r.plan.Team); err != nil {
			return nil, secret.Text{}, err
		}
	}
	ref := newRef()
	r.rec.Keys = append(r.rec.Keys, journal.Key{
		Ref: ref, Policy: r.claim.Policy, Team: r.plan.Team, Name: inventory.Prefix + r.claim.Policy + "-" + ref, Rotation: rot.ID,
		Spec: string(r.plan.Canonical()), Asked: grant.Ask(r.plan.Key),
		Origin: journal.OfAttempt, State: journal.CreatingKey, CreatedAt: r.now(), UserID: r.owners[r.plan.Team],
	})
	rot.KeyRef = ref
	rot.Tries++
	made, err := sendCreate(ctx, r, ref, r.plan.Team, xai.CreateRequest{
		Name: r.rec.Key(ref).Name, ACLs: r.plan.Key.ACLs, QPS: r.plan.Key.QPS, QPM: r.plan.Key.QPM, TPM: r.plan.Key.TPM,
		Expires: expiryOf(r),
	})
	k := r.rec.Key(ref)
	switch {
	case gone(ctx, err), k == nil: // without a team nothing was written of it
		return nil, secret.Text{}, err
	case err == nil:
		return k, made.Secret, nil
	case made.ID != "": // xAI named the key and withheld its value
		leaveKey(r)
		rejectKey(r, k, "xAI's answer did not hold the key's value")
		countLost(r)
	case k.State == journal.CreatingKey && (xai.OutcomeUnknown(err) || reason.Is(err, reason.WrongIdentity)):
		doubtKey(r, k, err.Error())
	case k.State == journal.AbsentKey:
		leaveKey(r)
	}
	return nil, secret.Text{}, err
}

// expiryOf is when a key that is made now expires; zero: never.
func expiryOf(r *run) time.Time {
	after := r.plan.Key.ExpiresAfter.Std()
	if after == 0 {
		return noTime
	}
	return r.clock().Later().Add(after).UTC().Truncate(time.Second)
}

// sendCreate is the create itself: of a key whose row is there. It records what xAI said.
func sendCreate(ctx context.Context, r *run, ref, teamName string, q xai.CreateRequest) (made xai.CreatedKey, err error) {
	team, err := r.team(ctx, teamName)
	if err != nil {
		r.rec.Keys = deleteKey(r.rec.Keys, ref) // nothing was written of it
		if rot := r.rec.Rotation; rot != nil && rot.KeyRef == ref {
			leaveKey(r)
		}
		return made, err
	}
	e := journal.Effect{Key: ref, Kind: journal.EffectCreate}
	err = r.runner.Do(ctx, e, func(ctx context.Context) error {
		made, err = team.Keys.CreateKey(ctx, team.ID, q)
		return err
	})
	k := r.rec.Key(ref)
	if made.ID != "" {
		if no := asAsked(ctx, r, k, made); no != nil {
			return xai.CreatedKey{}, no
		}
	}
	switch {
	case made.ID != "":
		record(r, k, made)
		if err == nil && made.Name != "" && made.Name != k.Name {
			r.tell(journal.NamesShortened, "asked", k.Name, "kept", made.Name)
			k.KeptName = made.Name
		}
	case err != nil && (errors.Is(err, effect.ErrWithdrawn) || !errors.Is(err, journal.ErrLost) && effect.Refused(err)):
		r.move(k, journal.AbsentKey)
		k.Error = err.Error()
	}
	return made, err
}

// asAsked refuses an answer that names another key than the one that was asked for: of another name, unless it is ours cut
// short, or one that the journal knows already. Such a key is not touched; the one that was made is looked for by its name.
func asAsked(ctx context.Context, r *run, k *journal.Key, made xai.CreatedKey) error {
	if cut := strings.HasPrefix(k.Name, made.Name) && len(made.Name) > len(inventory.Prefix); made.Name != "" && !cut {
		return reason.Errorf(reason.WrongIdentity, "xAI answered the create of %q with key %s, which is named %q: that one is not touched", k.Name, made.ID, made.Name)
	}
	known, err := r.engine.ledger.Key(ctx, made.ID)
	switch {
	case errors.Is(err, journal.ErrNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("look up key %s: %w", made.ID, err)
	}
	return reason.Errorf(reason.WrongIdentity, "xAI answered the create of %q with key %s, which policy %s has already: that one is not touched", k.Name, made.ID, known.Policy)
}

// record writes down which key a create made: from here on it can be deleted by its id.
func record(r *run, k *journal.Key, made xai.CreatedKey) {
	k.ID, k.UserID = made.ID, made.UserID
	if !made.Secret.Empty() {
		k.Fingerprint = string(made.Secret.Fingerprint())
		r.engine.hand.keep(r.claim.Policy, k.Ref, made.Secret)
	}
	if made.Created.IsZero() {
		made.Created = k.CreatedAt
	}
	k.CreatedAt, k.ExpiresAt = made.Created, made.Expiry()
	if len(made.ACLs) > 0 && k.Asked != "" {
		grant.Made(k, r.policy, showsNow(k, made.Key))
	}
	r.move(k, journal.CandidateKey)
	if rot := r.rec.Rotation; rot != nil && rot.KeyRef == k.Ref {
		rot.KeyID, rot.Fingerprint = k.ID, k.Fingerprint
	}
	r.tell(journal.KeyCreated, k.Explanation()...)
}

// doubtKey gives up a key whose create may or may not have had its effect: settle looks for its name.
func doubtKey(r *run, k *journal.Key, why string) {
	k.Error = why
	r.tell(journal.KeyInDoubt, "ref", k.Ref, "name", k.Name, "error", why)
	leaveKey(r)
}

// leaveKey takes the key away from the rotation in flight, which then takes another one.
func leaveKey(r *run) {
	rot := r.rec.Rotation
	r.engine.hand.drop(rot.KeyRef)
	rot.KeyRef, rot.KeyID, rot.Fingerprint = "", "", ""
}

// resume goes on with a key that was begun earlier, perhaps by a process that is no more.
func resume(ctx context.Context, r *run, k *journal.Key) Outcome {
	switch k.State {
	case journal.CreatingKey:
		doubtKey(r, k, "the process ended while the create was under way")
		return moved
	case journal.CandidateKey:
	default: // rejected meanwhile, by a report or by a human
		leaveKey(r)
		return moved
	}
	handles, err := r.handles(r.plan)
	if err != nil {
		return failed(err)
	}
	value, err := valueOf(ctx, r, k, handles)
	if reason.Is(err, reason.NoOldValue) {
		return loseCandidate(r, k, handles, "the process ended before the value was staged anywhere")
	}
	if err != nil {
		return failed(err)
	}
	return stage(ctx, r, k, value, handles)
}

// loseCandidate gives a new key up whose value is nowhere. A store whose reads lag behind its writes may have it all the
// same: then it waits.
func loseCandidate(r *run, k *journal.Key, handles []target.Handle, why string) Outcome {
	for _, e := range r.rec.Effects {
		if e.Kind != journal.EffectStage || e.Key != k.Ref {
			continue
		}
		sent := e.State == journal.EffectDone && r.now().Sub(e.AckAt).Abs() < target.Lag ||
			e.State == journal.EffectUnknown && r.now().Sub(e.At).Abs() < target.Lag
		if sent {
			return waits(r.now().Add(lagPace), reason.StoreLags)
		}
	}
	rot := r.rec.Rotation
	if rot.State != journal.Planned {
		r.enter(journal.Planned)
	}
	leaveKey(r)
	rejectKey(r, k, why)
	countLost(r)
	return moved
}

// stage puts the value beside the current one in every target that can hold it there. The intents, and with them what is
// known of the key, are written in one commit.
func stage(ctx context.Context, r *run, k *journal.Key, value secret.Text, handles []target.Handle) Outcome {
	ref := k.Ref
	if err := stageAll(ctx, r, ref, value, handles); err != nil {
		return failed(err)
	}
	r.enter(journal.Staged)
	r.rec.Rotation.StagedAt = r.now()
	r.tell(journal.KeyStaged, "key_id", r.rec.Key(ref).ID, "targets", fmt.Sprint(len(handles)))
	return moved
}

func stageAll(ctx context.Context, r *run, ref string, value secret.Text, handles []target.Handle) error {
	effects := make([]*journal.Effect, len(handles))
	for i, h := range handles {
		effects[i] = &journal.Effect{Key: ref, Kind: journal.EffectStage, Target: h.ID}
	}
	if err := r.runner.Intend(ctx, effects...); err != nil {
		return err
	}
	var errs []error
	for i, h := range handles {
		err := r.runner.Send(ctx, effects[i].ID, func(ctx context.Context) error { return h.Stage(ctx, ref, value) })
		if gone(ctx, err) {
			return err
		}
		if err != nil && !errors.Is(err, stores.ErrNoStaging) { // then it waits in another target, or in memory
			errs = append(errs, err) // the others are still staged: the value must not be lost with this process
		}
	}
	return errors.Join(errs...)
}

func deleteKey(keys []journal.Key, ref string) []journal.Key {
	for i := range keys {
		if keys[i].Ref == ref {
			return append(keys[:i:i], keys[i+1:]...)
		}
	}
	return keys
}

func absent(err error) bool { return errors.Is(err, stores.ErrNotFound) }
