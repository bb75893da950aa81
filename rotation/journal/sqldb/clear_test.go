package sqldb_test

import (
	"path/filepath"
	"testing"
	"time"

	"rotator/rotation/journal"
	"rotator/rotation/journal/sqldb"
)

func TestClearEmptiesOnlyAJournalInMemory(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]bool{"sqlite::memory:": true, "sqlite:" + filepath.Join(t.TempDir(), "j.db"): false} {
		j, err := sqldb.Open(t.Context(), url, sqldb.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer j.Close() //nolint:errcheck // nothing is kept
		if err := j.SetPolicies(t.Context(), time.Now(), []journal.Spec{{Name: "p", Team: "t", Canonical: "x"}}); err != nil {
			t.Fatal(err)
		}
		if err := j.Clear(t.Context()); (err == nil) != want {
			t.Errorf("%s: clear: %v", url, err)
		}
		have, err := j.Summaries(t.Context())
		if err != nil || (len(have) == 0) != want {
			t.Errorf("%s: %d policies left: %v", url, len(have), err)
		}
	}
}
