package sqldb

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// sqliteDB is a journal in one file, for one process.
type sqliteDB struct {
	path    string
	log     *slog.Logger
	pool    *sql.DB
	readers *sql.DB       // read-only, nil in memory
	idle    chan *session // of readers; a reader never waits for the writer
	made    int           // of readers
	group   *group        // nil when only reading
	wal     *walKeeper    // nil when only reading, and in memory
	still   fs.FileInfo   // of a file that is read as one that does not change; else nil
	lock    *os.File
	files   map[string]fs.FileInfo // the database and its lock as they were opened to write, by path
	version int64                  // of the file, as the writer's connection tells it: others' commits change it
	damaged atomic.Bool            // damage was met
}

// nReaders is how many look at the same time.
const nReaders = 4

func openSQLite(ctx context.Context, path string, known schema, o Options) (_ engine, err error) {
	e := &sqliteDB{log: o.Log}
	defer func() {
		if err != nil {
			_ = e.close()
		}
	}()
	if path == ":memory:" {
		if err := e.openWriter(ctx, "file::memory:?_pragma=foreign_keys(1)", known, o); err != nil {
			return nil, err
		}
		return e, nil
	}
	if path = strings.TrimPrefix(path, "//"); path == "" {
		return nil, errors.New("sqlite: no path: want sqlite:/var/lib/rotator/rotator.db")
	}
	if e.path, err = filepath.Abs(path); err != nil {
		return nil, err
	}
	if !o.ReadOnly {
		if err := e.prepareFile(o); err != nil {
			return nil, err
		}
		// FULL: a commit is on the disk before anything is done that relies on it.
		err := e.openWriter(ctx, e.dsn("_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)"+
			fmt.Sprintf("&_pragma=foreign_keys(1)&_pragma=journal_size_limit(%d)", walKept)), known, o)
		if err != nil {
			return nil, err
		}
		if e.wal, err = e.newWALKeeper(ctx, o.Log); err != nil {
			return nil, err
		}
		e.wal.run()
	}
	return e, e.openReaders(ctx, known)
}

func (e *sqliteDB) dsn(query string) string {
	return (&url.URL{Scheme: "file", Path: e.path, RawQuery: query}).String()
}

// prepareFile makes the folder and the file, 0700 and 0600, and takes the lock beside it.
func (e *sqliteDB) prepareFile(o Options) (err error) {
	dir := filepath.Dir(e.path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := closedFolder(dir); err != nil {
		return err
	}
	if err := localDisk(dir); err != nil {
		return err
	}
	if e.lock, err = lockFile(e.path+".lock", o.Program, o.Now()); err != nil {
		return err
	}
	// SQLite gives its -wal and -shm files the mode of the database.
	f, err := openOrMake(e.path)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Chmod(0o600), f.Close()); err != nil {
		return err
	}
	e.files = make(map[string]fs.FileInfo)
	for _, path := range []string{e.path, e.lock.Name()} {
		if e.files[path], err = os.Stat(path); err != nil {
			return err
		}
	}
	return nil
}

// inPlace refuses to go on in files that nothing finds again.
func (e *sqliteDB) inPlace() error {
	for _, path := range slices.Sorted(maps.Keys(e.files)) {
		switch now, err := os.Stat(path); {
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return err
		case err != nil || !os.SameFile(now, e.files[path]):
			return fmt.Errorf("%w: %s is not the file that was opened; stop this process, put the journal in place, and start again", ErrMoved, path)
		}
	}
	return nil
}

func (e *sqliteDB) openWriter(ctx context.Context, dsn string, known schema, o Options) (err error) {
	if e.pool, err = sql.Open("sqlite", dsn); err != nil {
		return err
	}
	s, err := newSession(ctx, e.pool)
	if err != nil {
		return err
	}
	if err := e.whole(ctx, s); err != nil {
		return errors.Join(err, s.close())
	}
	e.group = newGroup(s)
	return e.group.run(ctx, func(ctx context.Context, t tx) error {
		if err := known.migrate(ctx, t, sqliteIdentity, o); err != nil {
			return err
		}
		// The lock is ours, so whoever held these claims is gone. What they were doing is due at once.
		_, err := t.exec(ctx, `UPDATE policies SET lease_owner = '', lease_until = NULL, claimed_at = NULL, lease_epoch = lease_epoch + 1
			WHERE lease_owner <> ''`)
		return err
	})
}

func (e *sqliteDB) openReaders(ctx context.Context, known schema) (err error) {
	query := looking
	if e.group == nil {
		if query, err = e.lookingAt(ctx); err != nil {
			return err
		}
	}
	if e.readers, err = sql.Open("sqlite", e.dsn(query)); err != nil {
		return err
	}
	e.idle = make(chan *session, nReaders)
	for range nReaders {
		s, err := newSession(ctx, e.readers)
		if err != nil {
			return err
		}
		e.idle <- s
		e.made++
	}
	s := <-e.idle
	defer func() { e.idle <- s }()
	return known.checkToLook(ctx, s)
}

func (e *sqliteDB) write(ctx context.Context, do func(context.Context, tx) error) error {
	if e.group == nil {
		return ErrReadOnly
	}
	if err := errors.Join(e.sound(), e.inPlace()); err != nil {
		return err
	}
	return e.noted(e.group.run(ctx, do))
}

func (e *sqliteDB) read(ctx context.Context, do func(context.Context, tx) error) error {
	return e.look(ctx, func(ctx context.Context, s *session) error {
		if err := s.begin("DEFERRED"); err != nil {
			return err
		}
		defer s.rollback() // nothing was written
		return do(ctx, s)
	}, do)
}

// ask needs no transaction: each statement sees one state.
func (e *sqliteDB) ask(ctx context.Context, do func(context.Context, tx) error) error {
	if err := e.inPlace(); err != nil { // also where nothing is due: a caller that asks what is next gets it
		return err
	}
	return e.look(ctx, func(ctx context.Context, s *session) error { return do(ctx, s) }, do)
}

// look gives one of the reading connections to inFile, or, where there are none, has the writer run inMemory, whose
// connection nothing else uses meanwhile.
func (e *sqliteDB) look(ctx context.Context, inFile func(context.Context, *session) error, inMemory func(context.Context, tx) error) error {
	if e.readers == nil {
		return e.group.look(ctx, inMemory)
	}
	if err := e.sound(); err != nil {
		return err
	}
	var s *session
	select {
	case s = <-e.idle:
	case <-ctx.Done():
		return ctx.Err()
	}
	if s == nil { // the channel is closed
		return ErrClosed
	}
	defer func() { e.idle <- s }()
	if err := inFile(ctx, s); err != nil {
		return e.noted(err)
	}
	return e.unchanged()
}

func (e *sqliteDB) say(ctx context.Context, do func(context.Context, tx) error) error {
	return e.write(ctx, do)
}

func (e *sqliteDB) clock(_ context.Context, _ tx, caller time.Time) (time.Time, error) {
	return caller, nil
}

func (e *sqliteDB) clockColumn() string { return "NULL" }

func (e *sqliteDB) lease() any { return nil }

func (e *sqliteDB) among(n int) string {
	return fmt.Sprintf("IN (SELECT value FROM json_each($%d))", n)
}

func (e *sqliteDB) list(values []string) any {
	text, _ := json.Marshal(values) // of strings, it cannot go wrong
	return string(text)
}

func (e *sqliteDB) jsonArray() string { return "json_array" }

// batch: nothing lies between the rows but a call.
func (e *sqliteDB) batch() int { return 1 }

// tell and hear have nothing to do: a reader sees what this process wrote.
func (e *sqliteDB) tell(context.Context, tx) error { return nil }

func (e *sqliteDB) hear(ctx context.Context, _ func()) error {
	<-ctx.Done()
	return ctx.Err()
}

// readEvents needs nothing more: there is one writer, so that ids are given in the order they are committed.
func (e *sqliteDB) readEvents(ctx context.Context, each func(func(...any) error) error, query string, args ...int64) error {
	return e.read(ctx, func(ctx context.Context, t tx) error {
		values := make([]any, len(args))
		for i, a := range args {
			values[i] = a
		}
		return t.query(ctx, each, query, values...)
	})
}

func (e *sqliteDB) insertEvents(n int) string {
	return insertRows("events", eventColumns, eventWidth, n)
}

func (e *sqliteDB) beforeLoading(context.Context, tx) error { return nil }
func (e *sqliteDB) lockRow() string                         { return "" }

// same: nothing else has the file.
func (e *sqliteDB) same() string { return "true" }

func (e *sqliteDB) claim(ctx context.Context, which string, args []any, note func([]claimed, bool)) (found []claimed, err error) {
	now, owner := args[0], args[1]
	err = e.write(ctx, func(ctx context.Context, t tx) error {
		found = nil
		err := t.query(ctx, func(scan func(...any) error) error {
			var c claimed
			err := scan(&c.Policy, &c.Epoch, &c.Seq, instant{&c.due})
			found = append(found, c)
			return err
		}, dueInFile(which), args...)
		for i := 0; i < len(found) && err == nil; i++ {
			c := &found[i]
			c.Epoch++
			if err = (instant{&c.Now}).Scan(now); err == nil {
				_, err = t.exec(ctx, takeInFile, c.Policy, c.Epoch, owner, now)
			}
		}
		if err != nil || len(found) == 0 {
			return err
		}
		foreign, err := e.foreign(ctx, t)
		note(found, foreign)
		return err
	})
	return found, err
}

// foreign reports whether another process wrote in the file since it was asked last: a human, with a program of SQLite's.
func (e *sqliteDB) foreign(ctx context.Context, t tx) (bool, error) {
	if e.path == "" {
		return false, nil
	}
	was := e.version
	_, err := one(ctx, t, []any{&e.version}, "PRAGMA data_version")
	return e.version != was, err
}

// dueInFile finds the policies to claim, and takeInFile claims one: nothing else writes between the two. LIMIT $4 alone
// would have SQLite plan it again whenever another limit is bound.
func dueInFile(which string) string {
	return `SELECT name, lease_epoch, wake_seq, next_run_at FROM policies
		WHERE next_run_at <= $1 AND lease_owner = '' AND ` + which + ` ORDER BY next_run_at LIMIT $4 + 0`
}

const takeInFile = `UPDATE policies SET lease_epoch = $2, lease_owner = $3, claimed_at = $4, lease_until = NULL WHERE name = $1`

// close waits for those who read and for what is being written, and gives the lock back last.
func (e *sqliteDB) close() error {
	var errs []error
	if e.wal != nil {
		errs = append(errs, e.wal.close())
	}
	if e.group != nil {
		errs = append(errs, e.group.close())
	}
	for range e.made {
		errs = append(errs, (<-e.idle).close())
	}
	if e.idle != nil {
		close(e.idle)
	}
	for _, pool := range []*sql.DB{e.readers, e.pool} {
		if pool != nil {
			errs = append(errs, pool.Close())
		}
	}
	if e.lock != nil {
		// Not left to Close alone: a child that is just being started still has the file open.
		errs = append(errs, unix.Flock(int(e.lock.Fd()), unix.LOCK_UN), e.lock.Close())
	}
	return errors.Join(errs...)
}
