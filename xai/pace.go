package xai

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// The pace's bounds. xAI publishes no rate limit, so it begins so high that no ordinary burst of rotations meets it, and
// learns the rest from 429s. A pace that processes share keeps to the same.
const (
	PaceTop   = 200.0 // calls a second
	PaceBurst = 400   // calls at once, while the rate is at its top
	PaceFloor = 0.5   // calls a second
	PaceStep  = 2.0   // calls a second, given back by a success if the rate held for PaceCalm
	PaceCalm  = time.Second
	PaceWave  = 200 * time.Millisecond // 429s that come so soon after one that halved are of its wave
	PaceWait  = 10 * time.Second       // the longest that a call waits for its turn
)

// pace is the rate at which one management key is used: halved by a 429, given back slowly by successes, with a full stop
// for as long as a Retry-After asks. Where it is shared, the rate is what all processes may do together, and a call also
// needs its place in a block of calls that this process was given.
type pace struct {
	limiter *rate.Limiter
	share   *share // nil: no other process uses the key

	mu      sync.Mutex // guards what follows
	changed time.Time  // when this process last moved the rate
	slowed  time.Time  // when the rate last fell
	resume  time.Time  // no call before
	top     rate.Limit // what successes lead back to: the rate last shared
}

func newPace(with SharedPace) *pace {
	p := &pace{limiter: rate.NewLimiter(PaceTop, PaceBurst), top: PaceTop}
	if with != nil {
		p.share = &share{of: with}
	}
	return p
}

// wait returns when the next call may begin, with ctx's error, or at once with how long to stay away when that is too long
// to sit and wait for: the caller has better things to do, and may be another one by then.
func (p *pace) wait(ctx context.Context, now func() time.Time, sleep func(context.Context, time.Duration) error) (away time.Duration, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	// The stop comes first, so that those who waited for its end then queue for the limiter instead of starting at once.
	if stop := p.stop(now()); stop > PaceWait {
		return stop, nil
	} else if stop > 0 {
		if err := sleep(ctx, stop); err != nil {
			return 0, err
		}
	}
	if p.share != nil {
		if away, err := p.share.wait(ctx, now, sleep, p.learn); away > 0 || err != nil {
			return away, err
		}
	}
	begun := now()
	r := p.limiter.ReserveN(begun, 1)
	switch pause := r.DelayFrom(begun); {
	case pause > PaceWait:
		r.CancelAt(begun)
		return pause, nil
	case pause > 0:
		if err := sleep(ctx, pause); err != nil {
			r.CancelAt(now())
			return 0, err
		}
	}
	return 0, nil
}

// stop returns for how long no call may begin.
func (p *pace) stop(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.resume.Sub(now)
}

// note learns from the end of a call that began at begun, and announces a 429 to the other processes. ctx is of the call: its
// end keeps nothing from telling.
func (p *pace) note(ctx context.Context, begun, now time.Time, class Class, err *Error) {
	if p.noted(begun, now, class, err) && p.share != nil {
		p.share.slow(ctx, now, err.RetryAfter)
	}
}

// noted reports whether a 429 was news. That of a call which began before the rate last fell is none: however late its
// answer, it says nothing of the rate since.
func (p *pace) noted(begun, now time.Time, class Class, err *Error) (slower bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	current := p.limiter.Limit()
	switch {
	case class == ClassRateLimited:
		news := !begun.Before(p.slowed)
		if until := now.Add(err.RetryAfter); err.RetryAfter > 0 && until.After(p.resume) {
			p.resume, slower = until, news
		}
		if news && now.Sub(p.changed) >= PaceWave {
			p.changed, p.slowed, slower = now, now, true
			p.set(now, max(current/2, PaceFloor))
		}
	case class == "" && current < p.top && now.Sub(p.changed) >= PaceCalm:
		p.changed = now
		p.set(now, min(current+PaceStep, p.top))
	}
	return slower
}

// learn takes over the rate that all processes share.
func (p *pace) learn(now time.Time, shared float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.top = min(max(rate.Limit(shared), PaceFloor), PaceTop)
	if p.top < p.limiter.Limit() {
		p.slowed = now
	}
	if p.top != p.limiter.Limit() {
		p.set(now, p.top)
	}
}

// set moves the rate. Below the top there are no bursts: what was saved up in quiet times would undo the slowing.
func (p *pace) set(now time.Time, limit rate.Limit) {
	p.limiter.SetLimitAt(now, limit)
	burst := 1
	if limit == PaceTop {
		burst = PaceBurst
	}
	p.limiter.SetBurstAt(now, burst)
}
