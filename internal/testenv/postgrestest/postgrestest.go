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
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
)

// nobody is the user that the server runs as when the tests run as root, which PostgreSQL refuses.
const nobody = 65534

// startLimit bounds initdb and the start of the server, on a busy machine.
const startLimit = 5 * time.Minute

// connectLimit bounds a connection, in seconds.
const connectLimit = "300"

// Server is a running server, reached by a socket in a folder of its own.
type Server struct {
	dir   string
	bin   string
	port  string       // that names the socket; "": 5432
	args  []string     // of the server
	env   []string     // of the server, beside its usual
	stop  func() error // ends the server that runs now
	names atomic.Int64 // databases made
}

// Start starts a server that ends with the test, or with the test's process however that ends. Its disk is not synced:
// a test of crashes needs another. settings are lines of its configuration, as "max_connections=20".
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	s := &Server{}
	s.start(t, s.initdb, func() []string { return asArgs(append([]string{"listen_addresses="}, settings...)) })
	return s
}

// asArgs are settings as the server's program takes them.
func asArgs(settings []string) (args []string) {
	for _, one := range settings {
		args = append(args, "-c", one)
	}
	return args
}

// initdb makes the files of a new, empty server. Its write-ahead log is in small pieces.
func (s *Server) initdb(ctx context.Context) *exec.Cmd {
	return s.command(ctx, filepath.Join(s.bin, "initdb"), "-D", s.data(), "-U", "postgres", "-A", "trust", "-E", "UTF8",
		"--locale=C", "--no-sync", "--wal-segsize=1")
}

// start makes the server's files, lets prepare change them and say how it is run, and runs it.
func (s *Server) start(t testing.TB, files func(context.Context) *exec.Cmd, prepare func() (args []string)) {
	t.Helper()
	var err error
	if s.bin, err = programs(); err != nil {
		t.Fatalf("PostgreSQL for tests: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	// Not t.TempDir: its parent is closed to that user, and its path may be too long for a socket's.
	if s.dir, err = os.MkdirTemp("", "rotator-postgres-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := os.RemoveAll(s.dir)
		for tries := 0; err != nil && tries < 1000; tries++ { // the children of a server that was killed may write on for a moment
			time.Sleep(20 * time.Millisecond)
			err = os.RemoveAll(s.dir)
		}
		if err != nil {
			t.Error(err)
		}
	})
	s.own(t, "")
	if out, err := files(ctx).CombinedOutput(); err != nil {
		t.Fatalf("the server's files: %v\n%s", err, out)
	}
	s.args = prepare()
	t.Cleanup(func() {
		if err := s.stop(); err != nil && !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("PostgreSQL's end: %v", err)
		}
	})
	s.run(t)
	if err := s.ready(ctx); err != nil {
		log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
		t.Fatalf("PostgreSQL did not start: %v\n%s", err, log)
	}
}

// own gives files in the server's folder to whom it runs as.
func (s *Server) own(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if os.Getuid() == 0 {
			if err := os.Chown(filepath.Join(s.dir, name), nobody, nobody); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// command is a program of the server's, run as an ordinary user.
func (s *Server) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, name, args...)
	c.Dir = s.dir
	c.Env = append(os.Environ(), "LC_ALL=C")
	if libs, _ := filepath.Glob(filepath.Join(s.bin, "../../../*-linux-gnu")); len(libs) > 0 && !strings.HasPrefix(s.bin, "/usr/") {
		c.Env = append(c.Env, "LD_LIBRARY_PATH="+strings.Join(libs, ":"))
	}
	if os.Getuid() == 0 {
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	return c
}

// run starts the server under a shell that ends it when its standard input closes: at the test's end, and also when
// the test's process is killed.
func (s *Server) run(t testing.TB) {
	t.Helper()
	const script = `"$0" "$@" </dev/null >>log 2>&1 & server=$!; read -r _; kill -INT $server; wait $server`
	args := slices.Concat([]string{"-c", script, "env"}, s.env, []string{filepath.Join(s.bin, "postgres"), "-D", s.data(), "-k", s.dir},
		asArgs([]string{"max_connections=300", "fsync=off", "shared_buffers=32MB", "jit=off", "dynamic_shared_memory_type=mmap"}), s.args)
	cmd := s.command(context.Background(), "/bin/sh", args...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.stop = func() error { return errors.Join(stdin.Close(), cmd.Wait()) }
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
	q := url.Values{"host": {s.dir}, "connect_timeout": {connectLimit}}
	if s.port != "" {
		q.Set("port", s.port)
	}
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
	s.Say(t, "CREATE DATABASE "+name)
	return s.url(name)
}

// Say runs statements as the server's administrator, each by itself. One that is refused because others still use what
// it is about is said again: a server forgets a session a moment after its client has.
func (s *Server) Say(t testing.TB, statements ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	for _, statement := range statements {
		err := s.exec(ctx, statement)
		for inUse(err) { // the server has waited for some seconds
			err = s.exec(ctx, statement)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// inUse reports whether the server refused something because a session uses it.
func inUse(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && e.Code == "55006"
}
