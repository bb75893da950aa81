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
		inFlight, err := rotations.all(ctx, t, "WHERE ended_at IS NULL"+and+" ORDER BY started_at, id", args...)
		if err != nil {
			return err
		}
		ofPolicy := make(map[string]*journal.Rotation, len(inFlight)) // policy name → its rotation in flight
		for i := range inFlight {
			if r := &inFlight[i]; !r.State.Final() || ofPolicy[r.Policy] == nil || ofPolicy[r.Policy].State.Final() {
				ofPolicy[r.Policy] = r
			}
		}
		there, err := keys.all(ctx, t, "WHERE "+notGone+and+" ORDER BY created_at, ref", args...)
		if err != nil {
			return err
		}
		keysOf := make(map[string][]journal.Key) // policy name → its keys that are not gone
		for _, k := range there {
			keysOf[k.Policy] = append(keysOf[k.Policy], k)
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
		}, "SELECT policy, COUNT(*) FROM targets WHERE status IN ('drift', 'foreign', 'missing', 'other_policy', 'other_rotator')"+and+" GROUP BY policy", args...)
		if err != nil {
			return err
		}
		var s journal.Summary
		fields := append(policies.fields(&s.Policy), &s.Owner, instant{&s.OwnedSince})
		list = nil
		return t.query(ctx, func(scan func(...any) error) error {
			err := scan(fields...)
			s.Rotation, s.Hold, s.Drifted, s.Keys = ofPolicy[s.Policy.Name], held[s.Policy.Name], drifted[s.Policy.Name], keysOf[s.Policy.Name]
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

// SightingsOf implements journal.Reader.
func (db *DB) SightingsOf(ctx context.Context, keyID, fingerprint string) ([]journal.Sighting, error) {
	found, err := rows(ctx, db, sightings, ofKey, keyID, fingerprint)
	slices.SortFunc(found, bySighting)
	return found, err
}

// UnidentifiedSightings implements journal.Reader.
func (db *DB) UnidentifiedSightings(ctx context.Context) ([]journal.Sighting, error) {
	found, err := rows(ctx, db, sightings, unidentified)
	slices.SortFunc(found, bySighting)
	return found, err
}

const (
	ofKey        = `WHERE key_id = $1 AND $1 <> '' OR fingerprint = $2 AND $2 <> ''`
	unidentified = `WHERE key_id = '' AND NOT EXISTS (SELECT 1 FROM keys WHERE keys.fingerprint = sightings.fingerprint AND keys.fingerprint <> '')`
)

func bySighting(a, b journal.Sighting) int {
	return cmp.Or(byTarget(journal.Target{TargetID: a.TargetID, Policy: a.Policy}, journal.Target{TargetID: b.TargetID, Policy: b.Policy}),
		cmp.Compare(a.Fingerprint, b.Fingerprint))
}

// Targets implements journal.Reader.
func (db *DB) Targets(ctx context.Context, policies ...string) ([]journal.Target, error) {
	of, args := "", []any(nil)
	if len(policies) > 0 {
		condition, named := db.oneOf(1, policies)
		of, args = "WHERE policy "+condition, []any{named}
	}
	found, err := rows(ctx, db, targets, of, args...)
	slices.SortFunc(found, byTarget)
	return found, err
}

// TargetsAt implements journal.Reader. Every watch asks.
func (db *DB) TargetsAt(ctx context.Context, store, place string) ([]journal.Target, error) {
	found, err := rows(ctx, db, targets, atPlace, place, store)
	slices.SortFunc(found, byTarget)
	return found, err
}

const atPlace = `WHERE place = $1 AND place <> '' AND store = $2`

// TargetsBeside implements journal.Reader. It reads the whole table: only a promotion asks.
func (db *DB) TargetsBeside(ctx context.Context, store, path, place string) ([]journal.Target, error) {
	found, err := rows(ctx, db, targets, besides, store, path, place, place+"#")
	slices.SortFunc(found, byTarget)
	return found, err
}

const besides = `WHERE store = $1 AND (path = $2 OR place <> '' AND (place = $3 OR substr(place, 1, length(CAST($4 AS TEXT))) = CAST($4 AS TEXT)))`

// Key implements journal.Reader.
func (db *DB) Key(ctx context.Context, id string) (journal.Key, error) {
	found, err := rows(ctx, db, keys, "WHERE id = $1 AND id <> ''", id)
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
	return named(ctx, db, "id <> '' AND id", ids) // without the first, the index of ids does not serve
}

// KeysByName implements journal.Reader.
func (db *DB) KeysByName(ctx context.Context, names []string) ([]journal.Key, error) {
	return named(ctx, db, "name", names)
}

// KeysByFingerprint implements journal.Reader.
func (db *DB) KeysByFingerprint(ctx context.Context, prints []string) ([]journal.Key, error) {
	return named(ctx, db, "fingerprint <> '' AND fingerprint", prints)
}

// named are the keys whose column holds one of values. What is kept forever is never read as a whole.
func named(ctx context.Context, db *DB, column string, values []string) ([]journal.Key, error) {
	if len(values) == 0 {
		return nil, nil
	}
	these, list := db.oneOf(1, values)
	return rows(ctx, db, keys, "WHERE "+column+" "+these+" ORDER BY created_at, ref", list)
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
