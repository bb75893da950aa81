package logging

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"time"
)

// Log is a logger over a queue.
type Log struct {
	*slog.Logger
	queue *Queue
}

// New is a logger that writes to w through a queue. handler makes a handler that writes to what it is given, one line for each
// call; the line that says how many lines were dropped has its form.
func New(w io.Writer, handler func(io.Writer) slog.Handler) *Log {
	q := NewQueue(w, Options{Notice: func(lines uint64) []byte {
		var line bytes.Buffer
		r := slog.NewRecord(time.Now(), slog.LevelWarn, "log lines were dropped here, since the log was not read or could not be written", 0)
		r.AddAttrs(slog.Uint64("lines", lines))
		_ = handler(&line).Handle(context.Background(), r) // to a buffer, whatever the least level is
		return line.Bytes()
	}})
	return &Log{slog.New(handler(q)), q}
}

// Write writes a line that no logger made, such as the last word of a process; see [Queue.Write].
func (l *Log) Write(line []byte) (int, error) { return l.queue.Write(line) }

// Dropped returns how many lines were never written; see [Queue.Dropped].
func (l *Log) Dropped() uint64 { return l.queue.Dropped() }

// Close has everything written within limit; see [Queue.Close].
func (l *Log) Close(limit time.Duration) bool { return l.queue.Close(limit) }
