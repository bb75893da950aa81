package sqldb

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"

	"rotator/internal/pgaddress"
)

// TestProtectedJournal: a server that is not on this machine is reached over TLS with its certificate and its name verified,
// wherever host and mode come from; anything less must be said explicitly, and no password is then sent in clear.
func TestProtectedJournal(t *testing.T) {
	service := filepath.Join(t.TempDir(), "services")
	text := "[plain]\nhost=db.example\nsslmode=prefer\n[silent]\nhost=db.example\n[safe]\nhost=db.example\nsslmode=verify-full\n[off]\nhost=db.example\nsslmode=disable\n" +
		"[here]\nhost=127.0.0.1\n[direct]\nhost=db.example\nsslnegotiation=direct\n"
	if err := os.WriteFile(service, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	const verified, open, refused, here = "verified", "open", "refused", "here"
	for _, c := range []struct {
		address string
		env     map[string]string
		want    string
	}{
		{"postgres://u@db.example/d", nil, verified},
		{"postgres://u@db.example/d?connect_timeout=3", nil, verified},
		{"postgres://u@10.0.0.7/d", nil, verified},
		{"postgres://u@db.example/d?sslmode=verify-full", nil, verified},
		{"postgres://u@db.example/d?sslmode=disable&sslrootcert=system", nil, verified}, // which means verify-full
		{"postgres://u@db.example/d?sslnegotiation=direct", nil, verified},
		{"postgres://u@a.example:1,b.example:2/d", nil, verified},
		{"postgres:///d?host=db.example", nil, verified},
		{"postgres:///d", map[string]string{"PGHOST": "db.example"}, verified},
		{"postgres://u@db.example/d", map[string]string{"PGSSLMODE": "verify-full"}, verified},
		{"postgres:///d?service=safe", nil, verified},
		{"postgres://u@db.example/d?sslmode=prefer", nil, refused},
		{"postgres://u@db.example/d?sslmode=allow", nil, refused},
		{"postgres://u@127.0.0.1,db.example/d?sslmode=prefer", nil, refused},
		{"postgres:///d?host=db.example&sslmode=prefer", nil, refused},
		{"postgres:///d?sslmode=prefer", map[string]string{"PGHOST": "db.example"}, refused},
		{"postgres://u@db.example/d", map[string]string{"PGSSLMODE": "prefer"}, refused},
		{"postgres://u@db.example/d", map[string]string{"PGSSLMODE": "allow"}, refused},
		{"postgres://u@db.example/d?sslmode=prefer&sslnegotiation=direct", nil, refused},
		{"postgres:///d?service=plain", nil, refused},
		{"postgres:///d?service=silent", nil, refused},
		{"postgres:///d?service=direct", nil, refused},
		{"postgres:///d", map[string]string{"PGSERVICE": "plain"}, refused},
		{"postgres://u@db.example/d?sslmode=disable", nil, open},
		{"postgres://u@db.example/d?sslmode=require", nil, open},
		{"postgres://u@db.example/d?sslmode=verify-ca", nil, open},
		{"postgres://u@db.example/d?ssl=true", nil, open},
		{"postgres://u@db.example/d", map[string]string{"PGSSLMODE": "disable"}, open},
		{"postgres:///d?service=off", nil, open},
		{"postgres://u@127.0.0.1/d", nil, here},
		{"postgres://u@localhost/d?sslmode=prefer", nil, here},
		{"postgres://u@[::1]:5432/d?sslmode=disable", nil, here},
		{"postgres:///d?host=/run/postgresql", nil, here},
		{"postgres:///d?service=here", nil, here},
		{"postgres://u@localhost.evil.example/d?sslmode=prefer", nil, refused},
	} {
		t.Run(c.address, func(t *testing.T) {
			for _, name := range []string{"PGHOST", "PGSSLMODE", "PGSERVICE"} {
				t.Setenv(name, c.env[name])
			}
			t.Setenv("PGSERVICEFILE", service)
			cfg, err := parseAddress(c.address)
			got := verified
			switch {
			case errors.Is(err, errFallback), err != nil && (strings.Contains(err.Error(), "sslmode is refused: "+pgaddress.Fallback) || strings.Contains(err.Error(), "say sslmode")):
				got = refused
			case err != nil:
				t.Fatal(err)
			case !remote(cfg):
				got = here
			case exposed(cfg) != "":
				got = open
				if cfg.RequireAuth != "!password" {
					t.Errorf("the server may ask for %q", cfg.RequireAuth)
				}
			default:
				for _, a := range attempts(cfg) {
					if a.TLSConfig == nil || a.TLSConfig.InsecureSkipVerify || a.TLSConfig.ServerName != a.Host {
						t.Errorf("%s is reached with %+v", a.Host, a.TLSConfig)
					}
				}
			}
			if got != c.want {
				t.Errorf("it is %s, want %s", got, c.want)
			}
		})
	}
}

// TestNoPasswordInClear: a server, or who took its place, asks for the password itself on a connection that is not protected.
func TestNoPasswordInClear(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	heard := make(chan string, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		server := pgproto3.NewBackend(c, c)
		if _, err := server.ReceiveStartupMessage(); err != nil {
			heard <- err.Error()
			return
		}
		server.Send(&pgproto3.AuthenticationCleartextPassword{})
		_ = server.Flush()
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		rest, _ := io.ReadAll(c)
		heard <- string(rest)
	}()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := parseAddress("postgres://u:hunter2@db.example:" + port + "/d?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	cfg.DialFunc = (&net.Dialer{}).DialContext
	cfg.LookupFunc = func(context.Context, string) ([]string, error) { return []string{"127.0.0.1"}, nil }
	if c, err := pgx.ConnectConfig(t.Context(), cfg); err == nil {
		_ = c.Close(t.Context())
		t.Error("it connects")
	} else if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the error is %v", err)
	}
	if got := <-heard; strings.Contains(got, "hunter2") {
		t.Errorf("the server hears %q", got)
	}
}

// TestSocketsOfOthers: a socket in a folder where anyone may put one is not used, whether the address names the folder or the driver
// falls back to it.
func TestSocketsOfOthers(t *testing.T) {
	t.Parallel()
	own, open := t.TempDir(), t.TempDir()
	if err := os.Chmod(open, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	for host, refused := range map[string]bool{own: false, open: true, "/tmp": true, own + "/missing": false} {
		address := "postgres:///journal?host=" + host
		cfg, err := pgx.ParseConfig(address)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := protect(address, cfg); (err != nil) != refused || refused && !strings.Contains(err.Error(), "anyone on this machine") {
			t.Errorf("%s: %v", host, err)
		}
	}
}
