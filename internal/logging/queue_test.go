package logging_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"rotator/internal/logging"
)

// reader is a writer that takes lines only while someone reads.
type reader struct {
	mu     sync.Mutex
	gate   chan struct{} // closed while someone reads
	err    error         // what a write fails with
	part   int           // how many bytes a failing write takes
	writes int
	text   bytes.Buffer
}

func (r *reader) Write(b []byte) (int, error) {
	<-r.gate
	r.mu.Lock()
	defer r.mu.Unlock()
	r.writes++
	if r.err != nil {
		n, _ := r.text.Write(b[:r.part])
		return n, r.err
	}
	return r.text.Write(b)
}

func (r *reader) fail(err error, part int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err, r.part = err, part
}

func (r *reader) read() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

func open() chan struct{} { c := make(chan struct{}); close(c); return c }

func notice(n uint64) []byte { return fmt.Appendf(nil, "dropped %d\n", n) }

// TestWrittenAtOnce: as long as someone reads, a line has been written when the call returns.
func TestWrittenAtOnce(t *testing.T) {
	t.Parallel()
	r := &reader{gate: open()}
	q := logging.NewQueue(r, logging.Options{Notice: notice})
	want := ""
	for i := range 1000 {
		line := fmt.Sprintf("line %d\n", i)
		want += line
		if n, err := q.Write([]byte(line)); n != len(line) || err != nil {
			t.Fatal(n, err)
		}
		if i%100 == 0 && r.read() != want {
			time.Sleep(time.Second) // a machine that stalls
			if r.read() != want {
				t.Fatalf("after line %d only %d bytes of %d are written", i, len(r.read()), len(want))
			}
		}
	}
	if !q.Close(time.Minute) || r.read() != want || q.Dropped() != 0 {
		t.Errorf("%d bytes of %d are written, %d lines dropped", len(r.read()), len(want), q.Dropped())
	}
}

// TestNothingWritten: an empty write is no line, and no notice of lines that were dropped.
func TestNothingWritten(t *testing.T) {
	t.Parallel()
	r := &reader{gate: open()}
	q := logging.NewQueue(r, logging.Options{Notice: notice})
	if n, err := q.Write(nil); n != 0 || err != nil {
		t.Errorf("wrote %d bytes: %v", n, err)
	}
	if !q.Close(time.Second) || r.read() != "" {
		t.Errorf("%q was written", r.read())
	}
}

// TestNobodyReads: a logger is delayed for one moment, once; what is kept is bounded by lines and by bytes; and what was dropped
// is reported in its place when someone reads again.
func TestNobodyReads(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]logging.Options{"lines": {Lines: 3}, "bytes": {Bytes: 20}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := &reader{gate: make(chan struct{})}
				o := o
				o.Notice = notice
				q := logging.NewQueue(r, o)
				began := time.Now()
				for i := range 5000 {
					fmt.Fprintf(q, "%04d.\n", i)
				}
				if took := time.Since(began); took > 50*time.Millisecond {
					t.Errorf("who logs waited %v", took)
				}
				if q.Dropped() != 4997 {
					t.Errorf("%d lines were dropped", q.Dropped())
				}
				close(r.gate)
				synctest.Wait()
				if got, want := r.read(), "0000.\n0001.\n0002.\ndropped 4997\n"; got != want {
					t.Errorf("the log is %q, want %q", got, want)
				}
				fmt.Fprintf(q, "next\n")
				if !q.Close(time.Second) || !strings.HasSuffix(r.read(), "4997\nnext\n") {
					t.Errorf("the log is %q", r.read())
				}
				fmt.Fprintf(q, "late\n")
				if q.Dropped() != 4998 {
					t.Errorf("a line after the end counts as %d dropped", q.Dropped())
				}
			})
		})
	}
}

// TestWaitsAgain: once everything was written, a logger waits for the line again.
func TestWaitsAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &reader{gate: make(chan struct{})}
		q := logging.NewQueue(r, logging.Options{})
		began := time.Now()
		fmt.Fprintln(q, "a")
		fmt.Fprintln(q, "b")
		if took := time.Since(began); took != 50*time.Millisecond {
			t.Errorf("two lines took %v", took)
		}
		close(r.gate)
		synctest.Wait()
		fmt.Fprintln(q, "c")
		if r.read() != "a\nb\nc\n" {
			t.Errorf("the log is %q", r.read())
		}
		q.Close(time.Second)
	})
}

// TestEndsInTime: at the end nothing waits for a reader who never comes.
func TestEndsInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &reader{gate: make(chan struct{})}
		q := logging.NewQueue(r, logging.Options{})
		fmt.Fprintln(q, "a")
		began := time.Now()
		if q.Close(time.Second) || time.Since(began) != time.Second {
			t.Errorf("it ended after %v", time.Since(began))
		}
		close(r.gate)
		if !q.Close(time.Second) || r.read() != "a\n" {
			t.Errorf("the log is %q", r.read())
		}
	})
}

// TestFailingWriter: lines that cannot be written are counted and reported later; the file is asked once for each line, and
// one that was cut off does not run into the next.
func TestFailingWriter(t *testing.T) {
	t.Parallel()
	for _, failure := range []error{unix.EPIPE, unix.ENOSPC, io.ErrClosedPipe} {
		synctest.Test(t, func(t *testing.T) {
			r := &reader{gate: open(), err: failure, part: 3}
			q := logging.NewQueue(r, logging.Options{Notice: notice})
			for range 10 {
				fmt.Fprintln(q, "failing")
				time.Sleep(time.Hour)
			}
			if r.writes > 20 {
				t.Errorf("%v: %d attempts for 10 lines", failure, r.writes)
			}
			if q.Dropped() != 10 {
				t.Errorf("%v: %d lines were dropped", failure, q.Dropped())
			}
			r.fail(nil, 0)
			fmt.Fprintln(q, "well")
			if !strings.HasSuffix(r.read(), "\ndropped 10\nwell\n") {
				t.Errorf("%v: the log is %q", failure, r.read())
			}
			q.Close(time.Second)
		})
	}
}

// TestWouldBlock: a file that another process made non-blocking is asked again for the rest.
func TestWouldBlock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &reader{gate: open(), err: unix.EAGAIN, part: 1}
		q := logging.NewQueue(r, logging.Options{})
		go fmt.Fprintln(q, "abc")
		synctest.Wait()
		r.fail(nil, 0)
		time.Sleep(time.Second)
		if r.read() != "abc\n" || q.Dropped() != 0 {
			t.Errorf("the log is %q, %d lines dropped", r.read(), q.Dropped())
		}
		q.Close(time.Second)
	})
}

// TestPipe: a pipe that is full blocks nothing, and gives everything that was kept when it is read.
func TestPipe(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	q := logging.NewQueue(w, logging.Options{Notice: notice})
	line := []byte(strings.Repeat("x", 999) + "\n")
	began := time.Now()
	const all = 3000
	var writing sync.WaitGroup
	for range 10 {
		writing.Go(func() {
			for range all / 10 {
				_, _ = q.Write(line)
			}
		})
	}
	writing.Wait()
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
	lost := int(q.Dropped())
	if lost == 0 || q.Close(10*time.Millisecond) {
		t.Fatal("the pipe took everything")
	}
	read := make(chan string)
	go func() {
		text, _ := io.ReadAll(r)
		read <- string(text)
	}()
	if !q.Close(time.Minute) {
		t.Error("it does not end")
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	text := <-read
	if got := strings.Count(text, string(line)); got != all-lost || !strings.HasSuffix(text, fmt.Sprintf("\ndropped %d\n", lost)) {
		t.Errorf("%d lines were read and %d dropped, of %d; the end is %q", got, lost, all, text[max(0, len(text)-30):])
	}
}
