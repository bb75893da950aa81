package schedule

import (
	"testing"
	"time"
	"unsafe"

	"rotator/rotation/journal"
	"rotator/rotation/turn"
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
	task := &task{Task: turn.Task{Claim: journal.Claim{Now: at.UTC()}}, at: at}
	woken := asleep(t, at, 3*time.Hour)
	if got := task.clock(woken); got.Sub(at.Round(0)).Round(time.Second) != 3*time.Hour {
		t.Errorf("after three hours of sleep it is %s, and the claim was made at %s", got, at)
	}
	// Where a database's clock leads, this machine's may be set in the middle of a turn: only the time passed counts.
	task.Claim.Now, task.Claim.Until = at.Add(time.Hour), at.Add(time.Hour+15*time.Second)
	if got := task.clock(woken); !got.Equal(task.Claim.Now.UTC().Truncate(time.Microsecond)) {
		t.Errorf("by the database's clock it is %s, want %s", got, task.Claim.Now)
	}
}
