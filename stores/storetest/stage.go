package storetest

import (
	"testing"

	"rotator/internal/secret"
	"rotator/stores"
)

// reading holds Current and Check to their word.
var reading = []test{
	{name: "current of nothing is not found", run: func(t *testing.T, s *suite, target stores.Target) {
		_, err := s.Store.Current(t.Context(), target)
		s.is(t, err, stores.ErrNotFound)
	}},
	{name: "current follows a human", run: func(t *testing.T, s *suite, target stores.Target) {
		for range 3 {
			value := s.key()
			s.human(t, target, value)
			s.current(t, target, value)
		}
	}},
	{name: "current of a missing, null or empty field is not found", needs: isStructured, run: func(t *testing.T, s *suite, target stores.Target) {
		s.Seed(t, target, others)
		_, err := s.Store.Current(t.Context(), target)
		s.is(t, err, stores.ErrNotFound)
		for _, empty := range []any{nil, ""} {
			s.Seed(t, target, field(t, target, empty))
			_, err := s.Store.Current(t.Context(), target)
			s.is(t, err, stores.ErrNotFound)
		}
	}},
	{name: "check leaves no trace", needs: hasCheck, run: func(t *testing.T, s *suite, target stores.Target) {
		checker := s.Store.(stores.Checker)
		same := s.unchanged(t, target)
		s.is(t, checker.Check(t.Context(), target), nil)
		same()
		s.clean(t, target)

		s.human(t, target, s.key())
		same = s.unchanged(t, target)
		s.is(t, checker.Check(t.Context(), target), nil)
		same()
		s.clean(t, target)
	}},
}

// staging holds Stage, Staged and Discard to their word.
var staging = []test{
	{name: "staged where nothing was staged is not found", run: func(t *testing.T, s *suite, target stores.Target) {
		s.staged(t, target, attempt(), secret.Text{})
		s.human(t, target, s.key())
		s.staged(t, target, attempt(), secret.Text{})
	}},
	{name: "discard where nothing was staged succeeds", run: func(t *testing.T, s *suite, target stores.Target) {
		same := s.unchanged(t, target)
		s.is(t, s.Store.Discard(t.Context(), target, attempt()), nil)
		same()
		s.human(t, target, s.key())
		same = s.unchanged(t, target)
		s.is(t, s.Store.Discard(t.Context(), target, attempt()), nil)
		same()
		s.clean(t, target)
	}},
	{name: "stage leaves current alone", needs: canStage, run: func(t *testing.T, s *suite, target stores.Target) {
		a, old, value := attempt(), s.key(), s.key()
		s.human(t, target, old)
		same := s.unchanged(t, target)
		for range 3 { // the same attempt and value again is one
			s.is(t, s.Store.Stage(t.Context(), target, a, value), nil)
			s.staged(t, target, a, value)
			same()
		}
		s.current(t, target, old)
		if len(s.Leftovers(t, target)) == 0 {
			t.Error("the harness does not see what is staged")
		}
		for range 2 {
			s.is(t, s.Store.Discard(t.Context(), target, a), nil)
			s.staged(t, target, a, secret.Text{})
			s.clean(t, target)
			same()
		}
		s.current(t, target, old)
	}},
	{name: "stage at an empty target", run: func(t *testing.T, s *suite, target stores.Target) {
		a, value := attempt(), s.key()
		err := s.Store.Stage(t.Context(), target, a, value)
		if !s.CanStage || !s.StagesEmpty {
			s.is(t, err, stores.ErrNoStaging)
			value = secret.Text{}
		} else {
			s.is(t, err, nil)
		}
		s.staged(t, target, a, value)
		_, err = s.Store.Current(t.Context(), target)
		s.is(t, err, stores.ErrNotFound)
		s.is(t, s.Store.Discard(t.Context(), target, a), nil)
		s.clean(t, target)
		_, err = s.Store.Current(t.Context(), target)
		s.is(t, err, stores.ErrNotFound)
	}},
	{name: "stage where staging cannot be", needs: cannotStage, run: func(t *testing.T, s *suite, target stores.Target) {
		s.human(t, target, s.key())
		same := s.unchanged(t, target)
		s.is(t, s.Store.Stage(t.Context(), target, attempt(), s.key()), stores.ErrNoStaging)
		same()
		s.clean(t, target)
	}},
	{name: "two attempts side by side", needs: canStage, run: func(t *testing.T, s *suite, target stores.Target) {
		s.human(t, target, s.key())
		a, b, va, vb := attempt(), attempt(), s.key(), s.key()
		s.is(t, s.Store.Stage(t.Context(), target, a, va), nil)
		s.is(t, s.Store.Stage(t.Context(), target, b, vb), nil)
		s.staged(t, target, a, va)
		s.staged(t, target, b, vb)
		s.is(t, s.Store.Discard(t.Context(), target, a), nil)
		s.staged(t, target, a, secret.Text{})
		s.staged(t, target, b, vb)
		s.is(t, s.Store.Discard(t.Context(), target, b), nil)
		s.clean(t, target)
	}},
	{name: "two targets do not mix", needs: canStage, run: func(t *testing.T, s *suite, target stores.Target) {
		other := s.fresh(t)
		s.human(t, target, s.key())
		s.human(t, other, s.key())
		a, value, elsewhere := attempt(), s.key(), s.key()
		s.is(t, s.Store.Stage(t.Context(), target, a, value), nil)
		s.staged(t, other, a, secret.Text{})
		s.is(t, s.Store.Stage(t.Context(), other, a, elsewhere), nil)
		s.staged(t, target, a, value)
		s.is(t, s.Store.Discard(t.Context(), target, a), nil)
		s.staged(t, other, a, elsewhere)
		s.clean(t, target)
		s.is(t, s.Store.Discard(t.Context(), other, a), nil)
		s.clean(t, other)
	}},
	{name: "a discarded attempt can be staged again", needs: canStage, run: func(t *testing.T, s *suite, target stores.Target) {
		s.human(t, target, s.key())
		a, value := attempt(), s.key()
		for range 2 {
			s.is(t, s.Store.Stage(t.Context(), target, a, value), nil)
			s.staged(t, target, a, value)
			s.is(t, s.Store.Discard(t.Context(), target, a), nil)
			s.clean(t, target)
		}
	}},
	{name: "what is staged outlives the promotions of another field", needs: stagesFields, run: func(t *testing.T, s *suite, target stores.Target) {
		a, old := attempt(), s.key()
		s.human(t, target, old)
		s.is(t, s.Store.Stage(t.Context(), target, a, old), nil) // as a former value is kept that is about to be replaced
		another := target
		another.Field = "another"
		var was secret.Text
		for range 11 {
			b, value := attempt(), s.key()
			s.is(t, s.Store.Promote(t.Context(), another, b, value, was.Fingerprint()), nil)
			s.is(t, s.Store.Discard(t.Context(), another, b), nil)
			was = value
		}
		s.staged(t, target, a, old)
		s.current(t, target, old)
		for range 2 {
			s.is(t, s.Store.Discard(t.Context(), target, a), nil)
			s.staged(t, target, a, secret.Text{})
			s.clean(t, target)
		}
		s.current(t, another, was)
	}},
}
