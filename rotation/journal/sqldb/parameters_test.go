package sqldb

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	"rotator/internal/testenv/postgrestest"
)

// overTCP is the address of a secured server with more parameters.
func overTCP(s *postgrestest.Secured, more string) string {
	p := s.TLS()
	p.Set("password", s.FirstPassword)
	return s.Address(p) + more
}

// TestParameters: what libpq's parameters ask for is done, on a real server, and those that have no meaning here are named
// in the log, once.
func TestParameters(t *testing.T) {
	t.Parallel()
	server := postgrestest.StartSecured(t)
	var log lines
	db := openWith(t, overTCP(server, "&keepalives_idle=61&keepalives_interval=13&keepalives_count=4&tcp_user_timeout=31000&load_balance_hosts=random"+
		"&gssencmode=prefer&pool_max_conns=3&client_encoding=LATIN1&fallback_application_name=fallback&statement_timeout=77s&options=-c%20geqo%3Doff"+
		"&ssl_min_protocol_version=TLSv1.3&channel_binding=require&require_auth=scram-sha-256&target_session_attrs=read-write&sslsni=0&krbsrvname=x"),
		Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	setPolicies(t, db, "a")
	e := db.engine.(*postgresDB)
	err := e.connected(t.Context(), func(ctx context.Context, c *pgx.Conn) error {
		for setting, want := range map[string]string{"application_name": "fallback", "client_encoding": "UTF8", "statement_timeout": "77s", "geqo": "off"} {
			var got string
			if err := c.QueryRow(ctx, `SELECT current_setting($1)`, setting).Scan(&got); err != nil || got != want {
				t.Errorf("%s is %q, %v; want %q", setting, got, err, want)
			}
		}
		secured := c.PgConn().Conn().(*tls.Conn)
		if v := secured.ConnectionState().Version; v != tls.VersionTLS13 {
			t.Errorf("TLS has the version %x", v)
		}
		raw, err := secured.NetConn().(*net.TCPConn).SyscallConn()
		if err != nil {
			return err
		}
		return raw.Control(func(fd uintptr) {
			for name, o := range map[string][3]int{
				"keepalives_idle": {unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 61}, "keepalives_interval": {unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 13},
				"keepalives_count": {unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 4}, "tcp_user_timeout": {unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 31000},
				"keepalives": {unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
			} {
				if got, err := unix.GetsockoptInt(int(fd), o[0], o[1]); err != nil || got != o[2] {
					t.Errorf("%s is %d, %v; want %d", name, got, err, o[2])
				}
			}
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"gssencmode", "pool_max_conns", "client_encoding", "krbsrvname"} {
		if n := strings.Count(log.String(), "parameter="+name+" "); n != 1 {
			t.Errorf("%s is named %d times:\n%s", name, n, log.String())
		}
	}

	for more, want := range map[string]string{
		"&ssl_max_protocol_version=TLSv1.2": "",
		"&keepalives=0":                     "",
		"&sslcrl=/crl":                      "sslcrl is refused",
		"&gssencmode=require":               "gssencmode is refused",
		"&sslmod=disable":                   "did you mean sslmode?",
		"&require_auth=md5":                 "failed to connect", // the server asks for SCRAM
	} {
		db, err := Open(t.Context(), overTCP(server, more), Options{})
		switch {
		case err == nil && want != "":
			t.Errorf("%s was taken", more)
		case err != nil && (want == "" || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v", more, err)
		}
		if err != nil {
			continue
		}
		err = db.engine.(*postgresDB).connected(t.Context(), func(_ context.Context, c *pgx.Conn) error {
			secured := c.PgConn().Conn().(*tls.Conn)
			if v := secured.ConnectionState().Version; strings.Contains(more, "TLSv1.2") && v != tls.VersionTLS12 {
				t.Errorf("TLS has the version %x", v)
			}
			raw, err := secured.NetConn().(*net.TCPConn).SyscallConn()
			if err != nil {
				return err
			}
			return raw.Control(func(fd uintptr) {
				if on, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE); err != nil || (on == 0) != strings.Contains(more, "keepalives=0") {
					t.Errorf("%s: SO_KEEPALIVE is %d, %v", more, on, err)
				}
			})
		})
		if err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestServiceFile: what a service file or the environment adds is judged as the address is.
func TestServiceFile(t *testing.T) {
	t.Parallel()
	cfg, err := parseAddress("postgres://u@h/d")
	if err != nil {
		t.Fatal(err)
	}
	cfg.RuntimeParams = map[string]string{"sslcrl": "hunter2"}
	if err := settle(cfg); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a service file with sslcrl: %v", err)
	}
	cfg.RuntimeParams = map[string]string{"keepalives_idle": "5", "gssencmode": "prefer", "timezone": "UTC"}
	if err := settle(cfg); err != nil || len(cfg.RuntimeParams) != 1 {
		t.Errorf("%v are sent to the server: %v", cfg.RuntimeParams, err)
	}
}

// TestBalance: every host is tried first at times, and what is tried of one host stays together.
func TestBalance(t *testing.T) {
	t.Parallel()
	first := make(map[string]int)
	for range 200 {
		cfg, err := parseAddress("postgres://u@127.0.0.1:1,127.0.0.2:2,127.0.0.3:3/d?sslmode=prefer&load_balance_hosts=random")
		if err != nil {
			t.Fatal(err)
		}
		first[cfg.Host]++
		if len(cfg.Fallbacks) != 5 || cfg.Fallbacks[0].Host != cfg.Host || cfg.TLSConfig == nil || cfg.Fallbacks[0].TLSConfig != nil {
			t.Fatalf("%s is followed by %+v", cfg.Host, cfg.Fallbacks)
		}
	}
	if len(first) != 3 {
		t.Errorf("tried first: %v", first)
	}
}

// lines is a log that can be read while it is written.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
