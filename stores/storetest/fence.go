package storetest

import (
	"context"
	"testing"

	"rotator/internal/secret"
	"rotator/stores"
)

// delays holds back the write of a Promote. The first test shows that the harness does, the others that Fence stops it.
var delays = []test{
	{name: "a write that is delayed lands when it arrives", alone: true, needs: canDelay, run: func(t *testing.T, s *suite, target stores.Target) {
		old, value := s.key(), s.key()
		s.human(t, target, old)
		arrive := s.promoteLate(t, target, value, old)
		s.current(t, target, old)
		arrive()
		s.holds(t, target, value, others)
	}},
	{name: "a write sent before a fence fails after it", alone: true, needs: canDelayFence, run: func(t *testing.T, s *suite, target stores.Target) {
		old := s.key()
		s.human(t, target, old)
		arrive := s.promoteLate(t, target, s.key(), old)
		s.fence(t, target)
		s.holds(t, target, old, others)
		arrive()
		s.holds(t, target, old, others)
	}},
	{name: "a write sent before a fence fails after a promote too", alone: true, needs: canDelayFence, run: func(t *testing.T, s *suite, target stores.Target) {
		old, value := s.key(), s.key()
		s.human(t, target, old)
		arrive := s.promoteLate(t, target, s.key(), old)
		s.fence(t, target)
		// Back to the value that the late writer expects: nothing but the fence distinguishes it.
		s.rotate(t, target, old, value)
		s.rotate(t, target, value, old)
		arrive()
		s.holds(t, target, old, others)
	}},
	{name: "a write sent before the second of two fences fails", alone: true, needs: canDelayFence, run: func(t *testing.T, s *suite, target stores.Target) {
		old, value := s.key(), s.key()
		s.human(t, target, old)
		s.fence(t, target)
		arrive := s.promoteLate(t, target, s.key(), old)
		s.fence(t, target)
		arrive()
		s.holds(t, target, old, others)
		s.rotate(t, target, old, value)
	}},
}

// fencing holds Fence to the rest of its word.
var fencing = []test{
	{name: "fences are harmless", needs: fences, run: func(t *testing.T, s *suite, target stores.Target) {
		first, second, third := s.key(), s.key(), s.key()
		s.human(t, target, first)
		s.rotate(t, target, first, second)
		for range 3 {
			s.fence(t, target)
			s.holds(t, target, second, others)
			s.clean(t, target)
		}
		if s.KeepsPrevious {
			s.kept(t, target, first)
		}
		s.rotate(t, target, second, third)
	}},
	{name: "what is staged survives a fence", needs: func(s *suite) bool { return fences(s) && s.CanStage }, run: func(t *testing.T, s *suite, target stores.Target) {
		a, old, value := attempt(), s.key(), s.key()
		s.human(t, target, old)
		s.stage(t, target, a, value)
		s.fence(t, target)
		s.staged(t, target, a, value)
		s.holds(t, target, old, others)
		s.is(t, s.Store.Promote(t.Context(), target, a, value, old.Fingerprint()), nil)
		s.is(t, s.Store.Discard(t.Context(), target, a), nil)
		s.clean(t, target)
		s.holds(t, target, value, others)
	}},
	{name: "a fence of nothing is not found", needs: fences, run: func(t *testing.T, s *suite, target stores.Target) {
		same := s.unchanged(t, target)
		s.is(t, s.Store.(stores.Fencer).Fence(t.Context(), target), stores.ErrNotFound)
		same()
		s.clean(t, target)
	}},
	{name: "a fence with a canceled context fails", needs: fences, run: func(t *testing.T, s *suite, target stores.Target) {
		s.human(t, target, s.key())
		same := s.unchanged(t, target)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		s.is(t, s.Store.(stores.Fencer).Fence(ctx, target), context.Canceled)
		same()
	}},
	{name: "a fence that cannot be says so", needs: cannotFence, run: func(t *testing.T, s *suite, target stores.Target) {
		s.human(t, target, s.key())
		same := s.unchanged(t, target)
		s.is(t, s.Store.(stores.Fencer).Fence(t.Context(), target), stores.ErrCannotFence)
		same()
		s.clean(t, target)
	}},
}

// placing holds Place to its word.
var placing = []test{
	{name: "a target has one place", needs: places, run: func(t *testing.T, s *suite, target stores.Target) {
		old, value, other := s.key(), s.key(), s.fresh(t)
		s.human(t, target, old)
		s.human(t, other, old)
		same := s.unchanged(t, target)
		at := s.place(t, target)
		same()
		if elsewhere := s.place(t, other); elsewhere == at {
			t.Errorf("two targets are the one place %q", at)
		}
		s.rotate(t, target, old, value)
		if now := s.place(t, target); now != at {
			t.Errorf("the place %q became %q with a promote", at, now)
		}
		if s.Alias == nil {
			return
		}
		if alias, ok := s.Alias(t, target); ok {
			if also := s.place(t, alias); also != at {
				t.Errorf("%q is at %q, and its alias %q at %q", target.Path, at, alias.Path, also)
			}
			s.current(t, alias, value)
		}
	}},
	{name: "each field is a place of its own", needs: func(s *suite) bool { return places(s) && s.structured }, run: func(t *testing.T, s *suite, target stores.Target) {
		s.human(t, target, s.key())
		second := target
		second.Field += "_2"
		if a, b := s.place(t, target), s.place(t, second); a == b {
			t.Errorf("two fields are the one place %q", a)
		}
	}},
}

// fence fences the target.
func (s *suite) fence(t *testing.T, target stores.Target) {
	t.Helper()
	s.is(t, s.Store.(stores.Fencer).Fence(t.Context(), target), nil)
}

// place returns the target's place.
func (s *suite) place(t *testing.T, target stores.Target) string {
	t.Helper()
	at, err := s.Store.(stores.Placer).Place(t.Context(), target)
	if s.is(t, err, nil); err == nil && at == "" {
		t.Error("Place is empty")
	}
	return at
}

// promoteLate promotes value, whose write is under way when promoteLate returns. arrive has it arrive.
func (s *suite) promoteLate(t *testing.T, target stores.Target, value, expected secret.Text) (arrive func()) {
	t.Helper()
	held := s.Delay(t, target)
	done := make(chan error, 1)
	go func() { done <- s.Store.Promote(t.Context(), target, attempt(), value, expected.Fingerprint()) }()
	select {
	case <-held.Sent:
	case err := <-done:
		select {
		case <-held.Sent: // a store that gives up its answer at once
			done <- err
		default:
			t.Fatalf("the harness's Delay held nothing back: %v", err)
		}
	}
	return func() {
		t.Helper()
		held.Release()
		err := <-done
		s.silent(t, err)
	}
}
