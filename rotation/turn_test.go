package rotation

import (
	"context"
	"errors"
	"testing"
	"time"
	"unsafe"

	"rotator/rotation/journal"
)

// asleep is a reading of the clock after the machine had slept for d since the process's own clock last ran: what the
// wall shows went on, and the monotonic part did not.
func asleep(t *testing.T, at time.Time, d time.Duration) time.Time {
	t.Helper()
	woken := at.Add(d)
	parts := (*struct {
		wall uint64
		mono int64
		loc  *time.Location
	})(unsafe.Pointer(&woken))
	parts.mono -= int64(d)
	if woken.Sub(at) != 0 || woken.Round(0).Sub(at.Round(0)) != d {
		t.Fatal("a time.Time is made otherwise than this test believes")
	}
	return woken
}

// TestClockAfterSleep: a turn that a sleep of its machine came upon dates what it records by when it is.
func TestClockAfterSleep(t *testing.T) {
	t.Parallel()
	at := time.Now()
	er := errand{claim: journal.Claim{Now: at.UTC()}, at: at}
	woken := asleep(t, at, 3*time.Hour)
	if got := er.clock(woken); got.Sub(at.Round(0)).Round(time.Second) != 3*time.Hour {
		t.Errorf("after three hours of sleep it is %s, and the claim was made at %s", got, at)
	}
	// Where a database's clock leads, this machine's may be set in the middle of a turn: only the time passed counts.
	er.claim.Now, er.claim.Until = at.Add(time.Hour), at.Add(time.Hour+15*time.Second)
	if got := er.clock(woken); !got.Equal(er.claim.Now.UTC().Truncate(time.Microsecond)) {
		t.Errorf("by the database's clock it is %s, want %s", got, er.claim.Now)
	}
}

// TestGone: only what failed ends a turn; what went well before the claim was lost, or the process told to stop, went well.
func TestGone(t *testing.T) {
	t.Parallel()
	over, end := context.WithCancel(t.Context())
	end()
	for _, c := range []struct {
		ctx  context.Context
		err  error
		want bool
	}{
		{t.Context(), nil, false},
		{over, nil, false},
		{t.Context(), errors.New("denied"), false},
		{over, errors.New("denied"), true},
		{t.Context(), journal.ErrLost, true},
	} {
		if got := gone(c.ctx, c.err); got != c.want {
			t.Errorf("gone(%v, %v) = %t", c.ctx.Err(), c.err, got)
		}
	}
}

// TestLateWaiter: a turn that left while its call was just being found to take long is counted out once.
func TestLateWaiter(t *testing.T) {
	t.Parallel()
	c := newCrowd(time.Now)
	needs := []need{{teamNeed + "research", 1}, {storeNeed + "vault", 1}}
	first, err := c.enter(needs)
	if err != nil {
		t.Fatal(err)
	}
	first.leave()
	first.waitFor(storeNeed + "vault")
	for turns := range 2 {
		if _, err := c.enter(needs[:1]); (err == nil) != (turns == 0) {
			t.Errorf("a share of one holds %d turns, and of one more it says %v", turns, err)
		}
	}
}
