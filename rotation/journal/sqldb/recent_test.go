package sqldb

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"rotator/rotation/journal"
	"rotator/rotation/journal/journaltest"
)

// reread compares what Load returns with the rows themselves, which LoadAll reads.
type reread struct {
	*DB
	t *testing.T
}

func (r reread) Load(ctx context.Context, policy string) (*journal.Record, error) {
	rec, err := r.DB.Load(ctx, policy)
	if err != nil {
		return rec, err
	}
	all, err := r.LoadAll(ctx, []string{policy})
	if err != nil {
		return nil, err
	}
	if d := cmp.Diff(all[0], rec, cmpopts.EquateEmpty()); d != "" {
		r.t.Errorf("%s as read and as kept:\n%s", policy, d)
	}
	return rec, nil
}

// TestKeptRecords: whatever is done, a record that was kept is what the rows say.
func TestKeptRecords(t *testing.T) {
	t.Parallel()
	journaltest.Run(t, func(t *testing.T) journal.Journal { return reread{open(t, "sqlite::memory:"), t} })
}

func claimNow(t *testing.T, db *DB) journal.Claim {
	t.Helper()
	found, err := db.Claim(t.Context(), "me", time.Now(), 1)
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	return found[0]
}

// rest commits the policy with a release and reports whether its record is kept.
func rest(t *testing.T, db *DB, change func(*journal.Record)) bool {
	t.Helper()
	c := claimNow(t, db)
	rec, err := db.Load(t.Context(), c.Policy)
	if err != nil {
		t.Fatal(err)
	}
	change(rec)
	rec.Policy.NextRunAt = past
	if err := db.Commit(t.Context(), c, rec, true); err != nil {
		t.Fatal(err)
	}
	return kept(t, db)
}

func kept(t *testing.T, db *DB) bool {
	t.Helper()
	if _, err := (reread{db, t}).Load(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	return db.recent.load("a") != nil
}

// TestRecordsKept: a record is kept from one turn to the next, and no longer than nothing else writes in its rows.
func TestRecordsKept(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "rotator.db")
	db := open(t, "sqlite:"+path)
	setPolicies(t, db, "a")
	key := journal.Key{Ref: "r", ID: "k", Policy: "a", Team: "t", Name: "n", Origin: journal.OfAttempt, State: journal.LiveKey, ExposedAt: past, CreatedAt: past}
	id := journal.TargetID{Store: "s", Path: "p", Field: "f"}
	first := func(rec *journal.Record) {
		rec.Keys, rec.Targets = []journal.Key{key}, []journal.Target{{Policy: "a", TargetID: id, ContactAt: past}}
	}
	count := func(rec *journal.Record) { rec.Policy.Failures++ }
	if kept(t, db) {
		t.Error("kept before it was claimed")
	}
	if !rest(t, db, first) || !rest(t, db, count) || !rest(t, db, count) {
		t.Error("not kept")
	}
	for what, do := range map[string]func(ctx context.Context) error{
		"nothing":    func(context.Context) error { return nil },
		"an event":   func(ctx context.Context) error { return db.Record(ctx, journal.Event{At: past, Kind: journal.Started}) },
		"a fact":     func(ctx context.Context) error { return db.SetMeta(ctx, "x", "y") },
		"a chore":    func(ctx context.Context) error { _, err := db.Chore(ctx, past, "x", time.Hour); return err },
		"a beat":     func(ctx context.Context) error { return db.Beat(ctx, past, journal.Replica{Name: "x"}) },
		"hasten":     func(ctx context.Context) error { return db.Hasten(ctx, past, journal.Horizon) },
		"other's":    func(ctx context.Context) error { return db.SaveTeam(ctx, journal.Team{Name: "t"}) },
		"same list":  func(ctx context.Context) error { return db.SaveList(ctx, past, "t", []journal.ListedKey{{ID: "k"}}) },
		"checkpoint": func(ctx context.Context) error { return db.engine.(*sqliteDB).wal.cut(ctx) },
	} {
		if err := do(t.Context()); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if !kept(t, db) || !rest(t, db, count) {
			t.Errorf("not kept after %s", what)
		}
	}
	outside, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close() // a test's
	for what, do := range map[string]func(ctx context.Context) error{
		"an order": func(ctx context.Context) error {
			_, err := db.Place(ctx, journal.Order{Policy: "a", Kind: journal.OrderRotate})
			return err
		},
		"a hold": func(ctx context.Context) error {
			return db.SetHold(ctx, past, "a", journal.Hold{Reason: "x"}, journal.Event{At: past, Policy: "a", Kind: journal.HoldSet})
		},
		"another list": func(ctx context.Context) error {
			return db.SaveList(ctx, past, "t", []journal.ListedKey{{ID: "k", ExpiresAt: time.Now()}})
		},
		"a changed file": func(ctx context.Context) error {
			return db.SetPolicies(ctx, past, []journal.Spec{{Name: "a", Owner: time.Now().String()}})
		},
		"a claim that is given back": func(ctx context.Context) error {
			c, err := db.Claim(ctx, "me", time.Now(), 1)
			if err == nil {
				err = db.Release(ctx, c[0], past)
			}
			return err
		},
		"hasten all": func(ctx context.Context) error {
			return db.Hasten(ctx, past.Add(-time.Hour), 0)
		},
	} {
		if err := do(t.Context()); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if kept(t, db) {
			t.Errorf("kept after %s", what)
		}
		if !rest(t, db, count) {
			t.Errorf("not kept again after %s", what)
		}
	}
	// The same, while a turn is under way.
	c := claimNow(t, db)
	rec, err := db.Load(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Place(t.Context(), journal.Order{Policy: "a", Kind: journal.OrderRotate}); err != nil {
		t.Fatal(err)
	}
	if err := db.Commit(t.Context(), c, rec, true); err != nil {
		t.Fatal(err)
	}
	if kept(t, db) {
		t.Error("kept though a human spoke meanwhile")
	}
	if !rest(t, db, count) {
		t.Error("not kept again")
	}
	if rest(t, db, func(rec *journal.Record) { rec.Targets = nil }) {
		t.Error("kept without a target that is in the journal")
	}
	if !rest(t, db, count) {
		t.Error("not kept again")
	}
	// A human with a program of SQLite's: the next claim shows it.
	if _, err := outside.ExecContext(t.Context(), "UPDATE policies SET owner = 'outside'"); err != nil {
		t.Fatal(err)
	}
	c = claimNow(t, db)
	if rec, err = db.Load(t.Context(), "a"); err != nil || rec.Policy.Owner != "outside" {
		t.Errorf("owner %s, %v", rec.Policy.Owner, err)
	}
	if err := db.Commit(t.Context(), c, rec, true); err != nil {
		t.Fatal(err)
	}
}

// TestFewRecordsAreKept: their number has a bound.
func TestFewRecordsAreKept(t *testing.T) {
	t.Parallel()
	r := recent{of: map[string]*keptRecord{}}
	found := make([]claimed, 3*recentMost)
	for i := range found {
		found[i].Policy, found[i].Epoch = string(rune('a'+i%26))+time.Duration(i).String(), 1
	}
	r.claimed(found)
	if n := len(r.of); n != recentMost {
		t.Errorf("%d are kept", n)
	}
}
