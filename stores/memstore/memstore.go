// Package memstore keeps secrets in memory: a store for fast tests and for faults, which passes the same suite as the
// real ones. A target with a field is one field of a document; without, it is a whole document.
//
// Each document has a version, and each change of it is a compare-and-swap on the version that the writer read, as in
// Vault KV version 2 or Kubernetes. A write can be made to land late ([Store.Late]), and reads can lag ([Store.Lag]).
package memstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"rotator/internal/guard"
	"rotator/internal/jsonfield"
	"rotator/internal/secret"
	"rotator/stores"
)

// Call is one call to the store, as hooks see it.
type Call struct {
	Op      string // stage, staged, promote, current, discard, check, previous, fence, place
	Path    string
	Attempt string
	Done    bool // the call has had its effect, or its request was sent (see Late)
}

// Store keeps secrets in memory. It is safe for concurrent use.
type Store struct {
	// NoStaging makes every Stage answer stores.ErrNoStaging. Set it before the first call.
	NoStaging bool
	// Plain takes the versions away, as in Vault KV version 1: a late write always wins, and writes back every other
	// field as its writer read it. Fence answers stores.ErrCannotFence. Set it before the first call.
	Plain bool
	// Now is the clock by which late writes land and reads lag. Nil: time.Now. Set it before the first call.
	Now func() time.Time

	mu      sync.Mutex
	state   state                      // guarded by mu
	past    []moment                   // guarded by mu: former states, oldest first; kept while reads lag
	lag     time.Duration              // guarded by mu
	aliases map[string]string          // guarded by mu: path → the path that it stands for
	late    map[string][]time.Duration // guarded by mu: op → delays of its next writes
	pending []landing                  // guarded by mu
	hook    func(Call) error           // guarded by mu
	onLand  func(Landed)               // guarded by mu
}

// state is all that the store holds.
type state struct {
	docs   map[string]document
	staged map[string]map[string]secret.Text // path#field → attempt → value
	former map[string][]secret.Text          // path#field → former values, newest first
}

// document is a secret as it is. A deleted one keeps its version, so that it never comes back under an old one.
type document struct {
	text    string
	exists  bool
	version int
	fields  *sync.Map // field → the value that was read of it; nil of the zero document
}

// newDocument is a document that a write made.
func newDocument(text string, exists bool, version int) document {
	return document{text, exists, version, new(sync.Map)}
}

var (
	_ stores.Store    = (*Store)(nil)
	_ stores.Checker  = (*Store)(nil)
	_ stores.Previous = (*Store)(nil)
	_ stores.Fencer   = (*Store)(nil)
	_ stores.Placer   = (*Store)(nil)
)

// New returns an empty store.
func New() *Store {
	return &Store{
		state: state{
			docs: map[string]document{}, staged: map[string]map[string]secret.Text{}, former: map[string][]secret.Text{},
		},
		aliases: map[string]string{}, late: map[string][]time.Duration{},
	}
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
	s.settle()
	s.put(s.canonical(path), doc, true)
}

// Delete removes a document, as a human would.
func (s *Store) Delete(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	s.put(s.canonical(path), "", false)
}

// Doc returns a document as it is.
func (s *Store) Doc(path string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	d := s.state.docs[s.canonical(path)]
	return d.text, d.exists
}

// Read returns what a consumer reads at a target, past all hooks; empty when there is nothing.
func (s *Store) Read(t stores.Target) secret.Text {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	v, err := s.state.read(s.target(t))
	if err != nil {
		return secret.Text{}
	}
	return v
}

// Leftovers names everything that is staged, as "path#field attempt", sorted.
func (s *Store) Leftovers() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	var out []string
	for place, m := range s.state.staged {
		for attempt := range maps.Keys(m) {
			out = append(out, place+" "+attempt)
		}
	}
	slices.Sort(out)
	return out
}

// Alias makes path another way to write the path same: both are one place.
func (s *Store) Alias(path, same string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.aliases[path] = s.canonical(same)
}

// canonical returns the path that path stands for. mu is held.
func (s *Store) canonical(path string) string {
	if same, ok := s.aliases[path]; ok {
		return same
	}
	return path
}

// target returns t under its canonical path. mu is held.
func (s *Store) target(t stores.Target) stores.Target {
	t.Path = s.canonical(t.Path)
	return t
}

// place names a canonical target.
func place(t stores.Target) string { return t.Path + "#" + t.Field }

// call runs the hooks around an effect, after everything that is due has landed. The effect sees the canonical target.
func (s *Store) call(ctx context.Context, op string, t stores.Target, attempt string, effect func(stores.Target) error) error {
	s.mu.Lock()
	s.settle()
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
	err := s.locked(t, effect)
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

// locked runs an effect. The hook before it may have moved the clock, so what is due lands first.
func (s *Store) locked(t stores.Target, effect func(stores.Target) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	return effect(s.target(t))
}

// Current implements stores.Store.
func (s *Store) Current(ctx context.Context, t stores.Target) (v secret.Text, err error) {
	err = s.call(ctx, "current", t, "", func(t stores.Target) (e error) {
		v, e = s.seen().read(t)
		return e
	})
	if err != nil {
		return secret.Text{}, err
	}
	return v, nil
}

// Staged implements stores.Store.
func (s *Store) Staged(ctx context.Context, t stores.Target, attempt string) (v secret.Text, err error) {
	err = s.call(ctx, "staged", t, attempt, func(t stores.Target) error {
		var ok bool
		if v, ok = s.seen().staged[place(t)][attempt]; !ok {
			return stores.ErrNotFound
		}
		return nil
	})
	if err != nil {
		return secret.Text{}, err
	}
	return v, nil
}

// Previous implements stores.Previous.
func (s *Store) Previous(ctx context.Context, t stores.Target, want secret.Fingerprint) (v secret.Text, err error) {
	err = s.call(ctx, "previous", t, "", func(t stores.Target) error {
		former := s.seen().former[place(t)]
		i := slices.IndexFunc(former, want.Is)
		if i < 0 {
			return stores.ErrNotFound
		}
		v = former[i]
		return nil
	})
	if err != nil {
		return secret.Text{}, err
	}
	return v, nil
}

// Check implements stores.Checker.
func (s *Store) Check(ctx context.Context, t stores.Target) error {
	return s.call(ctx, "check", t, "", func(stores.Target) error { return nil })
}

// Place implements stores.Placer.
func (s *Store) Place(ctx context.Context, t stores.Target) (name string, err error) {
	err = s.call(ctx, "place", t, "", func(t stores.Target) error {
		name = place(t)
		return nil
	})
	return name, err
}

// Stage implements stores.Store.
func (s *Store) Stage(ctx context.Context, t stores.Target, attempt string, value secret.Text) error {
	return s.call(ctx, "stage", t, attempt, func(t stores.Target) error {
		if s.NoStaging {
			return stores.ErrNoStaging
		}
		if now, ok := s.state.staged[place(t)][attempt]; ok && now.Equal(value) {
			return nil
		}
		return s.send(ctx, request{op: "stage", target: t, attempt: attempt, value: value})
	})
}

// Promote implements stores.Store.
func (s *Store) Promote(ctx context.Context, t stores.Target, attempt string, value secret.Text, expected secret.Fingerprint) error {
	return s.call(ctx, "promote", t, attempt, func(t stores.Target) error {
		now, err := s.state.read(t)
		if err != nil && !errors.Is(err, stores.ErrNotFound) {
			return err
		}
		if now.Equal(value) {
			return nil
		}
		if now.Fingerprint() != expected {
			return stores.ErrConflict
		}
		held := s.state.docs[t.Path]
		doc := value.Reveal()
		if t.Field != "" {
			old := held.text
			if old == "" {
				old = "{}"
			}
			b, err := jsonfield.Set([]byte(old), t.Field, value.Reveal())
			if err != nil {
				return stores.ErrInvalid
			}
			doc = string(b)
		}
		return s.send(ctx, request{
			op: "promote", target: t, attempt: attempt, value: value, former: now, doc: doc, version: held.version,
		})
	})
}

// Discard implements stores.Store.
func (s *Store) Discard(ctx context.Context, t stores.Target, attempt string) error {
	return s.call(ctx, "discard", t, attempt, func(t stores.Target) error {
		if attempt == "" { // as every store that writes it into a name
			return stores.ErrInvalid
		}
		if _, there := s.state.staged[place(t)][attempt]; !there {
			return nil
		}
		return s.send(ctx, request{op: "discard", target: t, attempt: attempt})
	})
}

// Fence implements stores.Fencer: it writes the document again, under a new version.
func (s *Store) Fence(ctx context.Context, t stores.Target) error {
	return s.call(ctx, "fence", t, "", func(t stores.Target) error {
		if s.Plain {
			return stores.ErrCannotFence
		}
		held := s.state.docs[t.Path]
		if !held.exists {
			return stores.ErrNotFound
		}
		return s.send(ctx, request{op: "fence", target: t, doc: held.text, version: held.version})
	})
}

// send checks that the change may still leave, and has it land now or late. mu is held.
func (s *Store) send(ctx context.Context, r request) error {
	if err := guard.Check(ctx); err != nil {
		return err
	}
	if delays := s.late[r.op]; len(delays) > 0 {
		s.late[r.op] = delays[1:]
		s.pending = append(s.pending, landing{request: r, due: s.now().Add(delays[0])})
		return errLate
	}
	return s.land(r, s.now(), false)
}
