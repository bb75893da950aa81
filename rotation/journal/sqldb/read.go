package sqldb

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"rotator/rotation/journal"
)

func byTarget(a, b journal.Target) int {
	return cmp.Or(cmp.Compare(a.Policy, b.Policy), cmp.Compare(a.Store, b.Store), cmp.Compare(a.Path, b.Path),
		cmp.Compare(a.Field, b.Field))
}

// holdsOf are the holds that the rest of a SELECT finds, by policy.
func holdsOf(ctx context.Context, t tx, rest string, args ...any) (map[string]journal.Hold, error) {
	held := make(map[string]journal.Hold)
	err := t.query(ctx, func(scan func(...any) error) error {
		var policy string
		var h journal.Hold
		err := scan(append([]any{&policy}, holds.fields(&h)...)...)
		held[policy] = h
		return err
	}, "SELECT policy, "+holds.columns+" FROM holds "+rest, args...)
	return held, err
}

// HoldOf implements journal.Reader.
func (db *DB) HoldOf(ctx context.Context, policy string) (h journal.Hold, err error) {
	err = db.ask(ctx, func(ctx context.Context, t tx) error {
		found, err := holds.all(ctx, t, "WHERE policy = $1", policy)
		if len(found) > 0 {
			h = found[0]
		}
		return err
	})
	if err != nil {
		return journal.Hold{}, fmt.Errorf("hold of %s: %w", policy, err)
	}
	return h, nil
}

// Summaries implements journal.Reader.
func (db *DB) Summaries(ctx context.Context, names ...string) ([]journal.Summary, error) {
	var list []journal.Summary
	these, of, and := "", "", ""
	var args []any
	if len(names) > 0 {
		condition, named := db.oneOf(1, names)
		these, of, and, args = " WHERE name "+condition, "WHERE policy "+condition, " AND policy "+condition, []any{named}
	}
	err := db.read(ctx, func(ctx context.Context, t tx) error {
		inFlight, err := rotations.all(ctx, t, "WHERE ended_at IS NULL"+and, args...)
		if err != nil {
			return err
		}
		ofPolicy := make(map[string]*journal.Rotation, len(inFlight)) // policy name → its rotation in flight
		for i := range inFlight {
			ofPolicy[inFlight[i].Policy] = &inFlight[i]
		}
		held, err := holdsOf(ctx, t, of, args...)
		if err != nil {
			return err
		}
		drifted := make(map[string]int) // policy name → its targets that drifted
		err = t.query(ctx, func(scan func(...any) error) error {
			var policy string
			var n int
			err := scan(&policy, &n)
			drifted[policy] = n
			return err
		}, "SELECT policy, COUNT(*) FROM targets WHERE status = 'drift'"+and+" GROUP BY policy", args...)
		if err != nil {
			return err
		}
		var s journal.Summary
		fields := append(policies.fields(&s.Policy), &s.Owner, instant{&s.OwnedSince})
		list = nil
		return t.query(ctx, func(scan func(...any) error) error {
			err := scan(fields...)
			s.Rotation, s.Hold, s.Drifted = ofPolicy[s.Policy.Name], held[s.Policy.Name], drifted[s.Policy.Name]
			if list = append(list, s); s.Owner == "" {
				list[len(list)-1].OwnedSince = time.Time{}
			}
			return err
		}, "SELECT "+policies.columns+", "+db.ownerColumn()+", claimed_at FROM policies"+these, args...)
	})
	if err != nil {
		return nil, fmt.Errorf("summaries: %w", err)
	}
	slices.SortFunc(list, func(a, b journal.Summary) int { return cmp.Compare(a.Policy.Name, b.Policy.Name) })
	return list, nil
}

// rows reads the rows that the rest of a SELECT finds.
func rows[T any](ctx context.Context, db *DB, from table[T], rest string, args ...any) (found []T, err error) {
	err = db.ask(ctx, func(ctx context.Context, t tx) (err error) {
		found, err = from.all(ctx, t, rest, args...)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", from.name, err)
	}
	return found, nil
}

// Rotations implements journal.Reader.
func (db *DB) Rotations(ctx context.Context, policy string, limit int) ([]journal.Rotation, error) {
	if limit <= 0 {
		limit = 100
	}
	if policy == "" {
		return rows(ctx, db, rotations, "ORDER BY started_at DESC, id DESC LIMIT $1", int64(limit))
	}
	return rows(ctx, db, rotations, "WHERE policy = $1 ORDER BY started_at DESC, id DESC LIMIT $2", policy, int64(limit))
}

// TargetsOf implements journal.Reader.
func (db *DB) TargetsOf(ctx context.Context, keyID string) ([]journal.Target, error) {
	if keyID == "" {
		return nil, nil
	}
	found, err := rows(ctx, db, targets, "WHERE key_id = $1 OR next_key_id = $1"+
		" OR fingerprint = (SELECT fingerprint FROM keys WHERE id = $1 AND fingerprint <> '')", keyID)
	slices.SortFunc(found, byTarget)
	return found, err
}

// Targets implements journal.Reader.
func (db *DB) Targets(ctx context.Context) ([]journal.Target, error) {
	found, err := rows(ctx, db, targets, "")
	slices.SortFunc(found, byTarget)
	return found, err
}

// Key implements journal.Reader.
func (db *DB) Key(ctx context.Context, id string) (journal.Key, error) {
	found, err := rows(ctx, db, keys, "WHERE id = $1", id)
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("key %s: %w", id, journal.ErrNotFound)
	}
	if err != nil {
		return journal.Key{}, err
	}
	return found[0], nil
}

// Keys implements journal.Reader.
func (db *DB) Keys(ctx context.Context, ids []string) ([]journal.Key, error) {
	return named(ctx, db, keys, "id", ids)
}

// Attempts implements journal.Reader.
func (db *DB) Attempts(ctx context.Context, names []string) ([]journal.Attempt, error) {
	return named(ctx, db, attempts, "name", names)
}

// named are the rows whose column holds one of values. What is kept for ever is never read as a whole.
func named[T any](ctx context.Context, db *DB, from table[T], column string, values []string) ([]T, error) {
	if len(values) == 0 {
		return nil, nil
	}
	these, list := db.oneOf(1, values)
	return rows(ctx, db, from, "WHERE "+column+" "+these+" ORDER BY created_at, id", list)
}

// Teams implements journal.Reader.
func (db *DB) Teams(ctx context.Context) ([]journal.Team, error) {
	found, err := rows(ctx, db, teams, "")
	slices.SortFunc(found, func(a, b journal.Team) int { return cmp.Compare(a.Name, b.Name) })
	return found, err
}

// OrderByID implements journal.Words.
func (db *DB) OrderByID(ctx context.Context, id int64) (journal.Order, error) {
	found, err := rows(ctx, db, orders, "WHERE id = $1", id)
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("order %d: %w", id, journal.ErrNotFound)
	}
	if err != nil {
		return journal.Order{}, err
	}
	return found[0], nil
}
