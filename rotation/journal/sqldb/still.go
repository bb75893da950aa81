package sqldb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// looking is how a journal is opened that others may write meanwhile. SQLite makes files beside it for that, also to look.
const looking = "mode=ro&_pragma=busy_timeout(5000)&_pragma=query_only(1)"

// lookingAt is how the journal is opened to look at it. Where SQLite can make no files beside it (a backup on a medium that
// is read-only, a folder of someone else's), a journal that was closed in order is read as one that does not change, and
// [sqliteDB.unchanged] says whether that held.
func (e *sqliteDB) lookingAt(ctx context.Context) (query string, err error) {
	err = execOn(ctx, e.dsn(looking), "SELECT count(*) FROM sqlite_master")
	if refused, ok := errors.AsType[*sqlite.Error](err); ok {
		switch refused.Code() & 0xff {
		case sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY: // a disk, and a folder, that may not be written
			e.still, err = closedFile(e.path)
			return looking + "&immutable=1", err
		}
	}
	return looking, nil // any other trouble is met again, and reported then
}

// closedFile describes a journal all of which is in one file: nothing writes to it. ErrNoJournal.
func closedFile(path string) (fs.FileInfo, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", ErrNoJournal, err) // of which SQLite says "unable to open" too
	}
	if err != nil {
		return nil, err
	}
	if f, err := os.Open(path); err != nil { // in the system's words, where SQLite has a number
		return nil, err
	} else if err := f.Close(); err != nil {
		return nil, err
	}
	// Who only looked left an empty one.
	switch wal, err := os.Lstat(path + "-wal"); {
	case err == nil && wal.Size() > 0:
		return nil, fmt.Errorf("%s-wal holds a part of it: a process has the journal open, or was killed; to read both takes the right to write in "+
			"their folder: look as a user who has it, or copy both files to a folder of your own", path)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	return info, nil
}

// unchanged says that what was read until now is the journal: whoever wrote since left a -wal beside it, or another file
// than the one that was read.
func (e *sqliteDB) unchanged() error {
	if e.still == nil {
		return nil
	}
	now, err := closedFile(e.path)
	if err == nil && (!os.SameFile(now, e.still) || now.Size() != e.still.Size() || !now.ModTime().Equal(e.still.ModTime())) {
		err = errors.New("the journal was written while it was read; try again")
	}
	return err
}
