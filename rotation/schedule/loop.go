package schedule

import (
	"context"
	"errors"
	"math/rand/v2"
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

// loop is one run of a scheduler. It hands out turns in two lanes: to policies that are due, and in batches to those at
// rest. Both share the slots.
type loop struct {
	*Scheduler
	once    bool                      // it ends when all is done, and its process with it
	slots   chan struct{}             // a token for each that is taken
	line    chan struct{}             // a token for the turn of a batch that waits for a slot
	rest    atomic.Pointer[time.Time] // when the next batch has work, as the journal said last; nil: it was not asked since the last
	doubted atomic.Bool               // whether the journal can be written is not known: it is asked for work even where none is due
	working sync.WaitGroup
}

func (s *Scheduler) newLoop(once bool) *loop {
	l := &loop{Scheduler: s, once: once, slots: make(chan struct{}, s.concurrency), line: make(chan struct{}, 1)}
	l.doubted.Store(true)
	return l
}

// Run hands out turns until ctx ends, then lets those in hand finish or park, and returns nil. A failure of the journal is
// logged and tried again: nothing is acted on meanwhile.
func (s *Scheduler) Run(ctx context.Context) error {
	turns, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	l := s.newLoop(false)
	defer l.attendance(ctx)()
	l.working.Go(func() { s.runChores(ctx) })
	l.working.Go(func() { s.listen(ctx) })
	l.working.Go(func() { l.batches(turns, ctx) })
	for empty := 0; ctx.Err() == nil; empty++ {
		began, due, _ := l.look(turns, ctx)
		if began > 0 || due.After(s.now()) {
			empty = 0
		}
		if began == 0 {
			s.sleep(ctx, due, empty)
		}
	}
	parked := time.AfterFunc(s.park, cancel)
	defer parked.Stop()
	l.working.Wait()
	return nil
}

// RunOnce does everything that is due or in flight and can move now, and returns when what is left waits for a schedule,
// an overlap, a soak or a human.
func (s *Scheduler) RunOnce(ctx context.Context) error {
	group := s.newGroup()
	s.beginChores(ctx, group)
	if err := group.Wait(); err != nil {
		return err
	}
	l := s.newLoop(true)
	for empty := 0; ctx.Err() == nil; empty++ {
		began, due, err := l.look(ctx, ctx)
		if err == nil && began == 0 {
			began, _, err = l.batch(ctx, ctx)
		}
		l.working.Wait()
		if err != nil {
			return err
		}
		if began > 0 {
			empty = 0
			continue
		}
		moving, err := s.runner.Moving(ctx)
		if err != nil || !moving {
			return err
		}
		s.sleep(ctx, due, empty)
	}
	return ctx.Err()
}

// look asks when a policy is due, and claims and begins those that are. At first, and after a failure, it claims anyhow: a
// journal that only answers is not one that hands out work. stop ends the look, ctx the turns that it begins.
func (l *loop) look(ctx, stop context.Context) (began int, due time.Time, err error) {
	due, err = l.next(stop)
	insist := l.once || l.doubted.Load()
	if err != nil || !insist && (due.IsZero() || due.After(l.now())) {
		l.looked(err)
		return 0, due, err
	}
	if yields, err := l.yields(stop); yields || err != nil {
		l.looked(err)
		return 0, due, err
	}
	slots := l.take(stop)
	if len(slots) == 0 {
		return 0, due, nil // stopping
	}
	asked := l.boot()
	asking, enough := context.WithTimeout(stop, lookLimit)
	defer enough()
	claims, err := l.claims.Claim(asking, l.owner, l.now(), len(slots), l.only...)
	l.looked(err)
	l.doubted.Store(err != nil)
	for i, p := range slots {
		if i >= len(claims) {
			p.free()
			continue
		}
		t := l.newTask(stop, claims[i], asked)
		t.slot = p
		l.working.Go(func() {
			l.runTask(ctx, t)
			l.Wake()
		})
	}
	return len(claims), due, err
}

// next asks when the next policy is due, and remembers when the next one at rest is.
func (l *loop) next(ctx context.Context) (due time.Time, err error) {
	ctx, enough := context.WithTimeout(ctx, lookLimit)
	defer enough()
	due, rest, err := l.claims.Next(ctx)
	if err == nil {
		l.rest.Store(&rest)
	}
	return due, err
}

// slot is a turn's place among those that work at once. The nil slot is none.
type slot struct {
	of    chan struct{}
	taken atomic.Bool
}

// free leaves the slot to another turn. Only the first time counts.
func (p *slot) free() {
	if p != nil && p.taken.Swap(false) {
		<-p.of
	}
}

// take waits for a slot, and takes all others that are free too. It returns none when ctx ended.
func (l *loop) take(ctx context.Context) (taken []*slot) {
	select {
	case l.slots <- struct{}{}:
	case <-ctx.Done():
		return nil
	}
	for {
		p := &slot{of: l.slots}
		p.taken.Store(true)
		taken = append(taken, p)
		select {
		case l.slots <- struct{}{}:
		default:
			return taken
		}
	}
}

// looked notes how a look for due policies ended. Any end shows that the scheduler is alive.
func (s *Scheduler) looked(err error) {
	s.mu.Lock()
	s.lastTry, s.lookError = s.now(), err
	if err == nil {
		s.lastLook = s.lastTry
	}
	s.mu.Unlock()
	if err != nil && !errors.Is(err, context.Canceled) {
		s.log.Error("journal does not answer; nothing is acted on until it does", "err", err)
	}
}

// sleep waits until a policy is due, someone wakes the scheduler, or ctx ends. empty is how many looks in a row found
// nothing where something was due.
func (s *Scheduler) sleep(ctx context.Context, due time.Time, empty int) {
	d := pollPace + rand.N(pollPace)
	switch until := due.Sub(s.now()); {
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
	case <-s.wake:
	case <-ctx.Done():
	}
}
