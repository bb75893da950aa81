package postgrestest

import (
	"database/sql"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// relay passes connections on to the server's socket until it is cut: when cut returns, nothing more comes through.
func relay(t *testing.T, s *Server) (address string, cut func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns []net.Conn // of the goroutine below until it has ended
	ended := make(chan struct{})
	cut = sync.OnceFunc(func() {
		_ = l.Close()
		<-ended
		for _, c := range conns {
			_ = c.Close()
		}
	})
	t.Cleanup(cut)
	go func() {
		defer close(ended)
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			conns = append(conns, from)
			to, err := net.Dial("unix", s.Socket())
			if err != nil {
				_ = from.Close()
				continue
			}
			conns = append(conns, to)
			go func() { _, _ = io.Copy(to, from) }()
			go func() { _, _ = io.Copy(from, to) }()
		}
	}()
	return l.Addr().String(), cut
}

func open(t *testing.T, address string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func say(t *testing.T, db *sql.DB, statement string) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// number asks for a number until it is what is wanted.
func number(t *testing.T, db *sql.DB, query string, want int) {
	t.Helper()
	got, last := -1, error(nil)
	for deadline := time.Now().Add(startLimit); got != want; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s is %d (%v), want %d", query, got, last, want)
		}
		last = db.QueryRowContext(t.Context(), query).Scan(&got)
	}
}

// TestStandby: what was committed behind a cut line is not there after the promotion, and the timeline is another.
func TestStandby(t *testing.T) {
	t.Parallel()
	s := Start(t)
	address, cut := relay(t, s)
	primary := s.Database(t)
	db := open(t, primary)
	say(t, db, "CREATE TABLE mine (id BIGINT)")
	standby := s.Standby(t, address)
	other := open(t, standby.Same(t, primary))
	say(t, db, "INSERT INTO mine VALUES (1)")
	number(t, other, "SELECT count(*) FROM mine", 1)
	cut()
	say(t, db, "INSERT INTO mine VALUES (2)")
	s.Kill(t)
	standby.Promote(t)
	number(t, other, "SELECT count(*) FROM mine", 1)
	number(t, other, "SELECT timeline_id FROM pg_control_checkpoint()", 2)
	say(t, other, "INSERT INTO mine VALUES (3)")
}

// TestFull: a table that would grow is refused, the server lives, and goes on when there is space again.
func TestFull(t *testing.T) {
	t.Parallel()
	s := Start(t)
	db := open(t, s.Database(t))
	say(t, db, "CREATE TABLE mine (text TEXT)")
	s.Fill(t, 1<<20)
	const grow = "INSERT INTO mine SELECT repeat('x', 1000) FROM generate_series(1, 2000)"
	if _, err := db.ExecContext(t.Context(), grow); err == nil || !strings.Contains(err.Error(), "could not extend file") {
		t.Errorf("a full disk: %v", err)
	}
	number(t, db, "SELECT count(*) FROM mine", 0)
	s.Unfill(t)
	say(t, db, grow)
}

// TestClock: the server's clock is what it was set to.
func TestClock(t *testing.T) {
	t.Parallel()
	s := StartWithClock(t)
	db := open(t, s.Database(t))
	for _, ahead := range []time.Duration{0, time.Hour, -2 * time.Hour, 0} {
		s.SetClock(t, ahead)
		off := time.Duration(0)
		for deadline := time.Now().Add(startLimit); ; time.Sleep(50 * time.Millisecond) {
			var there time.Time
			if err := db.QueryRowContext(t.Context(), "SELECT clock_timestamp()").Scan(&there); err != nil {
				t.Fatal(err)
			}
			if off = time.Until(there); (off - ahead).Abs() < time.Minute {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("the clock is %s ahead, want %s", off, ahead)
			}
		}
	}
}

// TestPooler: more clients than connections each get one for a transaction, and none keeps a session.
func TestPooler(t *testing.T) {
	t.Parallel()
	s := Start(t)
	u, err := url.Parse(s.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	u.Host, u.RawQuery = s.Pooler(t, 2), "default_query_exec_mode=exec&sslmode=disable"
	one, other := open(t, u.String()), open(t, u.String())
	one.SetMaxOpenConns(4)
	say(t, one, "CREATE TABLE mine (id BIGINT)")
	say(t, other, "INSERT INTO mine VALUES (1)")
	number(t, one, "SELECT count(*) FROM mine", 1)
	number(t, open(t, u.String()), "SELECT greatest(count(*), 2) FROM pg_stat_activity WHERE backend_type = 'client backend'", 2)
}
