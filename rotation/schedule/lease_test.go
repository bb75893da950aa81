package schedule

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"rotator/rotation/journal"
)

// newTestLease is a lease of 15 s, asked for now, whose renewals are renew's.
func newTestLease(renew func(context.Context) error) *lease {
	begun := time.Now()
	l := &lease{renew: renew, length: 15 * time.Second, deadline: 10 * time.Second}
	l.boot = func() time.Duration { return time.Since(begun) }
	return l
}

// hang is a journal that a silent network swallows.
func hang(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// TestLease: whatever the journal does, the turn is canceled before another replica could claim its policy, and the
// guard refuses from the same moment on.
func TestLease(t *testing.T) {
	t.Parallel()
	refuse := func(err error) func(context.Context) error { return func(context.Context) error { return err } }
	for name, c := range map[string]struct {
		renew  func(context.Context) error
		cancel time.Duration // when the turn is canceled; 0: not within a minute
	}{
		"renewed":                {refuse(nil), 0},
		"taken over":             {refuse(journal.ErrLost), 5 * time.Second},
		"refused all the time":   {refuse(errors.New("read-only")), 10 * time.Second},
		"silent":                 {hang, 10 * time.Second},
		"silent once":            {once(hang), 0},
		"slow, but within reach": {func(context.Context) error { time.Sleep(2 * time.Second); return nil }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				l := newTestLease(c.renew)
				ctx, cancel := context.WithCancelCause(t.Context())
				stop := l.hold(ctx, cancel)
				defer stop()
				select {
				case <-ctx.Done():
				case <-time.After(time.Minute):
				}
				if c.cancel == 0 {
					if ctx.Err() != nil || l.guard() != nil {
						t.Errorf("after %s: %v; %v", time.Since(begun), context.Cause(ctx), l.guard())
					}
					return
				}
				if took := time.Since(begun); took != c.cancel || !errors.Is(context.Cause(ctx), journal.ErrLost) {
					t.Errorf("canceled after %s with %v, want %s", took, context.Cause(ctx), c.cancel)
				}
				time.Sleep(10*time.Second - c.cancel)
				if err := l.guard(); !errors.Is(err, journal.ErrLost) {
					t.Errorf("the guard says %v", err)
				}
			})
		})
	}
}

// once does what is said the first time, and goes well from then on.
func once(do func(context.Context) error) func(context.Context) error {
	done := false
	return func(ctx context.Context) error {
		if done {
			return nil
		}
		done = true
		return do(ctx)
	}
}

// TestLeaseFrozen: a process that stalled, or a machine that slept, while only the boot clock went on, finds its
// claim void before it does anything, and does not ask for it again.
func TestLeaseFrozen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asked, slept atomic.Int64
		l := newTestLease(func(context.Context) error { asked.Add(1); return nil })
		awake := l.boot
		l.boot = func() time.Duration { return awake() + time.Duration(slept.Load()) }
		ctx, cancel := context.WithCancelCause(t.Context())
		stop := l.hold(ctx, cancel)
		defer stop()
		time.Sleep(7 * time.Second)
		if asked.Load() != 1 || l.guard() != nil {
			t.Fatalf("asked %d times, %v", asked.Load(), l.guard())
		}
		slept.Store(int64(time.Hour))
		if l.guard() == nil {
			t.Error("the guard lets it pass after an hour of sleep")
		}
		<-ctx.Done()
		if asked.Load() != 1 || !errors.Is(context.Cause(ctx), journal.ErrLost) {
			t.Errorf("asked %d times, canceled with %v", asked.Load(), context.Cause(ctx))
		}
	})
}
