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
// they hold none, and while a rotation is in flight, which knows what it does to them. The rules of first contact hold: an
// error says what a human has to decide first.
func (t *turn) use() (use journal.Target, err error) {
	if t.rec.Rotation != nil {
		return use, nil
	}
	if err := t.unmet(t.policy); err != nil {
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
	if err != nil {
		return nil, err
	}
	if inUse != nil {
		found = append(found, *inUse)
		if inUse.As == AdoptWaits {
			return found, nil
		}
	}
	for _, k := range list {
		if k.ID == use.KeyID || !ours(k) {
			continue
		}
		if known, err := t.knows(ctx, k); err != nil {
			return nil, err
		} else if known {
			continue
		}
		a, err := t.adoptOther(ctx, k, use, list, elsewhere)
		if err != nil {
			return nil, err
		}
		found = append(found, a)
	}
	if r := t.rec.Rotation; r != nil { // its own keys are known; these would be retired without an overlap of their own
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

// knows reports whether the journal knows a key, by its id or by the attempt whose name it bears: then it is not adopted.
func (t *turn) knows(ctx context.Context, k xai.Key) (bool, error) {
	switch _, err := t.journal.Key(ctx, k.ID); {
	case err == nil:
		return true, nil
	case !errors.Is(err, journal.ErrNotFound):
		return false, err
	}
	attempts, err := t.journal.Attempts(ctx, t.policy.Team)
	return slices.ContainsFunc(attempts, func(a journal.Attempt) bool { return a.Name == k.Name }), err
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
		a.Why = "not every target holds one and the same key: the next rotation retires it"
	case k.Created.After(list[i].Created):
		a.Why = "made after the key in use, by a rotation that did not end or was rolled back: " + retired
	default:
		a.Why = "made before the key in use: " + retired
	}
	return a, nil
}

// orderAdopt records the keys that were agreed to, as what they are now. What the journal knows already is nothing to do.
func (t *turn) orderAdopt(ctx context.Context, o *journal.Order) (refused string, err error) {
	if !t.rec.Policy.RemovedAt.IsZero() {
		return "the policy was removed", nil
	}
	use, found, err := t.adoptable(ctx)
	switch {
	case gone(ctx, err):
		return "", err
	case err != nil: // kept open it would hold everything else up
		return fmt.Sprintf("nothing was adopted: %v", err), nil
	}
	var agreed []Adoption
	for _, a := range found {
		asked := o.KeyIDs.Has(a.Key.ID)
		switch {
		case asked && (a.As == AdoptCurrent || a.As == AdoptPredecessor):
			agreed = append(agreed, a)
		case asked || a.As == AdoptWaits:
			return fmt.Sprintf("key %s is not adopted: %s", a.Key.ID, a.Why), nil
		case a.As == AdoptCurrent:
			return fmt.Sprintf("%s holds key %s now, which was not agreed to", a.Target, a.Key.ID), nil
		}
	}
	if len(agreed) > 0 {
		t.adoptAll(use, agreed, o)
	}
	return "", nil
}

// adoptable looks at the policy's targets and keys, as its owner. What other policies' targets hold is known from the map.
func (t *turn) adoptable(ctx context.Context) (use journal.Target, found []Adoption, err error) {
	if err := t.sight(ctx); err != nil {
		return use, nil, err
	}
	if use, err = t.use(); err != nil {
		return use, nil, err
	}
	team, err := t.team(ctx, t.policy.Team)
	if err != nil {
		return use, nil, err
	}
	list, err := team.Keys.ListKeys(ctx, team.ID)
	if err != nil {
		return use, nil, err
	}
	found, err = t.adoptions(ctx, use, list.Keys, func(ctx context.Context, keyID string) (string, error) {
		rows, err := t.journal.TargetsOf(ctx, keyID)
		for _, row := range rows {
			if row.Policy != t.claim.Policy {
				return heldBy(row), err
			}
		}
		return "", err
	})
	return use, found, err
}

// everywhere reports whether every target that is ours to write holds the key.
func (t *turn) everywhere(keyID string) bool {
	return keyID != "" && !slices.ContainsFunc(t.policy.Targets, func(pt policies.Target) bool {
		row := t.row(idOf(pt))
		return !excluded(*row) && row.KeyID != keyID
	})
}

// adoptAll records the keys. When every target holds the policy's key in use, a rotation that is live from now on retires
// all the others: they get a full overlap, since nobody can say since when consumers read the key in use. Otherwise the
// next rotation does, which gives every target one key.
func (t *turn) adoptAll(use journal.Target, agreed []Adoption, o *journal.Order) {
	p := &t.rec.Policy
	for _, a := range agreed {
		k := journal.Key{
			ID: a.Key.ID, Policy: p.Name, Team: t.policy.Team, Name: a.Key.Name,
			Origin: journal.OfAdoption, Use: journal.UsePredecessor, CreatedAt: a.Key.Created, ExpiresAt: a.Key.Expires,
		}
		if a.As == AdoptCurrent {
			k.Use, k.Fingerprint = journal.UseCurrent, use.Fingerprint
			t.putInUse(k)
		} else if a.Key.Disabled {
			k.DisableSentAt, k.DisabledAt = t.now(), t.now()
		}
		t.rec.Keys = append(t.rec.Keys, k)
		t.tell(journal.KeyAdopted, "key_id", k.ID, "name", k.Name, "target", a.Target, "use", string(k.Use), "by", o.By)
	}
	if !t.everywhere(p.KeyID) {
		return
	}
	t.begin(journal.ByAdoption, o.Why)
	r := t.rec.Rotation
	r.State, r.KeyID, r.Fingerprint = journal.Live, p.KeyID, p.Fingerprint
	r.PromotingAt, r.LiveAt = r.StartedAt, r.StartedAt
	r.OldKeyIDs = ""
	for _, id := range t.predecessors() {
		r.OldKeyIDs = r.OldKeyIDs.With(id)
	}
}

// putInUse makes an adopted key the policy's key in use, and what a promote may replace in the targets that hold it.
func (t *turn) putInUse(k journal.Key) {
	for i := range t.rec.Keys {
		if old := &t.rec.Keys[i]; old.Use == journal.UseCurrent {
			old.Use = journal.UsePredecessor
		}
	}
	p := &t.rec.Policy
	p.KeyID, p.Fingerprint, p.LiveSince = k.ID, k.Fingerprint, noTime
	if _, _, ours := keyName(k.Name); ours && k.CreatedAt.After(p.LastSuccess) {
		p.LastSuccess = k.CreatedAt // it went live soon afterwards: the schedule goes on as it was
	}
	for _, pt := range t.policy.Targets {
		if row := t.row(idOf(pt)); row.KeyID == k.ID && !excluded(*row) {
			row.Status, row.Replaceable = journal.TargetOK, row.Fingerprint
			row.Decision, row.DecidedFor = journal.Undecided, ""
		}
	}
}
