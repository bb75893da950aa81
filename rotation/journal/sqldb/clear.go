package sqldb

import (
	"context"
	"errors"
)

// errKept: only a journal in memory may be emptied.
var errKept = errors.New("clear: not a journal in memory")

// Clear empties a journal in memory, for tests that live thousands of lives: opening one costs more than a rotation.
// It refuses every other journal.
func (db *DB) Clear(ctx context.Context) error {
	if e, ok := db.engine.(*sqliteDB); !ok || e.path != "" || e.group == nil {
		return errKept
	}
	return db.write(ctx, func(ctx context.Context, t tx) error {
		for _, table := range []string{"holds", "orders", "targets", "sightings", "effects", "keys", "rotations", "policies", "events", "chores", "teams", "meta", "replicas", "paces", "lineage"} {
			if _, err := t.exec(ctx, "DELETE FROM "+table); err != nil {
				return err
			}
		}
		return nil
	})
}
