package postgrestest

import (
	"context"
	"net"
	"net/url"
	"os/exec"
	"path"
	"path/filepath"
	"testing"
)

// Standby starts an asynchronous standby, which follows the server over a line of the caller's: the address is that of
// a proxy to the server's socket. What was committed while the line is cut is not there when the standby is promoted.
func (s *Server) Standby(t testing.TB, address string) *Server {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	standby := &Server{}
	standby.start(t, func(ctx context.Context) *exec.Cmd {
		return standby.command(ctx, filepath.Join(standby.bin, "pg_basebackup"), "-D", standby.data(), "--write-recovery-conf",
			"--checkpoint=fast", "--no-sync", "-d", "host="+host+" port="+port+" user=postgres sslmode=disable")
	}, func() []string { return asArgs([]string{"listen_addresses=", "wal_retrieve_retry_interval=100ms"}) })
	return standby
}

// Same is the address of the standby's copy of a database, by the database's own.
func (s *Server) Same(t testing.TB, database string) string {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	return s.url(path.Base(u.Path))
}

// Promote makes a standby a server of its own, on a new timeline.
func (s *Server) Promote(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	if err := s.exec(ctx, "SELECT pg_promote()"); err != nil {
		t.Fatalf("promote: %v", err)
	}
}
