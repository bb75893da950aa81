package schedule

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"rotator/rotation/journal"
)

// choresPace is the pause between two looks at whether chores are due.
const choresPace = 30 * time.Second

// runChores does the chores when they are due, until ctx ends.
func (s *Scheduler) runChores(ctx context.Context) {
	tick := time.NewTicker(choresPace)
	defer tick.Stop()
	group := s.newGroup()
	defer group.Wait() //nolint:errcheck // there is none
	for {
		s.tidy(ctx)
		s.beginChores(ctx, group)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// newGroup bounds how many chores run at once.
func (s *Scheduler) newGroup() *errgroup.Group {
	group := new(errgroup.Group)
	group.SetLimit(s.concurrency)
	return group
}

func (s *Scheduler) beginChores(ctx context.Context, group *errgroup.Group) {
	if err := s.claims.Hasten(ctx, s.now(), journal.Horizon); err != nil && ctx.Err() == nil {
		s.log.Warn("policies not made due after a clock was set back", "err", err)
	}
	s.chores(ctx, group)
}
