package sqldb

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"rotator/rotation/journal"
)

// forgetAfter is how long a replica that no one sees is remembered.
const forgetAfter = 24 * time.Hour

// Beat implements journal.Claimer. A replica that was known keeps its start: its name is of one process.
func (db *DB) Beat(ctx context.Context, now time.Time, r journal.Replica) error {
	old, observers := 0, 0
	err := db.sayTo(ctx, func(ctx context.Context, t tx) error {
		_, err := one(ctx, t, []any{&old, &observers}, `INSERT INTO replicas (name, host, version, observes, started_at, seen_at)
			SELECT $1, $2, $3, CAST($7 AS BIGINT), now - CAST($4 AS BIGINT), now FROM (SELECT `+db.at(5)+` AS now) AS clock WHERE true
			ON CONFLICT (name) DO UPDATE SET host = excluded.host, version = excluded.version, observes = excluded.observes, seen_at = excluded.seen_at
			RETURNING (SELECT count(*) FROM replicas AS others WHERE others.seen_at < replicas.seen_at - $6),
				(SELECT count(*) FROM replicas AS others WHERE others.observes = 1 AND others.seen_at > replicas.seen_at - $8)`,
			r.Name, r.Host, r.Version, now.Sub(r.StartedAt).Microseconds(), micros(now), forgetAfter.Microseconds(), bit(r.Observes), journal.StaleAfter.Microseconds())
		if err == nil && old > 0 {
			_, err = t.exec(ctx, `DELETE FROM replicas WHERE seen_at < (SELECT max(seen_at) FROM replicas) - $1`, forgetAfter.Microseconds())
		}
		return err
	})
	if err == nil && observers > 0 && !r.Observes {
		err = db.say(ctx, func(ctx context.Context, t tx) error {
			_, err := t.exec(ctx, `UPDATE policies SET next_run_at = `+db.at(1)+` WHERE reason = $2 AND next_run_at > `+db.at(1),
				micros(now), string(journal.ObserveMode))
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("beat of %s: %w", r.Name, err)
	}
	return nil
}

// Leave implements journal.Claimer.
func (db *DB) Leave(ctx context.Context, name string) error {
	err := db.sayTo(ctx, func(ctx context.Context, t tx) error {
		_, err := t.exec(ctx, `DELETE FROM replicas WHERE name = $1`, name)
		if err == nil { // its files are no one's any more; what it told of their problems stays, so that it is not reported again
			_, err = t.exec(ctx, `UPDATE loads SET names = '' WHERE replica = $1`, name)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("leave of %s: %w", name, err)
	}
	return nil
}

// Replicas implements journal.Reader.
func (db *DB) Replicas(ctx context.Context) (all []journal.Replica, err error) {
	err = db.ask(ctx, func(ctx context.Context, t tx) error {
		all = nil
		return t.query(ctx, func(scan func(...any) error) error {
			var r journal.Replica
			var micro int64
			err := scan(&r.Name, &r.Host, &r.Version, flag{&r.Observes}, instant{&r.StartedAt}, instant{&r.SeenAt}, &micro, &r.Claims)
			r.Unseen = time.Duration(micro) * time.Microsecond
			all = append(all, r)
			return err
		}, `SELECT name, host, version, observes, started_at, seen_at, `+db.at(1)+` - seen_at,
			(SELECT count(*) FROM policies WHERE `+db.ownerColumn()+` = replicas.name AND lease_owner <> '') FROM replicas`, micros(db.now()))
	})
	if err != nil {
		return nil, fmt.Errorf("replicas: %w", err)
	}
	slices.SortFunc(all, func(a, b journal.Replica) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// ownerColumn is who acts for a policy now: a claim that ran out is no one's.
func (db *DB) ownerColumn() string {
	return `CASE WHEN lease_until < ` + db.clockColumn() + ` THEN '' ELSE lease_owner END`
}

// Wakes implements journal.Claimer. On PostgreSQL it has a session of its own, listens for notifications, and connects
// again when it breaks. Behind a pooler that hands out connections per transaction nothing arrives; in SQLite there is
// nothing else to hear of. A caller that asks Next from time to time then hears of it a little later.
func (db *DB) Wakes(ctx context.Context, wake func()) error { return db.hear(ctx, wake) }
