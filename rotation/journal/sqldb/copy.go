package sqldb

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"rotator/rotation/journal"
)

// copied names every table and its columns, in an order in which rows may be written. Claims, replicas and what they
// last read are not copied: there are none when a journal moves. Nor are paces, which are soon learned again, places, which
// end with their claims, and the database's own lineage.
var copied = []struct{ table, columns string }{
	{"meta", "name, value"},
	{"policies", policies.columns + ", wake_seq, lease_epoch"},
	{"rotations", rotations.columns},
	{"keys", keys.columns + ", listed_off"},
	{"effects", effects.columns},
	{"targets", targets.columns},
	{"sightings", sightings.columns},
	{"orders", orders.columns},
	{"holds", "policy, " + holds.columns},
	{"events", "id, " + eventColumns},
	{"chores", "name, at"},
	{"teams", teams.columns},
}

// ErrNotEmpty means that the journal that was to be written holds something already.
var ErrNotEmpty = errors.New("the journal is not empty")

// copyLimit bounds a copy.
const copyLimit = time.Hour

// Copy writes all that from holds into to, which must be empty, in one transaction, and returns how many rows that were.
// Both must have been opened to write, and nothing else may have either, before and after: a file's lock sees to that, and
// of a database [DB.alone]. Errors: journal.ErrInUse, ErrNotEmpty, and journal.ErrNewer of a journal that holds what this
// program does not know.
//
// On success from is marked like a journal that was restored from a backup: a daemon that begins with it by mistake only
// looks until every target was compared. A crash before the mark leaves two equal journals, one before the commit leaves
// to empty.
func Copy(ctx context.Context, from, to *DB) (rows int, err error) {
	if e, ok := to.engine.(*sqliteDB); ok && e.path == "" {
		return 0, errors.New("copy: a journal in memory is gone with the process")
	}
	for _, db := range []*DB{from, to} {
		if err := db.alone(ctx); err != nil {
			return 0, fmt.Errorf("copy: %w", err)
		}
	}
	err = to.write(ctx, func(ctx context.Context, dst tx) error {
		if err := to.unhurried(ctx, dst); err != nil {
			return err
		}
		if err := empty(ctx, dst); err != nil {
			return err
		}
		rows = 0
		err := from.read(ctx, func(ctx context.Context, src tx) error {
			if err := from.unhurried(ctx, src); err != nil {
				return err
			}
			if err := from.known.all(ctx, src); err != nil {
				return err
			}
			for _, c := range copied {
				n, err := copyTable(ctx, src, dst, c.table, c.columns)
				if err != nil {
					return fmt.Errorf("%s: %w", c.table, err)
				}
				rows += n
			}
			return nil
		})
		if err == nil {
			err = to.countOn(ctx, dst)
		}
		for _, db := range []*DB{from, to} {
			if err == nil {
				err = db.alone(ctx)
			}
		}
		return err
	})
	if err == nil {
		err = from.SetMeta(ctx, journal.MetaRestored, restoredNow())
	}
	if err != nil {
		return 0, fmt.Errorf("copy: %w", err)
	}
	return rows, nil
}

// all refuses a journal with columns that this program does not know: it may read and write beside the newer one that made
// them, but a copy would leave them behind.
func (known schema) all(ctx context.Context, t tx) error {
	have, err := known.check(ctx, t)
	if err == nil && have > len(known) {
		err = fmt.Errorf("%w: its schema is %d, and this program copies schema %d", journal.ErrNewer, have, len(known))
	}
	return err
}

// empty refuses a journal in which something happened.
func empty(ctx context.Context, t tx) error {
	for _, c := range copied {
		found := 0
		if _, err := one(ctx, t, []any{&found}, "SELECT count(*) FROM "+c.table); err != nil {
			return err
		}
		if found > 0 {
			return fmt.Errorf("%w: %d rows in %s", ErrNotEmpty, found, c.table)
		}
	}
	return nil
}

// copyTable copies a table's rows, many in one statement: a database on the network takes a millisecond for each.
func copyTable(ctx context.Context, src, dst tx, table, columns string) (rows int, err error) {
	const most = 200
	width := strings.Count(columns, ",") + 1
	args := make([]any, 0, most*width)
	flush := func() error {
		if len(args) == 0 {
			return nil
		}
		_, err := dst.exec(ctx, insertRows(table, columns, width, len(args)/width), args...)
		args = args[:0]
		return err
	}
	row := make([]any, width)
	fields := make([]any, width)
	for i := range row {
		fields[i] = &row[i]
	}
	err = src.query(ctx, func(scan func(...any) error) error {
		if err := scan(fields...); err != nil {
			return err
		}
		rows++
		if args = append(args, row...); len(args) == cap(args) {
			return flush()
		}
		return nil
	}, "SELECT "+columns+" FROM "+table)
	if err == nil {
		err = flush()
	}
	return rows, err
}

// insertRows is the statement for n rows.
func insertRows(table, columns string, width, n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "INSERT INTO %s (%s) VALUES ", table, columns)
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteByte('(')
		for j := range width {
			if j > 0 {
				b.WriteString(", ")
			}
			fmt.Fprintf(&b, "$%d", i*width+j+1)
		}
		b.WriteByte(')')
	}
	return b.String()
}

// alone refuses a database that someone else of the same user is connected to, or that a replica uses as whichever user.
// A file's lock has done so already.
func (db *DB) alone(ctx context.Context) error {
	e, ok := db.engine.(*postgresDB)
	if !ok {
		return nil
	}
	e.total = copyLimit
	e.pool.SetMaxIdleConns(1) // what other connections there were are closed: those left are not ours
	mine, others, replica := 0, 0, ""
	err := e.read(ctx, func(ctx context.Context, t tx) error {
		mine = e.pool.Stats().OpenConnections
		_, err := one(ctx, t, []any{&others, &replica}, `SELECT count(*), coalesce((
				SELECT name FROM replicas WHERE seen_at > `+e.clockColumn()+` - $1
				UNION SELECT lease_owner FROM policies WHERE lease_owner <> '' AND lease_until > `+e.clockColumn()+` LIMIT 1), '')
			FROM pg_stat_activity WHERE datname = current_database() AND usename = current_user`, journal.StaleAfter.Microseconds())
		return err
	})
	switch others -= mine; {
	case err != nil:
		return err
	case others > 0:
		return fmt.Errorf("%w: %d more connections of this user to the database; stop every replica, and the pooler before it", journal.ErrInUse, others)
	case replica != "":
		return fmt.Errorf("%w by replica %s: stop it, or wait until it was not seen for %s if it was killed", journal.ErrInUse, replica, journal.StaleAfter)
	}
	return nil
}

// unhurried lifts the limits of a transaction that lasts as long as a copy.
func (db *DB) unhurried(ctx context.Context, t tx) error {
	if _, ok := db.engine.(*postgresDB); !ok {
		return nil
	}
	_, err := t.exec(ctx, `SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0`)
	return err
}

// countOn lets a database that counts ids up itself go on after those that were copied. SQLite does by itself.
func (db *DB) countOn(ctx context.Context, t tx) error {
	if _, ok := db.engine.(*postgresDB); !ok {
		return nil
	}
	for _, table := range []string{"orders", "events"} {
		if _, err := t.exec(ctx, `SELECT setval(pg_get_serial_sequence('`+table+`', 'id'), max(id)) FROM `+table+` HAVING max(id) IS NOT NULL`); err != nil {
			return err
		}
	}
	return nil
}
