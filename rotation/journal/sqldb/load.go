package sqldb

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"rotator/rotation/journal"
)

// Load implements journal.Reader.
func (db *DB) Load(ctx context.Context, policy string) (*journal.Record, error) {
	if rec := db.recent.load(policy); rec != nil {
		// Also where nothing is read: a journal that is closed, damaged or gone is one for everyone.
		if err := db.ask(ctx, func(context.Context, tx) error { return nil }); err != nil {
			return nil, fmt.Errorf("load %s: %w", policy, err)
		}
		return rec, nil
	}
	recs, err := db.LoadAll(ctx, []string{policy})
	if err != nil {
		return nil, err
	}
	if recs[0] == nil {
		return nil, fmt.Errorf("load %s: %w", policy, journal.ErrNotFound)
	}
	return recs[0], nil
}

// LoadAll implements journal.Reader. It sees one state of the database. Where a statement is a message to a server, one
// statement reads the rows of all tables; otherwise there is one for each table, whose rows need not be made alike.
func (db *DB) LoadAll(ctx context.Context, policies []string) ([]*journal.Record, error) {
	recs := make([]*journal.Record, len(policies))
	if len(policies) == 0 {
		return recs, nil
	}
	found := make(map[string]*journal.Record, len(policies)) // policy name → its record
	recordOf := func(name string) *journal.Record {
		rec := found[name]
		if rec == nil {
			rec = new(journal.Record)
			found[name] = rec
		}
		return rec
	}
	these, list := db.oneOf(1, policies)
	var err error
	if db.shared() {
		err = db.ask(ctx, func(ctx context.Context, t tx) error {
			return t.query(ctx, func(scan func(...any) error) error {
				var n int
				var name, row string
				if err := scan(&n, &name, &row); err != nil {
					return err
				}
				return parts[n].add(recordOf(name), []byte(row))
			}, db.loading(these), list)
		})
	} else {
		err = db.read(ctx, func(ctx context.Context, t tx) error {
			clear(found)
			for _, p := range parts {
				if err := p.read(ctx, t, these, list, recordOf); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", strings.Join(policies, ", "), err)
	}
	for i, name := range policies {
		if rec := found[name]; rec != nil && rec.Policy.Name != "" { // else it was forgotten, and left rows
			sortRows(rec)
			rec.Base = rec.Clone()
			recs[i] = rec
		}
	}
	return recs, nil
}

// A part is what one table has of a record. Its query finds, of the policies @these, their names and the table's rows as
// JSON arrays of their columns: one statement has the rows of all tables, and they differ in their columns. read adds the rows
// of one table as they are.
type part struct {
	query string
	add   func(rec *journal.Record, row []byte) error
	read  func(ctx context.Context, t tx, these string, list any, of func(policy string) *journal.Record) error
}

func partOf[T any](from table[T], policy, where string, put func(*journal.Record, T)) part {
	return part{
		query: fmt.Sprintf("%s, CAST(@array(%s) AS TEXT) FROM %s WHERE %[1]s @these%[4]s", policy, from.columns, from.name, where),
		add: func(rec *journal.Record, row []byte) error {
			v, err := from.decode(row)
			if err != nil {
				return fmt.Errorf("%s: %w", from.name, err)
			}
			put(rec, v)
			return nil
		},
		read: func(ctx context.Context, t tx, these string, list any, of func(string) *journal.Record) error {
			var name string
			var v T // every row sets every field
			places := append([]any{&name}, from.fields(&v)...)
			return t.query(ctx, func(scan func(...any) error) error {
				if err := scan(places...); err != nil {
					return fmt.Errorf("%s: %w", from.name, err)
				}
				put(of(name), v)
				return nil
			}, "SELECT "+policy+", "+from.columns+" FROM "+from.name+" WHERE "+policy+" "+these+where, list)
		},
	}
}

var parts = []part{
	partOf(policies, "name", "", func(r *journal.Record, p journal.Policy) { r.Policy = p }),
	partOf(holds, "policy", "", func(r *journal.Record, h journal.Hold) { r.Hold = h }),
	partOf(rotations, "policy", " AND ended_at IS NULL", addRotation),
	partOf(effects, "policy", " AND closed_at IS NULL", func(r *journal.Record, e journal.Effect) { r.Effects = append(r.Effects, e) }),
	partOf(sightings, "policy", "", func(r *journal.Record, s journal.Sighting) { r.Sightings = append(r.Sightings, s) }),
	partOf(keys, "policy", " AND "+notGone, func(r *journal.Record, k journal.Key) { r.Keys = append(r.Keys, k) }),
	partOf(targets, "policy", "", func(r *journal.Record, g journal.Target) { r.Targets = append(r.Targets, g) }),
	partOf(orders, "policy", " AND done_at IS NULL", func(r *journal.Record, o journal.Order) { r.Orders = append(r.Orders, o) }),
}

// addRotation adds one that is not ended: in flight, or live with old keys that are not gone.
func addRotation(r *journal.Record, v journal.Rotation) {
	if v.State.Final() {
		r.Retired = append(r.Retired, v)
	} else {
		r.Rotation = &v
	}
}

// loading is the statement of all parts, a number before each of its rows.
func (db *DB) loading(these string) string {
	queries := make([]string, len(parts))
	for i, p := range parts {
		queries[i] = fmt.Sprintf("SELECT %d, %s", i, p.query)
	}
	return strings.NewReplacer("@array", db.jsonArray(), "@these", these).Replace(strings.Join(queries, " UNION ALL "))
}

// sortRows puts a record's rows in order. Databases order text each by its own rules.
func sortRows(r *journal.Record) {
	slices.SortFunc(r.Keys, func(a, b journal.Key) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.Ref, b.Ref))
	})
	slices.SortFunc(r.Retired, func(a, b journal.Rotation) int {
		return cmp.Or(a.StartedAt.Compare(b.StartedAt), cmp.Compare(a.ID, b.ID))
	})
	slices.SortFunc(r.Effects, func(a, b journal.Effect) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.ID, b.ID)) })
	slices.SortFunc(r.Sightings, bySighting)
	slices.SortFunc(r.Targets, byTarget)
	slices.SortFunc(r.Orders, func(a, b journal.Order) int { return cmp.Compare(a.ID, b.ID) })
}

// oneOf is the end of a condition, that a column is one of values, and the value of its parameter n.
func (db *DB) oneOf(n int, values []string) (condition string, arg any) {
	if len(values) == 1 {
		return fmt.Sprintf("= $%d", n), values[0]
	}
	return db.among(n), db.list(values)
}
