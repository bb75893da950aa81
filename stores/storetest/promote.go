package storetest

import (
	"context"
	"encoding/json"
	"testing"

	"rotator/internal/secret"
	"rotator/stores"
)

// promoting holds Promote to its word.
var promoting = []test{
	{name: "promote what is staged", run: func(t *testing.T, s *suite, target stores.Target) {
		a, old, value := attempt(), s.key(), s.key()
		s.human(t, target, old)
		s.stage(t, target, a, value)
		for range 3 { // the value there already is success
			s.is(t, s.Store.Promote(t.Context(), target, a, value, old.Fingerprint()), nil)
			s.holds(t, target, value, others)
		}
		for range 2 {
			s.is(t, s.Store.Discard(t.Context(), target, a), nil)
			s.staged(t, target, a, secret.Text{})
			s.clean(t, target)
			s.holds(t, target, value, others)
		}
	}},
	{name: "promote without stage", run: func(t *testing.T, s *suite, target stores.Target) {
		old, value := s.key(), s.key()
		s.human(t, target, old)
		s.is(t, s.Store.Promote(t.Context(), target, attempt(), value, old.Fingerprint()), nil)
		s.holds(t, target, value, others)
		s.clean(t, target)
	}},
	{name: "promote after discard", run: func(t *testing.T, s *suite, target stores.Target) {
		a, old, value := attempt(), s.key(), s.key()
		s.human(t, target, old)
		s.stage(t, target, a, value)
		s.is(t, s.Store.Discard(t.Context(), target, a), nil)
		s.is(t, s.Store.Promote(t.Context(), target, a, value, old.Fingerprint()), nil)
		s.holds(t, target, value, others)
	}},
	{name: "promote over another value conflicts", run: func(t *testing.T, s *suite, target stores.Target) {
		a, old, value := attempt(), s.key(), s.key()
		s.human(t, target, old)
		s.stage(t, target, a, value)
		same := s.unchanged(t, target)
		for _, expected := range []secret.Fingerprint{"", s.key().Fingerprint(), value.Fingerprint()} {
			s.is(t, s.Store.Promote(t.Context(), target, a, value, expected), stores.ErrConflict)
			same()
		}
		s.current(t, target, old)
		s.is(t, s.Store.Discard(t.Context(), target, a), nil)
		s.clean(t, target)
	}},
	{name: "promote of the value there already succeeds whatever was expected", run: func(t *testing.T, s *suite, target stores.Target) {
		value := s.key()
		s.human(t, target, value)
		same := s.unchanged(t, target)
		for _, expected := range []secret.Fingerprint{"", s.key().Fingerprint(), value.Fingerprint()} {
			s.is(t, s.Store.Promote(t.Context(), target, attempt(), value, expected), nil)
			same()
		}
	}},
	{name: "promote into nothing", run: func(t *testing.T, s *suite, target stores.Target) {
		a, value := attempt(), s.key()
		same := s.unchanged(t, target)
		s.is(t, s.Store.Promote(t.Context(), target, a, value, s.key().Fingerprint()), stores.ErrConflict)
		same()
		for range 2 {
			s.is(t, s.Store.Promote(t.Context(), target, a, value, ""), nil)
			s.holds(t, target, value, "{}")
		}
		s.is(t, s.Store.Discard(t.Context(), target, a), nil)
		s.clean(t, target)
	}},
	{name: "promote into a missing, null or empty field", needs: isStructured, run: func(t *testing.T, s *suite, target stores.Target) {
		for _, doc := range []string{"{}", others, field(t, target, nil), field(t, target, "")} {
			value := s.key()
			s.Seed(t, target, doc)
			same := s.unchanged(t, target)
			s.is(t, s.Store.Promote(t.Context(), target, attempt(), value, s.key().Fingerprint()), stores.ErrConflict)
			same()
			s.is(t, s.Store.Promote(t.Context(), target, attempt(), value, ""), nil)
			s.holds(t, target, value, doc)
		}
	}},
	{name: "fields that changed since stage are kept", run: func(t *testing.T, s *suite, target stores.Target) {
		a, old, value := attempt(), s.key(), s.key()
		s.human(t, target, old)
		s.stage(t, target, a, value)
		s.Seed(t, target, s.doc(t, target, old, `{"plain":"changed","added":[1e400]}`))
		s.is(t, s.Store.Promote(t.Context(), target, a, value, old.Fingerprint()), nil)
		s.holds(t, target, value, `{"plain":"changed","added":[1e400]}`)
	}},
	{name: "a value that a human wrote since stage is kept", run: func(t *testing.T, s *suite, target stores.Target) {
		a, old, value, theirs := attempt(), s.key(), s.key(), s.key()
		s.human(t, target, old)
		s.stage(t, target, a, value)
		s.human(t, target, theirs)
		s.is(t, s.Store.Promote(t.Context(), target, a, value, old.Fingerprint()), stores.ErrConflict)
		s.holds(t, target, theirs, others)
	}},
	{name: "one attempt in two fields of one secret", needs: isStructured, run: func(t *testing.T, s *suite, target stores.Target) {
		second := target
		second.Field += "_2"
		a, old, value := attempt(), s.key(), s.key()
		s.Seed(t, target, s.doc(t, second, old, s.doc(t, target, old, others)))
		for _, each := range []stores.Target{target, second} {
			s.stage(t, each, a, value)
		}
		for _, each := range []stores.Target{target, second} {
			if s.CanStage {
				s.staged(t, each, a, value)
			}
			s.current(t, each, old)
		}
		for _, each := range []stores.Target{target, second} {
			s.is(t, s.Store.Promote(t.Context(), each, a, value, old.Fingerprint()), nil)
			s.current(t, each, value)
		}
		for _, each := range []stores.Target{target, second} {
			s.is(t, s.Store.Discard(t.Context(), each, a), nil)
		}
		s.clean(t, target)
		s.clean(t, second)
		s.holds(t, target, value, s.doc(t, second, value, others))
	}},
	{name: "a value of odd characters", run: func(t *testing.T, s *suite, target stores.Target) {
		a, old, value := attempt(), s.key(), s.secret("xai-é🔑\"\\ <&>'$(x)`%s{}\u2028 and long enough for a fingerprint")
		s.human(t, target, old)
		if s.PlainOnly && target.Field != "" {
			s.is(t, s.Store.Stage(t.Context(), target, a, value), stores.ErrInvalid)
			s.is(t, s.Store.Promote(t.Context(), target, a, value, old.Fingerprint()), stores.ErrInvalid)
			s.holds(t, target, old, others)
			return
		}
		s.stage(t, target, a, value)
		s.is(t, s.Store.Promote(t.Context(), target, a, value, old.Fingerprint()), nil)
		s.holds(t, target, value, others)
	}},
}

// keeping holds Previous to its word.
var keeping = []test{
	{name: "former values are kept", needs: keepsPrevious, run: func(t *testing.T, s *suite, target stores.Target) {
		first, second, third := s.key(), s.key(), s.key()
		s.human(t, target, first)
		_, err := s.previous(t).Previous(t.Context(), target, second.Fingerprint())
		s.is(t, err, stores.ErrNotFound)

		s.rotate(t, target, first, second)
		s.kept(t, target, first)
		s.rotate(t, target, second, third)
		s.kept(t, target, first)
		s.kept(t, target, second)
		s.clean(t, target)

		s.rotate(t, target, third, second) // a rollback
		s.kept(t, target, third)
		_, err = s.previous(t).Previous(t.Context(), target, s.key().Fingerprint())
		s.is(t, err, stores.ErrNotFound)
	}},
	{name: "previous of nothing is not found", needs: keepsPrevious, run: func(t *testing.T, s *suite, target stores.Target) {
		_, err := s.previous(t).Previous(t.Context(), target, s.key().Fingerprint())
		s.is(t, err, stores.ErrNotFound)
	}},
}

// misuse tries what a store must refuse.
var misuse = []test{
	{name: "a field that is not text is left alone", needs: isStructured, run: func(t *testing.T, s *suite, target stores.Target) {
		for _, value := range []any{1, true, []any{"a"}, map[string]any{"a": "b"}} {
			s.refuses(t, target, field(t, target, value))
		}
	}},
	{name: "a field in a text that is no object is left alone", needs: holdsText, run: func(t *testing.T, s *suite, target stores.Target) {
		for _, doc := range []string{s.key().Reveal(), `["a"]`, `{"` + target.Field + `":"cut`} {
			s.refuses(t, target, doc)
		}
	}},
	{name: "a canceled context changes nothing", run: func(t *testing.T, s *suite, target stores.Target) {
		a, b, old, value := attempt(), attempt(), s.key(), s.key()
		s.human(t, target, old)
		s.stage(t, target, a, value)
		same, left := s.unchanged(t, target), len(s.Leftovers(t, target))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, staged := s.Store.Staged(ctx, target, a)
		_, current := s.Store.Current(ctx, target)
		for _, err := range []error{
			staged, current,
			s.Store.Stage(ctx, target, b, s.key()),
			s.Store.Promote(ctx, target, a, value, old.Fingerprint()),
			s.Store.Discard(ctx, target, a),
		} {
			s.is(t, err, context.Canceled)
		}
		same()
		if now := len(s.Leftovers(t, target)); now != left {
			t.Errorf("%d staged things became %d", left, now)
		}
	}},
}

// stage stages the value where the store can.
func (s *suite) stage(t *testing.T, target stores.Target, attempt string, value secret.Text) {
	t.Helper()
	if s.CanStage {
		s.is(t, s.Store.Stage(t.Context(), target, attempt, value), nil)
	}
}

// rotate takes the target from one value to the next in the way of a whole rotation, some steps twice.
func (s *suite) rotate(t *testing.T, target stores.Target, old, value secret.Text) {
	t.Helper()
	a := attempt()
	s.stage(t, target, a, value)
	for range 2 {
		s.is(t, s.Store.Promote(t.Context(), target, a, value, old.Fingerprint()), nil)
	}
	s.is(t, s.Store.Discard(t.Context(), target, a), nil)
	s.holds(t, target, value, others)
}

// refuses checks that a target which holds doc can neither be read nor promoted, and stays as it is.
func (s *suite) refuses(t *testing.T, target stores.Target, doc string) {
	t.Helper()
	s.Seed(t, target, doc)
	same := s.unchanged(t, target)
	_, err := s.Store.Current(t.Context(), target)
	s.is(t, err, stores.ErrInvalid)
	for _, expected := range []secret.Fingerprint{"", s.key().Fingerprint()} {
		s.is(t, s.Store.Promote(t.Context(), target, attempt(), s.key(), expected), stores.ErrInvalid)
	}
	same()
	s.clean(t, target)
}

// previous returns the store as one that keeps former values.
func (s *suite) previous(t *testing.T) stores.Previous {
	t.Helper()
	p, ok := s.Store.(stores.Previous)
	if !ok {
		t.Fatal("the harness says KeepsPrevious, the store has no Previous")
	}
	return p
}

// kept checks that the former value can be had back.
func (s *suite) kept(t *testing.T, target stores.Target, value secret.Text) {
	t.Helper()
	got, err := s.previous(t).Previous(t.Context(), target, value.Fingerprint())
	if s.is(t, err, nil); err == nil && !got.Equal(value) {
		t.Errorf("Previous = %q, want %q", got.Reveal(), value.Reveal())
	}
}

// field returns a document that holds value, of any JSON type, in the target's field, and one field more.
func field(t *testing.T, target stores.Target, value any) string {
	t.Helper()
	doc, err := json.Marshal(map[string]any{target.Field: value, "plain": "kept"})
	if err != nil {
		t.Fatal(err)
	}
	return string(doc)
}
