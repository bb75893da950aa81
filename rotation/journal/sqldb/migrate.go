package sqldb

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"strings"

	"rotator/rotation/journal"
)

// The schema, as numbered files that are applied in order, each once. A file that was released is never edited.
//
//go:embed migrations/*.sql
var migrations embed.FS

// sqliteIdentity is how the files write a key that is counted up; an id that was given is never given again.
const sqliteIdentity = "INTEGER PRIMARY KEY AUTOINCREMENT"

// statements splits a file at the semicolons that end a line; those are the only ones that migrations use.
func statements(text string) []string {
	var list []string
	for s := range strings.SplitSeq(text, ";\n") {
		if strings.TrimSpace(s) != "" {
			list = append(list, s)
		}
	}
	return list
}

// migrate brings the schema up to date, in the transaction in hand. The files are written for SQLite; identity is what
// the database calls a key that it counts up itself, the one type that differs. journal.ErrNewer.
func migrate(ctx context.Context, t tx, identity string, o Options) error {
	if _, err := t.exec(ctx, `CREATE TABLE IF NOT EXISTS schema_version (
		version BIGINT PRIMARY KEY, file TEXT NOT NULL, at BIGINT NOT NULL, program TEXT NOT NULL)`); err != nil {
		return err
	}
	if err := checkVersion(ctx, t); err != nil {
		return err
	}
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	have, _, err := version(ctx, t)
	if err != nil {
		return err
	}
	for i := have; i < len(files); i++ {
		text, err := migrations.ReadFile(files[i])
		if err != nil {
			return err
		}
		for _, s := range statements(strings.ReplaceAll(string(text), sqliteIdentity, identity)) {
			if _, err := t.exec(ctx, s); err != nil {
				return fmt.Errorf("%s: %w", files[i], err)
			}
		}
		if _, err := t.exec(ctx, `INSERT INTO schema_version (version, file, at, program) VALUES ($1, $2, $3, $4)`,
			int64(i+1), files[i], micros(o.Now()), o.Program); err != nil {
			return err
		}
	}
	return nil
}

// version is the schema's version and the program that brought it there; 0 for a new database.
func version(ctx context.Context, t tx) (v int, program string, err error) {
	_, err = one(ctx, t, []any{&v, &program}, `SELECT version, program FROM schema_version ORDER BY version DESC LIMIT 1`)
	return v, program, err
}

// checkVersion refuses a schema that is newer than this program. journal.ErrNewer.
func checkVersion(ctx context.Context, t tx) error {
	have, program, err := version(ctx, t)
	if err != nil {
		return fmt.Errorf("schema version: %w", err)
	}
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	if have > len(files) {
		return fmt.Errorf("%w: its schema is %d, from %s, and this program knows schemas up to %d: "+
			"run that version or a later one, or restore a backup from before the upgrade", journal.ErrNewer, have, program, len(files))
	}
	return nil
}
