package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"syscall"
	"time"

	"github.com/lmittmann/tint"
	"github.com/mattn/go-isatty"
	"golang.org/x/sys/unix"

	"rotator/internal/config"
	"rotator/internal/logging"
)

// newLogger logs to w: for people on a terminal, in colors unless $NO_COLOR is set (no-color.org), as key=value elsewhere, or
// as JSON. Where $JOURNAL_STREAM says that w leads to systemd's journal, lines have their level as that reads it, and leave
// the time to it. Logging goes on even if nothing reads from w.
func newLogger(w io.Writer, env config.Env, format, level string, daemon bool) (*logging.Log, error) {
	least := slog.LevelWarn
	if daemon {
		least = slog.LevelInfo
	}
	if level != "" {
		if err := least.UnmarshalText([]byte(level)); err != nil {
			return nil, fmt.Errorf("--log-level %s is not known: want debug, info, warn or error", level)
		}
	}
	options := &slog.HandlerOptions{Level: least}
	handler := func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, options) }
	switch {
	case format == "json":
		handler = func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, options) }
	case format != "text":
		return nil, fmt.Errorf("--log-format %s is not known: want text or json", format)
	case terminal(w):
		colors := &tint.Options{Level: least, TimeFormat: time.TimeOnly, NoColor: env.Get("NO_COLOR") != "" || env.Get("TERM") == "dumb"}
		handler = func(w io.Writer) slog.Handler { return tint.NewTextHandler(w, colors) }
	case journald(w, env.Get("JOURNAL_STREAM")):
		options.ReplaceAttr = timeless
		handler = func(w io.Writer) slog.Handler { return slog.NewTextHandler(leveled{w}, options) }
	}
	return logging.New(w, handler), nil
}

// logAs makes the command log as log does, and ends the log that it had.
func (a *cli) logAs(log *logging.Log) {
	a.endLog()
	a.logs, a.log = log, log.Logger
}

// flushTime bounds how long the end of the program waits for its log to be written.
const flushTime = time.Second

// endLog writes the log lines that are still queued, if they are being read.
func (a *cli) endLog() {
	if a.logs != nil {
		a.logs.Close(flushTime)
	}
}

// journald reports whether w is the stream that systemd.exec(5) names by its device and inode.
func journald(w io.Writer, stream string) bool {
	f, ok := w.(*os.File)
	if !ok || stream == "" {
		return false
	}
	info, err := f.Stat()
	if err != nil {
		return false
	}
	at, ok := info.Sys().(*syscall.Stat_t)
	return ok && stream == fmt.Sprintf("%d:%d", at.Dev, at.Ino)
}

// timeless drops the time of a line.
func timeless(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

// leveled puts a level before each line, see sd-daemon(3): `journalctl -p warning` goes by it.
type leveled struct{ w io.Writer }

// Write takes one line, which begins with its level.
func (l leveled) Write(line []byte) (int, error) {
	prefix := "<6>"
	for level, p := range map[string]string{"DEBUG": "<7>", "WARN": "<4>", "ERROR": "<3>"} {
		if bytes.HasPrefix(line, []byte(slog.LevelKey+"="+level)) {
			prefix = p
		}
	}
	if _, err := l.w.Write(append([]byte(prefix), line...)); err != nil {
		return 0, err
	}
	return len(line), nil
}

// terminal reports whether someone watches what is written to w.
func terminal(w io.Writer) bool {
	f, ok := fileOf(w)
	return ok && isatty.IsTerminal(f.Fd())
}

// fileOf is the file that is written to, if it is one.
func fileOf(w io.Writer) (*os.File, bool) {
	if o, ok := w.(*output); ok {
		w = o.Writer
	}
	f, ok := w.(*os.File)
	return f, ok
}

// screen is the size of the terminal that standard output is; ok is false where there is none that could be drawn again.
func (a *cli) screen() (columns, rows int, ok bool) {
	f, isFile := fileOf(a.stdout)
	if !isFile || !isatty.IsTerminal(f.Fd()) || a.env.Get("TERM") == "dumb" {
		return 0, 0, false
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil || size.Col == 0 || size.Row == 0 { // one that does not say
		return 80, 24, true
	}
	return int(size.Col), int(size.Row), true
}
