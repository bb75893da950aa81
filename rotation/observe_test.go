package rotation_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rotator/internal/secret"
	"rotator/rotation"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/stores"
	"rotator/stores/memstore"
	"rotator/xai/xaisim"
)

// stepKey is what the observer leaves in a step's context.
type stepKey struct{}

// traced is a store that notes in which step it was called.
type traced struct {
	*memstore.Store
	calls map[string]int // "state call" → calls
}

func (s traced) note(ctx context.Context, call string) {
	state, _ := ctx.Value(stepKey{}).(journal.State)
	s.calls[string(state)+" "+call]++
}

func (s traced) Stage(ctx context.Context, t stores.Target, attempt string, v secret.Text) error {
	s.note(ctx, "stage")
	return s.Store.Stage(ctx, t, attempt, v)
}

func (s traced) Promote(ctx context.Context, t stores.Target, attempt string, v secret.Text, expected secret.Fingerprint) error {
	s.note(ctx, "promote")
	return s.Store.Promote(ctx, t, attempt, v, expected)
}

// TestSteps: an observer is told of every step before and after it, knows the rotation in both, and its context
// reaches the calls that the step makes; also over the death of the process.
func TestSteps(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{})
	a := traced{b.stores["a"], map[string]int{}}
	b.wrapped["a"] = a
	var way, ended []string
	rotations := map[string]bool{}
	open := 0
	b.observe = func(ctx context.Context, s rotation.Step) (context.Context, func(rotation.Step)) {
		open++
		begun := s
		return context.WithValue(ctx, stepKey{}, s.State), func(s rotation.Step) {
			open--
			if s.State != begun.State || begun.Rotation != "" && s.Rotation != begun.Rotation || s.Policy != "chat" || s.Outcome != outcome(s) && s.Outcome != "moved" {
				t.Errorf("a step of %q began as %+v and ended as %+v", s.Policy, begun, s)
			}
			rotations[s.Rotation] = true
			if s.State != s.After {
				way = append(way, string(s.State)+">"+string(s.After))
			}
			for _, r := range s.Ended {
				ended = append(ended, string(r.State))
				if r.ID != s.Rotation || r.EndedAt.IsZero() || r.StartedAt.IsZero() {
					t.Errorf("ended: %+v in the step %+v", r, s)
				}
			}
		}
	}
	b.birth()
	b.load(policyDoc("chat", "", targetA))
	b.run(time.Minute)
	b.birth() // another process goes on
	b.run(49 * time.Hour)
	if d := cmp.Diff([]string{">planned", "planned>staged", "staged>verified", "verified>live"}, way); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"live"}, ended); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string]int{"planned stage": 1, "verified promote": 1}, a.calls); d != "" {
		t.Error(d)
	}
	delete(rotations, "") // the steps of a policy at rest
	if len(rotations) != 1 || open != 0 {
		t.Errorf("rotations %v, %d steps without an end", rotations, open)
	}
}

// outcome is how a step of a rotation to which nothing happens must have ended.
func outcome(s rotation.Step) string {
	switch {
	case len(s.Ended) > 0:
		return "ended"
	case s.State != s.After:
		return "moved"
	}
	return "waits"
}

// TestFailedSteps: a step that fails is reported as such, with the reason that people are shown.
func TestFailedSteps(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{})
	b.stores["a"].Set("chat", `{"api_key":"a password"}`)
	b.exempt["an unknown value"] = true
	var last rotation.Step
	b.observe = func(ctx context.Context, _ rotation.Step) (context.Context, func(rotation.Step)) {
		return ctx, func(s rotation.Step) { last = s }
	}
	b.birth()
	b.load(policyDoc("chat", "", targetA))
	b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand})
	b.run(time.Minute)
	if last.Outcome != "failed" || last.Reason != reason.ForeignValue || last.State != journal.Planned || last.After != journal.Planned || last.Rotation == "" {
		t.Errorf("the last step: %+v", last)
	}
}
