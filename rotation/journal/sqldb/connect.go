package sqldb

import (
	"cmp"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"golang.org/x/sys/unix"

	"rotator/internal/pgaddress"
)

// connector makes connections to PostgreSQL, each with the password and the certificates as they are then.
type connector struct {
	config  *pgx.ConnConfig // as they were at first
	options Options
}

var _ driver.Connector = connector{}

// Connect implements driver.Connector.
func (c connector) Connect(ctx context.Context) (conn driver.Conn, err error) {
	err = c.login(ctx, func(cfg *pgx.ConnConfig) error {
		conn, err = stdlib.GetConnector(*cfg, stdlib.OptionShouldPing(mayBeBroken)).Connect(ctx)
		return err
	})
	return conn, err
}

// Driver implements driver.Connector.
func (c connector) Driver() driver.Driver { return stdlib.GetDefaultDriver() }

// login connects with the address as it is now, and says when the database does not take it.
func (c connector) login(ctx context.Context, connect func(*pgx.ConnConfig) error) error {
	cfg := c.config.Copy()
	if c.options.Address == nil {
		return connect(cfg)
	}
	address, err := c.options.Address(ctx)
	if err != nil {
		return err
	}
	now, err := parseAddress(address)
	if err != nil {
		return err
	}
	cfg.Host, cfg.Port, cfg.Password, cfg.TLSConfig, cfg.Fallbacks, cfg.RequireAuth = now.Host, now.Port, now.Password, now.TLSConfig, now.Fallbacks, now.RequireAuth
	err = connect(cfg)
	// Class 28: invalid authorization.
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && strings.HasPrefix(e.Code, "28") && c.options.Refused != nil {
		c.options.Refused(address)
	}
	return err
}

// parseAddress reads an address. Its error does not quote it, as the parser's own would: it may hold a password.
func parseAddress(url string) (*pgx.ConnConfig, error) {
	for _, f := range pgaddress.Check(url) {
		if f.Verdict == pgaddress.Refused {
			return nil, fmt.Errorf("postgres: in the journal's address, %s", f)
		}
	}
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, errAddress
	}
	if cfg, err = protect(url, cfg); err != nil {
		return nil, err
	}
	return cfg, settle(cfg)
}

var errAddress = errors.New("postgres: the address cannot be parsed, or a certificate that it names cannot be read: " +
	"want postgres://USER@HOST/DATABASE?sslmode=verify-full")

// settle does what an address asks for and the driver does not do. What the driver does not know it would hand to the
// server, which ends the connection; a service file and the environment bring parameters too.
func settle(cfg *pgx.ConnConfig) error {
	params := cfg.RuntimeParams
	cfg.RuntimeParams = make(map[string]string)
	for name, value := range params {
		switch verdict, why := pgaddress.Judge(name, value); verdict {
		case pgaddress.Server:
			cfg.RuntimeParams[name] = value
		case pgaddress.Refused:
			return fmt.Errorf("postgres: in the journal's address or its service file, a parameter is refused: %s", why)
		}
	}
	extras := pgaddress.ExtrasOf(params)
	if extras.ApplicationName != "" && cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = extras.ApplicationName
	}
	for _, c := range append([]*pgconn.FallbackConfig{{TLSConfig: cfg.TLSConfig}}, cfg.Fallbacks...) {
		if c.TLSConfig != nil {
			c.TLSConfig.MinVersion, c.TLSConfig.MaxVersion = extras.MinTLS, extras.MaxTLS
		}
	}
	if extras.Balance {
		balance(cfg)
	}
	if extras.KeepAlive != nil || extras.UserTimeout > 0 {
		cfg.DialFunc = dialer(cmp.Or(cfg.ConnectTimeout, connectTimeout), extras).DialContext
	}
	return nil
}

// balance puts the hosts into random order. What is tried of one host (with TLS, then without) stays together.
func balance(cfg *pgx.ConnConfig) {
	var hosts [][]*pgconn.FallbackConfig
	for _, c := range append([]*pgconn.FallbackConfig{{Host: cfg.Host, Port: cfg.Port, TLSConfig: cfg.TLSConfig}}, cfg.Fallbacks...) {
		if n := len(hosts); n > 0 && hosts[n-1][0].Host == c.Host && hosts[n-1][0].Port == c.Port {
			hosts[n-1] = append(hosts[n-1], c)
			continue
		}
		hosts = append(hosts, []*pgconn.FallbackConfig{c})
	}
	rand.Shuffle(len(hosts), func(i, j int) { hosts[i], hosts[j] = hosts[j], hosts[i] })
	all := slices.Concat(hosts...)
	cfg.Host, cfg.Port, cfg.TLSConfig, cfg.Fallbacks = all[0].Host, all[0].Port, all[0].TLSConfig, all[1:]
}

// dialer makes connections as the address says. A socket of this machine has no such options.
func dialer(timeout time.Duration, extras pgaddress.Extras) *net.Dialer {
	d := &net.Dialer{Timeout: timeout}
	if extras.KeepAlive != nil {
		d.KeepAliveConfig = *extras.KeepAlive
		if !extras.KeepAlive.Enable {
			d.KeepAlive = -1
		}
	}
	if extras.UserTimeout > 0 {
		d.Control = func(network, _ string, raw syscall.RawConn) (err error) {
			if !strings.HasPrefix(network, "tcp") {
				return nil
			}
			failed := raw.Control(func(fd uintptr) {
				err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(extras.UserTimeout.Milliseconds()))
			})
			return errors.Join(failed, err)
		}
	}
	return d
}

// tellIgnored logs what is ignored of an address, once for each parameter, and what is open to others on the network.
func tellIgnored(log *slog.Logger, url string, cfg *pgx.ConnConfig) {
	if why := exposed(cfg); why != "" {
		log.Warn("the connection to the journal is not protected", "why", why)
	}
	for _, f := range pgaddress.Check(url) {
		if f.Verdict == pgaddress.Ignored {
			log.Warn("a parameter of the journal's address is ignored", "parameter", f.Name, "why", f.Why)
		}
	}
}
