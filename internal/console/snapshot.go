package console

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"rotator/rotation/journal"
)

const (
	snapshotAge  = time.Second     // a snapshot serves everybody who looks within this time
	snapshotWait = 5 * time.Second // how long the journal may take
)

// snapshot is the journal as those see it who only look. It is not changed once it was made.
type snapshot struct {
	at       time.Time
	policies []journal.Summary
	teams    []journal.Team
	ended    map[journal.Kind]int // outcome → rotations that ended so since this process began
	told     int64                // the last event that ended counts
}

// snapshots reads the journal once for all who look at the same time, however many there are.
type snapshots struct {
	console *Console
	reading singleflight.Group
	last    atomic.Pointer[snapshot]
}

// outcomes are the events that tell how a rotation ended.
var outcomes = [...]journal.Kind{journal.Finished, journal.AbortEnded, journal.RollbackEnded, journal.TakenOver}

// get returns a snapshot that is at most a second old.
func (s *snapshots) get() (*snapshot, error) {
	now := s.console.o.Now
	if last := s.last.Load(); last != nil && now().Sub(last.at) < snapshotAge {
		return last, nil
	}
	got, err, _ := s.reading.Do("", func() (any, error) {
		// Not the context of whoever came first: others wait for the same answer.
		ctx, cancel := context.WithTimeout(context.Background(), snapshotWait)
		defer cancel()
		next, err := s.read(ctx, s.last.Load())
		if err != nil {
			return nil, fmt.Errorf("read the journal: %w", err)
		}
		s.last.Store(next)
		return next, nil
	})
	if err != nil {
		return nil, err
	}
	return got.(*snapshot), nil
}

func (s *snapshots) read(ctx context.Context, last *snapshot) (*snapshot, error) {
	c, next := s.console, &snapshot{at: s.console.o.Now(), ended: make(map[journal.Kind]int)}
	var err error
	if next.policies, err = c.o.Journal.Summaries(ctx); err != nil {
		return nil, err
	}
	if next.teams, err = c.o.Journal.Teams(ctx); err != nil {
		return nil, err
	}
	if last == nil { // what ended before this process began was counted by another
		next.told, err = c.before(ctx, func(e journal.Event) bool { return !e.At.Before(c.started) })
	} else {
		next.told = last.told
		for k, n := range last.ended {
			next.ended[k] = n
		}
	}
	for err == nil {
		var found []journal.Event
		found, err = c.o.Journal.Events(ctx, next.told, eventPage)
		for _, e := range found {
			next.told = e.ID
			next.ended[e.Kind]++
		}
		if len(found) < eventPage {
			break
		}
	}
	return next, err
}
