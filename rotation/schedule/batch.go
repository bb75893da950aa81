package schedule

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"rotator/rotation/journal"
	"rotator/rotation/turn"
)

// Batches. A policy at rest has its targets and keys looked at as often as any other, and hardly ever is anything found.
// Therefore those whose time has come are claimed, loaded and released together: thousands at rest cost the journal a
// few statements a second. Their turns are like all others, and one that finds something goes on like all others.

// batchLimit bounds a batch: so many claims, at most, are lost with a process.
const batchLimit = 256

// batchPatience is how long a claim waits in its batch for a slot, and for room at its stores and team, before it is
// given back. It is shorter than a third of a lease, so that waiting renews nothing.
const batchPatience = 4 * time.Second

// gatherPause is how long turns that are over wait for others to be released with, so that a slow batch costs the journal
// little more than a fast one. One that hangs holds up none. Nothing renews their claims meanwhile: a third of a lease may
// be over already, and more than a third is left to write what they found.
func (l *loop) gatherPause() time.Duration {
	if lease := l.leases.Lease(); lease > 0 {
		return lease / 5
	}
	return 3 * time.Second
}

// errNoSlot: a turn of a batch waited for a slot in vain, or the process is stopping.
var errNoSlot = errors.New("no worker slot for the turn")

// batchPace is the pause between two batches: nothing to an interval between two looks at one policy.
func (s *Scheduler) batchPace() time.Duration { return max(s.watch/90, pollPace) }

// batches makes batches until stop ends; ctx ends the calls of their turns. While a batch finds more than it may take, the
// next follows when it is over.
func (l *loop) batches(ctx, stop context.Context) {
	for failed := false; ; {
		pace := l.batchPace()
		if failed {
			pace = pollPace
		}
		if pause(stop, pace-pace/10+rand.N(pace/5)) != nil {
			return
		}
		for at := l.rest.Swap(nil); at != nil; {
			if at.IsZero() || at.After(l.now()) {
				l.rested(nil) // nothing waits for a batch
				failed = false
				break
			}
			began, over, err := l.batch(ctx, stop)
			l.rested(err)
			failed = err != nil
			if err != nil && stop.Err() == nil {
				l.log.Error("batch of policies at rest not claimed", "err", err)
				l.doubted.Store(true)
			}
			if began < batchLimit {
				break
			}
			select {
			case <-over:
			case <-time.After(pace):
			}
		}
	}
}

// rested notes how a batch began. A full disk may show in batches alone: a claim of nothing writes nothing.
func (s *Scheduler) rested(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.restError = err
}

// batch claims the policies at rest whose time has come and begins their turns. over is closed when they all ended.
func (l *loop) batch(ctx, stop context.Context) (began int, over <-chan struct{}, err error) {
	asking, enough := context.WithTimeout(stop, lookLimit)
	defer enough()
	if yields, err := l.yields(asking); yields || err != nil {
		return 0, nil, err
	}
	asked := l.boot()
	claims, err := l.claims.ClaimResting(asking, l.owner, l.now(), batchLimit, l.only...)
	if err != nil || len(claims) == 0 {
		return 0, nil, err
	}
	names := make([]string, len(claims))
	tasks := make([]*task, len(claims))
	for i, c := range claims {
		names[i], tasks[i] = c.Policy, l.newTask(stop, c, asked) // before the records are loaded: its clock begins here
	}
	records, err := l.records.LoadAll(asking, names)
	if err == nil {
		tasks = loaded(tasks, records)
	}
	ended := make(chan struct{})
	l.working.Go(func() {
		defer close(ended)
		if err != nil {
			l.giveBack(ctx, tasks)
			return
		}
		l.gather(ctx, tasks)
	})
	return len(claims), ended, err
}

// loaded gives each task its record, and leaves those out that have none: renamed a moment ago, their claims are void.
func loaded(tasks []*task, records []*journal.Record) []*task {
	for i, t := range tasks {
		t.Record = records[i]
	}
	return slices.DeleteFunc(tasks, func(t *task) bool { return t.Record == nil })
}

// gather takes the turns of a batch, and ends the claims of those in which nothing happened together.
func (l *loop) gather(ctx context.Context, tasks []*task) {
	over := make(chan *task, len(tasks))
	for _, t := range tasks {
		l.working.Go(func() { l.runInBatch(ctx, t); over <- t })
	}
	var done []*task
	var enough <-chan time.Time
	for left := len(tasks); left > 0; {
		select {
		case t := <-over:
			left--
			if !t.together { // it ended its claim itself
				l.Wake() // it may be due again at once
				continue
			}
			if len(done) == 0 {
				enough = time.After(l.gatherPause())
			}
			done = append(done, t)
		case <-enough:
			l.endAll(ctx, done)
			done, enough = nil, nil
		}
	}
	l.endAll(ctx, done)
}

// runInBatch takes one turn of a batch. It has no slot before it is admitted.
func (l *loop) runInBatch(ctx context.Context, t *task) {
	t.slot = &slot{of: l.slots}
	t.admit = func(resources []turn.Resource) (*permit, error) { return l.admit(t, resources) }
	l.runTask(ctx, t)
}

// admit waits for room and then for a slot. Turns of batches stand in line one at a time, so that others get every
// second slot, and leave an eighth of each share to them. It refuses with *turn.Crowded or errNoSlot.
func (l *loop) admit(t *task, resources []turn.Resource) (*permit, error) {
	waiting, enough := context.WithTimeout(t.stop, batchPatience)
	defer enough()
	for i := range resources {
		resources[i].Share = max(1, resources[i].Share-(resources[i].Share+7)/8)
	}
	in, err := l.limiter.await(waiting, resources)
	if err != nil {
		return nil, err
	}
	if !l.queue(waiting, t.slot) {
		in.leave()
		return nil, errNoSlot
	}
	return in, nil
}

// queue waits for a slot, and reports whether there was one before ctx ended.
func (l *loop) queue(ctx context.Context, p *slot) bool {
	select {
	case l.line <- struct{}{}:
		defer func() { <-l.line }()
	case <-ctx.Done():
		return false
	}
	select {
	case l.slots <- struct{}{}:
		p.taken.Store(true)
		return true
	case <-ctx.Done():
		return false
	}
}

// endAll ends the claims of turns in which nothing happened. Where the journal refuses one of them, the others do not
// suffer.
func (l *loop) endAll(ctx context.Context, done []*task) {
	if len(done) == 0 {
		return
	}
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	outcomes := make([]journal.Outcome, len(done))
	for i, t := range done {
		outcomes[i] = journal.Outcome{Claim: t.Claim, Record: t.Record}
	}
	errs, err := l.leases.CommitAll(within, outcomes)
	switch {
	case errors.Is(err, journal.ErrForbidden):
		errs = slices.Repeat([]error{err}, len(done)) // it does not say of which
	case err != nil:
		l.log.Error("claims of a batch not released", "policies", len(done), "err", err)
		l.giveBack(ctx, done)
		return
	}
	for i, t := range done {
		if errors.Is(errs[i], journal.ErrForbidden) {
			errs[i] = l.leases.Commit(within, t.Claim, t.Record, true)
		}
		l.ended(ctx, t, errs[i])
	}
}

// giveBack releases claims unchanged that do not end by themselves.
func (l *loop) giveBack(ctx context.Context, tasks []*task) {
	for _, t := range tasks {
		if t.Claim.Until.IsZero() {
			l.postpone(ctx, t, 0)
		}
	}
}
