package app

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"rotator/internal/config"
)

// TestPauseBeforeStart: a daemon that fails at each start waits longer each time; one that lasted, or was asked to end, begins at once.
func TestPauseBeforeStart(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		env := config.Env{Lookup: func(name string) (string, bool) { return folder, name == "RUNTIME_DIRECTORY" }}
		setup := Setup{Env: env, Log: slog.New(slog.DiscardHandler)}
		// start begins a run that fails after so long, and returns how long it waited.
		start := func(lasts time.Duration) (waited time.Duration) {
			broken, begun := errors.New("broken"), time.Now()
			if err := setup.afterPause(t.Context(), func(context.Context) error {
				waited = time.Since(begun)
				time.Sleep(lasts)
				return broken
			}); !errors.Is(err, broken) {
				t.Errorf("got %v", err)
			}
			return waited
		}
		var waited []time.Duration
		for range 10 {
			waited = append(waited, start(time.Second))
		}
		const s = time.Second
		if want := []time.Duration{0, 0, 4 * s, 8 * s, 16 * s, 32 * s, 64 * s, 120 * s, 120 * s, 120 * s}; !slices.Equal(waited, want) {
			t.Errorf("waited %v", waited)
		}
		if start(time.Hour) == 0 || start(s) != 0 || start(s) != 0 || start(s) == 0 {
			t.Error("a run that lasted does not restart the count")
		}
		stop, cancel := context.WithCancel(t.Context())
		time.AfterFunc(s, cancel)
		if err := setup.afterPause(stop, func(context.Context) error { t.Error("it began"); return nil }); err != nil {
			t.Error(err)
		}
		stopped, cancel := context.WithCancel(t.Context())
		if start(s) != 0 || setup.afterPause(stopped, func(context.Context) error { cancel(); return nil }) != nil || start(s) != 0 || start(s) != 0 {
			t.Error("one that was asked to end counts as one that failed")
		}
	})
}
