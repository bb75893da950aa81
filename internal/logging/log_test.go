package logging_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lmittmann/tint"

	"rotator/internal/logging"
)

// TestNoticeHasTheFormOfTheLog: what was dropped is reported as a line of the log, also where only errors are logged.
func TestNoticeHasTheFormOfTheLog(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		handler func(io.Writer) slog.Handler
		notice  string
	}{
		"json": {func(w io.Writer) slog.Handler {
			return slog.NewJSONHandler(w, &slog.HandlerOptions{Level: slog.LevelError})
		}, `"lines":9`},
		"text": {func(w io.Writer) slog.Handler {
			return slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelError})
		}, "level=WARN"},
		"tint": {func(w io.Writer) slog.Handler {
			return tint.NewTextHandler(w, &tint.Options{Level: slog.LevelError, NoColor: true})
		}, "lines=9"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := &reader{gate: make(chan struct{})}
				l := logging.New(r, c.handler)
				for i := range logging.DefaultLines + 9 {
					l.Error("busy", "n", i)
				}
				close(r.gate)
				synctest.Wait()
				l.Error("last")
				if !l.Close(time.Second) || l.Dropped() != 9 {
					t.Errorf("%d lines were dropped", l.Dropped())
				}
				lines := strings.Split(strings.TrimSpace(r.read()), "\n")
				n := len(lines)
				if n != logging.DefaultLines+2 || !strings.Contains(lines[n-2], c.notice) || !strings.Contains(lines[n-2], "dropped") {
					t.Fatalf("%d lines, of which the last but one is %q", n, lines[max(0, n-2)])
				}
				for i, line := range lines[:n-2] {
					if !strings.Contains(line, fmt.Sprintf("%d", i)) {
						t.Fatalf("line %d is %q", i, line)
					}
				}
				if name != "json" {
					return
				}
				for _, line := range lines {
					if !json.Valid([]byte(line)) {
						t.Errorf("%q is no JSON", line)
					}
				}
			})
		})
	}
}
