package api

import (
	"context"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"rotator/rotation/journal"
)

// gappy is a journal of events only, whose ids have gaps.
type gappy struct {
	journal.Journal
	events []journal.Event
	asked  int
}

func (g *gappy) Events(_ context.Context, after int64, limit int) ([]journal.Event, error) {
	g.asked++
	i, _ := slices.BinarySearchFunc(g.events, after+1, func(e journal.Event, id int64) int { return int(e.ID - id) })
	return g.events[i:min(len(g.events), i+limit)], nil
}

// TestBeforeIsTheLastEventOfEarlier looks for the last event before a moment among any number, before and after it.
func TestBeforeIsTheLastEventOfEarlier(t *testing.T) {
	t.Parallel()
	moment := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		g, id, want := &gappy{}, int64(0), int64(0)
		for _, at := range []time.Time{moment.Add(-time.Second), moment} {
			want = id
			for _, gap := range rapid.SliceOf(rapid.Int64Range(1, 1_000_000)).Draw(t, "gaps") {
				id += gap
				g.events = append(g.events, journal.Event{ID: id, At: at})
			}
		}
		c := New(Options{Journal: g})
		got, err := c.before(t.Context(), func(e journal.Event) bool { return !e.At.Before(moment) })
		if err != nil || got != want {
			t.Fatalf("before %d, %v; want %d", got, err, want)
		}
		if g.asked > 100 {
			t.Fatalf("%d questions to the journal", g.asked)
		}
	})
}
