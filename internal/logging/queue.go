// Package logging keeps a log from blocking those who write it.
//
// A [Queue] is between a handler of log/slog and a file. As long as the file takes what is written, a line has been
// written when the call that logs it returns: a crash loses no line, and the order of lines and of other output is kept.
// When the file does not take a line soon, nothing waits any longer: lines are kept up to a bound, those beyond it are dropped
// and counted, and a line says how many once the file takes lines again.
package logging

import (
	"errors"
	"io"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// DefaultLines is the most lines that a queue keeps.
	DefaultLines = 4096
	// DefaultBytes is the most bytes that a queue keeps.
	DefaultBytes = 1 << 20

	// patience is how long a caller waits for its line to be written.
	patience = 50 * time.Millisecond
	// again is how long a file rests that would block (EAGAIN).
	again = 20 * time.Millisecond
)

// Options are how a queue is made. The zero Options have the default bounds and no notice.
type Options struct {
	// Lines and Bytes bound what is kept while the writer does not take it; 0: the defaults.
	Lines, Bytes int
	// Notice returns the line that says how many lines were dropped since the last notice; nil: nothing says so.
	Notice func(lines uint64) []byte
}

// Queue is an io.Writer for whole lines, one for each call, that never fails and blocks for at most 50 ms. It is safe for
// concurrent use.
type Queue struct {
	w io.Writer
	o Options

	mu       sync.Mutex // guards all below
	lines    []*line
	bytes    int           // of lines
	kept     int           // lines that are no notice
	dropped  uint64        // in all
	untold   uint64        // dropped since the last notice
	slow     bool          // a caller waited in vain: none waits until nothing is left to write
	closed   bool          // no more lines are taken
	failing  bool          // the last write failed
	wake     chan struct{} // has a token when there may be something to do
	finished chan struct{} // closed when the goroutine that writes has ended

	torn bool // used by the goroutine that writes alone: the last line was cut off
}

// line is what waits to be written.
type line struct {
	text    []byte
	notice  uint64        // instead of text: how many lines were dropped before this one
	written chan struct{} // closed when the line was written, or could not be
}

var _ io.Writer = (*Queue)(nil)

// NewQueue starts a goroutine that writes to w, until [Queue.Close].
func NewQueue(w io.Writer, o Options) *Queue {
	if o.Lines == 0 {
		o.Lines = DefaultLines
	}
	if o.Bytes == 0 {
		o.Bytes = DefaultBytes
	}
	q := &Queue{w: w, o: o, wake: make(chan struct{}, 1), finished: make(chan struct{})}
	go q.run()
	return q
}

// Write implements io.Writer. It always returns len(text) and no error: a log that cannot be written is no reason to fail.
func (q *Queue) Write(text []byte) (int, error) {
	if len(text) == 0 { // a handler may write a line in parts, and one of them empty
		return 0, nil
	}
	written, wait := q.put(text)
	if !wait {
		return len(text), nil
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-written:
	case <-timer.C:
		q.mu.Lock()
		q.slow = len(q.lines) > 0
		q.mu.Unlock()
	}
	return len(text), nil
}

// put takes a line or drops it. wait reports whether the caller should wait until written is closed.
func (q *Queue) put(text []byte) (written chan struct{}, wait bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || q.kept >= q.o.Lines || q.bytes+len(text) > q.o.Bytes {
		q.dropped++
		q.untold++
		q.signal()
		return nil, false
	}
	if q.untold > 0 { // in its place: after the lines before those that were dropped
		q.lines = append(q.lines, &line{notice: q.untold, written: make(chan struct{})})
		q.untold = 0
	}
	l := &line{text: append([]byte(nil), text...), written: make(chan struct{})}
	q.lines = append(q.lines, l)
	q.kept++
	q.bytes += len(text)
	q.signal()
	return l.written, !q.slow
}

func (q *Queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Dropped returns how many lines were never written: for want of room, or because the writer failed.
func (q *Queue) Dropped() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.dropped
}

// Close has what is kept written and takes no more lines; those that come later are dropped. It waits for at most limit, and
// reports whether everything was written by then. A second call waits again.
func (q *Queue) Close(limit time.Duration) bool {
	q.mu.Lock()
	q.closed = true
	q.signal()
	q.mu.Unlock()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-q.finished:
		return true
	case <-timer.C:
		return false
	}
}

// run writes the lines one by one.
func (q *Queue) run() {
	defer close(q.finished)
	for range q.wake {
		for {
			l, ended := q.first()
			if ended {
				return
			}
			if l == nil {
				break
			}
			ok := q.write(l)
			q.done(l, ok)
		}
	}
}

// first is the line to write next, nil when there is none at present; ended reports that none will come.
func (q *Queue) first() (l *line, ended bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	// A writer that fails is not asked again for the notice alone: that comes with the next line.
	if len(q.lines) == 0 && q.untold > 0 && !q.failing {
		q.lines = append(q.lines, &line{notice: q.untold, written: make(chan struct{})})
		q.untold = 0
	}
	if len(q.lines) == 0 {
		q.slow = false
		return nil, q.closed
	}
	return q.lines[0], false
}

// done takes a line out of the queue, which stays there until it was written: its room is taken until then.
func (q *Queue) done(l *line, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.lines[0] = nil
	q.lines = q.lines[1:]
	if l.text != nil {
		q.kept--
		q.bytes -= len(l.text)
	}
	q.failing = !ok
	switch {
	case ok:
	case l.text == nil:
		q.untold += l.notice
	default:
		q.dropped++
		q.untold++
	}
	close(l.written)
}

// write writes a line, or the notice of those that were dropped, and reports whether all of it was written.
func (q *Queue) write(l *line) bool {
	text := l.text
	if text == nil {
		if q.o.Notice == nil {
			return true
		}
		text = q.o.Notice(l.notice)
	}
	if q.torn {
		text = append([]byte{'\n'}, text...) // what was cut off does not run into this line
	}
	for begun := false; ; {
		n, err := q.w.Write(text)
		begun = begun || n > 0
		switch {
		case err == nil:
			q.torn = false
			return true
		case errors.Is(err, unix.EAGAIN): // another process made the terminal or the pipe non-blocking
			text = text[min(n, len(text)):]
			time.Sleep(again)
			continue
		}
		q.torn = q.torn || begun
		return false
	}
}
