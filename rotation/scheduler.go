package rotation

import (
	"rotator/rotation/reason"

	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// pollPace bounds how long the scheduler sleeps, with as much again of jitter: replicas that share a journal may learn of
// each other's work by looking alone.
const pollPace = time.Second

// lookPause is the first pause before another look for what should be due and was not handed out: the journal's clock is
// a little behind, or another replica was faster.
const lookPause = 20 * time.Millisecond

// lookLimit bounds one look for what is due. A connection that swallows what it is sent answers never, and a claim that
// comes later than this is hardly worth having: its lease is nearly over.
const lookLimit = 10 * time.Second

// scheduler hands out turns in two lanes: to policies that are due, and in rounds to those at rest. Both share the places.
type scheduler struct {
	*Engine
	once    bool                      // it ends when all is done, and its process with it
	places  chan struct{}             // a token for each that is taken
	line    chan struct{}             // a token for the turn of a round that waits for a place
	rest    atomic.Pointer[time.Time] // when the next round has work, as the journal said last; nil: it was not asked since the last
	doubted atomic.Bool               // whether the journal can be written is not known: it is asked for work even where none is due
	working sync.WaitGroup
}

func (e *Engine) newScheduler(once bool) *scheduler {
	s := &scheduler{Engine: e, once: once, places: make(chan struct{}, e.limits.Concurrency), line: make(chan struct{}, 1)}
	s.doubted.Store(true)
	return s
}

// Run rotates until ctx ends, then lets the steps in hand finish or park, and returns nil. It returns an error only when
// it can't go on at all. A failure of the journal is logged and tried again: nothing is acted on meanwhile.
func (e *Engine) Run(ctx context.Context) error {
	turns, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	s := e.newScheduler(false)
	defer s.attendance(ctx)()
	s.working.Go(func() { e.runChores(ctx) })
	s.working.Go(func() { e.listen(ctx) })
	s.working.Go(func() { s.rounds(turns, ctx) })
	for empty := 0; ctx.Err() == nil; empty++ {
		began, due, _ := s.look(turns, ctx)
		if began > 0 || due.After(e.now()) {
			empty = 0
		}
		if began == 0 {
			e.sleep(ctx, due, empty)
		}
	}
	parked := time.AfterFunc(e.limits.Park, cancel)
	defer parked.Stop()
	s.working.Wait()
	return nil
}

// look asks when a policy is due, and claims and begins those that are. At first, and after a failure, it claims anyhow: a
// journal that only answers is not one that hands out work. stop ends the look, ctx the turns that it begins.
func (s *scheduler) look(ctx, stop context.Context) (began int, due time.Time, err error) {
	due, err = s.next(stop)
	insist := s.once || s.doubted.Load()
	if err != nil || !insist && (due.IsZero() || due.After(s.now())) {
		s.looked(err)
		return 0, due, err
	}
	places := s.take(stop)
	if len(places) == 0 {
		return 0, due, nil // stopping
	}
	asked := s.boot()
	asking, enough := context.WithTimeout(stop, lookLimit)
	defer enough()
	claims, err := s.journal.Claim(asking, s.owner, s.now(), len(places), s.only...)
	s.looked(err)
	s.doubted.Store(err != nil)
	for i, p := range places {
		if i >= len(claims) {
			p.give()
			continue
		}
		er := errand{claim: claims[i], asked: asked, at: s.now(), place: p.give}
		s.working.Go(func() {
			s.attend(ctx, stop, er)
			s.Wake()
		})
	}
	return len(claims), due, err
}

// next asks when the next policy is due, and remembers when the next one at rest is.
func (s *scheduler) next(ctx context.Context) (due time.Time, err error) {
	ctx, enough := context.WithTimeout(ctx, lookLimit)
	defer enough()
	due, rest, err := s.journal.Next(ctx)
	if err == nil {
		s.rest.Store(&rest)
	}
	return due, err
}

// place is a turn's among those up.
type place struct {
	of    chan struct{}
	taken atomic.Bool
}

// give leaves the place to another. Only the first time counts.
func (p *place) give() {
	if p.taken.Swap(false) {
		<-p.of
	}
}

// take waits for a place, and takes all others that are free too. It returns none when ctx ended.
func (s *scheduler) take(ctx context.Context) (taken []*place) {
	select {
	case s.places <- struct{}{}:
	case <-ctx.Done():
		return nil
	}
	for {
		p := &place{of: s.places}
		p.taken.Store(true)
		taken = append(taken, p)
		select {
		case s.places <- struct{}{}:
		default:
			return taken
		}
	}
}

// looked notes how a look for due policies ended. Any end shows that the scheduler is alive.
func (e *Engine) looked(err error) {
	e.mu.Lock()
	e.lastTry, e.lookError = e.now(), err
	if err == nil {
		e.lastLook = e.lastTry
	}
	e.mu.Unlock()
	if err != nil && !errors.Is(err, context.Canceled) {
		e.log.Error("the journal does not answer; nothing is acted on until it does", "err", err)
	}
}

// sleep waits until a policy is due, somebody wakes the scheduler, or ctx ends. empty is how many looks in a row found
// nothing where something was due.
func (e *Engine) sleep(ctx context.Context, due time.Time, empty int) {
	d := pollPace + rand.N(pollPace)
	switch until := due.Sub(e.now()); {
	case due.IsZero():
	case until > 0:
		d = min(d, until)
	default:
		d = min(d, lookPause<<min(empty, 10))
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-e.wake:
	case <-ctx.Done():
	}
}

// RunOnce does everything that is due or in flight and can move now, and returns when what is left waits for a schedule,
// an overlap, a soak or a human.
func (e *Engine) RunOnce(ctx context.Context) error {
	lists := e.newLists()
	e.chores(ctx, lists)
	if err := lists.Wait(); err != nil {
		return err
	}
	s := e.newScheduler(true)
	for empty := 0; ctx.Err() == nil; empty++ {
		began, due, err := s.look(ctx, ctx)
		if err == nil && began == 0 {
			began, _, err = s.round(ctx, ctx)
		}
		s.working.Wait()
		if err != nil {
			return err
		}
		if began > 0 {
			empty = 0
			continue
		}
		moving, err := e.moving(ctx)
		if err != nil || !moving {
			return err
		}
		e.sleep(ctx, due, empty)
	}
	return ctx.Err()
}

// moving reports whether a rotation is on its way to live and neither failed too often nor waits for a human.
func (e *Engine) moving(ctx context.Context) (bool, error) {
	all, err := e.journal.Summaries(ctx)
	if err != nil {
		return false, err
	}
	for _, s := range all {
		switch {
		case len(e.only) > 0 && !slices.Contains(e.only, s.Policy.Name):
		case s.Policy.NextRunAt.IsZero() || reason.NeedsHuman(s.Policy.Reason) || s.Policy.Failures >= failuresTold || s.Hold.Active(e.now()):
		case s.Rotation == nil:
			if !s.Policy.NextRunAt.After(e.now()) {
				return true, nil
			}
		case !s.Rotation.State.Final():
			return true, nil
		}
	}
	return false, nil
}
