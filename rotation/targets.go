package rotation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"rotator/internal/guard"
	"rotator/internal/secret"
	"rotator/policies"
	"rotator/rotation/journal"
	"rotator/stores"
)

// spot is a target of a policy: where it is, its store, and its row in the map.
type spot struct {
	id    journal.TargetID
	at    stores.Target
	store stores.Store
	guard func() error
	limit time.Duration // of each call
	watch func() func() // begins to watch for a call that takes long, until what it returns is called
}

// begin bounds one call.
func (s spot) begin(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithTimeout(ctx, s.limit)
	done := s.watch()
	return ctx, func() { done(); cancel() }
}

func (s spot) String() string { return s.id.String() }

// idOf names a policy's target in the map.
func idOf(pt policies.Target) journal.TargetID {
	return journal.TargetID{Store: pt.Store, Path: pt.Path, Field: pt.Field}
}

// spot finds the store of a target. pt may come from a policy or, with its name alone, from the map.
func (t *turn) spot(pt policies.Target) (spot, error) {
	st, ok := t.world.Store(pt.Store)
	if !ok {
		return spot{}, stuckf(ConfigMissing, "store %s is not configured", pt.Store)
	}
	at := stores.Target{Path: pt.Path, Field: pt.Field}
	for k, v := range map[string]string{"owner": pt.Owner, "group": pt.Group, "mode": pt.Mode} {
		if v != "" {
			if at.Options == nil {
				at.Options = make(map[string]string, 3)
			}
			at.Options[k] = v
		}
	}
	return spot{
		id: idOf(pt), at: at, store: st, guard: t.guard, limit: t.limits.Call,
		watch: func() func() { return t.patience(storeResource + pt.Store) },
	}, nil
}

// spots returns the targets of the plan that are the rotation's to write: all but those a human left or dropped.
func (t *turn) spots(plan *policies.Policy) ([]spot, error) {
	var out []spot
	for _, pt := range plan.Targets {
		if row := t.row(idOf(pt)); excluded(*row) {
			continue
		}
		s, err := t.spot(pt)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	if len(out) == 0 {
		return nil, stuckf(NoTargets, "every target of %s was left or dropped", t.claim.Policy)
	}
	return out, nil
}

// excluded reports whether a human took the target out of the rotator's hands.
func excluded(row journal.Target) bool {
	return row.Decision == journal.Drop || row.Decision == journal.Leave && row.DecidedFor == row.Fingerprint
}

// row is the target's row in the map, made when it is not there. The pointer is good until the next row is made.
func (t *turn) row(id journal.TargetID) *journal.Target {
	i := slices.IndexFunc(t.rec.Targets, func(r journal.Target) bool { return r.TargetID == id })
	if i < 0 {
		t.rec.Targets = append(t.rec.Targets, journal.Target{TargetID: id, Policy: t.claim.Policy})
		i = len(t.rec.Targets) - 1
	}
	return &t.rec.Targets[i]
}

func (s spot) current(ctx context.Context) (secret.Text, error) {
	ctx, done := s.begin(ctx)
	defer done()
	v, err := s.store.Current(ctx, s.at)
	return v, s.wrap("read", err)
}

// currentOrNothing reads a target in which nothing is as good as another value.
func (s spot) currentOrNothing(ctx context.Context) (secret.Text, error) {
	v, err := s.current(ctx)
	if err != nil && !errors.Is(err, stores.ErrNotFound) {
		return v, err
	}
	return v, nil
}

func (s spot) staged(ctx context.Context, attempt string) (secret.Text, error) {
	ctx, done := s.begin(ctx)
	defer done()
	v, err := s.store.Staged(ctx, s.at, attempt)
	return v, s.wrap("read what is staged in", err)
}

// check shows that the target can be written, as far as its store can tell beforehand.
func (s spot) check(ctx context.Context) error {
	c, ok := s.store.(stores.Checker)
	if !ok {
		return nil
	}
	ctx, done := s.begin(ctx)
	defer done()
	return s.wrap("check", c.Check(ctx, s.at))
}

func (s spot) previous(ctx context.Context, want secret.Fingerprint) (secret.Text, error) {
	p, ok := s.store.(stores.Previous)
	if !ok {
		return secret.Text{}, s.wrap("read the former value of", stores.ErrNotFound)
	}
	ctx, done := s.begin(ctx)
	defer done()
	v, err := p.Previous(ctx, s.at, want)
	return v, s.wrap("read the former value of", err)
}

// write does one change outside, behind the guard, which the store asks again right before the change leaves.
func (s spot) write(ctx context.Context, what string, do func(context.Context) error) error {
	if err := s.guard(); err != nil {
		return err
	}
	ctx, done := s.begin(ctx)
	defer done()
	return s.wrap(what, do(guard.With(ctx, s.guard)))
}

func (s spot) stage(ctx context.Context, attempt string, v secret.Text) error {
	return s.write(ctx, "stage in", func(ctx context.Context) error { return s.store.Stage(ctx, s.at, attempt, v) })
}

func (s spot) promote(ctx context.Context, attempt string, v secret.Text, expected string) error {
	return s.write(ctx, "promote in", func(ctx context.Context) error {
		return s.store.Promote(ctx, s.at, attempt, v, secret.Fingerprint(expected))
	})
}

func (s spot) discard(ctx context.Context, attempt string) error {
	return s.write(ctx, "discard in", func(ctx context.Context) error { return s.store.Discard(ctx, s.at, attempt) })
}

func (s spot) wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s: %w", what, s.id, err)
}

// look reads what consumers of a target read now, and writes into the map which key that is.
func (t *turn) look(ctx context.Context, s spot) (secret.Text, error) {
	v, err := s.current(ctx)
	if errors.Is(err, stores.ErrNotFound) {
		v, err = secret.Text{}, nil
	}
	if err != nil {
		row := t.row(s.id)
		row.Status, row.Error = journal.TargetUnreadable, err.Error()
		return v, err
	}
	print := string(v.Fingerprint())
	row := t.row(s.id)
	// A key that could not be told yet may only not have reached the cluster that was asked.
	if row.SeenAt.IsZero() || row.Fingerprint != print || row.KeyID == "" && KeyLike(v) {
		id, err := t.identify(ctx, v)
		if err != nil {
			return v, fmt.Errorf("ask which key %s holds: %w", s.id, err)
		}
		row = t.row(s.id)
		row.KeyID, row.Fingerprint = id, print
	}
	row.SeenAt, row.Error = t.now(), ""
	return v, nil
}

// discardStaged removes, once, what the rotation in flight staged, and what may be staged of keys that were adopted: whose
// rotation nobody remembers.
func (t *turn) discardStaged(ctx context.Context) error {
	r := t.rec.Rotation
	if r.Discarded {
		return nil
	}
	var attempts []string
	if r.Attempt != "" { // an adoption made none
		attempts = append(attempts, r.Attempt)
	}
	for _, k := range t.rec.Keys {
		if _, attempt, ok := keyName(k.Name); ok && k.Origin == journal.OfAdoption {
			attempts = append(attempts, attempt)
		}
	}
	for _, attempt := range attempts {
		if err := t.discardAll(ctx, attempt); err != nil {
			return err
		}
	}
	r.Discarded = true
	return nil
}

// discardAll removes what was staged for an attempt from every target it could have been staged in. It does not insist
// where a human dropped the target: its store may be no more.
func (t *turn) discardAll(ctx context.Context, attempt string) error {
	var first error
	for _, pt := range t.plan.Targets {
		s, err := t.spot(pt)
		if err == nil {
			err = s.discard(ctx, attempt)
		}
		if err != nil && !gone(ctx, err) && t.row(idOf(pt)).Decision == journal.Drop {
			continue
		}
		if err != nil && first == nil {
			first = err
		}
	}
	return first
}
