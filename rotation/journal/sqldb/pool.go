package sqldb

import (
	"context"
	"crypto/tls"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"golang.org/x/sys/unix"

	"rotator/rotation/journal"
)

// A transaction begins with its limits, in one message: they are the server's, and end with the transaction. A replica
// that freezes with a transaction open is cut off by the server, so that what it has locked does not stay locked, and
// before those who wait for it give up. The isolation is said: it is the role's otherwise, and who read after a lock what
// was true before it would miss what others did.
const (
	lockTimeout = `5s`
	limits      = `; SET LOCAL statement_timeout = '20s'; SET LOCAL lock_timeout = '` + lockTimeout + `';
		SET LOCAL idle_in_transaction_session_timeout = '4s'`
	begin     = `BEGIN ISOLATION LEVEL READ COMMITTED`
	beginRead = `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY`
)

// tries bounds how often a transaction is run that the server ended for another's sake, and giveWay is how long it gives
// way to that one at most.
const (
	tries   = 8
	giveWay = 200 * time.Millisecond
)

func (e *postgresDB) write(ctx context.Context, do func(context.Context, tx) error) error {
	return e.insist(ctx, func() error { return e.transact(ctx, begin, do) })
}

// insist writes, and again when the server undid it for another's sake.
func (e *postgresDB) insist(ctx context.Context, write func() error) error {
	if e.look {
		return ErrReadOnly
	}
	for try := 1; ; try++ {
		err := write()
		if !gaveWay(err) || try == tries {
			return err
		}
		select {
		case <-time.After(rand.N(giveWay)):
		case <-ctx.Done():
			return err
		}
	}
}

// read sees one snapshot.
func (e *postgresDB) read(ctx context.Context, do func(context.Context, tx) error) error {
	return e.transact(ctx, beginRead, do)
}

// ask sends each statement by itself: what is asked every second of an idle database should not cost a transaction.
func (e *postgresDB) ask(ctx context.Context, do func(context.Context, tx) error) error {
	return e.connected(ctx, func(ctx context.Context, c *pgx.Conn) error { return do(ctx, pgTx{c}) })
}

// say lets a statement be its own transaction. It has no limits of the server's then: one that waits for a lock goes on
// to wait when its caller has given up. Whoever uses it does not mind that it may still be done.
func (e *postgresDB) say(ctx context.Context, do func(context.Context, tx) error) error {
	return e.insist(ctx, func() error { return e.ask(ctx, do) })
}

func (e *postgresDB) transact(ctx context.Context, begin string, do func(context.Context, tx) error) error {
	return e.connected(ctx, func(ctx context.Context, c *pgx.Conn) error {
		t, err := c.BeginTx(ctx, pgx.TxOptions{BeginQuery: begin + e.limits})
		if err != nil {
			return err
		}
		defer t.Rollback(ctx) //nolint:errcheck // after a commit it does nothing, before it nothing was written
		if err := do(ctx, pgTx{t}); err != nil {
			return err
		}
		return postgresError(t.Commit(ctx))
	})
}

// connected gives do a connection of the pool's for at most the time that bounds a transaction.
func (e *postgresDB) connected(ctx context.Context, do func(context.Context, *pgx.Conn) error) (err error) {
	ctx, cancel := context.WithTimeout(ctx, e.total)
	defer cancel()
	c, err := e.conn(ctx)
	if err != nil {
		if e.over.Load() {
			return ErrClosed
		}
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	return c.Raw(func(of any) error { return do(ctx, of.(*stdlib.Conn).Conn()) })
}

// conn is a connection of the pool's. Where the server has none left for us, one of those that the pool has comes free: who
// waits for it is given one, and a caller that asks for more at once would be refused.
func (e *postgresDB) conn(ctx context.Context) (*sql.Conn, error) {
	for try := 1; ; try++ {
		c, err := e.pool.Conn(ctx)
		p, ok := errors.AsType[*pgconn.PgError](err)
		if !ok || p.Code != "53300" || try == tries || e.pool.Stats().OpenConnections == 0 {
			return c, err
		}
		select {
		case <-time.After(rand.N(giveWay << try)):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// mayBeBroken reports whether a connection that was idle is to be asked for a sign of life before it is used: if the
// server said something meanwhile, or closed it. Most were used a moment ago, and a question each would double what an
// idle replica asks.
func mayBeBroken(_ context.Context, p stdlib.ShouldPingParams) bool {
	c := p.Conn.PgConn().Conn()
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	return !silent(c)
}

// silent reports whether a connection is open as far as is known, and nothing has come that was not read.
func silent(c net.Conn) bool {
	s, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return false
	}
	var peeked error
	err = raw.Control(func(fd uintptr) {
		_, _, peeked = unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
	})
	return err == nil && errors.Is(peeked, unix.EAGAIN)
}

// pgTx is a transaction in PostgreSQL, or, for single statements, a connection.
type pgTx struct {
	to interface {
		Exec(ctx context.Context, query string, args ...any) (pgconn.CommandTag, error)
		Query(ctx context.Context, query string, args ...any) (pgx.Rows, error)
	}
}

func (t pgTx) exec(ctx context.Context, query string, args ...any) (int64, error) {
	tag, err := t.to.Exec(ctx, query, args...)
	return tag.RowsAffected(), postgresError(err)
}

func (t pgTx) query(ctx context.Context, each func(func(...any) error) error, query string, args ...any) error {
	rows, err := t.to.Query(ctx, query, args...)
	if err != nil {
		return postgresError(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := each(rows.Scan); err != nil {
			return err
		}
	}
	return postgresError(rows.Err())
}

// postgresError says journal.ErrForbidden of a constraint that refuses (SQLSTATE class 23).
func postgresError(err error) error {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && len(e.Code) == 5 && e.Code[:2] == "23" {
		return fmt.Errorf("%w: %s (SQLSTATE %s)", journal.ErrForbidden, e.Message, e.Code)
	}
	return err
}

// gaveWay reports whether the server undid a transaction for another's sake: two waited for each other (SQLSTATE 40P01), or
// met in one row where the role's isolation of single statements is stricter than the usual (40001).
func gaveWay(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (e.Code == "40P01" || e.Code == "40001")
}
