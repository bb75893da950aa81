package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/lmittmann/tint"
	"github.com/mattn/go-isatty"
)

// newLogger logs to w: for people on a terminal, as key=value elsewhere, or as JSON.
func newLogger(w io.Writer, format, level string, daemon bool) (*slog.Logger, error) {
	least := slog.LevelWarn
	if daemon {
		least = slog.LevelInfo
	}
	if level != "" {
		if err := least.UnmarshalText([]byte(level)); err != nil {
			return nil, fmt.Errorf("--log-level %s is not known: want debug, info, warn or error", level)
		}
	}
	switch {
	case format == "json":
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: least})), nil
	case format != "text":
		return nil, fmt.Errorf("--log-format %s is not known: want text or json", format)
	case terminal(w):
		return slog.New(tint.NewTextHandler(w, &tint.Options{Level: least, TimeFormat: time.TimeOnly})), nil
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: least})), nil
}

// terminal reports whether somebody watches what is written to w.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}
