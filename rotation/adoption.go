package rotation

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/rotation/target"
	"rotator/xai"
)

// Adoption is what becomes of one key when the journal's part of a policy is rebuilt from what the targets hold and
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

// What becomes of a key. Nothing that a list shows distinguishes a key that was made and never promoted from one that consumers
// read until a rollback. So every key but the one in use is taken for one that someone may still read: it is off after a
// full overlap, which one command undoes, and deleted after the soak.
const (
	AdoptCurrent     AdoptAs = "current"     // it is what the targets hold: the policy's key in use
	AdoptPredecessor AdoptAs = "predecessor" // to be retired
	AdoptLeft        AdoptAs = "left"        // not touched
	AdoptWaits       AdoptAs = "waits"       // a human has to act first
)

func heldBy(t journal.TargetID, policy string) string {
	return fmt.Sprintf("%s of policy %s holds it", t, policy)
}

// holder says which target of another policy holds a key, or may hold it: "" when none does.
type holder func(ctx context.Context, keyID string) (string, error)

// sight reads the policy's targets again. An error says which could not be read: what those hold is not known.
func sight(ctx context.Context, r *run) error {
	var errs []error
	for _, pt := range r.policy.Targets {
		row := r.reader.Row(target.IDOf(pt))
		if row.Decision == journal.Drop {
			continue
		}
		met := !row.ContactAt.IsZero() && row.RemovedAt.IsZero()
		h, err := r.reader.Handle(pt)
		switch {
		case err != nil:
		case met:
			_, err = r.reader.Read(ctx, h)
		default:
			err = meet(ctx, r, h)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// inUseNow returns the row of a target that holds the key in use: the one live key that the targets hold. The row is zero
// when they hold none, and while a rotation is in flight, which knows what it does to them. The rules of first contact
// hold: an error says what a human has to decide first.
func inUseNow(r *run) (use journal.Target, err error) {
	if r.rec.Rotation != nil {
		return use, nil
	}
	if err := unmet(r, r.policy); err != nil && !(reason.Is(err, reason.OtherRotator) && overtaken(r)) {
		return use, err
	}
	for _, pt := range r.policy.Targets {
		row := *r.reader.Row(target.IDOf(pt))
		if target.Excluded(row) || row.Decision == journal.Overwrite || row.KeyID == "" {
			continue
		}
		if use.KeyID != "" && use.KeyID != row.KeyID {
			return journal.Target{}, differentKeys(r, 2)
		}
		use = row
	}
	return use, nil
}

// adoptions says what becomes of the key in use, and of every key in the team's list that has exactly a name of this
// policy's and that the journal does not know.
func adoptions(ctx context.Context, r *run, use journal.Target, list []xai.Key, elsewhere holder) ([]Adoption, error) {
	names, err := names(ctx, r)
	if err != nil {
		return nil, err
	}
	ours := func(k xai.Key) bool {
		policy, _, ok := keyName(k.Name)
		return ok && slices.Contains(names, policy)
	}
	var found []Adoption
	inUse, err := adoptUse(ctx, r, use, list, ours)
	switch {
	case err != nil:
		return nil, err
	case inUse != nil && inUse.As == AdoptWaits:
		return []Adoption{*inUse}, nil
	case inUse != nil:
		found = append(found, *inUse)
	}
	if use.KeyID != liveID(r) && (inUse == nil || inUse.As != AdoptCurrent) {
		use = journal.Target{} // what consumers read is no key of this policy's to succeed another
	}
	unknown, err := unknown(ctx, r, slices.DeleteFunc(slices.Clone(list), func(k xai.Key) bool { return k.ID == use.KeyID || !ours(k) }))
	if err != nil {
		return nil, err
	}
	for _, k := range unknown {
		a, err := adoptOther(ctx, r, k, use, list, elsewhere)
		if err != nil {
			return nil, err
		}
		found = append(found, a)
	}
	if r := r.rec.Rotation; r != nil && (inUse == nil || inUse.As != AdoptCurrent) { // its own keys are known; these would be retired without an overlap of their own
		for i := range found {
			found[i].As, found[i].Why = AdoptWaits, fmt.Sprintf("a rotation is in flight (%s): adopt it when that has ended", r.State)
		}
	}
	return found, nil
}

// names are those that this policy's keys may have: its own, and the one it had before it was renamed, unless another
// policy has that now.
func names(ctx context.Context, r *run) ([]string, error) {
	names := []string{r.claim.Policy}
	if former := r.policy.RenamedFrom; former != "" {
		switch _, err := r.engine.ledger.Load(ctx, former); {
		case errors.Is(err, journal.ErrNotFound):
			names = append(names, former)
		case err != nil:
			return nil, err
		}
	}
	return names, nil
}

// unknown returns the keys that the journal does not know, neither by their id nor by the attempt whose name they have.
func unknown(ctx context.Context, r *run, keys []xai.Key) ([]xai.Key, error) {
	var left []xai.Key
	for _, k := range keys {
		switch known, err := r.engine.ledger.Key(ctx, k.ID); {
		case errors.Is(err, journal.ErrNotFound), err == nil && known.State == journal.ForgottenKey:
			left = append(left, k)
		case err != nil:
			return nil, err
		}
	}
	names := make([]string, len(left))
	for i := range left {
		names[i] = left[i].Name
	}
	known, err := r.engine.ledger.KeysByName(ctx, names)
	return slices.DeleteFunc(left, func(k xai.Key) bool {
		return slices.ContainsFunc(known, func(one journal.Key) bool { return one.Name == k.Name && one.State != journal.ForgottenKey })
	}), err
}

// adoptUse says what becomes of the key in use; nil when there is none, or the journal knows it as this policy's.
func adoptUse(ctx context.Context, r *run, use journal.Target, list []xai.Key, ours func(xai.Key) bool) (*Adoption, error) {
	if use.KeyID == "" || r.rec.KeyByID(use.KeyID) != nil {
		return nil, nil
	}
	a := &Adoption{Policy: r.claim.Policy, Key: xai.Key{ID: use.KeyID}, Target: use.String(), As: AdoptWaits}
	i := slices.IndexFunc(list, func(k xai.Key) bool { return k.ID == use.KeyID })
	if i < 0 {
		a.Why = fmt.Sprintf("%s holds a live key that team %s does not list: it may belong to another team", use.TargetID, r.policy.Team)
		return a, nil
	}
	a.Key = list[i]
	switch k, err := r.engine.ledger.Key(ctx, use.KeyID); {
	case err == nil && k.State != journal.ForgottenKey:
		a.Why = fmt.Sprintf("%s holds a key that belongs to policy %s", use.TargetID, k.Policy)
		return a, nil
	case err != nil && !errors.Is(err, journal.ErrNotFound):
		return nil, err
	}
	if !ours(a.Key) && !r.policy.Adopt.Takes(a.Key.ID) {
		a.As, a.Why = AdoptLeft, "it does not have a name of this policy's, and the policy does not adopt it"
		return a, nil
	}
	if err := narrows(r, a.Key, use.TargetID); err != nil {
		a.Why = err.Error()
		return a, nil
	}
	a.As, a.Why = AdoptCurrent, fmt.Sprintf("%s holds it: the key in use", use.TargetID)
	return a, nil
}

// adoptOther says what becomes of a key that has a name of this policy's and is not the one in use.
func adoptOther(ctx context.Context, r *run, k xai.Key, use journal.Target, list []xai.Key, elsewhere holder) (Adoption, error) {
	a := Adoption{Policy: r.claim.Policy, Key: k, As: AdoptLeft}
	same := 0
	for _, other := range list {
		if other.Name == k.Name {
			same++
		}
	}
	if same > 1 {
		a.Why = fmt.Sprintf("%d keys have this name", same)
		return a, nil
	}
	for _, row := range r.rec.Targets {
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
	retired := fmt.Sprintf("off after the overlap of %s, deleted after the soak of %s", r.policy.Retire.Overlap, r.policy.Retire.Soak)
	i := slices.IndexFunc(list, func(k xai.Key) bool { return k.ID == use.KeyID })
	switch {
	case i < 0, !everywhere(r, &journal.Key{ID: use.KeyID}):
		a.Why = "not every target holds one key of this policy's: the next rotation retires it"
	case k.Created.After(list[i].Created):
		a.Why = "made after the key in use, by a rotation that did not end or was rolled back: " + retired
	default:
		a.Why = "made before the key in use: " + retired
	}
	return a, nil
}

func liveID(r *run) string {
	if k := r.rec.Live(); k != nil {
		return k.ID
	}
	return ""
}
