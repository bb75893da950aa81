package storetest

import (
	"errors"
	"sync"
	"testing"

	"rotator/internal/secret"
	"rotator/stores"
)

// races interposes a human between a Promote's read and its write.
var races = []test{
	{name: "another field changed during promote is kept", alone: true, needs: canRace, run: func(t *testing.T, s *suite, target stores.Target) {
		old, value := s.key(), s.key()
		s.human(t, target, old)
		s.race(t, target, func() { s.Seed(t, target, s.doc(t, target, old, `{"plain":"changed","added":1e400}`)) }, func() {
			s.is(t, s.Store.Promote(t.Context(), target, attempt(), value, old.Fingerprint()), nil)
		})
		s.holds(t, target, value, `{"plain":"changed","added":1e400}`)
	}},
	{name: "a value written during promote is kept", alone: true, needs: canRace, run: func(t *testing.T, s *suite, target stores.Target) {
		old, value, theirs := s.key(), s.key(), s.key()
		s.human(t, target, old)
		s.race(t, target, func() { s.human(t, target, theirs) }, func() {
			s.is(t, s.Store.Promote(t.Context(), target, attempt(), value, old.Fingerprint()), stores.ErrConflict)
		})
		s.holds(t, target, theirs, others)
	}},
	{name: "a secret created during promote is kept", alone: true, needs: canRace, run: func(t *testing.T, s *suite, target stores.Target) {
		theirs := s.key()
		s.race(t, target, func() { s.human(t, target, theirs) }, func() {
			s.is(t, s.Store.Promote(t.Context(), target, attempt(), s.key(), ""), stores.ErrConflict)
		})
		s.holds(t, target, theirs, others)
	}},
}

// race runs promote with the human interposed, and checks that the harness did interpose.
func (s *suite) race(t *testing.T, target stores.Target, human, promote func()) {
	t.Helper()
	var once sync.Once
	happened := false
	s.Race(t, target, func() { once.Do(func() { human(); happened = true }) })
	promote()
	if !happened {
		t.Fatal("the harness's Race did not run the human")
	}
	s.clean(t, target)
}

// concurrent runs callers against each other.
var concurrent = []test{
	{name: "of promotes with one expectation one wins", run: func(t *testing.T, s *suite, target stores.Target) {
		old := s.key()
		s.human(t, target, old)
		values := make([]secret.Text, 6)
		for i := range values {
			values[i] = s.key()
		}
		errs := s.promoteAll(t, target, values, old)
		var won []secret.Text
		for i, err := range errs {
			if err == nil {
				won = append(won, values[i])
				continue
			}
			s.is(t, err, stores.ErrConflict)
		}
		if len(won) == 0 || s.HasCAS && len(won) > 1 {
			t.Fatalf("%d of %d promotes won", len(won), len(values))
		}
		if s.HasCAS {
			s.holds(t, target, won[0], others)
		}
	}},
	{name: "promotes of one value all succeed", run: func(t *testing.T, s *suite, target stores.Target) {
		old, value := s.key(), s.key()
		s.human(t, target, old)
		for _, err := range s.promoteAll(t, target, []secret.Text{value, value, value, value}, old) {
			s.is(t, err, nil)
		}
		s.holds(t, target, value, others)
	}},
	{name: "stages and discards side by side", needs: canStage, run: func(t *testing.T, s *suite, target stores.Target) {
		old := s.key()
		s.human(t, target, old)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				a, value := attempt(), s.key()
				s.is(t, s.Store.Stage(t.Context(), target, a, value), nil)
				s.staged(t, target, a, value)
				s.is(t, s.Store.Discard(t.Context(), target, a), nil)
				s.staged(t, target, a, secret.Text{})
			})
		}
		wg.Wait()
		s.clean(t, target)
		s.holds(t, target, old, others)
	}},
}

// promoteAll promotes every value at once, each under an attempt of its own, and returns their errors. What is not known
// is tried again, as callers do.
func (s *suite) promoteAll(t *testing.T, target stores.Target, values []secret.Text, expected secret.Text) []error {
	errs := make([]error, len(values))
	var wg sync.WaitGroup
	for i, value := range values {
		wg.Go(func() {
			a := attempt()
			err := errors.New("not tried")
			for try := 0; try < 10 && !known(err); try++ {
				err = s.Store.Promote(t.Context(), target, a, value, expected.Fingerprint())
			}
			errs[i] = err
			if err := s.Store.Discard(t.Context(), target, a); err != nil {
				t.Errorf("discard: %v", err)
			}
		})
	}
	wg.Wait()
	s.clean(t, target)
	return errs
}
