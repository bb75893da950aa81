package postgrestest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Kill kills the server's main process as a crash does: what was committed stays, connections break.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	if err := syscall.Kill(s.pid(t), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = s.stop() // it ended with a signal
	s.stop = func() error { return nil }
}

// EndByFullLog lets no file grow beyond a few pages, the write-ahead log neither, and waits until the server has ended of
// it, as it does on a full disk. Restart starts it with space again.
func (s *Server) EndByFullLog(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	s.Fill(t, 16<<10)
	for { // until it took its lock away, as the last thing
		if _, err := os.Stat(filepath.Join(s.data(), "postmaster.pid")); errors.Is(err, os.ErrNotExist) {
			break
		}
		soon, enough := context.WithTimeout(ctx, 10*time.Second)
		_ = s.exec(soon, "SELECT pg_switch_wal()") // writes to the log; while the server comes back it is refused
		enough()
		if ctx.Err() != nil {
			t.Fatal("PostgreSQL lives on without space for its write-ahead log")
		}
	}
	_ = s.stop() // it ended with an error
	s.stop = func() error { return nil }
}

// pid is the server's main process.
func (s *Server) pid(t testing.TB) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.data(), "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(line)
	if err != nil || pid < 2 {
		t.Fatalf("postmaster.pid begins with %q", line)
	}
	return pid
}

// Restart starts the server again after Kill, and waits until it has recovered.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	// The server refuses to start while its predecessor's children still end: it is started again, and given more time.
	for patience := 2 * time.Second; ; patience *= 2 {
		s.run(t)
		soon, enough := context.WithTimeout(ctx, patience)
		err := s.ready(soon)
		enough()
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			t.Fatalf("PostgreSQL did not start again: %v\n%s", err, log)
		}
		_ = s.stop()
	}
}

// Socket is the path of the server's socket, for a proxy in front of it.
func (s *Server) Socket() string { return filepath.Join(s.dir, ".s.PGSQL.5432") }

// LogFile is where the server writes what it has to say.
func (s *Server) LogFile() string { return filepath.Join(s.dir, "log") }
