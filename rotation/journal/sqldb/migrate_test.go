package sqldb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"rotator/rotation/journal"
)

// later are the migrations of a later version of this program: one more file, which is compatible with the schema that
// is this program's plus shift.
func later(t *testing.T, shift int) fs.FS {
	t.Helper()
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	all := make(fstest.MapFS)
	for _, name := range names {
		text, err := fs.ReadFile(migrations, name)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = &fstest.MapFile{Data: text}
	}
	all["migrations/9999_later.sql"] = &fstest.MapFile{Data: fmt.Appendf(nil, "%s%d\nALTER TABLE policies ADD COLUMN mood TEXT NOT NULL DEFAULT 'fine';\n",
		compatibleMark, len(names)+shift)}
	return all
}

func TestSchemaOfALaterVersion(t *testing.T) {
	t.Parallel()
	_, url := newFile(t)
	laterSchema(t, url)
}

// laterSchema upgrades a journal that is in use, and goes back and forth between the versions; and then once more with a
// version that this one must not run beside.
func laterSchema(t *testing.T, url string) {
	try := func(o Options) (*DB, error) {
		o.limits = patient
		db, err := Open(t.Context(), url, o)
		if err == nil {
			t.Cleanup(func() { _ = db.Close() })
		}
		return db, err
	}
	work := func(db *DB, note string) {
		t.Helper()
		claimed, err := db.Claim(t.Context(), "me", time.Now(), 1)
		if err != nil || len(claimed) != 1 {
			t.Fatalf("claimed %v: %v", claimed, err)
		}
		rec, err := db.Load(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		rec.Policy.Error = note
		if err := db.Commit(t.Context(), claimed[0], rec, true, journal.Event{At: time.Now(), Policy: "a", Kind: journal.Failed}); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	db := open(t, url)
	setPolicies(t, db, "a")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := try(Options{migrations: later(t, 0), ReadOnly: true}); !errors.Is(err, ErrOlder) {
		t.Errorf("who only looks at an older schema: %v", err)
	}
	for _, o := range []Options{{migrations: later(t, 0)}, {}, {migrations: later(t, 0)}} {
		db, err := try(o)
		if err != nil {
			t.Fatal(err)
		}
		work(db, "written")
	}
	db, err := try(Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if rec, err := db.Load(t.Context(), "a"); err != nil || rec.Policy.Error != "written" {
		t.Errorf("looked at: %+v, %v", rec, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}

	db, err = try(Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = db.write(t.Context(), func(ctx context.Context, tx tx) error {
		_, err := tx.exec(ctx, `INSERT INTO schema_version (version, file, at, program, compatible_with) VALUES (99, 'x', 0, 'rotator 9.0', 98)`)
		return err
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	for _, o := range []Options{{}, {ReadOnly: true}} {
		_, err := try(o)
		if !errors.Is(err, journal.ErrNewer) {
			t.Fatalf("read-only %t: %v", o.ReadOnly, err)
		}
		for _, want := range []string{"99", "rotator 9.0", "98", "restore a backup"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q does not say %q", err, want)
			}
		}
	}
}

// TestMigrationsSayWhoMayRunBeside: a file without the line, or with a number that cannot be, is refused.
func TestMigrationsSayWhoMayRunBeside(t *testing.T) {
	t.Parallel()
	for _, first := range []string{"", "-- a comment\n", compatibleMark + "x\n", compatibleMark + "2\n"} {
		_, err := readSchema(fstest.MapFS{"migrations/0001_first.sql": &fstest.MapFile{Data: []byte(first + "SELECT 1;\n")}})
		if err == nil || !strings.Contains(err.Error(), "0001_first.sql") {
			t.Errorf("first line %q: %v", first, err)
		}
	}
}

// TestOldLine: a journal from before version 0.2.0 is refused, to look and to write, in a sentence that says what to do.
func TestOldLine(t *testing.T) {
	t.Parallel()
	_, url := newFile(t)
	oldLine(t, url)
}

func oldLine(t *testing.T, url string) {
	db := open(t, url)
	err := db.write(t.Context(), func(ctx context.Context, tx tx) error {
		_, err := tx.exec(ctx, `UPDATE schema_version SET file = 'migrations/0001_journal.sql', program = 'rotator 0.1.9'`)
		return err
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	for _, o := range []Options{{}, {ReadOnly: true}} {
		db, err := Open(t.Context(), url, o)
		if !errors.Is(err, ErrOldLine) {
			t.Errorf("read-only %t: %v", o.ReadOnly, err)
		}
		if err == nil {
			_ = db.Close()
			continue
		}
		for _, want := range []string{"before version 0.2.0", "start with a new one", "rotator keys adopt"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q does not say %q", err, want)
			}
		}
	}
}
