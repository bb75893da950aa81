package sqldb

import (
	"context"
	"database/sql/driver"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
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

// login connects with the address as it is now, and tells when the database does not take it.
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
	cfg.Password, cfg.TLSConfig, cfg.Fallbacks = now.Password, now.TLSConfig, now.Fallbacks
	err = connect(cfg)
	// Class 28: invalid authorization.
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && strings.HasPrefix(e.Code, "28") && c.options.Refused != nil {
		c.options.Refused(address)
	}
	return err
}

// parseAddress reads an address. Its error does not quote it, as the parser's own would: it may hold a password.
func parseAddress(url string) (*pgx.ConnConfig, error) {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, errors.New("postgres: the address cannot be parsed, or a certificate that it names cannot be read: " +
			"want postgres://USER@HOST/DATABASE?sslmode=verify-full")
	}
	return cfg, nil
}
