package sqldb

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"rotator/rotation/journal"
)

// SetPolicies implements journal.Journal. A spec takes over what belongs to RenamedFrom when the old name is known and
// not itself among specs, and the new name is not known; it waits until nothing acts for the old name any more
// (journal.ErrBusy after half a minute). Policies that specs no longer have are reported by one event. Two specs of one name are journal.ErrForbidden.
func (db *DB) SetPolicies(ctx context.Context, now time.Time, specs []journal.Spec) error {
	_, err := db.TakeReading(ctx, now, journal.Reading{Specs: specs})
	return err
}

// TakeReading implements journal.Journal.
func (db *DB) TakeReading(ctx context.Context, now time.Time, r journal.Reading) (awaited []string, err error) {
	named := make(map[string]*journal.Spec, len(r.Specs)) // policy name → its spec
	for i := range r.Specs {
		name := r.Specs[i].Name
		if _, kept := r.Kept[name]; kept || named[name] != nil || name == "" {
			return nil, fmt.Errorf("set policies: %w: name %q twice or empty", journal.ErrForbidden, name)
		}
		named[name] = &r.Specs[i]
	}
	err = db.writeIdle(ctx, func(ctx context.Context, t tx) error {
		if err := db.beforeLoading(ctx, t); err != nil {
			return err
		}
		at, err := db.clock(ctx, t, now)
		if err != nil {
			return err
		}
		told, err := db.renameAll(ctx, t, at, r, named)
		if err != nil {
			return err
		}
		d, err := compareSpecs(ctx, t, r, named)
		if err != nil {
			return err
		}
		told = append(told, d.told(at, r, named)...)
		if err := db.writeSpecs(ctx, t, at, r, named, d); err != nil {
			return err
		}
		gone := d.gone
		if gone, awaited, err = db.awaitOthers(ctx, t, at, r, gone); err != nil {
			return err
		}
		if len(gone) > 0 {
			if _, err := t.exec(ctx, `UPDATE policies SET removed_at = $2, `+woken(`$2`)+` WHERE name `+db.among(1), db.list(gone), micros(at)); err != nil {
				return err
			}
			told = append(told, left(at, gone)...)
		}
		refused, err := db.saveLoad(ctx, t, at, r, d)
		if err != nil {
			return err
		}
		told = append(told, refused...)
		if r.By != "" {
			told = append(told, reloaded(at, r, d, gone))
		}
		if err := db.append(ctx, t, told); err != nil {
			return err
		}
		return db.tell(ctx, t)
	})
	if err != nil {
		return nil, fmt.Errorf("set policies: %w", err)
	}
	return awaited, nil
}

// writeSpecs writes what differs: new policies, changed ones, and what the loader thinks of the others.
func (db *DB) writeSpecs(ctx context.Context, t tx, at time.Time, r journal.Reading, named map[string]*journal.Spec, d differences) error {
	if err := insertSpecs(ctx, t, at, r.Specs, d.known); err != nil {
		return err
	}
	var rows [][]any
	for _, name := range d.changed {
		s := named[name]
		rows = append(rows, []any{name, s.Team, s.Owner, s.Canonical, micros(at), s.File})
	}
	if err := db.updateAll(ctx, t, changePolicies, rows, func(string) {}); err != nil {
		return err
	}
	rows = nil
	for _, name := range d.moved {
		rows = append(rows, []any{name, named[name].File})
	}
	if err := db.updateAll(ctx, t, movePolicies, rows, func(string) {}); err != nil {
		return err
	}
	rows = nil
	for _, name := range d.doubted {
		rows = append(rows, []any{name, r.Kept[name], micros(at)})
	}
	if err := db.updateAll(ctx, t, doubtPolicies, rows, func(string) {}); err != nil {
		return err
	}
	return insertTargets(ctx, t, r.Specs, d.known, d.changed)
}

// changePolicies takes over what the files say of policies that are known. Many are changed in one statement: whoever acts
// for one of them, and every replica that loads the same, waits until all are.
var changePolicies = updates{
	table: "policies",
	names: []string{"name", "team", "owner", "spec", "now", "file"},
	kinds: []string{"TEXT", "TEXT", "TEXT", "TEXT", "BIGINT", "TEXT"},
	set: `team = v.column2, owner = v.column3, spec = v.column4, file = v.column6, spec_error = '', removed_at = NULL,
		spec_at = CASE WHEN overdue_at <= v.column5 OR due_at <= v.column5 OR (spec = v.column4 AND removed_at IS NULL) THEN spec_at ELSE v.column5 END, ` + woken("v.column5"),
	where: "name = v.column1",
}

// movePolicies notes the files of policies that say the same as before, which is no news to their owners.
var movePolicies = updates{
	table: "policies",
	names: []string{"name", "file"},
	kinds: []string{"TEXT", "TEXT"},
	set:   "file = v.column2",
	where: "name = v.column1",
}

// doubtPolicies notes why the files' word on policies was refused. Their health changes with it.
var doubtPolicies = updates{
	table: "policies",
	names: []string{"name", "spec_error", "now"},
	kinds: []string{"TEXT", "TEXT", "BIGINT"},
	set:   "spec_error = v.column2, " + woken("v.column3"),
	where: "name = v.column1",
}

// insertSpecs adds the policies that are not known, many in one statement: a first load may be of 100,000, and a
// database on the network takes a millisecond for each statement.
func insertSpecs(ctx context.Context, t tx, at time.Time, specs []journal.Spec, known map[string]bool) error {
	const most = 100
	args := make([]any, 0, 1+5*most)
	flush := func() error {
		if len(args) <= 1 {
			return nil
		}
		_, err := t.exec(ctx, insertPolicies((len(args)-1)/5), args...)
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
		if args = append(args, s.Name, s.Team, s.Owner, s.Canonical, s.File); len(args) == cap(args) {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// insertPolicies is the statement for n policies: $1 is the time, and then name, team, owner, spec and file of each.
func insertPolicies(n int) string {
	var b strings.Builder
	b.WriteString(`INSERT INTO policies (first_seen, next_run_at, name, team, owner, spec, file) VALUES `)
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "(CAST($1 AS BIGINT), CAST($1 AS BIGINT), $%d, $%d, $%d, $%d, $%d)", 5*i+2, 5*i+3, 5*i+4, 5*i+5, 5*i+6)
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

// differences are between what a process read and what the journal has.
type differences struct {
	known   map[string]bool           // policies of specs that the journal has
	kept    []string                  // policies that are kept and in force
	changed []string                  // those that differ from their spec, that come back, or that were kept before
	moved   []string                  // those whose file alone differs
	doubted []string                  // those kept, for another reason than before
	gone    []string                  // those in force that the files do not name any more
	was     map[string]journal.Policy // those of changed, as they were
}

func compareSpecs(ctx context.Context, t tx, r journal.Reading, named map[string]*journal.Spec) (differences, error) {
	d := differences{known: make(map[string]bool, len(named))}
	var p journal.Policy
	d.was = make(map[string]journal.Policy)
	err := t.query(ctx, func(scan func(...any) error) error {
		if err := scan(&p.Name, &p.Team, &p.Owner, &p.Spec, instant{&p.RemovedAt}, &p.File, &p.SpecError); err != nil {
			return err
		}
		s, why, kept := named[p.Name], r.Kept[p.Name], false
		if _, kept = r.Kept[p.Name]; !kept && s == nil && r.Partial {
			kept, why = true, p.SpecError
		}
		switch {
		case s != nil:
			d.known[s.Name] = true
			switch {
			case r.Again[s.Name] && p.RemovedAt.IsZero():
			case s.Team != p.Team || s.Owner != p.Owner || s.Canonical != p.Spec || !p.RemovedAt.IsZero() || p.SpecError != "":
				d.changed = append(d.changed, s.Name)
				d.was[s.Name] = p
			case s.File != p.File:
				d.moved = append(d.moved, s.Name)
			}
		case !p.RemovedAt.IsZero(): // it comes back when its file is good again
		case kept:
			d.kept = append(d.kept, p.Name)
			if why != p.SpecError {
				d.doubted = append(d.doubted, p.Name)
			}
		default:
			d.gone = append(d.gone, p.Name)
		}
		return nil
	}, `SELECT name, team, owner, spec, removed_at, file, spec_error FROM policies`)
	return d, err
}

func (db *DB) renameAll(ctx context.Context, t tx, now time.Time, r journal.Reading, named map[string]*journal.Spec) (told []journal.Event, err error) {
	for i := range r.Specs {
		from, to := r.Specs[i].RenamedFrom, r.Specs[i].Name
		if _, kept := r.Kept[from]; from == "" || kept || named[from] != nil {
			continue
		}
		if _, err := policies.first(ctx, t, "WHERE name = $1", to); !errors.Is(err, journal.ErrNotFound) {
			if err != nil {
				return nil, err
			}
			continue // renamed long ago, and the line stayed in the file
		}
		if found, err := db.idle(ctx, t, now, from); err != nil {
			return nil, err
		} else if !found {
			continue
		}
		// An owner who died and wakes up finds the epoch grown.
		if _, err := t.exec(ctx, `UPDATE policies SET name = $2, lease_epoch = lease_epoch + 1, lease_owner = '', lease_until = NULL, claimed_at = NULL
			WHERE name = $1`, from, to); err != nil {
			return nil, fmt.Errorf("rename %s to %s: %w", from, to, err)
		}
		for _, table := range []string{"rotations", "keys", "effects", "targets", "sightings", "orders"} {
			if _, err := t.exec(ctx, "UPDATE "+table+" SET policy = $2 WHERE policy = $1", from, to); err != nil {
				return nil, fmt.Errorf("rename %s to %s: %s: %w", from, to, table, err)
			}
		}
		moved, err := renamed(ctx, t, now, from, to)
		if err != nil {
			return nil, err
		}
		told = append(told, moved...)
	}
	return told, nil
}
