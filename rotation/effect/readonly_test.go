package effect_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"rotator/internal/guard"
	"rotator/rotation/effect"
	"rotator/rotation/journal"
)

// TestReadOnly: while nothing may be changed no effect is recorded, none that was is sent, and none that is being sent leaves.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	no := errors.New("observe mode")
	var readOnly error
	commits, sent := 0, 0
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	rec := &journal.Record{Policy: journal.Policy{Name: "chat"}}
	r := effect.New(effect.Options{
		Record: rec, Bounds: effect.Bounds{Call: time.Minute, Quarantine: 10 * time.Minute},
		Commit: func(context.Context) error { commits++; return nil }, Guard: func() error { return nil },
		Clock: func() effect.Clock { return effect.Clock{Journal: now} }, ReadOnly: func() error { return readOnly },
	})
	call := func(context.Context) error { sent++; return nil }
	create := func() *journal.Effect { return &journal.Effect{Key: "k", Kind: journal.EffectCreate} }

	readOnly = no
	if err := r.Do(t.Context(), *create(), call); !errors.Is(err, no) || commits+sent+len(rec.Effects) > 0 {
		t.Errorf("an intent: %v, %d commits, %d calls, %d rows", err, commits, sent, len(rec.Effects))
	}
	readOnly = nil
	e := create()
	if err := r.Intend(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	readOnly = no
	if err := r.Send(t.Context(), e.ID, call); !errors.Is(err, no) || sent > 0 || rec.Effects[0].State != journal.EffectWithdrawn {
		t.Errorf("a call: %v, sent %d, and the row is %s", err, sent, rec.Effects[0].State)
	}
	readOnly = nil
	err := r.Do(t.Context(), *create(), func(ctx context.Context) error {
		readOnly = no // on the way
		q, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://127.0.0.1:1/", http.NoBody)
		if err != nil {
			return err
		}
		_, err = guard.Transport(nobody{t}).RoundTrip(q) //nolint:bodyclose // there is none
		return err
	})
	if !errors.Is(err, no) {
		t.Errorf("a request: %v", err)
	}
}

// nothing is a server that must not be called.
type nobody struct{ t *testing.T }

func (n nobody) RoundTrip(*http.Request) (*http.Response, error) {
	n.t.Error("the request was sent")
	return nil, errors.New("nobody")
}
