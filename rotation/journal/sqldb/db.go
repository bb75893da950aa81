// Package sqldb keeps the journal in SQLite or PostgreSQL: the same tables, the same statements, one suite.
//
// What is the same lies in this file and in commit, claims, policies, words and read. What differs lies behind [engine]:
// how a transaction is run (sqlite.go: one writing connection and group commit; postgres.go: a pool and row locks),
// and whose clock counts.
package sqldb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"time"

	"rotator/rotation/journal"
)

// Options are how a journal is opened. The zero Options open it for one process, to read and write.
type Options struct {
	// ReadOnly opens an existing journal, beside the process that has it, to look only.
	ReadOnly bool
	// Program is the name and version that lock, migrations and refusals name.
	Program string
	// Lease is how long a claim lasts without a renewal when replicas share the journal (0: 15 s). SQLite has none.
	Lease time.Duration
	// Address is asked for the database's address before each new connection, so that a password or certificate that was
	// replaced is used at once (nil: that of Open forever). SQLite has no connections.
	Address func(context.Context) (string, error)
	// Refused is told which address of those the database did not take the login with (nil: no one is told).
	Refused func(address string)
	// Now is the clock for what no caller dates (nil: time.Now).
	Now func() time.Time
	// Log is told what is no error and should be known (nil: nothing is).
	Log *slog.Logger

	migrations fs.FS  // nil: those of this program
	limits     string // of a transaction in PostgreSQL; "": those of this program
}

// ErrClosed means that the journal was closed.
var ErrClosed = errors.New("the journal is closed")

// ErrReadOnly means that the journal was opened to look only.
var ErrReadOnly = errors.New("the journal is open for reading only")

// ErrMoved means that the journal's file, or the lock beside it, was removed or replaced while this process has it open. What was
// written would be lost with the process, and nothing else would be kept away.
var ErrMoved = errors.New("the journal was removed or replaced while it is in use")

// ErrNoJournal means that there is no journal yet that could be looked at.
var ErrNoJournal = errors.New("there is no journal")

// DB is an open journal.
type DB struct {
	engine
	recent    recent
	known     schema // to this program
	now       func() time.Time
	closeOnce func() error
}

var _ journal.Journal = (*DB)(nil)

// engine is what differs between the databases.
type engine interface {
	// write runs do in a transaction that is durable when write returns nil. An error of do undoes what it did, and
	// nothing of what others do at the same time.
	write(ctx context.Context, do func(context.Context, tx) error) error
	// read runs do on one consistent state of the database.
	read(ctx context.Context, do func(context.Context, tx) error) error
	// ask is read for single statements that need not agree with each other, and say write for a single statement.
	ask(ctx context.Context, do func(context.Context, tx) error) error
	say(ctx context.Context, do func(context.Context, tx) error) error
	// readEvents is read, for a query of events alone: none with a lower id than one seen may appear later.
	readEvents(ctx context.Context, each func(scan func(...any) error) error, query string, args ...int64) error
	// insertEvents is the statement that writes n events, in the order they are given.
	insertEvents(n int) string
	// beforeLoading runs before policies are set.
	beforeLoading(ctx context.Context, t tx) error
	// clock is the time that leases and wakes go by: that of the caller, or that of a database that replicas share.
	clock(ctx context.Context, t tx, caller time.Time) (time.Time, error)
	// clockColumn is the database's clock in a SELECT, NULL where the caller's counts.
	clockColumn() string
	// lease is how long a claim lasts after it was made or renewed, in microseconds; nil: forever.
	lease() any
	// claim claims policies for which the condition which holds. args: the caller's clock, owner, lease, limit, and the
	// list of names where which names some. Where nothing else writes, note is told of them before they are committed; foreign
	// says that someone did anyway.
	claim(ctx context.Context, which string, args []any, note func(found []claimed, foreign bool)) ([]claimed, error)
	// same is a condition: the database has lost nothing since this process last claimed, and still takes this program. It
	// guards what only an owner writes.
	same() string
	// among is the end of a condition: "is in the list that is parameter n"; list is such a parameter.
	among(n int) string
	list(values []string) any
	// jsonArray is the function that makes a JSON array of its arguments.
	jsonArray() string
	// batch is how many rows are written by one statement.
	batch() int
	// tell has [DB.Wakes] of every replica called when the transaction commits; hear calls wake for each until ctx ends.
	tell(ctx context.Context, t tx) error
	hear(ctx context.Context, wake func()) error
	// lockRow is appended to a SELECT whose row must stay as it is until the transaction ends.
	lockRow() string
	backup(ctx context.Context, path string) error
	// size is how many bytes the journal takes.
	size(ctx context.Context) (int64, error)
	close() error
}

// tx is a transaction in hand.
type tx interface {
	// exec runs a statement and returns how many rows it changed.
	exec(ctx context.Context, query string, args ...any) (int64, error)
	// query calls each for every row, with that row's scan.
	query(ctx context.Context, each func(scan func(...any) error) error, query string, args ...any) error
}

// Open opens the journal at url and brings its schema up to date: sqlite:PATH, sqlite::memory: (gone with the process,
// for tests and trials) or postgres://…. A newer schema is left as it is when it allows this program beside its own.
// Errors means that journal.ErrInUse, journal.ErrNewer, ErrOlder, ErrNoJournal, ErrDamaged. No error names url's password.
func Open(ctx context.Context, url string, o Options) (*DB, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Program == "" {
		o.Program = "rotator"
	}
	if o.Lease == 0 {
		o.Lease = 15 * time.Second
	}
	if o.migrations == nil {
		o.migrations = migrations
	}
	known, err := readSchema(o.migrations)
	if err != nil {
		return nil, err
	}
	scheme, rest, _ := strings.Cut(url, ":")
	var e engine
	switch scheme {
	case "sqlite":
		e, err = openSQLite(ctx, rest, known, o)
	case "postgres", "postgresql":
		e, err = openPostgres(ctx, url, known, o)
	default:
		// Not quoted: another kind of address, which a reference may hold, has its password anywhere.
		return nil, errors.New("open journal: the address is of no known kind: want sqlite:PATH or postgres://USER@HOST/DATABASE")
	}
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	db := &DB{engine: e, known: known, now: o.Now, closeOnce: sync.OnceValue(e.close)}
	if file, ok := e.(*sqliteDB); ok && file.group != nil {
		db.recent.of = make(map[string]*keptRecord)
	}
	return db, nil
}

// Close waits for what is being written and closes the journal. Later calls return ErrClosed.
func (db *DB) Close() error { return db.closeOnce() }

// Backup implements journal.Journal.
func (db *DB) Backup(ctx context.Context, path string) error {
	if err := db.backup(ctx, path); err != nil {
		return fmt.Errorf("back up the journal to %s: %w", path, err)
	}
	return nil
}

// at is the time of a statement: the database's clock where that counts, and otherwise the caller's, parameter n.
func (db *DB) at(n int) string {
	return fmt.Sprintf("coalesce(%s, CAST($%d AS BIGINT))", db.clockColumn(), n)
}

// Chore implements journal.Claimer.
func (db *DB) Chore(ctx context.Context, now time.Time, name string, every time.Duration) (mine bool, err error) {
	err = db.sayTo(ctx, func(ctx context.Context, t tx) error {
		// A time that lies further ahead than one interval was written before the clock was set back.
		n, err := t.exec(ctx, `INSERT INTO chores (name, at) SELECT $1, `+db.at(2)+` WHERE `+db.same()+`
			ON CONFLICT (name) DO UPDATE SET at = excluded.at
			WHERE chores.at <= excluded.at - $3 OR chores.at > excluded.at + $3`, name, micros(now), every.Microseconds())
		mine = n > 0
		return err
	})
	if err != nil {
		return false, fmt.Errorf("chore %s: %w", name, err)
	}
	return mine, nil
}

// SetMeta implements journal.Journal.
func (db *DB) SetMeta(ctx context.Context, key, value string) error {
	err := db.sayTo(ctx, func(ctx context.Context, t tx) error {
		_, err := t.exec(ctx, setMeta, key, value)
		return err
	})
	if err != nil {
		return fmt.Errorf("set meta %s: %w", key, err)
	}
	return nil
}

const setMeta = `INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value`

// Meta implements journal.Journal.
func (db *DB) Meta(ctx context.Context, key string) (value string, err error) {
	err = db.ask(ctx, func(ctx context.Context, t tx) error {
		_, err := one(ctx, t, []any{&value}, `SELECT value FROM meta WHERE name = $1`, key)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("meta %s: %w", key, err)
	}
	return value, nil
}

// one scans the first row into dest and reports whether there was one.
func one(ctx context.Context, t tx, dest []any, query string, args ...any) (found bool, err error) {
	err = t.query(ctx, func(scan func(...any) error) error {
		found = true
		return scan(dest...)
	}, query, args...)
	return found, err
}
