package rotation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"rotator/policies"
	"rotator/rotation/journal"
	"rotator/xai"
)

// Adoption is what becomes of one key when the journal's part of a policy is made anew from what the targets hold and
// what xAI lists: after the journal was lost, or lost its last commits.
type Adoption struct {
	Policy string  // "" for a key that is no policy's
	Key    xai.Key // zero where Why speaks of the policy
	Target string  // one that holds the key now
	As     AdoptAs
	Why    string
}

// AdoptAs is what a key is adopted as.
type AdoptAs string

// What becomes of a key. Nothing that a list shows tells a key that was made and never promoted from one that consumers
// read until a rollback. So every key but the one in use is taken for one that somebody may still read: it is off after a
// full overlap, which one command undoes, and deleted after the soak.
const (
	AdoptCurrent     AdoptAs = "current"     // it is what the targets hold: the policy's key in use
	AdoptPredecessor AdoptAs = "predecessor" // to be retired
	AdoptLeft        AdoptAs = "left"        // not touched
	AdoptWaits       AdoptAs = "waits"       // a human has to act first
)

// keyName takes the name of a key apart that the rotator made: rotator-<policy>-<attempt id>. It is not ok for a name
// that the rotator never gives.
func keyName(name string) (policy, attempt string, ok bool) {
	rest, ok := strings.CutPrefix(name, KeyPrefix)
	const length = 36 // of a UUID as text
	if cut := len(rest) - length; ok && cut > 1 && rest[cut-1] == '-' {
		policy, attempt = rest[:cut-1], rest[cut:]
	}
	id, err := uuid.Parse(attempt)
	return policy, attempt, err == nil && id.Version() == 7 && id.String() == attempt
}

func heldBy(row journal.Target) string {
	return fmt.Sprintf("%s of policy %s holds it", row.TargetID, row.Policy)
}

// holder says which target of another policy holds a key, or may hold it: "" when none does.
type holder func(ctx context.Context, keyID string) (string, error)

// sight reads the policy's targets afresh. An error says which could not be read: what those hold is not known.
func (t *turn) sight(ctx context.Context) error {
	var errs []error
	for _, pt := range t.policy.Targets {
		row := t.row(idOf(pt))
		if row.Decision == journal.Drop {
			continue
		}
		met := !row.ContactAt.IsZero() && row.RemovedAt.IsZero()
		s, err := t.spot(pt)
		switch {
		case err != nil:
		case met:
			_, err = t.look(ctx, s)
		default:
			err = t.meet(ctx, s)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// use returns the row of a target that holds the key in use: the one live key that the targets hold. The row is zero when
// they hold none, and while a rotation is in flight, which knows what it does to them, unless that was overtaken. The rules
// of first contact hold: an error says what a human has to decide first.
func (t *turn) use() (use journal.Target, err error) {
	if t.rec.Rotation != nil && !t.overtaken() {
		return use, nil
	}
	if err := t.unmet(t.policy); err != nil && !isReason(err, AdoptedElsewhere) { // a human may name that key
		return use, err
	}
	for _, pt := range t.policy.Targets {
		row := *t.row(idOf(pt))
		if excluded(row) || row.Decision == journal.Overwrite || row.KeyID == "" {
			continue
		}
		if use.KeyID != "" && use.KeyID != row.KeyID {
			return journal.Target{}, t.differentKeys(2)
		}
		use = row
	}
	return use, nil
}

// overtaken reports that the rotation in flight had long given way to another when the journal was restored from a backup:
// it is past its promote, and every target holds one live key that the journal does not know.
func (t *turn) overtaken() bool {
	r := t.rec.Rotation
	if r == nil || r.State != journal.Live && r.State != journal.Retiring {
		return false
	}
	for _, pt := range t.policy.Targets {
		if row := t.row(idOf(pt)); !excluded(*row) {
			return t.key(row.KeyID) == nil && t.everywhere(row.KeyID)
		}
	}
	return false
}

// adoptions says what becomes of the key in use, and of every key in the team's list that bears exactly a name of this
// policy's and that the journal does not know.
func (t *turn) adoptions(ctx context.Context, use journal.Target, list []xai.Key, elsewhere holder) ([]Adoption, error) {
	names, err := t.names(ctx)
	if err != nil {
		return nil, err
	}
	ours := func(k xai.Key) bool {
		policy, _, ok := keyName(k.Name)
		return ok && slices.Contains(names, policy)
	}
	var found []Adoption
	inUse, err := t.adoptUse(ctx, use, list, ours)
	switch {
	case err != nil:
		return nil, err
	case inUse != nil && inUse.As == AdoptWaits:
		return []Adoption{*inUse}, nil
	case inUse != nil:
		found = append(found, *inUse)
	}
	if use.KeyID != t.rec.Policy.KeyID && (inUse == nil || inUse.As != AdoptCurrent) {
		use = journal.Target{} // what consumers read is no key of this policy's to succeed another
	}
	unknown, err := t.unknown(ctx, slices.DeleteFunc(slices.Clone(list), func(k xai.Key) bool { return k.ID == use.KeyID || !ours(k) }))
	if err != nil {
		return nil, err
	}
	for _, k := range unknown {
		a, err := t.adoptOther(ctx, k, use, list, elsewhere)
		if err != nil {
			return nil, err
		}
		found = append(found, a)
	}
	if r := t.rec.Rotation; r != nil && (inUse == nil || inUse.As != AdoptCurrent) { // its own keys are known; these would be retired without an overlap of their own
		for i := range found {
			found[i].As, found[i].Why = AdoptWaits, fmt.Sprintf("a rotation is in flight (%s): adopt it when that has ended", r.State)
		}
	}
	return found, nil
}

// names are those that this policy's keys may bear: its own, and the one it had before it was renamed, unless another
// policy has that now.
func (t *turn) names(ctx context.Context) ([]string, error) {
	names := []string{t.claim.Policy}
	if former := t.policy.RenamedFrom; former != "" {
		switch _, err := t.journal.Load(ctx, former); {
		case errors.Is(err, journal.ErrNotFound):
			names = append(names, former)
		case err != nil:
			return nil, err
		}
	}
	return names, nil
}

// unknown returns the keys that the journal does not know, neither by their id nor by the attempt whose name they bear.
func (t *turn) unknown(ctx context.Context, keys []xai.Key) ([]xai.Key, error) {
	var left []xai.Key
	for _, k := range keys {
		switch _, err := t.journal.Key(ctx, k.ID); {
		case errors.Is(err, journal.ErrNotFound):
			left = append(left, k)
		case err != nil:
			return nil, err
		}
	}
	names := make([]string, len(left))
	for i := range left {
		names[i] = left[i].Name
	}
	attempts, err := t.journal.Attempts(ctx, names)
	return slices.DeleteFunc(left, func(k xai.Key) bool {
		return slices.ContainsFunc(attempts, func(a journal.Attempt) bool { return a.Name == k.Name })
	}), err
}

// adoptUse says what becomes of the key in use; nil when there is none, or the journal knows it as this policy's.
func (t *turn) adoptUse(ctx context.Context, use journal.Target, list []xai.Key, ours func(xai.Key) bool) (*Adoption, error) {
	if use.KeyID == "" || t.key(use.KeyID) != nil {
		return nil, nil
	}
	a := &Adoption{Policy: t.claim.Policy, Key: xai.Key{ID: use.KeyID}, Target: use.String(), As: AdoptWaits}
	i := slices.IndexFunc(list, func(k xai.Key) bool { return k.ID == use.KeyID })
	if i < 0 {
		a.Why = fmt.Sprintf("%s holds a live key that team %s does not list: it may belong to another team", use.TargetID, t.policy.Team)
		return a, nil
	}
	a.Key = list[i]
	switch k, err := t.journal.Key(ctx, use.KeyID); {
	case err == nil:
		a.Why = fmt.Sprintf("%s holds a key that belongs to policy %s", use.TargetID, k.Policy)
		return a, nil
	case !errors.Is(err, journal.ErrNotFound):
		return nil, err
	}
	if !ours(a.Key) && !t.policy.Adopt {
		a.As, a.Why = AdoptLeft, "it does not bear a name of this policy's, and the policy does not say adopt: true"
		return a, nil
	}
	a.As, a.Why = AdoptCurrent, fmt.Sprintf("%s holds it: the key in use", use.TargetID)
	return a, nil
}

// adoptOther says what becomes of a key that bears a name of this policy's and is not the one in use.
func (t *turn) adoptOther(ctx context.Context, k xai.Key, use journal.Target, list []xai.Key, elsewhere holder) (Adoption, error) {
	a := Adoption{Policy: t.claim.Policy, Key: k, As: AdoptLeft}
	same := 0
	for _, other := range list {
		if other.Name == k.Name {
			same++
		}
	}
	if same > 1 {
		a.Why = fmt.Sprintf("%d keys bear this name", same)
		return a, nil
	}
	for _, row := range t.rec.Targets {
		if row.KeyID != k.ID {
			continue
		}
		a.Target = row.String()
		if !row.RemovedAt.IsZero() || row.Decision != journal.Overwrite {
			a.Why = a.Target + " holds it, and is not the policy's to write"
			return a, nil
		}
	}
	var err error
	if a.Why, err = elsewhere(ctx, k.ID); err != nil || a.Why != "" {
		return a, err
	}
	a.As = AdoptPredecessor
	retired := fmt.Sprintf("off after the overlap of %s, deleted after the soak of %s", t.policy.Retire.Overlap, t.policy.Retire.Soak)
	i := slices.IndexFunc(list, func(k xai.Key) bool { return k.ID == use.KeyID })
	switch {
	case i < 0, !t.everywhere(use.KeyID):
		a.Why = "not every target holds one key of this policy's: the next rotation retires it"
	case k.Created.After(list[i].Created):
		a.Why = "made after the key in use, by a rotation that did not end or was rolled back: " + retired
	default:
		a.Why = "made before the key in use: " + retired
	}
	return a, nil
}

// everywhere reports whether every target that is ours to write holds the key.
func (t *turn) everywhere(keyID string) bool {
	return keyID != "" && !slices.ContainsFunc(t.policy.Targets, func(pt policies.Target) bool {
		row := t.row(idOf(pt))
		return !excluded(*row) && row.KeyID != keyID
	})
}
