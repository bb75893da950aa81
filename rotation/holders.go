package rotation

import (
	"context"
	"fmt"
	"strings"

	"rotator/internal/secret"
	"rotator/policies"
	"rotator/rotation/journal"
	"rotator/xai"
)

// heldNowhere reads every target that could hold the key now, and refuses if one holds it or cannot be read.
func (t *turn) heldNowhere(ctx context.Context, k journal.Key) error {
	rows, err := t.holders(ctx, k)
	if err != nil {
		return err
	}
	for _, row := range rows {
		s, err := t.spot(policies.Target{Store: row.Store, Path: row.Path, Field: row.Field})
		switch {
		case err != nil && row.Policy == t.claim.Policy:
			return err // it says which store is missing
		case err != nil:
			return unread(ctx, row, err)
		case row.Policy == t.claim.Policy:
			err = t.reread(ctx, s, k)
		default:
			err = t.peek(ctx, s, row, k)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// holders returns the targets that could hold a key: every target of the policy, and those of other policies in which the
// key was seen or may be put. An adopted key was made by hand, and nobody knows which policies' targets it was given to:
// then it is every target that the journal knows, and every one that a policy names and nobody has read yet.
func (t *turn) holders(ctx context.Context, k journal.Key) ([]journal.Target, error) {
	var rows []journal.Target
	for _, row := range t.rec.Targets { // what this turn saw is not in the journal yet
		names := row.KeyID == k.ID || row.NextKeyID == k.ID
		// A rejected key was never given to consumers. A target that is out of use must not keep it alive.
		if names || k.Use != journal.UseRejected || row.RemovedAt.IsZero() {
			rows = append(rows, row)
		}
	}
	for _, plan := range []*policies.Policy{t.policy, t.plan} {
		if t.rec.Policy.RemovedAt.IsZero() {
			rows = append(rows, targetsOf(plan, t.claim.Policy)...)
		}
	}
	others, err := t.journal.TargetsOf(ctx, k.ID)
	if err == nil && k.Origin == journal.OfAdoption {
		others, err = t.everyTarget(ctx)
	}
	if err != nil {
		return nil, err
	}
	seen := make(map[journal.TargetID]bool, len(rows)+len(others))
	var distinct []journal.Target
	for _, row := range append(rows, others...) {
		if !seen[row.TargetID] {
			seen[row.TargetID] = true
			distinct = append(distinct, row)
		}
	}
	return distinct, nil
}

// everyTarget returns the whole target map, and what policies name and nobody has met yet.
func (t *turn) everyTarget(ctx context.Context) ([]journal.Target, error) {
	rows, err := t.journal.Targets(ctx)
	if err != nil {
		return nil, err
	}
	all, err := t.journal.Summaries(ctx)
	if err != nil {
		return nil, err
	}
	for _, other := range all {
		if !other.Policy.RemovedAt.IsZero() {
			continue
		}
		policy, err := policies.Decode([]byte(other.Policy.Spec))
		if err != nil {
			return nil, stuckf(UnreadTarget, "the targets of policy %s are not known: %w", other.Policy.Name, err)
		}
		rows = append(rows, targetsOf(policy, other.Policy.Name)...)
	}
	return rows, nil
}

// targetsOf returns rows for the targets that a policy names.
func targetsOf(policy *policies.Policy, name string) []journal.Target {
	var rows []journal.Target
	for _, pt := range policy.Targets {
		rows = append(rows, journal.Target{TargetID: idOf(pt), Policy: name})
	}
	return rows
}

// unread says that a target that may hold a key could not be read.
func unread(ctx context.Context, row journal.Target, err error) error {
	if gone(ctx, err) {
		return err
	}
	return stuckf(UnreadTarget, "%s of policy %s may hold the key and cannot be read: %w", row.TargetID, row.Policy, err)
}

// reread reads a target of ours, and brings the map up to date.
func (t *turn) reread(ctx context.Context, s spot, k journal.Key) error {
	row := *t.row(s.id)
	v, err := t.look(ctx, s)
	if err != nil && (excluded(row) || !row.RemovedAt.IsZero()) {
		return unread(ctx, row, err)
	}
	if err != nil {
		return err
	}
	if holds(v, t.row(s.id).KeyID, k) {
		name := t.claim.Policy
		return fmt.Errorf("%w; `rotator resolve %s --target %s --overwrite` replaces it, `rotator forget %s --target %s` says that it is no more", stillHolds(s, k), name, s.id, name, s.id)
	}
	t.row(s.id).NextKeyID = ""
	return nil
}

// peek reads a target of another policy.
func (t *turn) peek(ctx context.Context, s spot, row journal.Target, k journal.Key) error {
	v, err := s.currentOrNothing(ctx)
	if err != nil {
		return unread(ctx, row, err)
	}
	if string(v.Fingerprint()) != row.Fingerprint {
		row.KeyID = ""
	}
	if row.KeyID == "" && k.Fingerprint == "" && KeyLike(v) { // only xAI can tell whether this is the key
		who, err := t.whoIs(ctx, v.Trimmed())
		if err != nil && !xai.ProvesBad(err) {
			return unread(ctx, row, err)
		}
		row.KeyID = who.KeyID
	}
	if holds(v, row.KeyID, k) {
		return stillHolds(s, k)
	}
	return nil
}

// holds reports whether a target with the value v, which is the key id as far as known, holds k: as a whole or as a part,
// such as one line of a dotenv file.
func holds(v secret.Text, id string, k journal.Key) bool {
	return isKey(v, k) || k.Fingerprint != "" && contains(v, secret.Fingerprint(k.Fingerprint)) || id == k.ID
}

// contains reports whether a part of v is the key of that fingerprint.
func contains(v secret.Text, print secret.Fingerprint) bool {
	const begin = "xai-"
	for s := v.Reveal(); ; {
		i := strings.Index(s, begin)
		if i < 0 {
			return false
		}
		s = s[i:]
		end := strings.IndexFunc(s, func(r rune) bool { return !keyRune(r) })
		if end < 0 {
			end = len(s)
		}
		if print.Is(secret.New(s[:end])) {
			return true
		}
		s = s[len(begin):]
	}
}

// keyRune reports whether r may be part of an API key.
func keyRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_'
}

func stillHolds(s spot, k journal.Key) error {
	return stuckf(TargetHoldsKey, "%s still holds key %s", s.id, k.ID)
}
