package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rotator/rotation/journal"
	"rotator/xai/xaisim"
)

// TestNobodyReadsTheLog: standard output and standard error are a pipe that nothing reads and that is full before the daemon
// starts. Rotations go on, the daemon is healthy and stops in time; whoever reads at last gets the log.
func TestNobodyReadsTheLog(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"json", "text"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			unread(t, format)
		})
	}
}

func unread(t *testing.T, format string) {
	p := newParts(t, xaisim.Options{})
	d := newDaemon(t, p, "watch: 1s, quarantine: 2s", p.fileStore())
	p.write(t, "policies/chat.yaml", fmt.Sprintf("name: chat\nteam: research\nschedule: \"@every 3s\"\nkey: {acls: %s}\n"+
		"targets: [{store: local, path: chat}]\nretire: {overlap: %s, soak: 500ms}\n", acls, overlap))
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	full := make([]byte, fill(t, w))
	running := &process{Cmd: exec.Command(path, "run", "--log-format", format, "--log-level", "debug", "--config", d.path("rotator.yaml")), ended: make(chan struct{})}
	running.Stdout, running.Stderr = w, w
	running.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.dir, "TMPDIR=" + p.dir}
	if err := running.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = running.Wait()
		close(running.ended)
	}()
	t.Cleanup(running.kill)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	lives := func() (n int) {
		rows, err := d.client().History(t.Context(), "", 1000)
		if err != nil {
			return 0
		}
		for _, row := range rows {
			if row.State == string(journal.Live) || row.State == string(journal.Done) {
				n++
			}
		}
		return n
	}
	eventually(t, "three rotations are live", func() bool { return lives() >= 3 })
	for _, page := range []string{"/healthz", "/readyz", "/metrics"} {
		answer, err := http.Get("http://" + d.web + page)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close() // it was read
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Errorf("%s answers %d: %s, %v", page, answer.StatusCode, text, err)
		}
		if page == "/metrics" && !strings.Contains(string(text), "\nrotator_log_lines_dropped_total 0\n") {
			t.Error("so few lines are kept, and none is dropped")
		}
	}

	if _, err := io.ReadFull(r, full); err != nil {
		t.Fatal(err)
	}
	reading := make(chan string)
	go func() {
		text, _ := io.ReadAll(r)
		reading <- string(text)
	}()
	now := lives()
	eventually(t, "it rotates on while it is read", func() bool { return lives() > now })
	running.terminate(t)
	text := <-reading
	first, last := strings.Index(text, "rotating"), strings.Index(text, "stopped")
	if !strings.Contains(text, "listening on http://") || first < 0 || last < first {
		t.Errorf("the log is %d bytes, with its first line at %d and its last at %d", len(text), first, last)
	}
}

// TestStopsUnread: a daemon whose log nothing reads ends in time.
func TestStopsUnread(t *testing.T) {
	t.Parallel()
	p := newParts(t, xaisim.Options{})
	d := newDaemon(t, p, "watch: 1s, quarantine: 2s", p.fileStore())
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	fill(t, w)
	running := &process{Cmd: exec.Command(path, "run", "--config", d.path("rotator.yaml")), ended: make(chan struct{})}
	running.Stdout, running.Stderr = w, w
	running.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.dir, "TMPDIR=" + p.dir}
	if err := running.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = running.Wait()
		close(running.ended)
	}()
	t.Cleanup(running.kill)
	eventually(t, "it answers", func() bool {
		_, err := d.client().Status(t.Context())
		return err == nil
	})
	if took := running.terminate(t); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
	_ = w.Close()
}

// fill writes to a pipe until it takes nothing more, and returns how much that was.
func fill(t *testing.T, w *os.File) (n int) {
	t.Helper()
	raw, err := w.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) {
		if err := unix.SetNonblock(int(fd), true); err != nil {
			t.Fatal(err)
		}
		for _, size := range []int{4096, 1} {
			for chunk := make([]byte, size); ; n += size {
				if _, err := unix.Write(int(fd), chunk); err != nil {
					break
				}
			}
		}
		if err := unix.SetNonblock(int(fd), false); err != nil { // as a program finds what it inherits
			t.Fatal(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
