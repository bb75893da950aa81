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
// its place. Two things tell. A promotion and a recovery to a point in time begin a new timeline, which is compared with
// the one recorded in the journal; and a process remembers the newest event that it saw, and that must still be there.
// Both are looked at in the statements of those who claim and own, so that nothing is acted on before.

// memory is what a process last saw of the database.
type memory struct {
	event, at int64 // the newest event's id and time
	clock     int64 // when that was, on the database's clock
}

// timelineNow is the timeline that the server writes. Any role may ask for it, from PostgreSQL 13 on.
const timelineNow = `substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)`

// findTimeline decides how the timeline is asked for: not at all of a server that hides it, or has none.
func (e *postgresDB) findTimeline(ctx context.Context) error {
	e.timeline = timelineNow
	err := e.ask(ctx, func(ctx context.Context, t tx) error {
		var unused string
		_, err := one(ctx, t, []any{&unused}, "SELECT "+e.timeline)
		return err
	})
	if p, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch p.Code {
		case "42501", "42883", "0A000": // no right, no such function, not supported
			e.timeline = "'none'"
			return nil
		}
	}
	return err
}

// noteTimeline records the timeline in a journal that has none.
func (e *postgresDB) noteTimeline(ctx context.Context, t tx) error {
	_, err := t.exec(ctx, `INSERT INTO lineage (timeline, recovered_at) SELECT `+e.timeline+`, 0 WHERE NOT EXISTS (SELECT 1 FROM lineage)`)
	return err
}

func (e *postgresDB) same() string {
	same := `EXISTS (SELECT 1 FROM lineage WHERE timeline = ` + e.timeline + `)`
	if seen := e.seen.Load(); seen != nil && seen.event > 0 {
		same += fmt.Sprintf(` AND EXISTS (SELECT 1 FROM events WHERE id = %d AND coalesce(at, 0) = %d)`, seen.event, seen.at)
	}
	return same
}

// epochsLost is more than the claims that can have been lost.
const epochsLost = 1_000_000

// recover makes a journal that may have lost commits fit to be acted on again: no claim that was made before is good
// any more, nor will one of its epoch be given out; until every target was matched the engine only looks; and everybody
// looks now. Of several replicas that notice, the first does it.
func (e *postgresDB) recover(ctx context.Context) error {
	seen := e.seen.Load()
	err := e.write(ctx, func(ctx context.Context, t tx) error {
		if err := advisory(ctx, t, "pg_advisory_xact_lock", lockSchema); err != nil {
			return err
		}
		var now, recovered time.Time
		var was, is string
		if _, err := one(ctx, t, []any{instant{&now}, &is, &was, instant{&recovered}}, `SELECT `+e.clockColumn()+`, `+e.timeline+`,
			coalesce((SELECT timeline FROM lineage), ''), (SELECT recovered_at FROM lineage)`); err != nil {
			return err
		}
		if was == is && (seen == nil || recovered.UnixMicro() > seen.clock) {
			return nil // somebody did, since this process last looked
		}
		return e.startAnew(ctx, t, now, was, is)
	})
	if err != nil {
		return fmt.Errorf("the database may have lost commits: %w", err)
	}
	e.seen.Store(nil)
	return nil
}

func (e *postgresDB) startAnew(ctx context.Context, t tx, now time.Time, was, is string) error {
	mark := is + " " + now.Format(time.RFC3339Nano)
	for _, s := range []struct {
		query string
		args  []any
	}{
		{`DELETE FROM lineage`, nil},
		{`INSERT INTO lineage (timeline, recovered_at) VALUES ($1, $2)`, []any{is, micros(now)}},
		{`UPDATE policies SET lease_epoch = lease_epoch + $1, lease_owner = '', lease_until = NULL, claimed_at = NULL, ` + woken(`$2`),
			[]any{int64(epochsLost), micros(now)}},
		{setMeta, []any{journal.MetaRestored, mark}},
		{setMeta, []any{journal.MetaRestoredTold, mark}}, // by the event
	} {
		if _, err := t.exec(ctx, s.query, s.args...); err != nil {
			return err
		}
	}
	if err := e.tell(ctx, t); err != nil {
		return err
	}
	return appendTo(ctx, e, t, []journal.Event{{At: now, Kind: journal.FailedOver, Data: map[string]string{"timeline_before": was, "timeline": is}}})
}
