package app

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

const (
	steady       = time.Minute     // a run that lasted this long did not fail at its start
	longestPause = 2 * time.Minute // before a start, however many failed
)

// afterPause runs a daemon that a service manager starts again and again, after a pause when its last starts failed: none after
// one, 4 s after two, and twice as long after each further one. Counted is in $RUNTIME_DIRECTORY, which systemd keeps from
// one run to the next; where nothing keeps one, whatever restarts it has a pause of its own. systemd itself can wait longer
// each time from version 254 on, but counts every restart of a service's life: the ninth in a year would wait as long as the
// ninth in a minute.
func (s Setup) afterPause(ctx context.Context, run func(context.Context) error) error {
	folder, _, _ := strings.Cut(s.Env.Get("RUNTIME_DIRECTORY"), ":")
	if folder == "" {
		return run(ctx)
	}
	file := filepath.Join(folder, "failed-starts")
	text, _ := os.ReadFile(file) // where there is none, none failed
	failed, _ := strconv.Atoi(string(text))
	// This one fails too until it has lasted, or ends because it was asked to.
	if err := os.WriteFile(file, []byte(strconv.Itoa(failed+1)), 0o600); err != nil {
		s.Log.Warn("failed starts are not counted", "err", err)
	}
	lasted := sync.OnceFunc(func() { _ = os.Remove(file) }) // at worst a later start waits
	pause := pauseAfter(failed)
	if pause > 0 {
		s.Log.Warn("the last starts failed", "starts", failed, "next_in", pause.String())
		_, _ = daemon.SdNotify(false, fmt.Sprintf("STATUS=the last %d starts failed, see the log; the next is in %s", failed, pause)) // it is in the log
	}
	if pause > 0 && !sleep(ctx, pause) {
		lasted()
		return nil
	}
	defer time.AfterFunc(steady, lasted).Stop()
	err := run(ctx)
	if ctx.Err() != nil {
		lasted()
	}
	return err
}

func pauseAfter(failed int) time.Duration {
	if failed < 2 {
		return 0
	}
	return min(2*time.Second<<min(failed-1, 10), longestPause)
}

// sleep waits for d, and reports whether ctx did not end before.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
