package rotation

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"rotator/rotation/journal"
)

// pollPace bounds how long the scheduler sleeps: replicas that share a journal learn of each other's work by looking.
const pollPace = time.Second

// lookPause is the pause before another look for what should be due and was not handed out.
const lookPause = 20 * time.Millisecond

// lookLimit bounds one look for what is due. A connection that swallows what it is sent answers never, and a claim that
// comes later than this is hardly worth having: its lease is nearly over.
const lookLimit = 10 * time.Second

// choresPace is the pause between two looks at whether a team's chores are due.
const choresPace = 30 * time.Second

// Run rotates until ctx ends, then lets the steps in hand finish or park, and returns nil. It returns an error only when
// it can't go on at all. A failure of the journal is logged and tried again: nothing is acted on meanwhile.
func (e *Engine) Run(ctx context.Context) error {
	turns, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var working sync.WaitGroup
	defer working.Wait()
	working.Go(func() { e.runChores(ctx) })
	slots := make(chan struct{}, e.limits.Concurrency)
	for ctx.Err() == nil {
		select {
		case slots <- struct{}{}:
			<-slots
		case <-ctx.Done():
			continue
		}
		asked := e.boot()
		look, enough := context.WithTimeout(ctx, lookLimit)
		claims, err := e.claim(look, cap(slots)-len(slots))
		enough()
		e.looked(err)
		for _, c := range claims {
			slots <- struct{}{}
			place := sync.OnceFunc(func() { <-slots; e.Wake() })
			working.Go(func() {
				defer place()
				e.attend(turns, ctx, c, asked, place)
			})
		}
		if len(claims) == 0 {
			e.sleep(ctx, err)
		}
	}
	parked := time.AfterFunc(e.limits.Park, cancel)
	defer parked.Stop()
	working.Wait()
	return nil
}

// claim takes what is due, and then what is at rest and to be watched.
func (e *Engine) claim(ctx context.Context, limit int) ([]journal.Claim, error) {
	claims, err := e.journal.Claim(ctx, e.owner, e.now(), limit)
	if err != nil || len(claims) == limit {
		return claims, err
	}
	resting, err := e.journal.ClaimResting(ctx, e.owner, e.now(), limit-len(claims))
	if len(claims) > 0 {
		err = nil // those that we have are acted for
	}
	return append(claims, resting...), err
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

// sleep waits until a policy is due, somebody wakes the scheduler, or ctx ends. Idle, it costs one question a second.
func (e *Engine) sleep(ctx context.Context, failed error) {
	for !e.nap(ctx, failed) {
		e.looked(nil)
	}
}

// nap is one second of sleep, or less. It reports whether it is time to look.
func (e *Engine) nap(ctx context.Context, failed error) (look bool) {
	d, look := pollPace, failed != nil
	if !look {
		asking, enough := context.WithTimeout(ctx, lookLimit)
		at, rest, err := e.journal.Next(asking)
		enough()
		if at.IsZero() || !rest.IsZero() && rest.Before(at) {
			at = rest
		}
		if err != nil {
			look = true // and learn what is wrong
		} else if until := at.Sub(e.now()); !at.IsZero() && until < pollPace {
			d, look = until, true
			if until <= 0 { // the journal's clock is a little behind, or another replica was faster
				d = lookPause
			}
		}
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return look
	case <-e.wake:
	case <-ctx.Done():
	}
	return true
}

// attend gives one policy its turn. A defect that panics costs that policy a pause, and not the daemon.
func (e *Engine) attend(ctx, stop context.Context, c journal.Claim, asked time.Duration, place func()) {
	defer func() {
		if p := recover(); p != nil {
			e.log.Error("a step panicked", "policy", c.Policy, "panic", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
			e.postpone(ctx, c, defectPause)
		}
	}()
	err := e.turn(ctx, stop, c, asked, place)
	switch {
	case err == nil:
	case errors.Is(err, journal.ErrLost):
		e.log.Warn("another replica took the policy over; nothing more is written", "policy", c.Policy)
	case errors.Is(err, errCrowded):
		e.postpone(ctx, c, crowdedPause)
	default:
		e.log.Error("a turn could not be taken", "policy", c.Policy, "err", err)
		e.postpone(ctx, c, defectPause)
	}
}

// defectPause is the pause of a policy whose turn could not even record its failure.
const defectPause = time.Minute

// postpone gives a claim back unchanged.
func (e *Engine) postpone(ctx context.Context, c journal.Claim, pause time.Duration) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := e.journal.Release(ctx, c, e.now().Add(pause)); err != nil && !errors.Is(err, journal.ErrLost) {
		e.log.Error("a claim could not be released", "policy", c.Policy, "err", err)
	}
}

// RunOnce does everything that is due or in flight and can move now, and returns when what is left waits for a schedule,
// an overlap, a soak or a human.
func (e *Engine) RunOnce(ctx context.Context) error {
	e.chores(ctx)
	for ctx.Err() == nil {
		asked := e.boot()
		claims, err := e.claim(ctx, e.limits.Concurrency)
		if err != nil {
			return err
		}
		var working sync.WaitGroup
		for _, c := range claims {
			working.Go(func() { e.attend(ctx, ctx, c, asked, func() {}) })
		}
		working.Wait()
		if len(claims) > 0 {
			continue
		}
		moving, err := e.moving(ctx)
		if err != nil || !moving {
			return err
		}
		e.nap(ctx, nil)
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
		case s.Policy.NextRunAt.IsZero() || NeedsHuman(s.Policy.Reason) || s.Policy.Failures >= failuresTold || s.Hold.Active(e.now()):
		case s.Rotation == nil:
			if !s.Policy.NextRunAt.After(e.now()) {
				return true, nil
			}
		case s.Policy.Reason != WaitOverlap && s.Policy.Reason != WaitSoak && s.Policy.Reason != WaitIdle:
			return true, nil
		}
	}
	return false, nil
}

// runChores does the teams' chores when they are due, until ctx ends.
func (e *Engine) runChores(ctx context.Context) {
	tick := time.NewTicker(choresPace)
	defer tick.Stop()
	for {
		e.chores(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
