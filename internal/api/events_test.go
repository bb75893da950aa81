package api_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rotator/internal/api"
	"rotator/rotation/journal"
)

// ledger is a journal of events only, whose ids have gaps.
type ledger struct {
	journal.Journal
	mu     sync.Mutex
	events []journal.Event // guarded by mu
}

func (l *ledger) Events(_ context.Context, after int64, limit int) ([]journal.Event, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i, _ := slices.BinarySearchFunc(l.events, after+1, func(e journal.Event, id int64) int { return int(e.ID - id) })
	return l.events[i:min(len(l.events), i+limit)], nil
}

func (l *ledger) add(id int64, policy string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, journal.Event{ID: id, At: time.Now(), Policy: policy, Kind: journal.Promoted})
}

func client(j journal.Journal) *api.Client {
	return api.InProcess(api.New(api.Options{Journal: j}).Control())
}

func TestEventsAreWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &ledger{}
		c := client(l)
		began := time.Now()
		got, err := c.Events(t.Context(), 0, "")
		if err != nil || len(got.Events) != 0 || got.Next != 0 || time.Since(began) != 25*time.Second {
			t.Fatalf("%+v, %v after %s; want nothing after 25s", got, err, time.Since(began))
		}
		began = time.Now()
		time.AfterFunc(3*time.Second, func() { l.add(7, "b") })
		time.AfterFunc(6*time.Second, func() { l.add(9, "a") })
		got, err = c.Events(t.Context(), 0, "a")
		if err != nil || len(got.Events) != 1 || got.Events[0].ID != 9 || got.Next != 9 {
			t.Fatalf("%+v, %v; want event 9 alone", got, err)
		}
		if waited := time.Since(began); waited < 6*time.Second || waited > 6500*time.Millisecond {
			t.Fatalf("waited %s for an event of the sixth second", waited)
		}
		got, err = c.Events(t.Context(), 0, "c") // others' events are passed over
		if err != nil || len(got.Events) != 0 || got.Next != 9 {
			t.Fatalf("%+v, %v; want to go on after 9", got, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Events(ctx, 9, ""); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("error %v, want that of the context", err)
		}
	})
}

func TestManyEventsComeInPages(t *testing.T) {
	t.Parallel()
	l := &ledger{}
	for id := range int64(2500) {
		l.add(id+1, "b")
	}
	l.add(2600, "a")
	got, err := client(l).Events(t.Context(), 0, "a") // without a wait between pages
	if err != nil || len(got.Events) != 1 || got.Next != 2600 {
		t.Fatalf("%+v, %v; want event 2600", got, err)
	}
	got, err = client(l).Events(t.Context(), 0, "")
	if err != nil || len(got.Events) != 1000 || got.Next != 1000 {
		t.Fatalf("%d events, next %d, %v; want the first 1000", len(got.Events), got.Next, err)
	}
}
