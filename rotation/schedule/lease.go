package schedule

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"rotator/rotation/journal"
)

// lease keeps a claim that ends by itself: it renews it, and knows on this machine alone until when it may be acted on.
//
// The local deadline is the moment before the last successful renewal was sent, plus two thirds of the lease: the
// journal's lease began later than that, so it ends later. It is measured on a clock that runs on while the machine is
// suspended, and no clock of another machine is compared with it.
type lease struct {
	renew  func(context.Context) error
	boot   func() time.Duration
	length time.Duration

	mu       sync.Mutex
	deadline time.Duration // guarded by mu: on the boot clock
}

// SinceBoot is the time since this machine booted, suspensions included.
func SinceBoot() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic("clock_gettime: " + err.Error()) // Linux has this clock since 2.6.39, and Go needs a later one
	}
	return time.Duration(ts.Nano())
}

// newLease takes over a claim that was asked for at the boot time asked.
func newLease(j Leases, c journal.Claim, asked time.Duration, boot func() time.Duration, now func() time.Time) *lease {
	l := &lease{boot: boot, length: c.Until.Sub(c.Now)}
	l.deadline = asked + l.length*2/3
	l.renew = func(ctx context.Context) error {
		_, err := j.Renew(ctx, now(), c)
		return err
	}
	return l
}

// left is how long the claim may still be acted on.
func (l *lease) left() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.deadline - l.boot()
}

// guard refuses once the claim may have run out.
func (l *lease) guard() error {
	if l.left() <= 0 {
		return fmt.Errorf("the lease may have run out: %w", journal.ErrLost)
	}
	return nil
}

// hold renews until ctx ends, a third of the lease apart, and cancels the turn when the deadline passes or the claim is
// lost: a renewal that hangs does not outlast the deadline. The caller waits for it through the returned function.
func (l *lease) hold(ctx context.Context, cancel context.CancelCauseFunc) (stop func()) {
	ctx, end := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() {
		for rest := l.length / 3; ; {
			timer := time.NewTimer(min(rest, l.left()))
			select {
			case <-ctx.Done():
				timer.Stop()
				return
			case <-timer.C:
			}
			err := l.extend(ctx)
			if errors.Is(err, journal.ErrLost) {
				cancel(journal.ErrLost)
				return
			}
			rest = l.length / 3
			if err != nil {
				rest = l.length / 15 // sooner: the deadline is near
			}
		}
	})
	return func() { end(); done.Wait() }
}

// extend renews once, and leaves time for another try when the journal is silent. The deadline slides only when the
// journal said yes. journal.ErrLost: the claim is gone, or may be.
func (l *lease) extend(ctx context.Context) error {
	if err := l.guard(); err != nil {
		return err
	}
	asked := l.boot()
	ctx, cancel := context.WithTimeout(ctx, min(l.length/5, l.left()))
	defer cancel()
	err := l.renew(ctx)
	if err == nil {
		l.mu.Lock()
		l.deadline = asked + l.length*2/3
		l.mu.Unlock()
	}
	return err
}
