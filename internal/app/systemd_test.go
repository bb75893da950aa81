package app

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rotator/rotation/journal"
)

// TestReadyLater: a journal that does not answer at once puts off that the daemon is ready, and no more.
func TestReadyLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		var told []string
		r := reporter{
			tell:     func(state string) bool { told = append(told, state); return true },
			lastLook: time.Now,
			summaries: func(context.Context) ([]journal.Summary, error) {
				if time.Since(begun) < time.Second {
					return nil, errors.New("busy")
				}
				return nil, nil
			},
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		r.run(ctx)
		if n := len(told); n < 3 || told[0] != "STATUS=the journal does not answer; see the log" || told[n-2] != "READY=1\nSTATUS=0 policies: 0 in rotation, 0 waiting for a human, 0 held" {
			t.Errorf("told %q", told)
		}
	})
}

// TestWatchdogStarves: a daemon whose scheduler or journal is silent must be restarted, and one that is only busy must not.
func TestWatchdogStarves(t *testing.T) {
	t.Parallel()
	const watchdog = time.Minute
	fed := func(t *testing.T, lookEvery time.Duration, journalErr error) (n int, last string) {
		synctest.Test(t, func(t *testing.T) {
			looked := time.Now()
			r := reporter{
				watchdog: watchdog,
				tell: func(state string) bool {
					if strings.HasPrefix(state, "WATCHDOG=1\n") {
						n++
					}
					if !strings.HasPrefix(state, "STOPPING") {
						last = state
					}
					return true
				},
				lastLook: func() time.Time {
					if lookEvery > 0 && time.Since(looked) >= lookEvery {
						looked = time.Now()
					}
					return looked
				},
				summaries: func(ctx context.Context) ([]journal.Summary, error) { return nil, journalErr },
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*watchdog)
			defer cancel()
			r.run(ctx)
		})
		return n, last
	}
	if n, _ := fed(t, watchdog/2, nil); n < 36 {
		t.Errorf("fed %d times in ten minutes while all is well", n)
	}
	if n, last := fed(t, 0, nil); n > 5 || !strings.Contains(last, "the scheduler last looked for work") {
		t.Errorf("fed %d times by a scheduler that stalls; last told: %s", n, last)
	}
	if n, last := fed(t, time.Second, errors.New("closed")); n > 0 || !strings.Contains(last, "the journal does not answer") {
		t.Errorf("fed %d times without a journal; last told: %s", n, last)
	}
}
