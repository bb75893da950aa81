package sqldb

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"rotator/rotation/journal"
)

// The schema, as numbered files that are applied in order, each once. A file that was released is never edited. Each
// begins with a line that says the oldest schema whose programs may go on reading and writing beside it: see
// [compatibleMark]. Replicas are upgraded one after the other, so that a file that only adds (tables, and columns with
// defaults and without constraints) names the oldest schema that it can.
//
//go:embed migrations/*.sql
var migrations embed.FS

// sqliteIdentity is how the files write a key that is counted up; an id that was given is never given again.
const sqliteIdentity = "INTEGER PRIMARY KEY AUTOINCREMENT"

// compatibleMark begins a migration's first line; the number after it is a schema's.
const compatibleMark = "-- compatible with schema "

// ErrOlder means that the journal's schema is older than this program, which was asked to look only and so cannot change it.
var ErrOlder = errors.New("the journal is from an older version")

// ErrOldLine means that the journal was made by a version before 0.2.0, whose tables were others.
var ErrOldLine = errors.New("this journal is from before version 0.2.0 and cannot be read; start with a new one, " +
	"and `rotator keys adopt` rebuilds it from xAI and the stores")

// schema is what a program knows of the journal's tables: its migrations, in order.
type schema []migration

type migration struct {
	file, text string
	compatible int // programs that know schemas up to this one may run beside it
}

// readSchema reads the migrations in files.
func readSchema(files fs.FS) (schema, error) {
	names, err := fs.Glob(files, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	known := make(schema, len(names))
	for i, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		m := migration{file: name, text: string(text)}
		if n, err := fmt.Sscanf(m.text, compatibleMark+"%d\n", &m.compatible); n != 1 || err != nil || m.compatible > i+1 {
			return nil, fmt.Errorf("%s: the first line does not say %qN, with N up to %d", name, compatibleMark, i+1)
		}
		known[i] = m
	}
	return known, nil
}

// statements splits a migration at the semicolons that end a line; those are the only ones that migrations use.
func statements(text string) []string {
	var list []string
	for s := range strings.SplitSeq(text, ";\n") {
		if strings.TrimSpace(s) != "" {
			list = append(list, s)
		}
	}
	return list
}

// migrate brings the schema up to date, in the transaction in hand, or leaves it as it is when it is newer and this
// program may run beside it. The files are written for SQLite; identity is what the database calls a key that it counts
// up itself, the one type that differs. journal.ErrNewer.
func (known schema) migrate(ctx context.Context, t tx, identity string, o Options) error {
	if _, err := t.exec(ctx, `CREATE TABLE IF NOT EXISTS schema_version (
		version BIGINT PRIMARY KEY, file TEXT NOT NULL, at BIGINT NOT NULL, program TEXT NOT NULL,
		compatible_with BIGINT NOT NULL)`); err != nil {
		return err
	}
	have, err := known.check(ctx, t)
	if err != nil {
		return err
	}
	for i := have; i < len(known); i++ {
		m := &known[i]
		for _, s := range statements(strings.ReplaceAll(m.text, sqliteIdentity, identity)) {
			if _, err := t.exec(ctx, s); err != nil {
				return fmt.Errorf("%s: %w", m.file, err)
			}
		}
		if _, err := t.exec(ctx, `INSERT INTO schema_version (version, file, at, program, compatible_with) VALUES ($1, $2, $3, $4, $5)`,
			int64(i+1), m.file, micros(o.Now()), o.Program, int64(m.compatible)); err != nil {
			return err
		}
	}
	return nil
}

// check returns the journal's schema, 0 of a new database. journal.ErrNewer: it is newer, and its programs changed what
// this one relies on. ErrOldLine: its first file is none of this line's.
func (known schema) check(ctx context.Context, t tx) (have int, err error) {
	var program, first string
	var oldest int
	// A later file cannot make up for what an earlier one broke: the highest number counts.
	_, err = one(ctx, t, []any{&have, &program, &oldest, &first}, `SELECT version, program,
		(SELECT max(compatible_with) FROM schema_version),
		coalesce((SELECT file FROM schema_version WHERE version = 1), '') FROM schema_version ORDER BY version DESC LIMIT 1`)
	if err != nil {
		return 0, fmt.Errorf("schema version: %w", err)
	}
	if have > 0 && first != known[0].file {
		return have, ErrOldLine
	}
	if have > len(known) && oldest > len(known) {
		return have, fmt.Errorf("%w: its schema is %d, from %s, for programs that know schema %d, and this program knows schemas up to %d: "+
			"run that version or a later one, or restore a backup from before the upgrade", journal.ErrNewer, have, program, oldest, len(known))
	}
	return have, nil
}

// checkToLook is check for a process that changes nothing. ErrOlder.
func (known schema) checkToLook(ctx context.Context, t tx) error {
	have, err := known.check(ctx, t)
	if err == nil && have < len(known) {
		err = fmt.Errorf("%w: its schema is %d, and this program reads schema %d: start this version's daemon on it once",
			ErrOlder, have, len(known))
	}
	return err
}
