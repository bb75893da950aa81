package sqldb

import (
	"context"
	"fmt"
	"time"

	"rotator/rotation/journal"
)

// SetPolicies implements journal.Journal. A spec takes over what belongs to RenamedFrom when the old name is known and
// not itself among specs, and the new name is not known. An owner in the middle of a step for the old name loses its
// claim. Two specs of one name are journal.ErrForbidden.
func (db *DB) SetPolicies(ctx context.Context, now time.Time, specs []journal.Spec) error {
	named := make(map[string]*journal.Spec, len(specs)) // policy name → its spec
	for i := range specs {
		if named[specs[i].Name] != nil || specs[i].Name == "" {
			return fmt.Errorf("set policies: %w: name %q twice or empty", journal.ErrForbidden, specs[i].Name)
		}
		named[specs[i].Name] = &specs[i]
	}
	err := db.write(ctx, func(ctx context.Context, t tx) error {
		at, err := db.clock(ctx, t, now)
		if err != nil {
			return err
		}
		if err := renameAll(ctx, t, specs, named); err != nil {
			return err
		}
		known, changed, gone, err := compareSpecs(ctx, t, named)
		if err != nil {
			return err
		}
		for i := range specs {
			s := &specs[i]
			if known[s.Name] {
				continue
			}
			if _, err := t.exec(ctx, `INSERT INTO policies (name, team, owner, spec, first_seen, next_run_at)
				VALUES ($1, $2, $3, $4, $5, $5)`, s.Name, s.Team, s.Owner, s.Canonical, micros(at)); err != nil {
				return fmt.Errorf("policy %s: %w", s.Name, err)
			}
		}
		for _, name := range changed {
			s := named[name]
			if _, err := t.exec(ctx, `UPDATE policies SET team = $2, owner = $3, spec = $4, removed_at = NULL WHERE name = $1`,
				name, s.Team, s.Owner, s.Canonical); err != nil {
				return fmt.Errorf("policy %s: %w", name, err)
			}
		}
		for _, name := range gone {
			if _, err := t.exec(ctx, `UPDATE policies SET removed_at = $2 WHERE name = $1`, name, micros(at)); err != nil {
				return fmt.Errorf("policy %s: %w", name, err)
			}
		}
		for _, name := range append(changed, gone...) {
			if _, err := db.wake(ctx, t, at, name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("set policies: %w", err)
	}
	return nil
}

// compareSpecs reads every policy and says which are known, which differ from their spec, and which have none any more.
func compareSpecs(ctx context.Context, t tx, named map[string]*journal.Spec) (known map[string]bool, changed, gone []string, err error) {
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

func renameAll(ctx context.Context, t tx, specs []journal.Spec, named map[string]*journal.Spec) error {
	for i := range specs {
		from, to := specs[i].RenamedFrom, specs[i].Name
		if from == "" || named[from] != nil {
			continue
		}
		// The old row is moved only where the new name is free. Its epoch grows: whoever acts for the old name stops.
		n, err := t.exec(ctx, `UPDATE policies SET name = $2, lease_epoch = lease_epoch + 1, lease_owner = '', lease_until = NULL
			WHERE name = $1 AND NOT EXISTS (SELECT 1 FROM policies WHERE name = $2)`, from, to)
		if err != nil {
			return fmt.Errorf("rename %s to %s: %w", from, to, err)
		}
		if n == 0 {
			continue
		}
		for _, table := range []string{"rotations", "attempts", "keys", "targets", "orders", "events"} {
			if _, err := t.exec(ctx, "UPDATE "+table+" SET policy = $2 WHERE policy = $1", from, to); err != nil {
				return fmt.Errorf("rename %s to %s: %s: %w", from, to, table, err)
			}
		}
	}
	return nil
}
