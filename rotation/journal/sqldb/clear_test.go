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
		defer j.Close() // nothing is kept
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

func TestRecallBringsBackWhatWasKept(t *testing.T) {
	t.Parallel()
	j, err := sqldb.Open(t.Context(), "sqlite::memory:", sqldb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close() // nothing is kept
	set := func(names ...string) {
		var specs []journal.Spec
		for _, name := range names {
			specs = append(specs, journal.Spec{Name: name, Team: "t", Canonical: "x"})
		}
		if err := j.SetPolicies(t.Context(), time.Now(), specs); err != nil {
			t.Fatal(err)
		}
	}
	for _, kept := range [][]string{{"a"}, {"b", "c"}} {
		if err := j.Clear(t.Context()); err != nil {
			t.Fatal(err)
		}
		set(kept...)
		if err := j.Keep(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			set("d", "e", "f")
			if err := j.Recall(t.Context()); err != nil {
				t.Fatal(err)
			}
			have, err := j.Summaries(t.Context())
			if err != nil || len(have) != len(kept) || have[0].Policy.Name != kept[0] {
				t.Errorf("%d policies after Recall, want %v: %v", len(have), kept, err)
			}
		}
	}
}
