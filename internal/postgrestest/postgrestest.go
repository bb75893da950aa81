// Package postgrestest starts a real PostgreSQL server for tests, without root and without installing anything.
//
// The server's programs are those in PATH, those that Debian's packages put into /usr/lib/postgresql, or, where there
// are none, Debian's package unpacked into a cache folder.
package postgrestest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
)

// nobody is whom the server runs as when the tests run as root, which PostgreSQL refuses.
const nobody = 65534

// startLimit bounds initdb and the start of the server, on a busy machine.
const startLimit = 2 * time.Minute

// Server is a running server, reached by a socket in a folder of its own.
type Server struct {
	dir   string
	names atomic.Int64 // databases made
}

// Start starts a server that ends with the test, or with the test's process however that ends. Its disk is not synced:
// a test of crashes needs another.
func Start(t testing.TB) *Server {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	bin, err := programs(ctx)
	if err != nil {
		t.Fatalf("PostgreSQL for tests: %v", err)
	}
	// Not t.TempDir: its parent is closed to nobody, and its path may be too long for a socket's.
	dir, err := os.MkdirTemp("", "rotator-postgres-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if os.Getuid() == 0 {
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	s := &Server{dir: dir}
	initdb := s.command(ctx, bin, filepath.Join(bin, "initdb"), "-D", s.data(), "-U", "postgres", "-A", "trust", "-E", "UTF8",
		"--locale=C", "--no-sync")
	if out, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	s.run(t, bin)
	if err := s.ready(ctx); err != nil {
		log, _ := os.ReadFile(filepath.Join(dir, "log"))
		t.Fatalf("PostgreSQL did not start: %v\n%s", err, log)
	}
	return s
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// command is a program of the server's, run as an ordinary user.
func (s *Server) command(ctx context.Context, bin, name string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, name, args...)
	c.Dir = s.dir
	c.Env = append(os.Environ(), "LC_ALL=C")
	if libs, _ := filepath.Glob(filepath.Join(bin, "../../../*-linux-gnu")); len(libs) > 0 && !strings.HasPrefix(bin, "/usr/") {
		c.Env = append(c.Env, "LD_LIBRARY_PATH="+strings.Join(libs, ":"))
	}
	if os.Getuid() == 0 {
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	return c
}

// run starts the server under a shell that ends it when its standard input closes: at the test's end, and also when
// the test's process is killed.
func (s *Server) run(t testing.TB, bin string) {
	t.Helper()
	const script = `"$0" "$@" </dev/null >log 2>&1 & server=$!; read -r _; kill -INT $server; wait $server`
	cmd := s.command(context.Background(), bin, "/bin/sh", "-c", script, filepath.Join(bin, "postgres"), "-D", s.data(), "-k", s.dir,
		"-c", "listen_addresses=", "-c", "max_connections=300", "-c", "fsync=off", "-c", "shared_buffers=32MB", "-c", "jit=off")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(stdin.Close(), cmd.Wait()); err != nil && !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("PostgreSQL's end: %v", err)
		}
	})
}

// ready waits until the server answers.
func (s *Server) ready(ctx context.Context) error {
	for {
		err := s.exec(ctx, "SELECT 1")
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *Server) url(database string) string {
	q := url.Values{"host": {s.dir}}
	return (&url.URL{Scheme: "postgres", User: url.User("postgres"), Path: "/" + database, RawQuery: q.Encode()}).String()
}

func (s *Server) exec(ctx context.Context, query string) error {
	db, err := sql.Open("pgx", s.url("postgres"))
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, query)
	return errors.Join(err, db.Close())
}

// Database makes a new, empty database and returns its URL.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("test%d", s.names.Add(1))
	if err := s.exec(context.Background(), "CREATE DATABASE "+name); err != nil {
		t.Fatalf("create database: %v", err)
	}
	return s.url(name)
}
