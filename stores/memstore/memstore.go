// Package memstore keeps secrets in memory: a store for fast tests and for faults, which passes the same suite as the
// real ones. A target with a field is one field of a document; without, it is a whole document.
package memstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"rotator/internal/jsonfield"
	"rotator/internal/secret"
	"rotator/stores"
)

// Call is one call to the store, as hooks see it.
type Call struct {
	Op      string // stage, staged, promote, current, discard, check, previous
	Path    string
	Attempt string
	Done    bool // the call has had its effect
}

// Store keeps secrets in memory. It is safe for concurrent use.
type Store struct {
	// NoStaging makes every Stage answer stores.ErrNoStaging. Set it before the first call.
	NoStaging bool

	mu     sync.Mutex
	docs   map[string]string                 // guarded by mu: path → document
	staged map[string]map[string]secret.Text // guarded by mu: path#field → attempt → value
	former map[string][]secret.Text          // guarded by mu: path#field → former values, newest first
	hook   func(Call) error                  // guarded by mu
}

var (
	_ stores.Store    = (*Store)(nil)
	_ stores.Checker  = (*Store)(nil)
	_ stores.Previous = (*Store)(nil)
)

// New returns an empty store.
func New() *Store {
	return &Store{docs: map[string]string{}, staged: map[string]map[string]secret.Text{}, former: map[string][]secret.Text{}}
}

// OnCall has f called before every call and after its effect. An error of f ends the call there; a panic reaches the caller.
func (s *Store) OnCall(f func(Call) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = f
}

// Set replaces a document, as a human would.
func (s *Store) Set(path, doc string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.docs[path] = doc
}

// Delete removes a document, as a human would.
func (s *Store) Delete(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.docs, path)
}

// Doc returns a document as it stands.
func (s *Store) Doc(path string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, ok := s.docs[path]
	return d, ok
}

// Read returns what a consumer reads at a target, past all hooks; empty when there is nothing.
func (s *Store) Read(t stores.Target) secret.Text {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, err := s.read(t)
	if err != nil {
		return secret.Text{}
	}
	return v
}

// Leftovers names everything that is staged, as "place attempt", sorted.
func (s *Store) Leftovers() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for place, m := range s.staged {
		for attempt := range maps.Keys(m) {
			out = append(out, place+" "+attempt)
		}
	}
	slices.Sort(out)
	return out
}

// call runs the hooks around an effect.
func (s *Store) call(ctx context.Context, op string, t stores.Target, attempt string, effect func() error) error {
	s.mu.Lock()
	hook := s.hook
	s.mu.Unlock()
	c := Call{Op: op, Path: t.Path, Attempt: attempt}
	if hook != nil {
		if err := hook(c); err != nil {
			return fmt.Errorf("%s %s: %w", op, t.Path, err)
		}
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s %s: %w", op, t.Path, err)
	}
	s.mu.Lock()
	err := effect()
	s.mu.Unlock()
	if err != nil {
		err = fmt.Errorf("%s %s: %w", op, t.Path, err)
	}
	if c.Done = true; hook != nil {
		if lost := hook(c); lost != nil {
			return fmt.Errorf("%s %s: %w", op, t.Path, lost)
		}
	}
	return err
}

func place(t stores.Target) string { return t.Path + "#" + t.Field }

// read returns the target's value. mu is held.
func (s *Store) read(t stores.Target) (secret.Text, error) {
	doc, ok := s.docs[t.Path]
	if !ok || doc == "" {
		return secret.Text{}, stores.ErrNotFound
	}
	if t.Field == "" {
		return secret.New(doc), nil
	}
	v, err := jsonfield.Get([]byte(doc), t.Field)
	if errors.Is(err, jsonfield.ErrNotFound) || err == nil && v == "" {
		return secret.Text{}, stores.ErrNotFound
	}
	if err != nil {
		return secret.Text{}, stores.ErrInvalid
	}
	return secret.New(v), nil
}

// Current implements stores.Store.
func (s *Store) Current(ctx context.Context, t stores.Target) (v secret.Text, err error) {
	err = s.call(ctx, "current", t, "", func() (e error) { v, e = s.read(t); return e })
	if err != nil {
		return secret.Text{}, err
	}
	return v, nil
}

// Stage implements stores.Store.
func (s *Store) Stage(ctx context.Context, t stores.Target, attempt string, value secret.Text) error {
	return s.call(ctx, "stage", t, attempt, func() error {
		if s.NoStaging {
			return stores.ErrNoStaging
		}
		if s.staged[place(t)] == nil {
			s.staged[place(t)] = map[string]secret.Text{}
		}
		s.staged[place(t)][attempt] = value
		return nil
	})
}

// Staged implements stores.Store.
func (s *Store) Staged(ctx context.Context, t stores.Target, attempt string) (v secret.Text, err error) {
	err = s.call(ctx, "staged", t, attempt, func() error {
		var ok bool
		if v, ok = s.staged[place(t)][attempt]; !ok {
			return stores.ErrNotFound
		}
		return nil
	})
	if err != nil {
		return secret.Text{}, err
	}
	return v, nil
}

// Promote implements stores.Store.
func (s *Store) Promote(ctx context.Context, t stores.Target, attempt string, value secret.Text, expected secret.Fingerprint) error {
	return s.call(ctx, "promote", t, attempt, func() error {
		now, err := s.read(t)
		if err != nil && !errors.Is(err, stores.ErrNotFound) {
			return err
		}
		if now.Equal(value) {
			return nil
		}
		if now.Fingerprint() != expected {
			return stores.ErrConflict
		}
		doc := value.Reveal()
		if t.Field != "" {
			old := s.docs[t.Path]
			if old == "" {
				old = "{}"
			}
			b, err := jsonfield.Set([]byte(old), t.Field, value.Reveal())
			if err != nil {
				return stores.ErrInvalid
			}
			doc = string(b)
		}
		s.docs[t.Path] = doc
		if !now.Empty() {
			s.former[place(t)] = append([]secret.Text{now}, s.former[place(t)]...)
		}
		return nil
	})
}

// Discard implements stores.Store.
func (s *Store) Discard(ctx context.Context, t stores.Target, attempt string) error {
	return s.call(ctx, "discard", t, attempt, func() error {
		if attempt == "" { // as every store that writes it into a name
			return stores.ErrInvalid
		}
		delete(s.staged[place(t)], attempt)
		return nil
	})
}

// Check implements stores.Checker.
func (s *Store) Check(ctx context.Context, t stores.Target) error {
	return s.call(ctx, "check", t, "", func() error { return nil })
}

// Previous implements stores.Previous.
func (s *Store) Previous(ctx context.Context, t stores.Target, want secret.Fingerprint) (v secret.Text, err error) {
	err = s.call(ctx, "previous", t, "", func() error {
		i := slices.IndexFunc(s.former[place(t)], want.Is)
		if i < 0 {
			return stores.ErrNotFound
		}
		v = s.former[place(t)][i]
		return nil
	})
	if err != nil {
		return secret.Text{}, err
	}
	return v, nil
}
