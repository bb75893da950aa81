package xai

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// The pace's bounds. xAI publishes no rate limit, so it begins so high that no ordinary burst of rotations meets it, and
// learns the rest from 429s.
const (
	paceTop   rate.Limit = 200 // calls a second
	paceBurst            = 400
	paceFloor rate.Limit = 0.5
	paceStep  rate.Limit = 2 // given back by a success, if the rate held for paceCalm
	paceCalm             = time.Second
	paceWait             = 10 * time.Second       // the longest that a call waits for its turn
	paceWave             = 200 * time.Millisecond // 429s that come so soon after one that halved are of its wave
)

// pace is the rate at which one management key is used: halved by a 429, given back slowly by successes, with a full stop
// for as long as a Retry-After asks.
type pace struct {
	limiter *rate.Limiter

	mu      sync.Mutex // guards what follows
	changed time.Time  // when the rate last moved
	resume  time.Time  // no call before
}

func newPace() *pace { return &pace{limiter: rate.NewLimiter(paceTop, paceBurst)} }

// wait returns when the next call may begin, with ctx's error, or at once with how long to stay away when that is too long
// to sit and wait for: the caller has better things to do, and may be another one by then.
func (p *pace) wait(ctx context.Context, now func() time.Time, sleep func(context.Context, time.Duration) error) (away time.Duration, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	// The stop comes first, so that those who waited for its end then queue for the limiter instead of starting at once.
	if stop := p.stop(now()); stop > paceWait {
		return stop, nil
	} else if stop > 0 {
		if err := sleep(ctx, stop); err != nil {
			return 0, err
		}
	}
	begun := now()
	r := p.limiter.ReserveN(begun, 1)
	switch pause := r.DelayFrom(begun); {
	case pause > paceWait:
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

// note learns from the end of a call.
func (p *pace) note(now time.Time, class Class, err *Error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	current := p.limiter.Limit()
	switch {
	case class == ClassRateLimited:
		if until := now.Add(err.RetryAfter); err.RetryAfter > 0 && until.After(p.resume) {
			p.resume = until
		}
		if now.Sub(p.changed) >= paceWave {
			p.set(now, max(current/2, paceFloor))
		}
	case class == "" && current < paceTop && now.Sub(p.changed) >= paceCalm:
		p.set(now, min(current+paceStep, paceTop))
	}
}

// set moves the rate. Below the top there are no bursts: what was saved up in quiet times would undo the slowing.
func (p *pace) set(now time.Time, limit rate.Limit) {
	p.changed = now
	p.limiter.SetLimitAt(now, limit)
	burst := 1
	if limit == paceTop {
		burst = paceBurst
	}
	p.limiter.SetBurstAt(now, burst)
}
