package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"rotator/rotation/journal"
)

// backup copies the database as it is at one moment, while others read and write. The copy gets its name only when
// it is whole and on the disk: a crash leaves a file that ends in .part, and never half a backup.
func (e *sqliteDB) backup(ctx context.Context, path string) (err error) {
	if e.path == "" {
		return errors.New("a journal in memory has no backup")
	}
	if _, err := os.Lstat(path); err == nil {
		return fs.ErrExist
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := closedFolder(filepath.Dir(path)); err != nil && !stickyFolder(filepath.Dir(path)) {
		return err
	}
	// The file is made before SQLite fills it, so that nothing else can read it at any time.
	part, err := os.OpenFile(path+".part", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, part.Close(), os.Remove(part.Name())) }()

	query := "mode=ro&_pragma=busy_timeout(5000)"
	if e.still != nil {
		query += "&immutable=1"
	}
	if err := execOn(ctx, e.dsn(query), `VACUUM INTO $1`, part.Name()); err != nil {
		return err
	}
	if err := e.unchanged(); err != nil {
		return err
	}
	copied := (&url.URL{Scheme: "file", Path: absolute(part.Name()), RawQuery: "mode=rw&_pragma=synchronous(FULL)"}).String()
	made := time.Now().UTC().Format(time.RFC3339)
	for name, value := range map[string]string{journal.MetaRestored: restoredNow(), journal.MetaBackup: made} {
		if err := execOn(ctx, copied, setMeta, name, value); err != nil {
			return err
		}
	}
	if err := part.Sync(); err != nil {
		return err
	}
	// A link, unlike a rename, never takes the place of a file that came meanwhile.
	if err := os.Link(part.Name(), path); err != nil {
		return err
	}
	if err := syncFolder(filepath.Dir(path)); err != nil {
		return err
	}
	if err := e.noteBackup(ctx, made); err != nil { // the backup is made anyway
		e.log.Warn("the journal does not know of its backup; rotator_last_backup_timestamp_seconds stays as it was", "err", err)
	}
	return nil
}

// noteBackup writes in the journal when it was backed up, beside the process that has it: one row, in one statement, which
// that process reads and never writes. A journal that cannot be written from here stays as it is.
func (e *sqliteDB) noteBackup(ctx context.Context, made string) error {
	if e.still != nil {
		return nil
	}
	return execOn(ctx, e.dsn("mode=rw&_pragma=busy_timeout(5000)&_pragma=synchronous(FULL)"), setMeta, journal.MetaBackup, made)
}

// restoredNow is a mark of [journal.MetaRestored] that no other has: what was matched after an earlier restore is not
// matched after this one.
func restoredNow() string { return "backup of " + time.Now().UTC().Format(time.RFC3339Nano) }

// execOn runs one statement on a connection of its own.
func execOn(ctx context.Context, dsn, query string, args ...any) error {
	pool, err := sql.Open("sqlite", dsn)
	if err != nil {
		return err
	}
	_, err = pool.ExecContext(ctx, query, args...)
	return errors.Join(err, pool.Close())
}

func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}
