package rotation

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"rotator/internal/secret"
	"rotator/rotation/effect"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/rotation/target"
	"rotator/xai"
)

// A rule is one condition of the gate. Tests turn single ones off to show that each is needed.
type rule string

// The rules of the gate.
const (
	ruleState     rule = "state"     // the key's state allows it
	ruleHold      rule = "hold"      // no hold of scope all
	ruleReconcile rule = "reconcile" // the journal is known to be the newest
	ruleTeam      rule = "team"      // the management key speaks for the key's team, and the clocks agree
	ruleIdentity  rule = "identity"  // a list shows the key under the name that was recorded
	ruleTargets   rule = "targets"   // nothing that could hold the key holds it
	ruleEffects   rule = "effects"   // no write can put the key into a target any more
	ruleSuccessor rule = "successor" // another key is live, stands in every target, and proves itself
	ruleExplained rule = "explained" // an event of the audit trail tells how the key became ours
)

// gate decides whether a key may be disabled or deleted. Both are intended nowhere but behind it, in this file. Conditions
// that ask people or the world again are last, so that as little time as can be lies between them and the call.
//
// A key that people revoked passes by rules of its own, which ask only whose it is.
func gate(ctx context.Context, r *run, k *journal.Key, kind journal.EffectKind) (Team, error) {
	ref := k.Ref
	team, err := pass(ctx, r, k, kind)
	tellRefusal(r, ref, kind, err)
	return team, err
}

func pass(ctx context.Context, r *run, k *journal.Key, kind journal.EffectKind) (Team, error) {
	if isEnding(r, k) {
		return gateRevoked(ctx, r, k, kind)
	}
	team, err := checkFacts(ctx, r, k, kind)
	if err != nil {
		return team, err
	}
	checks := []struct {
		rule  rule
		check func(context.Context, *run, *journal.Key) error
	}{
		{ruleExplained, explained},
		{ruleIdentity, listedAsOurs},
		{ruleTargets, heldNowhere},
		{ruleEffects, nothingUnderWay},
		{ruleSuccessor, succeeded},
		{ruleHold, unheld}, // again: all this took a while, and people set holds without a claim
	}
	for _, c := range checks {
		if r.engine.without == c.rule {
			continue
		}
		if err := c.check(ctx, r, r.rec.Key(k.Ref)); err != nil {
			return team, err
		}
	}
	return team, nil
}

// checkFacts are the rules that need little: what the journal says, and whether xAI and we agree about who and when.
func checkFacts(ctx context.Context, r *run, k *journal.Key, kind journal.EffectKind) (team Team, err error) {
	on := func(x rule) bool { return r.engine.without != x }
	if on(ruleState) && !mayDestroy(r, k, kind) {
		return team, reason.Errorf(reason.Internal, "%s key %s: it is %s", kind, k.ID, k.State)
	}
	if on(ruleHold) {
		if err := unheld(ctx, r, k); err != nil {
			return team, err
		}
	}
	if on(ruleReconcile) {
		if err := reconciling(ctx, r); err != nil {
			return team, err
		}
	}
	if team, err = validate(ctx, r, k.Team); err != nil {
		return team, err
	}
	if on(ruleTeam) {
		err = clocksAgree(r)
	}
	return team, err
}

func mayDestroy(r *run, k *journal.Key, kind journal.EffectKind) bool {
	switch k.State {
	case journal.LiveKey:
		return r.rec.Policy.Leaving()
	case journal.RetiringKey, journal.RejectedKey:
		return true
	case journal.DisabledKey, journal.DeletingKey:
		return kind == journal.EffectDelete
	}
	return false
}

// unheld reads the hold again. A key that no consumer ever read is deleted also under a hold.
func unheld(ctx context.Context, r *run, k *journal.Key) error {
	if k.State == journal.RejectedKey || k.State == journal.DeletingKey && k.ExposedAt.IsZero() {
		return nil
	}
	hold, err := r.engine.ledger.HoldOf(ctx, r.claim.Policy)
	if err != nil {
		return err
	}
	if hold != r.rec.Hold { // as it was said: the commit must not say it again, it may be taken back meanwhile
		r.rec.Hold = hold
		if r.rec.Base != nil {
			r.rec.Base.Hold = hold
		}
	}
	if hold.Stops(r.now()) {
		return reason.Errorf(reason.Held, "%s is held: key %s stays as it is", r.claim.Policy, k.ID)
	}
	return nil
}

// listedAsOurs shows that a list of the team's keys has the key under the name that was recorded when it was made or found.
// A key that no list shows may be gone already: then there is nothing to compare.
func listedAsOurs(ctx context.Context, r *run, k *journal.Key) error {
	list, err := r.list(ctx, k.Team)
	if err != nil {
		return err
	}
	for _, have := range list.Keys {
		if have.ID == k.ID && have.Name != k.ListedName() {
			return reason.Errorf(reason.WrongIdentity, "xAI lists key %s as %q, and the journal knows it as %q: it is not touched", k.ID, have.Name, k.ListedName())
		}
	}
	return nil
}

// heldNowhere reads now whatever could hold the key: every target that the policy ever named, and every target of any
// policy that was seen to hold it; for an adopted key, which anyone may have written anywhere, every target of every
// policy. A target that cannot be read blocks, unless a human passed over its silence. The own targets of a decommissioned policy
// may hold a key that nothing uses.
func heldNowhere(ctx context.Context, r *run, k *journal.Key) error {
	ref := k.Ref
	for _, row := range slices.Clone(r.rec.Targets) {
		if mayCutOff(r, r.rec.Key(ref)) && owns(r, row.TargetID) {
			continue
		}
		if err := readForKey(ctx, r, row, r.rec.Key(ref), true); err != nil {
			return err
		}
	}
	others, err := elsewhere(ctx, r, k)
	if err != nil {
		return err
	}
	for _, row := range others {
		if err := readForKey(ctx, r, row, r.rec.Key(ref), false); err != nil {
			return err
		}
	}
	return stillSighted(ctx, r, r.rec.Key(ref))
}

// elsewhere are the targets of other policies that may hold a key.
func elsewhere(ctx context.Context, r *run, k *journal.Key) ([]journal.Target, error) {
	seen, err := r.engine.ledger.SightingsOf(ctx, k.ID, k.Fingerprint)
	if err != nil {
		return nil, err
	}
	var of []string // policies; those of a key that was adopted are all
	if k.Origin != journal.OfAdoption {
		for _, s := range seen {
			if s.Policy != r.claim.Policy && !slices.Contains(of, s.Policy) {
				of = append(of, s.Policy)
			}
		}
		if len(of) == 0 {
			return nil, nil
		}
	}
	all, err := r.engine.ledger.Targets(ctx, of...)
	if err != nil {
		return nil, err
	}
	concerned, err := concerned(ctx, r, k)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(t journal.Target) bool {
		sighted := slices.ContainsFunc(seen, func(s journal.Sighting) bool { return s.Policy == t.Policy && s.TargetID == t.TargetID })
		return t.Policy == r.claim.Policy || !sighted && !concerned(t.Policy)
	}), nil
}

// concerned tells of which policies the targets are read though no one has seen the key there: for an adopted key all, or those of one
// folder where the configuration says so, removed ones included.
func concerned(ctx context.Context, r *run, k *journal.Key) (func(policy string) bool, error) {
	if k.Origin != journal.OfAdoption {
		return func(string) bool { return false }, nil
	}
	within := r.env.AdoptedWithin(r.rec.Policy.File)
	if within == nil {
		return func(string) bool { return true }, nil
	}
	apart := make(map[string]bool) // policies of other folders; one that is not known counts
	for _, ask := range []func(context.Context) ([]journal.Spec, error){r.engine.ledger.Vanished, r.engine.ledger.Accepted} {
		specs, err := ask(ctx)
		if err != nil {
			return nil, err
		}
		for _, s := range specs {
			apart[s.Name] = !within(s.File)
		}
	}
	return func(policy string) bool { return !apart[policy] }, nil
}

// readForKey reads one target and refuses when it holds the key, or might.
func readForKey(ctx context.Context, r *run, row journal.Target, k *journal.Key, own bool) error {
	if k.Passed(row.TargetID) {
		return nil
	}
	unread := func(why error) error {
		return reason.Errorf(reason.UnreadTarget, "%s of policy %s could not be read, and may hold key %s: %w", row.TargetID, row.Policy, k.ID, why)
	}
	h, err := r.reader.HandleOf(row.TargetID)
	if err != nil && own && row.Decision == journal.Drop && !sighted(r, row.TargetID, k) {
		return nil // its store is no more, and it was never seen to hold the key
	}
	if err != nil {
		return unread(err)
	}
	var v secret.Text
	if own {
		v, err = r.reader.Read(ctx, h)
	} else {
		v, err = h.CurrentOrNothing(ctx)
	}
	switch {
	case gone(ctx, err):
		return err
	case err != nil && own && row.RemovedAt.IsZero() && !target.Excluded(row):
		return err // its store has trouble, and is asked again
	case err != nil:
		return unread(err)
	case target.Holds(v, k.Fingerprint), own && r.reader.Row(row.TargetID).KeyID == k.ID:
		return holdsKey(r, row, k)
	case v.Empty() && k.Origin == journal.OfAdoption && emptyTooShort(r, row) && !own:
		return unread(fmt.Errorf("it was found empty, and not yet for %s", target.EmptyFor))
	}
	another := row.KeyID != "" && row.Fingerprint == string(v.Fingerprint()) // it was reported which key this is
	if k.Fingerprint == "" && target.LooksLikeKey(v) && !another && row.DecidedFor != string(v.Fingerprint()) {
		id, told, err := askWho(ctx, r, v)
		switch {
		case err != nil:
			return unread(err)
		case !told:
			return unread(errors.New("xAI does not say which key a value is"))
		case id == k.ID:
			return holdsKey(r, row, k)
		}
	}
	if k.Fingerprint == "" && k.Origin == journal.OfAdoption && len(target.Prints(v)) > 2 && row.DecidedFor != string(v.Fingerprint()) {
		return reason.Errorf(reason.TargetHoldsKey, "%s of policy %s holds something that may be key %s, whose value was never seen", row.TargetID, row.Policy, k.ID)
	}
	return nil
}

// sighted reports whether a target was seen to hold a key, and may still.
func sighted(r *run, id journal.TargetID, k *journal.Key) bool {
	return slices.ContainsFunc(r.rec.Sightings, func(s journal.Sighting) bool {
		return s.TargetID == id && (s.KeyID == k.ID || k.Fingerprint != "" && s.Fingerprint == k.Fingerprint)
	})
}

// emptyTooShort reports that a target that reads empty may not be empty: a store that answers with nothing while it starts
// looks the same.
func emptyTooShort(r *run, row journal.Target) bool {
	return row.EmptyFrom.IsZero() || !r.clock().Passed(row.EmptyFrom.Add(target.EmptyFor))
}

// holdsKey refuses since a target holds the key. One that was believed to have been read by nothing was promoted by
// someone whom this journal does not know: then the journal is compared with the world first.
func holdsKey(r *run, row journal.Target, k *journal.Key) error {
	if k.State == journal.RejectedKey && !inFlightNames(r, k) {
		k.ExposedAt = r.now()
		r.move(k, journal.RetiringKey)
		k.RetireFrom = r.clock().Later()
		startReconciling(r, "a target holds key "+k.ID+", which was never promoted as far as this journal knows")
	}
	name := r.claim.Policy
	return reason.Errorf(reason.TargetHoldsKey, "%s still holds key %s; `rotator resolve %s --target %s --overwrite` replaces it, `rotator forget %s --target %s` says that it is no more",
		row.TargetID, k.ID, name, row.TargetID, name, row.TargetID)
}

func inFlightNames(r *run, k *journal.Key) bool {
	return r.rec.Rotation != nil && r.rec.Rotation.KeyRef == k.Ref
}

// stillSighted refuses while a target was seen to hold the key and it is not proved that it does no more.
func stillSighted(ctx context.Context, r *run, k *journal.Key) error {
	rows, err := r.engine.ledger.SightingsOf(ctx, k.ID, k.Fingerprint)
	if err != nil {
		return err
	}
	rows = slices.DeleteFunc(rows, func(s journal.Sighting) bool { return s.Policy == r.claim.Policy })
	for _, s := range r.rec.Sightings {
		if (s.KeyID == k.ID || k.Fingerprint != "" && s.Fingerprint == k.Fingerprint) && !(mayCutOff(r, k) && owns(r, s.TargetID)) {
			rows = append(rows, s)
		}
	}
	for _, s := range rows {
		if s.AbsentSince.IsZero() && s.Policy != r.claim.Policy {
			continue // it was read a moment ago and did not hold the key; its own policy ends the sighting
		}
		if s.AbsentSince.IsZero() && r.reader.Row(s.TargetID).EmptyFrom.IsZero() {
			return holdsKey(r, journal.Target{TargetID: s.TargetID}, k)
		}
		return reason.Errorf(reason.WaitAbsence, "%s held key %s and shows another value, or nothing, since a short time: it is read again", s.TargetID, k.ID)
	}
	return nil
}

// nothingUnderWay refuses while a write may land that puts the key into a target.
func nothingUnderWay(_ context.Context, r *run, k *journal.Key) error {
	for _, e := range r.rec.Effects {
		if e.Key == k.Ref && e.Kind == journal.EffectPromote && effect.Pending(e, r.clock()) {
			return reason.Errorf(reason.WaitQuarantine, "a write of key %s to %s may still take effect until %s", k.ID, e.Target, e.QuietAt.Format(timeFormat))
		}
	}
	return nil
}

// onTrial is the key that a canary holds, unless it is k.
func onTrial(r *run, k *journal.Key) *journal.Key {
	rot := r.rec.Rotation
	if rot == nil || rot.State != journal.Promoting || rot.CanaryFrom.IsZero() || rot.KeyRef == k.Ref {
		return nil
	}
	return r.rec.Key(rot.KeyRef)
}

// succeeded shows that consumers read another key, which works: every target that the policy writes holds the live key,
// which proves itself.
func succeeded(ctx context.Context, r *run, k *journal.Key) error {
	if k.ExposedAt.IsZero() && (k.State == journal.RejectedKey || k.State == journal.DeletingKey) {
		return nil // no consumer ever read it
	}
	if r.rec.Policy.Leaving() {
		return nil // there is to be none
	}
	live := r.rec.Live()
	if live == nil || live.Ref == k.Ref {
		return reason.Errorf(reason.NotProved, "key %s has no successor", k.ID)
	}
	handles, err := r.handles(r.policy)
	if err != nil {
		return err
	}
	var value secret.Text
	for _, h := range handles {
		v, err := r.reader.Read(ctx, h)
		if err != nil {
			return err
		}
		if next := onTrial(r, k); next != nil && target.Is(v, next.Fingerprint) {
			if err := prove(ctx, r, v, next, true); err != nil {
				return reason.Errorf(reason.NotProved, "key %s, which the canary reads: %w", next.ID, err)
			}
			continue
		}
		if live = r.rec.Live(); string(v.Fingerprint()) != live.Fingerprint && !target.Is(v, live.Fingerprint) {
			return reason.Errorf(reason.DriftFound, "%s does not hold key %s any more; say `rotator resolve %s --target %s --overwrite|--leave|--drop`", h.ID, live.ID, r.claim.Policy, h.ID)
		}
		value = v
	}
	err = prove(ctx, r, value, live, true)
	if xai.ProvesBad(err) {
		return reason.Errorf(reason.NotProved, "key %s, which consumers read, is refused: %w", live.ID, err)
	}
	return err
}
