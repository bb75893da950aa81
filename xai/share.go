package xai

import (
	"context"
	"sync"
	"time"
)

// SharedPace is a pace that several processes keep together, since xAI's limit is the team's and not a process's.
type SharedPace interface {
	// Take reserves calls: they may begin after delay, one each 1/rate of a second. A delay above PaceWait reserves
	// none. An error is no answer: then the process keeps the last rate by itself.
	Take(ctx context.Context, calls int) (delay time.Duration, rate float64, err error)
	// Slow says that xAI answered 429: the rate falls for all, and nothing begins before retryAfter is over.
	Slow(ctx context.Context, retryAfter time.Duration) error
}

const (
	shareBlock  = 150 * time.Millisecond // at most as many calls as the rate allows in this time are taken at once
	shareLapse  = time.Second            // those not begun by then lapse
	shareAnswer = time.Second            // how long an answer may take
	shareDeaf   = 5 * time.Second        // for how long no one is asked who did not answer
)

// share is this process's part of a shared pace. Calls are taken in blocks, so that under load the others' keeper is asked
// a few times a second, and never while nothing calls. One block at a time: processes that all want more take turns.
type share struct {
	of SharedPace

	mu      sync.Mutex    // guards what follows
	waiting int           // calls without a place
	size    int           // calls of the block in hand
	left    int           // those that nothing has yet
	rate    float64       // calls a second
	begin   time.Time     // of the block
	end     time.Time     // of the block
	asked   chan struct{} // closed when the answer is there; nil: no one asks
	deaf    time.Time     // no one is asked before
}

// wait returns when the caller may begin its call, as pace.wait does. learn hears of each rate that is reported.
func (s *share) wait(ctx context.Context, now func() time.Time, sleep func(context.Context, time.Duration) error,
	learn func(time.Time, float64)) (away time.Duration, err error) {
	s.mu.Lock()
	patience := now().Add(PaceWait)
	if s.rate > 0 { // those who were here before go first
		patience = patience.Add(-time.Duration(float64(s.waiting) / s.rate * float64(time.Second)))
	}
	s.waiting++
	defer func() {
		s.waiting--
		s.mu.Unlock()
	}()
	for err == nil {
		t := now()
		begins := s.begin.Sub(t)
		switch asked := s.asked; {
		case asked != nil:
			err = s.unlocked(func() error {
				select {
				case <-asked:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
		case t.Before(s.deaf):
			return 0, nil
		case begins > 0 && s.begin.After(patience):
			return begins, nil
		case s.left > 0 && begins > 0:
			s.left--
			return 0, s.unlocked(func() error { return sleep(ctx, begins) })
		case s.left > 0 && t.Before(s.end):
			s.left--
			return 0, nil
		case begins > 0: // all of it is given away; the next is asked for when it begins
			err = s.unlocked(func() error { return sleep(ctx, begins) })
		default:
			s.ask(ctx, now, learn)
		}
	}
	return 0, err
}

// unlocked does what takes time without the lock.
func (s *share) unlocked(do func() error) error {
	s.mu.Unlock()
	defer s.mu.Lock()
	return do()
}

// ask takes the next block. Others wait for the same answer, so that the end of the caller's context does not end it.
func (s *share) ask(ctx context.Context, now func() time.Time, learn func(time.Time, float64)) {
	calls, asked := s.want(now()), make(chan struct{})
	s.asked = asked
	var delay time.Duration
	var rate float64
	err := s.unlocked(func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shareAnswer)
		defer cancel()
		var err error
		delay, rate, err = s.of.Take(ctx, calls)
		return err
	})
	s.asked = nil
	close(asked)
	t := now()
	if err != nil {
		s.deaf = t.Add(shareDeaf)
		return
	}
	if delay > PaceWait {
		calls = 0
	}
	s.begin = t.Add(delay)
	s.end = s.begin.Add(shareLapse)
	s.size, s.left, s.rate = calls, calls, rate
	learn(t, rate)
}

// want is how many calls to take: for those that wait, and as many more as the last block shows to be of use. One that was
// used up before it lapsed doubles, up to what the rate allows in a block's time.
func (s *share) want(t time.Time) int {
	calls := s.size - s.left
	if s.left == 0 && t.Before(s.end) {
		calls *= 2
	}
	most := int(s.rate * shareBlock.Seconds())
	return max(1, min(max(calls, s.waiting), most))
}

// slow announces a 429 to the others, and gives up what is left of the block: its calls were taken at the rate before, and
// would be refused in wave after wave.
func (s *share) slow(ctx context.Context, now time.Time, retryAfter time.Duration) {
	s.mu.Lock()
	s.left, s.end = 0, now
	deaf := now.Before(s.deaf)
	s.mu.Unlock()
	if deaf {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shareAnswer)
	defer cancel()
	if s.of.Slow(ctx, retryAfter) != nil { // this process is slower in any case, and does not unlearn it from the others
		s.mu.Lock()
		s.deaf = now.Add(shareDeaf)
		s.mu.Unlock()
	}
}
