package rotation

import (
	"context"
	"errors"
	"slices"
	"strings"

	"rotator/internal/secret"
	"rotator/policies"
	"rotator/rotation/journal"
	"rotator/xai"
)

// KeyLike reports whether a value has the form of an API key, perhaps with a line end that a file brought along. Nothing
// else that is found in a target is ever sent anywhere: a password, or a management key, must not leave this machine.
func KeyLike(v secret.Text) bool {
	s := v.Trimmed().Reveal()
	return strings.HasPrefix(s, "xai-") && !strings.HasPrefix(s, "xai-token-") &&
		!strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// identify returns the id of the key that a value is: from the journal by its fingerprint, else from the key itself.
// "" means that it is none, or none that xAI accepts.
func (t *turn) identify(ctx context.Context, v secret.Text) (string, error) {
	if v.Empty() {
		return "", nil
	}
	for i := range t.rec.Keys {
		if k := &t.rec.Keys[i]; isKey(v, *k) {
			return k.ID, nil
		}
	}
	if !KeyLike(v) {
		return "", nil
	}
	who, err := t.whoIs(ctx, v)
	if xai.ProvesBad(err) {
		return "", nil
	}
	if err == nil && strings.HasPrefix(who.Name, KeyPrefix) {
		if t.bears == nil {
			t.bears = make(map[string]string)
		}
		t.bears[who.KeyID] = who.Name
	}
	return who.KeyID, err
}

func (t *turn) whoIs(ctx context.Context, v secret.Text) (xai.Identity, error) {
	team, err := t.team(ctx, t.policy.Team)
	if err != nil {
		return xai.Identity{}, err
	}
	return team.Probe.WhoAmI(ctx, v)
}

// contact meets the policy's targets for the first time: what each holds becomes its baseline, which a promote may
// replace. What only a human may replace is left and reported. It changes nothing outside.
func (t *turn) contact(ctx context.Context, p *policies.Policy) error {
	for _, pt := range p.Targets {
		if row := t.row(idOf(pt)); row.Decision == journal.Drop || !row.ContactAt.IsZero() && row.RemovedAt.IsZero() {
			continue
		}
		s, err := t.spot(pt)
		if err != nil {
			return err
		}
		if err := t.meet(ctx, s); err != nil {
			return err
		}
	}
	if t.policy.Adopt { // until it succeeds: a key that is overwritten before would be nobody's for ever
		return t.adopt(ctx)
	}
	return nil
}

// meet reads one target for the first time, or for the first time since its policy names it again.
func (t *turn) meet(ctx context.Context, s spot) error {
	v, err := t.look(ctx, s)
	if err != nil {
		return err
	}
	row := t.row(s.id)
	claimed, err := t.claimedBy(ctx, row.KeyID, t.bears[row.KeyID])
	if err != nil {
		return err
	}
	row.ContactAt, row.RemovedAt = t.now(), noTime
	ours := t.key(row.KeyID) != nil
	switch {
	case v.Empty():
		row.Status, row.Replaceable = journal.TargetEmpty, ""
	case claimed != "" && (row.Decision != journal.Overwrite || row.DecidedFor != row.Fingerprint):
		t.disown(row)
		t.log.Warn("a target holds a key that is managed by others: a human must say what to do", "target", s.id.String(), "by", claimed)
	case ours, KeyLike(v), row.Decision == journal.Overwrite && row.DecidedFor == row.Fingerprint:
		row.Status, row.Replaceable = journal.TargetOK, row.Fingerprint
	default:
		row.Status = journal.TargetForeign
		t.log.Warn("a target holds something that is not an API key: a human must say what to do", "target", s.id.String())
	}
	return nil
}

// claimedBy says who else manages a key: another policy, by the journal, or by the key's name another Rotator or a policy
// that this journal does not know. "" means nobody.
func (t *turn) claimedBy(ctx context.Context, keyID, name string) (string, error) {
	if keyID == "" || t.key(keyID) != nil {
		return "", nil
	}
	switch k, err := t.journal.Key(ctx, keyID); {
	case err == nil && k.Policy != t.claim.Policy:
		return "policy " + k.Policy, nil
	case err == nil || !errors.Is(err, journal.ErrNotFound):
		return "", err
	case !strings.HasPrefix(name, KeyPrefix):
		return "", nil
	}
	ours, err := t.names(ctx)
	if policy, _, ok := keyName(name); err != nil || ok && slices.Contains(ours, policy) {
		return "", err
	}
	return "another Rotator, or a policy that is not known here (" + name + ")", nil
}

// disown leaves a target that holds somebody else's key to a human.
func (t *turn) disown(row *journal.Target) {
	row.Status, row.Replaceable = journal.TargetForeign, ""
}

// unmet says why a target must not be written: its first contact left it to a human.
func (t *turn) unmet(p *policies.Policy) error {
	live := make(map[string]journal.TargetID) // key id → a target that holds it
	for _, pt := range p.Targets {
		row := *t.row(idOf(pt))
		if excluded(row) {
			continue
		}
		if row.Status == journal.TargetForeign {
			return t.objection(&row)
		}
		if row.KeyID != "" && row.Decision != journal.Overwrite && t.key(row.KeyID) == nil {
			live[row.KeyID] = row.TargetID
		}
	}
	if len(live) > 1 {
		return t.differentKeys(len(live))
	}
	return nil
}

func (t *turn) differentKeys(n int) error {
	name := t.claim.Policy
	return stuckf(DifferentKeys, "the targets of %s hold %d different live keys; name those that may be replaced with `rotator resolve %s --target T --overwrite`", name, n, name)
}

// adopt makes the live key that the targets hold a predecessor of this policy: it will be retired like one of our own.
func (t *turn) adopt(ctx context.Context) error {
	if err := t.unmet(t.policy); err != nil {
		return nil // a human is asked first; the step that needs the targets says so
	}
	for _, pt := range t.policy.Targets {
		row := *t.row(idOf(pt))
		if row.KeyID == "" || row.Decision != journal.Undecided || t.key(row.KeyID) != nil || row.Status != journal.TargetOK {
			continue
		}
		if err := t.adoptKey(ctx, row); err != nil {
			return err
		}
	}
	return nil
}

func (t *turn) adoptKey(ctx context.Context, row journal.Target) error {
	team, err := t.team(ctx, t.policy.Team)
	if err != nil {
		return err
	}
	list, err := team.Keys.ListKeys(ctx, team.ID)
	if err != nil {
		return err
	}
	for _, k := range list.Keys {
		if k.ID != row.KeyID {
			continue
		}
		claimed, err := t.claimedBy(ctx, k.ID, k.Name)
		if err != nil {
			return err
		}
		if claimed != "" { // since the first contact, or the key did not say its name then
			t.disown(t.row(row.TargetID))
			return stuckf(AdoptedElsewhere, "%s holds a key that belongs to %s", row.TargetID, claimed)
		}
		adopted := journal.Key{
			ID: k.ID, Policy: t.claim.Policy, Team: t.policy.Team, Name: k.Name, Fingerprint: row.Fingerprint,
			Origin: journal.OfAdoption, Use: journal.UseCurrent, CreatedAt: k.Created, ExpiresAt: k.Expires,
		}
		t.rec.Keys = append(t.rec.Keys, adopted)
		if t.rec.Policy.KeyID == "" {
			t.putInUse(adopted)
		}
		t.tell(journal.KeyAdopted, "key_id", k.ID, "target", row.String())
		return nil
	}
	return stuckf(AdoptedElsewhere, "%s holds a live key that team %s does not list: it may belong to another team", row.TargetID, t.policy.Team)
}

// key returns a key of this policy by its id, or nil. The pointer is good until the next key is added.
func (t *turn) key(id string) *journal.Key {
	for i := range t.rec.Keys {
		if id != "" && t.rec.Keys[i].ID == id {
			return &t.rec.Keys[i]
		}
	}
	return nil
}

// isKey reports whether what a target holds is a key that the journal knows, perhaps with a line end behind it: whoever
// reads it there may well trim it.
func isKey(v secret.Text, k journal.Key) bool {
	print := secret.Fingerprint(k.Fingerprint)
	return print != "" && (print.Is(v) || print.Is(v.Trimmed()))
}

// keyOfPrint returns the key of this policy with that fingerprint, or nil.
func (t *turn) keyOfPrint(print string) *journal.Key {
	for i := range t.rec.Keys {
		if print != "" && t.rec.Keys[i].Fingerprint == print {
			return &t.rec.Keys[i]
		}
	}
	return nil
}
