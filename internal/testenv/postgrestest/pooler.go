package postgrestest

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rotator/internal/testenv/porttest"
)

// Pooler starts PgBouncer in front of the server and returns its address. It hands out connections, size of them, each
// for one transaction. Its program is Debian's, unpacked into a cache folder.
func (s *Server) Pooler(t testing.TB, size int) (address string) {
	t.Helper()
	folder, err := fetch("pgbouncer")
	if err != nil {
		t.Fatal(err)
	}
	address = porttest.Free(t)
	_, port, _ := net.SplitHostPort(address)
	config := fmt.Sprintf("[databases]\n* = host=%s user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %s\n"+
		"unix_socket_dir =\nauth_type = any\npool_mode = transaction\ndefault_pool_size = %d\nmax_client_conn = 500\n"+
		"server_connect_timeout = 300\nserver_login_retry = 1\nclient_login_timeout = 300\n", s.dir, port, size)
	if err := os.WriteFile(filepath.Join(s.dir, "pgbouncer.ini"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	s.own(t, "pgbouncer.ini")
	const script = `"$0" pgbouncer.ini </dev/null >>pgbouncer.log 2>&1 & pooler=$!; read -r _; kill -KILL $pooler; wait $pooler`
	cmd := s.command(context.Background(), "/bin/sh", "-c", script, filepath.Join(folder, "usr/sbin/pgbouncer"))
	libs, _ := filepath.Glob(filepath.Join(folder, "usr/lib/*-linux-gnu"))
	cmd.Env = append(cmd.Env, "LD_LIBRARY_PATH="+strings.Join(libs, ":"))
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait() // how it ends is no news: it keeps nothing
	})
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	for {
		c, err := net.Dial("tcp", address)
		if err == nil {
			_ = c.Close()
			return address
		}
		select {
		case <-ctx.Done():
			log, _ := os.ReadFile(filepath.Join(s.dir, "pgbouncer.log"))
			t.Fatalf("PgBouncer did not start: %v\n%s", err, log)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
