package sqldb

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"rotator/rotation/journal"
)

// Load implements journal.Reader.
func (db *DB) Load(ctx context.Context, policy string) (*journal.Record, error) {
	recs, err := db.LoadAll(ctx, []string{policy})
	if err != nil {
		return nil, err
	}
	if recs[0] == nil {
		return nil, fmt.Errorf("load %s: %w", policy, journal.ErrNotFound)
	}
	return recs[0], nil
}

// LoadAll implements journal.Reader. It takes as many statements for a thousand policies as for one.
func (db *DB) LoadAll(ctx context.Context, policies []string) ([]*journal.Record, error) {
	recs := make([]*journal.Record, len(policies))
	if len(policies) == 0 {
		return recs, nil
	}
	var found map[string]*journal.Record // policy name → its record
	err := db.read(ctx, func(ctx context.Context, t tx) (err error) {
		found, err = db.load(ctx, t, policies)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", strings.Join(policies, ", "), err)
	}
	for i, name := range policies {
		recs[i] = found[name]
	}
	return recs, nil
}

func (db *DB) load(ctx context.Context, t tx, names []string) (map[string]*journal.Record, error) {
	recs := make(map[string]*journal.Record, len(names))
	these, list := db.oneOf(1, names)
	found, err := policies.all(ctx, t, "WHERE name "+these, list)
	if err != nil {
		return nil, err
	}
	for i := range found {
		recs[found[i].Name] = &journal.Record{Policy: found[i]}
	}
	if err := db.loadRotations(ctx, t, recs, these, list); err != nil {
		return nil, err
	}
	err = deal(ctx, t, keys, recs, func(r *journal.Record, k journal.Key) { r.Keys = append(r.Keys, k) },
		func(k *journal.Key) string { return k.Policy }, "WHERE policy "+these+" AND deleted_at IS NULL ORDER BY created_at, id", list)
	if err != nil {
		return nil, err
	}
	err = deal(ctx, t, targets, recs, func(r *journal.Record, g journal.Target) { r.Targets = append(r.Targets, g) },
		func(g *journal.Target) string { return g.Policy }, "WHERE policy "+these, list)
	if err != nil {
		return nil, err
	}
	err = deal(ctx, t, orders, recs, func(r *journal.Record, o journal.Order) { r.Orders = append(r.Orders, o) },
		func(o *journal.Order) string { return o.Policy }, "WHERE policy "+these+" AND done_at IS NULL ORDER BY id", list)
	if err != nil {
		return nil, err
	}
	held, err := holdsOf(ctx, t, "WHERE policy "+these, list)
	if err != nil {
		return nil, err
	}
	for name, rec := range recs {
		rec.Hold = held[name]
		// Databases order text each by its own rules.
		slices.SortFunc(rec.Targets, byTarget)
		rec.Base = rec.Clone()
	}
	return recs, nil
}

// loadRotations loads the rotations in flight, and the attempts.
func (db *DB) loadRotations(ctx context.Context, t tx, recs map[string]*journal.Record, these string, list any) error {
	var inFlight []string
	err := deal(ctx, t, rotations, recs, func(rec *journal.Record, r journal.Rotation) {
		rec.Rotation = &r
		inFlight = append(inFlight, r.ID)
	}, func(r *journal.Rotation) string { return r.Policy }, "WHERE policy "+these+" AND ended_at IS NULL", list)
	if err != nil {
		return err
	}
	rest, args := "WHERE policy "+these+" AND state <> 'settled'", []any{list}
	if len(inFlight) > 0 {
		those, ids := db.oneOf(2, inFlight)
		rest += " UNION ALL SELECT " + attempts.columns + " FROM attempts WHERE rotation " + those + " AND state = 'settled'"
		args = append(args, ids)
	}
	return deal(ctx, t, attempts, recs, func(r *journal.Record, a journal.Attempt) { r.Attempts = append(r.Attempts, a) },
		func(a *journal.Attempt) string { return a.Policy }, rest+" ORDER BY created_at, id", args...)
}

// oneOf is the end of a condition, that a column is one of values, and the value of its parameter n.
func (db *DB) oneOf(n int, values []string) (condition string, arg any) {
	if len(values) == 1 {
		return fmt.Sprintf("= $%d", n), values[0]
	}
	return db.among(n), db.list(values)
}

// deal reads rows and gives each to the record of its policy; those of a policy that was forgotten to nobody.
func deal[T any](ctx context.Context, t tx, from table[T], recs map[string]*journal.Record, give func(*journal.Record, T),
	policy func(*T) string, rest string, args ...any,
) error {
	found, err := from.all(ctx, t, rest, args...)
	for i := range found {
		if rec := recs[policy(&found[i])]; rec != nil {
			give(rec, found[i])
		}
	}
	return err
}
