package rotation

import (
	"context"
	"errors"
	"slices"
	"strings"

	"rotator/internal/secret"
	"rotator/policies"
	"rotator/rotation/grant"
	"rotator/rotation/inventory"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/rotation/target"
	"rotator/xai"
)

// whoIs returns the id of the key that a value is: "" for one that xAI does not accept, or of which xAI does not say it.
func whoIs(ctx context.Context, r *run, v secret.Text) (string, error) {
	id, told, err := askWho(ctx, r, v)
	if err != nil || told {
		return id, err
	}
	return byPolicy(ctx, r, v)
}

// askWho asks a value which key it is: "" for one that xAI does not accept. told is false where xAI does not say that of any
// value. It learns the key's name too, which says who made it.
func askWho(ctx context.Context, r *run, v secret.Text) (id string, told bool, err error) {
	team, err := r.team(ctx, r.policy.Team)
	if err != nil {
		return "", false, err
	}
	who, err := team.Probe.WhoAmI(ctx, v.Trimmed())
	switch {
	case notOffered(err):
		return "", false, nil
	case xai.ProvesBad(err):
		return "", true, nil
	case err == nil:
		r.names[who.KeyID] = who.Name
	}
	return who.KeyID, true, err
}

// byPolicy is the id of a value that was made by hand, where xAI does not say which key a value is: the one that the policy
// names, if the value works and the policy holds no key yet. A policy that adopts and names none waits for a human: a key that
// is overwritten would belong to no policy, forever.
func byPolicy(ctx context.Context, r *run, v secret.Text) (string, error) {
	adopt := r.policy.Adopt
	if !adopt.On || slices.ContainsFunc(r.rec.Keys, func(k journal.Key) bool { return !k.ExposedAt.IsZero() }) {
		return "", nil
	}
	for _, row := range r.rec.Targets {
		if adopt.KeyID != "" && row.KeyID == adopt.KeyID && !target.Is(v, row.Fingerprint) {
			return "", nil // another target holds that key, and this is another one
		}
	}
	team, err := r.team(ctx, r.policy.Team)
	if err != nil {
		return "", err
	}
	model := chatOf(r, &journal.Key{}).Model
	if model == "" {
		return "", reason.Errorf(reason.NotOffered, "xAI does not say which key a value is, and the policy names no model to prove it with: set verify.model")
	}
	switch err := team.Probe.Chat(ctx, v.Trimmed(), model); {
	case xai.ProvesBad(err):
		return "", nil
	case err != nil && !authorized(err):
		return "", err
	case adopt.KeyID == "":
		return "", reason.Errorf(reason.NotOffered, "xAI does not say which key a target holds: name it in the policy, `adopt: {key_id: ID}`, or set `adopt: false`")
	}
	list, err := r.list(ctx, r.policy.Team)
	for _, have := range list.Keys {
		if have.ID == adopt.KeyID {
			r.names[have.ID] = have.Name
		}
	}
	return adopt.KeyID, err
}

// contact meets the policy's targets for the first time: what each holds becomes its baseline, which a promote may
// replace. What only a human may replace is left and reported. It changes nothing outside, and goes on past a target that
// fails.
func contact(ctx context.Context, r *run, p *policies.Policy) error {
	var errs []error
	for _, pt := range p.Targets {
		if row := r.reader.Row(target.IDOf(pt)); row.Decision == journal.Drop || !row.ContactAt.IsZero() && row.RemovedAt.IsZero() {
			continue
		}
		h, err := r.reader.Handle(pt)
		if err == nil {
			err = meet(ctx, r, h)
		}
		if gone(ctx, err) {
			return err
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if r.policy.Adopt.On { // until it succeeds: a key overwritten before then would belong to no policy, forever
		return adoptLive(ctx, r)
	}
	return nil
}

// meet reads one target for the first time, or for the first time since its policy names it again.
func meet(ctx context.Context, r *run, h target.Handle) error {
	v, err := r.reader.Read(ctx, h)
	if err != nil {
		return err
	}
	row := r.reader.Row(h.ID)
	again := !row.RemovedAt.IsZero()
	row.RemovedAt, row.ContactAt = noTime, noTime
	row.Status = journal.TargetNew
	decided := row.Decision == journal.Overwrite && row.DecidedFor == row.Fingerprint
	if !v.Empty() && row.KeyID == "" && !target.LooksLikeKey(v) && !decided {
		row.Status = journal.TargetForeign
	}
	if again {
		row.Decision, row.DecidedFor = journal.Undecided, ""
	}
	if row.Place, err = h.Place(ctx); err != nil {
		return err
	}
	verdict, err := assess(ctx, r, h.ID)
	if err != nil {
		return err
	}
	row = r.reader.Row(h.ID)
	row.ContactAt, row.Status = r.now(), verdict.Status
	if verdict.MayReplace {
		row.Replaceable = row.Fingerprint
	} else {
		r.log.Warn("target needs a decision", "target", h.ID.String(), "status", verdict.Status)
	}
	return nil
}

// unmet says why a policy's targets must not be written: one was left to a human, or they hold different live keys.
func unmet(r *run, p *policies.Policy) error {
	live := make(map[string]bool)
	for _, pt := range p.Targets {
		row := *r.reader.Row(target.IDOf(pt))
		if target.Excluded(row) {
			continue
		}
		switch row.Status {
		case journal.TargetForeign, journal.TargetOtherPolicy, journal.TargetOtherRotator, journal.TargetSamePlace:
			err := verdictOf(r, row).Err(row)
			if row.Status == journal.TargetOtherPolicy && r.policy.Adopt.On {
				err = reason.Errorf(reason.AdoptedElsewhere, "%w", err)
			}
			return err
		}
		if row.KeyID != "" && row.Decision != journal.Overwrite && r.rec.KeyByID(row.KeyID) == nil {
			live[row.KeyID] = true
		}
	}
	if len(live) > 1 {
		return differentKeys(r, len(live))
	}
	return nil
}

// verdictOf repeats what was judged when the target was last read.
func verdictOf(r *run, row journal.Target) target.Verdict {
	f := target.Facts{Policy: r.claim.Policy}
	switch row.Status {
	case journal.TargetOtherPolicy:
		f.Owner = "another"
	case journal.TargetOtherRotator:
		f.Stranger = true
	case journal.TargetSamePlace:
		f.SamePlace = "another"
	}
	return target.Assess(row, nil, f)
}

func differentKeys(r *run, n int) error {
	name := r.claim.Policy
	return reason.Errorf(reason.DifferentKeys, "the targets of %s hold %d different live keys; name those that may be replaced with `rotator resolve %s --target T --overwrite`", name, n, name)
}

// objections says what a human has to look at in the policy's targets, also while nothing is due.
func objections(ctx context.Context, r *run) error {
	if err := reconciling(ctx, r); err != nil {
		return err
	}
	for _, pt := range r.policy.Targets {
		row := *r.reader.Row(target.IDOf(pt))
		if target.Excluded(row) {
			continue
		}
		switch row.Status {
		case journal.TargetDrift, journal.TargetForeign, journal.TargetMissing, journal.TargetOtherPolicy, journal.TargetOtherRotator, journal.TargetSamePlace:
			return verdictOf(r, row).Err(row)
		}
	}
	return unmet(r, r.policy)
}

// samePlace names another policy's target that is the same place under another name, or "".
func samePlace(ctx context.Context, r *run, row journal.Target) (string, error) {
	if row.Place == "" {
		return "", nil
	}
	all, err := r.engine.ledger.TargetsAt(ctx, row.Store, row.Place)
	if err != nil {
		return "", err
	}
	i := slices.IndexFunc(all, func(t journal.Target) bool {
		return t.Store == row.Store && t.Place == row.Place && t.TargetID != row.TargetID && t.Policy != row.Policy && t.RemovedAt.IsZero()
	})
	if i < 0 {
		return "", nil
	}
	return all[i].String() + " of policy " + all[i].Policy, nil
}

// adoptLive makes the live key that the targets hold the policy's own: it will be retired like one that the rotator made.
func adoptLive(ctx context.Context, r *run) error {
	if err := unmet(r, r.policy); err != nil {
		return nil // a human is asked first; the step that needs the targets says so
	}
	for _, pt := range r.policy.Targets {
		row := *r.reader.Row(target.IDOf(pt))
		if !r.policy.Adopt.Takes(row.KeyID) || row.KeyID == "" || row.Decision != journal.Undecided || r.rec.KeyByID(row.KeyID) != nil || row.Status != journal.TargetOK {
			continue
		}
		if err := adoptKey(ctx, r, row); err != nil {
			return err
		}
	}
	return nil
}

func adoptKey(ctx context.Context, r *run, row journal.Target) error {
	k, err := r.engine.ledger.Key(ctx, row.KeyID)
	if err == nil && k.Policy != r.claim.Policy && !k.State.Gone() {
		return reason.Errorf(reason.AdoptedElsewhere, "%s holds a key that belongs to policy %s", row.TargetID, k.Policy)
	}
	if err != nil && !errors.Is(err, journal.ErrNotFound) {
		return err
	}
	known := err == nil
	list, err := r.list(ctx, r.policy.Team)
	if err != nil {
		return err
	}
	for _, have := range list.Keys {
		if have.ID != row.KeyID {
			continue
		}
		// The name may be that of a policy of another installation, which has the same name and whose consumers read the key elsewhere.
		strange := strings.HasPrefix(have.Name, inventory.Prefix) && r.policy.Adopt.KeyID != have.ID
		if strange || known && letGo(k) {
			return reason.Errorf(reason.OtherRotator, "%s holds key %s, which is named %q: a Rotator made it, and this journal does not know it; `rotator keys adopt %s` takes it over if no other one manages it",
				row.TargetID, have.ID, have.Name, r.claim.Policy)
		}
		if err := narrows(r, have, row.TargetID); err != nil {
			return err
		}
		k := adoptAs(r, have, row.Fingerprint, journal.LiveKey)
		r.tell(journal.KeyAdopted, append(k.Explanation(), "target", row.String())...)
		return nil
	}
	return reason.Errorf(reason.AdoptedElsewhere, "%s holds a live key that team %s does not list: it may belong to another team", row.TargetID, r.policy.Team)
}

// adoptAs records a key that this journal did not make, or let go once.
func adoptAs(r *run, have xai.Key, fingerprint string, as journal.KeyState) *journal.Key {
	_, ref, ours := keyName(have.Name)
	if !ours || r.rec.Key(ref) != nil {
		ref = newRef()
	}
	k := journal.Key{
		Ref: ref, ID: have.ID, Policy: r.claim.Policy, Team: r.policy.Team, Name: have.Name, UserID: have.UserID,
		Origin: journal.OfAdoption, State: as, Fingerprint: fingerprint, CreatedAt: have.Created, ExpiresAt: have.Expiry(),
		ExposedAt: r.now(),
	}
	if as == journal.LiveKey {
		if live := r.rec.Live(); live != nil {
			retireKey(r, live, nil, "")
		}
		k.LiveAt = r.now()
		if p := &r.rec.Policy; ours && k.CreatedAt.After(p.LastSuccess) {
			p.LastSuccess = k.CreatedAt // it went live soon afterwards: the schedule goes on as it was
		}
	}
	grant.Begin(&k, r.policy, showsNow(&k, have))
	r.rec.Keys = append(r.rec.Keys, k)
	return &r.rec.Keys[len(r.rec.Keys)-1]
}
