package sqldb

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"rotator/rotation/journal"
)

// eventColumns are those of an event but for its id, which the database gives.
const (
	eventColumns = "at, policy, rotation, kind, data, link, link_before, key_ref"
	eventWidth   = 8
)

// Events implements journal.Reader. At most 1000 are returned, also when limit is 0 or more than that.
func (db *DB) Events(ctx context.Context, after int64, limit int) ([]journal.Event, error) {
	if limit <= 0 || limit > 1000 {
		limit = 1000
	}
	var events []journal.Event
	err := db.readEvents(ctx, func(scan func(...any) error) error {
		var e journal.Event
		var data string
		if err := scan(&e.ID, instant{&e.At}, &e.Policy, &e.Rotation, (*string)(&e.Kind), &data, &e.Link); err != nil {
			return err
		}
		if data != "" {
			if err := json.Unmarshal([]byte(data), &e.Data); err != nil {
				return fmt.Errorf("event %d: %w", e.ID, err)
			}
		}
		events = append(events, e)
		return nil
	}, `SELECT id, at, policy, rotation, kind, data, link FROM events WHERE id > $1 ORDER BY id LIMIT $2`, after, int64(limit))
	if err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	return events, nil
}

// LastEvent implements journal.Reader.
func (db *DB) LastEvent(ctx context.Context) (id int64, err error) {
	err = db.readEvents(ctx, func(scan func(...any) error) error { return scan(&id) }, `SELECT id FROM events ORDER BY id DESC LIMIT 1`)
	if err != nil {
		return 0, fmt.Errorf("last event: %w", err)
	}
	return id, nil
}

// encodeData writes an event's facts as a JSON object, and none as nothing.
func encodeData(data map[string]string) (string, error) {
	if len(data) == 0 {
		return "", nil
	}
	b, err := json.Marshal(data)
	return string(b), err
}

// insertEvents takes the lock of those who write events before it gives them ids; it is held until the commit.
func (e *postgresDB) insertEvents(n int) string {
	rows := make([]string, n)
	for i := range rows {
		n := eventWidth*i + 1
		rows[i] = fmt.Sprintf("(CAST($%d AS BIGINT), $%d, $%d, $%d, $%d, $%d, $%d, $%d)", n, n+1, n+2, n+3, n+4, n+5, n+6, n+7)
	}
	return fmt.Sprintf(`WITH held AS MATERIALIZED (SELECT pg_advisory_xact_lock_shared(%d))
		INSERT INTO events (`+eventColumns+`) SELECT v.* FROM held, (VALUES %s) AS v`, lockEvents, strings.Join(rows, ", "))
}

// readEvents waits until nothing is about to commit events. Ids are given before a commit and seen after it: without
// the lock a reader could see event 12, go on from there, and miss event 11, which was committed a moment later.
// Each statement has its own snapshot here, so that the one after the lock sees all that was committed before it; all of
// them are one message. Mostly there is nothing new, and that takes no lock to see.
func (e *postgresDB) readEvents(ctx context.Context, each func(func(...any) error) error, query string, args ...int64) error {
	for i, a := range args {
		query = strings.ReplaceAll(query, fmt.Sprintf("$%d", i+1), fmt.Sprint(a))
	}
	return e.connected(ctx, func(ctx context.Context, c *pgx.Conn) error {
		some := false
		if err := c.QueryRow(ctx, `SELECT EXISTS (`+query+`)`).Scan(&some); err != nil || !some {
			return err
		}
		answers := c.PgConn().Exec(ctx, fmt.Sprintf(`%s; SELECT pg_advisory_xact_lock(%d); %s; COMMIT`, begin+e.limits, lockEvents, query))
		defer answers.Close() // once more: the first told what matters
		for answers.NextResult() {
			rows := pgx.RowsFromResultReader(c.TypeMap(), answers.ResultReader())
			for rows.Next() {
				if rows.FieldDescriptions()[0].Name != "id" { // the lock's
					continue
				}
				if err := each(rows.Scan); err != nil {
					return err
				}
			}
		}
		return answers.Close()
	})
}
