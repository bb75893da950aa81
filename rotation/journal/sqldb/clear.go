package sqldb

import (
	"context"
	"errors"
)

// errKept: only a journal in memory may be emptied.
var errKept = errors.New("clear: not a journal in memory")

// everyTable are the tables, those that refer to others before them.
var everyTable = []string{"holds", "orders", "targets", "sightings", "effects", "keys", "rotations", "policies", "events", "chores", "teams", "meta", "replicas", "loads", "paces", "places", "lineage"}

// Clear empties a journal in memory, for tests that live thousands of lives: opening one costs more than a rotation.
// It refuses every other journal.
func (db *DB) Clear(ctx context.Context) error { return db.clear(ctx, "") }

// Keep remembers what a journal in memory holds, in place of what it remembered before. Only Recall brings it back.
func (db *DB) Keep(ctx context.Context) error {
	if !db.inMemory() {
		return errKept
	}
	return db.write(ctx, func(ctx context.Context, t tx) error {
		for _, table := range everyTable {
			if _, err := t.exec(ctx, "DROP TABLE IF EXISTS temp.kept_"+table); err != nil {
				return err
			}
			if _, err := t.exec(ctx, "CREATE TEMP TABLE kept_"+table+" AS SELECT * FROM main."+table); err != nil {
				return err
			}
		}
		return nil
	})
}

// Recall makes a journal in memory hold what Keep remembered, and nothing else.
func (db *DB) Recall(ctx context.Context) error { return db.clear(ctx, "kept_") }

// clear empties every table and fills it from the temporary table of the same name after kept, if there is one.
func (db *DB) clear(ctx context.Context, kept string) error {
	if !db.inMemory() {
		return errKept
	}
	return db.write(ctx, func(ctx context.Context, t tx) error {
		for _, table := range everyTable {
			if _, err := t.exec(ctx, "DELETE FROM main."+table); err != nil {
				return err
			}
		}
		for i := len(everyTable) - 1; i >= 0 && kept != ""; i-- {
			if _, err := t.exec(ctx, "INSERT INTO main."+everyTable[i]+" SELECT * FROM temp."+kept+everyTable[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

func (db *DB) inMemory() bool {
	e, ok := db.engine.(*sqliteDB)
	return ok && e.path == "" && e.group != nil
}
