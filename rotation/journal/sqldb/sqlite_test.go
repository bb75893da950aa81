package sqldb

import (
	"path/filepath"
	"testing"

	"rotator/rotation/journal"
	"rotator/rotation/journal/journaltest"
)

func open(t *testing.T, url string) *DB {
	t.Helper()
	db, err := Open(t.Context(), url, Options{Program: "rotator-test 1.0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return db
}

func TestSQLiteInMemory(t *testing.T) {
	t.Parallel()
	journaltest.Run(t, func(t *testing.T) journal.Journal { return open(t, "sqlite::memory:") })
}

func TestSQLite(t *testing.T) {
	t.Parallel()
	journaltest.Run(t, func(t *testing.T) journal.Journal {
		return open(t, "sqlite:"+filepath.Join(t.TempDir(), "state", "rotator.db"))
	})
}
