package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"rotator/rotation/journal"
)

// session is one connection to SQLite with its prepared statements. One goroutine at a time uses it.
//
// The statements run without the caller's context: each takes well under a second, and one that is interrupted halfway
// would leave open what became of it.
type session struct {
	conn  *sql.Conn
	stmts map[string]*sql.Stmt // by text; the texts are few and fixed
}

var _ tx = (*session)(nil)

func newSession(ctx context.Context, pool *sql.DB) (*session, error) {
	conn, err := pool.Conn(ctx)
	if err != nil {
		return nil, sqliteError(err)
	}
	return &session{conn: conn, stmts: make(map[string]*sql.Stmt)}, nil
}

func (s *session) prepare(query string) (*sql.Stmt, error) {
	if st := s.stmts[query]; st != nil {
		return st, nil
	}
	st, err := s.conn.PrepareContext(context.Background(), query)
	if err != nil {
		return nil, sqliteError(err)
	}
	s.stmts[query] = st
	return st, nil
}

func (s *session) exec(_ context.Context, query string, args ...any) (int64, error) {
	st, err := s.prepare(query)
	if err != nil {
		return 0, err
	}
	res, err := st.ExecContext(context.Background(), args...)
	if err != nil {
		return 0, sqliteError(err)
	}
	return res.RowsAffected()
}

func (s *session) query(_ context.Context, each func(func(...any) error) error, query string, args ...any) error {
	st, err := s.prepare(query)
	if err != nil {
		return err
	}
	rows, err := st.QueryContext(context.Background(), args...)
	if err != nil {
		return sqliteError(err)
	}
	defer rows.Close() // rows.Err says what matters
	for rows.Next() {
		if err := each(rows.Scan); err != nil {
			return err
		}
	}
	return sqliteError(rows.Err())
}

// begin, commit and rollback run the transaction that kind names: IMMEDIATE to write, DEFERRED to read.
func (s *session) begin(kind string) error {
	_, err := s.exec(context.Background(), "BEGIN "+kind)
	return err
}

func (s *session) commit() error {
	_, err := s.exec(context.Background(), "COMMIT")
	return err
}

// rollback has no error: SQLite may have rolled back by itself, as it does on a full disk.
func (s *session) rollback() { _, _ = s.exec(context.Background(), "ROLLBACK") }

func (s *session) close() error {
	var errs []error
	for _, st := range s.stmts {
		errs = append(errs, st.Close())
	}
	return errors.Join(append(errs, s.conn.Close())...)
}

// sqliteError says journal.ErrForbidden of a constraint that refuses, and ErrDamaged of a file that cannot be understood.
func sqliteError(err error) error {
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return err
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_CONSTRAINT:
		return fmt.Errorf("%w: %w", journal.ErrForbidden, err)
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}
