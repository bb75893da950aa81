// Package target reads what consumers read, and judges it.
//
// A [Handle] is one place in one store. A [Reader] reads it, and keeps what was seen there in the policy's record: the last
// read in the target's row, and every value that may still be there as a sighting. [Assess] says what that means.
package target

import (
	"context"
	"errors"
	"fmt"
	"time"

	"rotator/internal/secret"
	"rotator/policies"
	"rotator/rotation/journal"
	"rotator/stores"
)

// Handle is a target with its store. Each call is bounded in time. Changes are called from within an effect.
type Handle struct {
	ID    journal.TargetID
	at    stores.Target
	store stores.Store
	limit time.Duration
	slow  func() (done func()) // watches for a call that takes long
}

// NewHandle makes a handle for a target of a policy. pt may have nothing but its name.
func NewHandle(pt policies.Target, store stores.Store, limit time.Duration, slow func() func()) Handle {
	at := stores.Target{Path: pt.Path, Field: pt.Field, Options: pt.Options()}
	return Handle{ID: IDOf(pt), at: at, store: store, limit: limit, slow: slow}
}

// IDOf names a policy's target as the journal does.
func IDOf(pt policies.Target) journal.TargetID {
	return journal.TargetID{Store: pt.Store, Path: pt.Path, Field: pt.Field}
}

func (h Handle) String() string { return h.ID.String() }

func (h Handle) begin(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithTimeout(ctx, h.limit)
	done := h.slow()
	return ctx, func() { done(); cancel() }
}

func (h Handle) wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s: %w", what, h.ID, err)
}

// Current returns what consumers read now. stores.ErrNotFound: nothing.
func (h Handle) Current(ctx context.Context) (secret.Text, error) {
	ctx, done := h.begin(ctx)
	defer done()
	v, err := h.store.Current(ctx, h.at)
	return v, h.wrap("read", err)
}

// CurrentOrNothing is Current, where nothing is a value like another: the empty text.
func (h Handle) CurrentOrNothing(ctx context.Context) (secret.Text, error) {
	v, err := h.Current(ctx)
	if err != nil && !errors.Is(err, stores.ErrNotFound) {
		return v, err
	}
	return v, nil
}

// Staged returns the value that is staged for a key. stores.ErrNotFound: none.
func (h Handle) Staged(ctx context.Context, ref string) (secret.Text, error) {
	ctx, done := h.begin(ctx)
	defer done()
	v, err := h.store.Staged(ctx, h.at, ref)
	return v, h.wrap("read what is staged in", err)
}

// Check shows that the target can be written, as far as its store can tell beforehand.
func (h Handle) Check(ctx context.Context) error {
	c, ok := h.store.(stores.Checker)
	if !ok {
		return nil
	}
	ctx, done := h.begin(ctx)
	defer done()
	return h.wrap("check", c.Check(ctx, h.at))
}

// Previous returns a former value. stores.ErrNotFound: the store does not keep it.
func (h Handle) Previous(ctx context.Context, want secret.Fingerprint) (secret.Text, error) {
	p, ok := h.store.(stores.Previous)
	if !ok {
		return secret.Text{}, h.wrap("read the former value of", stores.ErrNotFound)
	}
	ctx, done := h.begin(ctx)
	defer done()
	v, err := p.Previous(ctx, h.at, want)
	return v, h.wrap("read the former value of", err)
}

// Forgets reports whether writes of other fields push out the former value that Previous would return.
func (h Handle) Forgets(ctx context.Context) (bool, error) {
	f, ok := h.store.(stores.Forgetter)
	if !ok {
		return false, nil
	}
	ctx, done := h.begin(ctx)
	defer done()
	forgets, err := f.Forgets(ctx, h.at)
	return forgets, h.wrap("look at", err)
}

// Place returns the place itself; "" where the store cannot tell, or nothing is there yet.
func (h Handle) Place(ctx context.Context) (string, error) {
	p, ok := h.store.(stores.Placer)
	if !ok {
		return "", nil
	}
	ctx, done := h.begin(ctx)
	defer done()
	place, err := p.Place(ctx, h.at)
	if errors.Is(err, stores.ErrNotFound) {
		return "", nil
	}
	return place, h.wrap("tell the place of", err)
}

// CanFence reports whether the store can make earlier writes fail.
func (h Handle) CanFence() bool {
	_, ok := h.store.(stores.Fencer)
	return ok
}

// Fence makes every write fail that was sent before.
func (h Handle) Fence(ctx context.Context) error {
	f, ok := h.store.(stores.Fencer)
	if !ok {
		return h.wrap("fence", stores.ErrInvalid)
	}
	ctx, done := h.begin(ctx)
	defer done()
	return h.wrap("fence", f.Fence(ctx, h.at))
}

// Stage puts a key's value beside the current one.
func (h Handle) Stage(ctx context.Context, ref string, v secret.Text) error {
	ctx, done := h.begin(ctx)
	defer done()
	return h.wrap("stage in", h.store.Stage(ctx, h.at, ref, v))
}

// Unstage removes what is staged for a key.
func (h Handle) Unstage(ctx context.Context, ref string) error {
	ctx, done := h.begin(ctx)
	defer done()
	return h.wrap("unstage in", h.store.Discard(ctx, h.at, ref))
}

// Promote makes the value what consumers read, if the target still holds what is expected.
func (h Handle) Promote(ctx context.Context, ref string, v secret.Text, expected string) error {
	ctx, done := h.begin(ctx)
	defer done()
	return h.wrap("promote in", h.store.Promote(ctx, h.at, ref, v, secret.Fingerprint(expected)))
}
