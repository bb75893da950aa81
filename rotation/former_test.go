package rotation_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"rotator/internal/secret"
	"rotator/rotation/journal"
	"rotator/stores"
	"rotator/stores/memstore"
	"rotator/xai/xaisim"
)

// forgetter keeps ten versions of a whole secret, as Vault's KV 2 does: a former value goes with the tenth promotion after
// it, of whatever field.
type forgetter struct {
	*memstore.Store
	mu       sync.Mutex
	versions map[string]int // guarded by mu: path → promotions
	replaced map[string]int // guarded by mu: fingerprint → the promotion that replaced it
}

func newForgetter(s *memstore.Store) *forgetter {
	return &forgetter{Store: s, versions: map[string]int{}, replaced: map[string]int{}}
}

func (s *forgetter) Forgets(context.Context, stores.Target) (bool, error) { return true, nil }

func (s *forgetter) Promote(ctx context.Context, t stores.Target, attempt string, value secret.Text, expected secret.Fingerprint) error {
	was := s.Read(t)
	err := s.Store.Promote(ctx, t, attempt, value, expected)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Read(t).Equal(value) && !was.Equal(value) {
		s.versions[t.Path]++
		s.replaced[t.Path+t.Field+string(was.Fingerprint())] = s.versions[t.Path]
	}
	return err
}

func (s *forgetter) Previous(ctx context.Context, t stores.Target, want secret.Fingerprint) (secret.Text, error) {
	s.mu.Lock()
	at, ok := s.replaced[t.Path+t.Field+string(want)]
	gone := !ok || s.versions[t.Path]-at >= 9
	s.mu.Unlock()
	if gone {
		return secret.Text{}, stores.ErrNotFound
	}
	return s.Store.Previous(ctx, t, want)
}

// TestFormerValuesAreKept: fifteen keys in one secret of ten versions all have a way back through the whole overlap, and
// nothing stays staged once the old keys are deleted.
func TestFormerValuesAreKept(t *testing.T) {
	const n = 15
	b := newBench(t, xaisim.Options{})
	s := newForgetter(b.stores["a"])
	b.wrapped["a"] = s
	b.load(inOneSecret(n)...)
	b.run(time.Hour)
	if left := b.stores["a"].Leftovers(); len(left) > 0 {
		t.Errorf("after the first keys: %v", left)
	}
	old := map[string]string{}
	for name := range b.specs {
		old[name] = b.record(name).Policy.KeyID
		b.order(journal.Order{Policy: name, Kind: journal.OrderRotate, Trigger: journal.ByHand})
	}
	b.run(10 * time.Minute)
	lost := 0
	for i := range n {
		name := fmt.Sprintf("p%02d", i)
		if now := b.record(name).Policy.KeyID; now == old[name] {
			t.Errorf("%s did not rotate", name)
		}
		v := b.secretOf(old[name])
		if _, err := s.Previous(t.Context(), stores.Target{Path: "shared", Field: fmt.Sprintf("f%02d", i)}, v.Fingerprint()); err != nil {
			lost++
		}
	}
	if lost < 5 {
		t.Errorf("the store lost %d former values: nothing is shown", lost)
	}
	for _, name := range []string{"p00", "p07", "p14"} { // whatever their place in the order was
		b.order(journal.Order{Policy: name, Kind: journal.OrderRollback})
	}
	b.run(10 * time.Minute)
	for _, name := range []string{"p00", "p07", "p14"} {
		if now := b.record(name).Policy.KeyID; now != old[name] {
			t.Errorf("%s did not go back: %s", name, b.record(name).Policy.Error)
		}
	}
	b.runUntilIdle()
	b.settled()
	if left := b.stores["a"].Leftovers(); len(left) > 0 {
		t.Errorf("left staged: %v", left)
	}
	b.check()
}

// TestFormerValueOfASecretOfItsOwn: where no other field's promotion pushes a former value out, none is staged.
func TestFormerValueOfASecretOfItsOwn(t *testing.T) {
	b := newBench(t, xaisim.Options{})
	b.wrapped["a"] = newForgetter(b.stores["a"])
	b.load(policyDoc("chat", quick, targetA))
	b.run(time.Hour)
	b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand})
	b.reach(journal.Live)
	b.run(time.Minute)
	if left := b.stores["a"].Leftovers(); len(left) > 0 {
		t.Errorf("staged: %v", left)
	}
}

// TestFormerValuesInEveryCrash: the process dies at each point of two rotations in one secret; nothing is lost forever, and
// nothing stays staged.
func TestFormerValuesInEveryCrash(t *testing.T) {
	for n := 1; ; n++ {
		b := newBench(t, xaisim.Options{})
		s := newForgetter(b.stores["a"])
		b.wrapped["a"] = s
		b.load(inOneSecret(2)...)
		b.run(time.Hour)
		old := b.record("p00").Policy.KeyID
		b.calls = 0
		b.trap = func(i int) error {
			if i == n {
				panic(crash{})
			}
			return nil
		}
		b.order(journal.Order{Policy: "p00", Kind: journal.OrderRotate, Trigger: journal.ByHand})
		b.run(15 * time.Minute)
		b.trap = nil
		if b.deaths == 0 {
			break
		}
		if rec := b.record("p00"); rec.Policy.KeyID != old {
			s.mu.Lock()
			s.versions["shared"] += 12 // others write
			s.mu.Unlock()
			b.order(journal.Order{Policy: "p00", Kind: journal.OrderRollback})
			b.run(15 * time.Minute)
			if now := b.record("p00").Policy.KeyID; now != old {
				t.Errorf("death %d: no way back: %s", n, b.record("p00").Policy.Error)
			}
		}
		b.runUntilIdle()
		b.settled()
		if left := b.stores["a"].Leftovers(); len(left) > 0 {
			t.Errorf("death %d: left staged: %v", n, left)
		}
		b.check()
	}
}
