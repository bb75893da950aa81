package notify

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"rotator/rotation/journal"
)

// TestTrails: a trail gets every event, also old ones and those that are no news, in order and again after a failure; one that is dead
// holds up no other.
func TestTrails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLedger(t)
		l.add(journal.KeyStaged, journal.Promoted)
		l.events[0].At = time.Now().Add(-365 * 24 * time.Hour)
		var got []int64
		failures := 3
		n := New(Options{Journal: l, Trails: map[string]func(context.Context, []journal.Event) error{
			"flaky": func(_ context.Context, events []journal.Event) error {
				if failures--; failures >= 0 {
					return errors.New("the disk is full")
				}
				for _, e := range events {
					got = append(got, e.ID)
				}
				return nil
			},
			"dead": func(context.Context, []journal.Event) error { return errors.New("no one answers") },
		}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = n.Run(ctx) }()
		time.Sleep(time.Minute)
		l.add(journal.Ordered)
		time.Sleep(time.Minute)
		cancel()
		<-done
		if want := []int64{10, 20, 30}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}
