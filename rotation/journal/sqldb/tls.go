package sqldb

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"rotator/internal/pgaddress"
)

// errFallback: TLS is not certain. It is refused whatever said so: the address, a service file or the environment.
var errFallback = errors.New("postgres: sslmode " + pgaddress.Fallback)

// protect holds an address to the rule for servers that are reached over a network: TLS, with the server's certificate and
// name verified. That is the default where no sslmode is said; disable, require and verify-ca are taken from who says so in
// so many words, and then no password is sent in clear; prefer and allow, which fall back to plain text, are refused.
// It works on what the driver made of the address, so that it does not matter where a host or a mode comes from.
func protect(address string, cfg *pgx.ConnConfig) (*pgx.ConnConfig, error) {
	if err := checkSockets(cfg); err != nil {
		return nil, err
	}
	if !remote(cfg) {
		return cfg, nil
	}
	said, service := saidMode(address)
	if said == "" && !service {
		var err error
		if cfg, err = pgx.ParseConfig(withMode(address, "verify-full")); err != nil {
			return nil, errAddress
		}
	}
	direct := false
	var plain, secured bool
	for _, c := range attempts(cfg) {
		if local(c.Host) {
			continue
		}
		plain, secured = plain || c.TLSConfig == nil, secured || c.TLSConfig != nil
		direct = direct || c.TLSConfig != nil && slices.Contains(c.TLSConfig.NextProtos, "postgresql")
	}
	if plain && secured || said == "prefer" || said == "allow" {
		return nil, errFallback
	}
	if said == "" && service && direct && exposed(cfg) != "" { // the driver makes "require" of nothing then
		return nil, errors.New("postgres: with sslnegotiation=direct in a service file, say sslmode in the journal's address")
	}
	if exposed(cfg) != "" && cfg.RequireAuth == "" {
		cfg.RequireAuth = "!password"
	}
	return cfg, nil
}

// checkSockets refuses a socket in a folder where anyone may put one: another user's server could take the journal's place there. The
// driver looks in /tmp where no host is said and the server's own folder is not there.
func checkSockets(cfg *pgx.ConnConfig) error {
	for _, c := range attempts(cfg) {
		if !strings.HasPrefix(c.Host, "/") {
			continue
		}
		if folder, err := os.Stat(c.Host); err == nil && folder.Mode().Perm()&0o002 != 0 {
			return fmt.Errorf("postgres: anyone on this machine may put a socket into %s; say host=FOLDER with the server's own one, such as /var/run/postgresql, or host=localhost", c.Host)
		}
	}
	return nil
}

// exposed says what others on the network can do with the connections of an address, "" for nothing.
func exposed(cfg *pgx.ConnConfig) string {
	for _, c := range attempts(cfg) {
		switch {
		case local(c.Host):
		case c.TLSConfig == nil:
			return "without TLS all is sent in clear, and anyone on the network path can change it; use sslmode=verify-full"
		case c.TLSConfig.InsecureSkipVerify:
			return "the server's name is not verified, so that anyone on the network path can take its place; use sslmode=verify-full"
		}
	}
	return ""
}

// attempts are the hosts of an address as they are tried, each with and without TLS.
func attempts(cfg *pgx.ConnConfig) []*pgconn.FallbackConfig {
	return append([]*pgconn.FallbackConfig{{Host: cfg.Host, Port: cfg.Port, TLSConfig: cfg.TLSConfig}}, cfg.Fallbacks...)
}

func remote(cfg *pgx.ConnConfig) bool {
	return slices.ContainsFunc(attempts(cfg), func(c *pgconn.FallbackConfig) bool { return !local(c.Host) })
}

// local reports whether a host is this machine: a socket's folder, or loopback.
func local(host string) bool { return pgaddress.Local(host) }

// saidMode is the sslmode that the address or the environment says, and whether a service file may say another.
func saidMode(address string) (mode string, service bool) {
	_, query, _ := strings.Cut(address, "?")
	q, err := url.ParseQuery(query)
	if err != nil {
		return "", true
	}
	mode = cmp.Or(q.Get("sslmode"), os.Getenv("PGSSLMODE"))
	if mode == "" && q.Get("ssl") == "true" {
		mode = "require"
	}
	return mode, q.Get("service") != "" || os.Getenv("PGSERVICE") != ""
}

func withMode(address, mode string) string {
	if strings.Contains(address, "?") {
		return address + "&sslmode=" + mode
	}
	return address + "?sslmode=" + mode
}
