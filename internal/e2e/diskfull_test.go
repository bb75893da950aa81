package e2e

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestDiskFull: for a while the daemon can write nothing, neither journal nor secrets nor log, again and again. It goes on
// by itself each time, as the same process, and nothing is lost.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	d := f.start(t)
	limit := func(bytes uint64) {
		if err := unix.Prlimit(d.Process.Pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: bytes, Max: unix.RLIM_INFINITY}, nil); err != nil {
			t.Fatal(err)
		}
	}
	for range rounds(2, 5, 50) {
		time.Sleep(f.between(500*time.Millisecond, 3*time.Second)) // the instant is what is random
		limit(0)
		time.Sleep(f.between(time.Second, 3*time.Second)) // nothing shows from outside that a disk is full
		limit(unix.RLIM_INFINITY)
		select {
		case <-d.ended:
			t.Fatalf("it ended: %s", d.ProcessState)
		default:
		}
	}
	eventually(t, "the journal is written again", func() bool {
		rows, err := f.client().Status(t.Context())
		if err != nil {
			return false
		}
		for _, r := range rows {
			if r.Error != nil {
				return false
			}
		}
		return true
	})
	d.terminate(t)
	f.settle(t)
}
