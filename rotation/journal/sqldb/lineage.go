package sqldb

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"rotator/rotation/journal"
)

// A database may lose commits that it had confirmed: a standby that did not have them yet is promoted, or a backup takes
// its place. Two things show it. A promotion and a recovery to a point in time begin a new timeline, which is compared with
// the one recorded in the journal; and a process remembers the newest event that it saw, and that must still be there.
// Both are looked at in the statements of those who claim and own, so that nothing is acted on before. A dump that was
// restored keeps the timeline, and its reader may remember nothing: it tells itself by the database that it was made of.

// memory is what a process last saw of the database.
type memory struct {
	event, at int64 // the newest event's id and time
	clock     int64 // when that was, on the database's clock
}

// timelineNow is the timeline that the server writes. Any role may ask for it, from PostgreSQL 13 on.
const timelineNow = `substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)`

// databaseNow names the database among all that there are. Any role may ask for it.
const databaseNow = `(SELECT system_identifier || '/' || oid FROM pg_control_system(), pg_database WHERE datname = current_database())`

// findLineage decides how the timeline is asked for, and learns which database this is: neither of a server that hides
// it, or has none.
func (e *postgresDB) findLineage(ctx context.Context) error {
	for _, of := range []struct {
		expression, none string
		known            *string
	}{
		{timelineNow, "'none'", &e.timeline},
		{databaseNow, "''", &e.database},
	} {
		*of.known = of.expression
		err := e.ask(ctx, func(ctx context.Context, t tx) error {
			var unused string
			_, err := one(ctx, t, []any{&unused}, "SELECT "+of.expression)
			return err
		})
		p, ok := errors.AsType[*pgconn.PgError](err)
		switch {
		case ok && (p.Code == "42501" || p.Code == "42883" || p.Code == "0A000"): // no right, no such function, not supported
			*of.known = of.none
		case err != nil:
			return err
		}
	}
	return nil
}

// noteLineage records the lineage in a journal that has none. A journal that is of another database was restored from a
// backup, which that database has outlived.
func (e *postgresDB) noteLineage(ctx context.Context, t tx) error {
	if _, err := t.exec(ctx, `INSERT INTO lineage (timeline, recovered_at) SELECT `+e.timeline+`, 0 WHERE NOT EXISTS (SELECT 1 FROM lineage)`); err != nil {
		return err
	}
	var now time.Time
	var timeline, was, is string
	if _, err := one(ctx, t, []any{instant{&now}, &timeline, &was, &is}, `SELECT `+e.clockColumn()+`, `+e.timeline+`, database_id, `+e.database+` FROM lineage`); err != nil {
		return err
	}
	switch {
	case is == was || is == "":
		return nil
	case was == "":
		_, err := t.exec(ctx, `UPDATE lineage SET database_id = $1`, is)
		return err
	}
	_, err := e.startComparing(ctx, t, now, timeline)
	return err
}

func (e *postgresDB) same() string { return e.sameAs(e.seen.Load()) + ` AND ` + e.fits() }

func (e *postgresDB) sameAs(seen *memory) string {
	same := `EXISTS (SELECT 1 FROM lineage WHERE timeline = ` + e.timeline + `)`
	if seen != nil && seen.event > 0 {
		same += fmt.Sprintf(` AND EXISTS (SELECT 1 FROM events WHERE id = %d AND coalesce(at, 0) = %d)`, seen.event, seen.at)
	}
	return same
}

// epochsLost is more than the claims that can have been lost.
const epochsLost = 1_000_000

// recover makes a journal that may have lost commits fit to be acted on again: no claim that was made before is good
// any more, nor will one of its epoch be given out; until every target was matched the engine only looks; and everyone
// looks now. Of several replicas that notice, the first does it. seen is what the question was asked with that told: a
// claim beside it may have found the journal in order since.
func (e *postgresDB) recover(ctx context.Context, seen *memory) error {
	err := e.write(ctx, func(ctx context.Context, t tx) error {
		if err := lockForSchema(ctx, t); err != nil {
			return err
		}
		var now, recovered time.Time
		var was, is string
		if _, err := one(ctx, t, []any{instant{&now}, &is, &was, instant{&recovered}}, `SELECT `+e.clockColumn()+`, `+e.timeline+`,
			coalesce((SELECT timeline FROM lineage), ''), (SELECT recovered_at FROM lineage)`); err != nil {
			return err
		}
		if was == is && (seen == nil || recovered.UnixMicro() > seen.clock) {
			return nil // someone did, since this process last looked
		}
		mark, err := e.startComparing(ctx, t, now, is)
		if err != nil {
			return err
		}
		if _, err := t.exec(ctx, setMeta, journal.MetaRestoredTold, mark); err != nil {
			return err
		}
		return (&DB{engine: e}).append(ctx, t, []journal.Event{{At: now, Kind: journal.FailedOver, Data: map[string]string{"timeline_before": was, "timeline": is}}})
	})
	if err != nil {
		return fmt.Errorf("the database may have lost commits: %w", err)
	}
	e.seen.CompareAndSwap(seen, nil)
	return nil
}

// startComparing voids all claims, has the targets of every policy compared, and records the lineage as it is now. It returns
// the mark of [journal.MetaRestored].
func (e *postgresDB) startComparing(ctx context.Context, t tx, now time.Time, timeline string) (mark string, err error) {
	mark = timeline + " " + now.Format(time.RFC3339Nano)
	for _, s := range []struct {
		query string
		args  []any
	}{
		{`DELETE FROM lineage`, nil},
		{`INSERT INTO lineage (timeline, recovered_at, database_id) SELECT $1, $2, ` + e.database, []any{timeline, micros(now)}},
		{`UPDATE policies SET lease_epoch = lease_epoch + $1, lease_owner = '', lease_until = NULL, claimed_at = NULL, ` + woken(`$2`),
			[]any{int64(epochsLost), micros(now)}},
		{setMeta, []any{journal.MetaRestored, mark}},
	} {
		if _, err := t.exec(ctx, s.query, s.args...); err != nil {
			return "", err
		}
	}
	return mark, e.tell(ctx, t)
}
