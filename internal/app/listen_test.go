package app

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"rotator/internal/api"
)

func TestSocketModes(t *testing.T) {
	t.Parallel()
	for group, want := range map[string]os.FileMode{"": 0o600, strconv.Itoa(os.Getgid()): 0o660} {
		path := filepath.Join(t.TempDir(), "sub", "s")
		l, err := listenSocket(path, group)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Lstat(path)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("group %q: mode %v, %v, want %v", group, info.Mode(), err, want)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestAServerBoundsWhoAsks: who never reads an answer is cut off, and what goes wrong is reported as all else is.
func TestAServerBoundsWhoAsks(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	ctx, stop := context.WithCancel(t.Context())
	cut := make(chan error, 1)
	served := make(chan struct{})
	go func() {
		defer close(served)
		Serve(ctx, logger, l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/panic" {
				panic("broken")
			}
			var err error
			for err == nil {
				_, err = w.Write(make([]byte, 1<<20))
			}
			cut <- err
		}), 100*time.Millisecond)
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() // nothing was read from it
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := <-cut; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("an answer that nobody reads ends with %v", err)
	}
	if answer, err := http.Get("http://" + l.Addr().String() + "/panic"); err == nil {
		_ = answer.Body.Close()
		t.Errorf("status %d of a handler that panics", answer.StatusCode)
	}
	stop()
	<-served
	for line := range strings.Lines(log.String()) {
		if !strings.HasPrefix(line, `{"time":`) {
			t.Errorf("the log holds %q", line)
		}
	}
	if !strings.Contains(log.String(), "broken") {
		t.Errorf("the log is %q", log.String())
	}
}

func TestSocketInUse(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	first, err := listenSocket(path, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := listenSocket(path, ""); err == nil || !strings.Contains(err.Error(), "a daemon answers") {
		t.Errorf("a second daemon: %v", err)
	}
	// A daemon that was killed leaves its file behind.
	first.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Fatal(err)
	}
	next, err := listenSocket(path, "")
	if err != nil {
		t.Fatalf("over a dead daemon's socket: %v", err)
	}
	if err := next.Close(); err != nil {
		t.Error(err)
	}
}

func TestSocketRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listenSocket(path, ""); err == nil || !strings.Contains(err.Error(), "is no socket") {
		t.Errorf("a file in its place: %v", err)
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != "precious" {
		t.Error("the file was touched")
	}
	if _, err := listenSocket(path+"2", "no-such-group-here"); err == nil {
		t.Error("an unknown group was taken")
	} else if f := new(Failure); !errors.As(err, &f) || f.Code != api.ExitUsage {
		t.Errorf("failure %v", err)
	}
}
