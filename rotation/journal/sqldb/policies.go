package sqldb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"rotator/rotation/journal"
)

// SetPolicies implements journal.Journal. A spec takes over what belongs to RenamedFrom when the old name is known and
// not itself among specs, and the new name is not known; it waits until nobody acts for the old name any more
// (journal.ErrBusy after half a minute). Policies that specs no longer have are told by one event. Two specs of one name are journal.ErrForbidden.
func (db *DB) SetPolicies(ctx context.Context, now time.Time, specs []journal.Spec) error {
	named := make(map[string]*journal.Spec, len(specs)) // policy name → its spec
	for i := range specs {
		if named[specs[i].Name] != nil || specs[i].Name == "" {
			return fmt.Errorf("set policies: %w: name %q twice or empty", journal.ErrForbidden, specs[i].Name)
		}
		named[specs[i].Name] = &specs[i]
	}
	err := db.writeIdle(ctx, func(ctx context.Context, t tx) error {
		if err := db.beforeLoading(ctx, t); err != nil {
			return err
		}
		at, err := db.clock(ctx, t, now)
		if err != nil {
			return err
		}
		if err := db.renameAll(ctx, t, at, specs, named); err != nil {
			return err
		}
		known, changed, gone, err := compareSpecs(ctx, t, named)
		if err != nil {
			return err
		}
		if err := insertSpecs(ctx, t, at, specs, known); err != nil {
			return err
		}
		var rows [][]any
		for _, name := range changed {
			s := named[name]
			rows = append(rows, []any{name, s.Team, s.Owner, s.Canonical, micros(at)})
		}
		if err := db.updateAll(ctx, t, changePolicies, rows, func(string) {}); err != nil {
			return err
		}
		if err := insertTargets(ctx, t, specs, known, changed); err != nil {
			return err
		}
		if len(gone) > 0 {
			if _, err := t.exec(ctx, `UPDATE policies SET removed_at = $2, `+woken(`$2`)+` WHERE name `+db.among(1), db.list(gone), micros(at)); err != nil {
				return err
			}
			if err := db.append(ctx, t, []journal.Event{vanished(at, gone)}); err != nil {
				return err
			}
		}
		return db.tell(ctx, t)
	})
	if err != nil {
		return fmt.Errorf("set policies: %w", err)
	}
	return nil
}

// vanished tells of policies that the files do not have any more. That is one event: a replica with the files of yesterday,
// or with none, may have lost thousands.
func vanished(at time.Time, names []string) journal.Event {
	const most = 20
	slices.Sort(names)
	list := strings.Join(names[:min(len(names), most)], ", ")
	if more := len(names) - most; more > 0 {
		list += fmt.Sprintf(", and %d more", more)
	}
	return journal.Event{At: at, Kind: journal.PolicyRemoved, Data: map[string]string{"policies": list, "count": fmt.Sprint(len(names))}}
}

// changePolicies takes over what the files say of policies that are known. Many are changed in one statement: whoever acts
// for one of them, and every replica that loads the same, waits until all are.
var changePolicies = updates{
	table: "policies",
	names: []string{"name", "team", "owner", "spec", "now"},
	kinds: []string{"TEXT", "TEXT", "TEXT", "TEXT", "BIGINT"},
	set:   "team = v.column2, owner = v.column3, spec = v.column4, removed_at = NULL, " + woken("v.column5"),
	where: "name = v.column1",
}

// insertSpecs adds the policies that are not known, many in one statement: a first load may be of 100,000, and a
// database on the network takes a millisecond for each statement.
func insertSpecs(ctx context.Context, t tx, at time.Time, specs []journal.Spec, known map[string]bool) error {
	const most = 100
	args := make([]any, 0, 1+4*most)
	flush := func() error {
		if len(args) <= 1 {
			return nil
		}
		_, err := t.exec(ctx, insertPolicies((len(args)-1)/4), args...)
		args = args[:0]
		return err
	}
	for i := range specs {
		s := &specs[i]
		if known[s.Name] {
			continue
		}
		if len(args) == 0 {
			args = append(args, micros(at))
		}
		if args = append(args, s.Name, s.Team, s.Owner, s.Canonical); len(args) == cap(args) {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// insertPolicies is the statement for n policies: $1 is the time, and then name, team, owner and spec of each.
func insertPolicies(n int) string {
	var b strings.Builder
	b.WriteString(`INSERT INTO policies (first_seen, next_run_at, name, team, owner, spec) VALUES `)
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "(CAST($1 AS BIGINT), CAST($1 AS BIGINT), $%d, $%d, $%d, $%d)", 4*i+2, 4*i+3, 4*i+4, 4*i+5)
	}
	return b.String()
}

// insertTargets makes rows of targets that new and changed policies name, as never read: until they are, they may hold any key.
func insertTargets(ctx context.Context, t tx, specs []journal.Spec, known map[string]bool, changed []string) error {
	const most = 800
	edited := make(map[string]bool, len(changed))
	for _, name := range changed {
		edited[name] = true
	}
	args := make([]any, 0, most)
	flush := func() error {
		if len(args) == 0 {
			return nil
		}
		_, err := t.exec(ctx, insertRows("targets", "policy, store, path, field", 4, len(args)/4)+" ON CONFLICT DO NOTHING", args...)
		args = args[:0]
		return err
	}
	for i := range specs {
		s := &specs[i]
		if known[s.Name] && !edited[s.Name] {
			continue
		}
		for _, id := range s.Targets {
			if args = append(args, s.Name, id.Store, id.Path, id.Field); len(args) == most {
				if err := flush(); err != nil {
					return err
				}
			}
		}
	}
	return flush()
}

// compareSpecs reads every policy and says which are known, which differ from their spec, and which have none any more.
func compareSpecs(ctx context.Context, t tx, named map[string]*journal.Spec) (
	known map[string]bool, changed, gone []string, err error,
) {
	known = make(map[string]bool, len(named))
	var name, team, owner, spec string
	var removed time.Time
	err = t.query(ctx, func(scan func(...any) error) error {
		if err := scan(&name, &team, &owner, &spec, instant{&removed}); err != nil {
			return err
		}
		s := named[name]
		switch {
		case s == nil && removed.IsZero():
			gone = append(gone, name)
		case s != nil:
			known[s.Name] = true
			if s.Team != team || s.Owner != owner || s.Canonical != spec || !removed.IsZero() {
				changed = append(changed, s.Name)
			}
		}
		return nil
	}, `SELECT name, team, owner, spec, removed_at FROM policies`)
	return known, changed, gone, err
}

func (db *DB) renameAll(ctx context.Context, t tx, now time.Time, specs []journal.Spec, named map[string]*journal.Spec) error {
	for i := range specs {
		from, to := specs[i].RenamedFrom, specs[i].Name
		if from == "" || named[from] != nil {
			continue
		}
		if _, err := policies.first(ctx, t, "WHERE name = $1", to); !errors.Is(err, journal.ErrNotFound) {
			if err != nil {
				return err
			}
			continue // renamed long ago, and the line stayed in the file
		}
		if found, err := db.idle(ctx, t, now, from); err != nil {
			return err
		} else if !found {
			continue
		}
		// An owner who died and wakes up finds the epoch grown.
		if _, err := t.exec(ctx, `UPDATE policies SET name = $2, lease_epoch = lease_epoch + 1, lease_owner = '', lease_until = NULL, claimed_at = NULL
			WHERE name = $1`, from, to); err != nil {
			return fmt.Errorf("rename %s to %s: %w", from, to, err)
		}
		for _, table := range []string{"rotations", "keys", "effects", "targets", "sightings", "orders", "events"} {
			if _, err := t.exec(ctx, "UPDATE "+table+" SET policy = $2 WHERE policy = $1", from, to); err != nil {
				return fmt.Errorf("rename %s to %s: %s: %w", from, to, table, err)
			}
		}
	}
	return nil
}
