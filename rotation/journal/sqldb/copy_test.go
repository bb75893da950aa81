package sqldb

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rotator/internal/testenv/postgrestest"
	"rotator/rotation/journal"
)

// dump is every row of a journal, as text.
func dump(t *testing.T, db *DB) map[string][]string {
	t.Helper()
	all := make(map[string][]string)
	err := db.read(t.Context(), func(ctx context.Context, q tx) error {
		for _, c := range copied {
			row := make([]any, strings.Count(c.columns, ",")+1)
			fields := make([]any, len(row))
			for i := range row {
				fields[i] = &row[i]
			}
			err := q.query(ctx, func(scan func(...any) error) error {
				err := scan(fields...)
				all[c.table] = append(all[c.table], fmt.Sprintf("%q", row))
				return err
			}, "SELECT "+c.columns+" FROM "+c.table+" ORDER BY 1, 2")
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// populate puts a row into every table; of events more than one statement copies.
func populate(t *testing.T, db *DB) {
	t.Helper()
	setPolicies(t, db, "a", "b")
	claimed, err := db.Claim(t.Context(), "me", time.Now(), 1)
	if err != nil || len(claimed) != 1 {
		t.Fatal(claimed, err)
	}
	c := claimed[0]
	rec, err := db.Load(t.Context(), c.Policy)
	if err != nil {
		t.Fatal(err)
	}
	at := time.UnixMicro(1_700_000_000_000_001).UTC()
	id := journal.TargetID{Store: "s", Path: "p"}
	rec.Rotation = &journal.Rotation{ID: "r1", Policy: c.Policy, State: journal.Planned, Trigger: journal.ByHand, StartedAt: at}
	rec.Keys = []journal.Key{
		{Ref: "f1", ID: "k1", Policy: c.Policy, Team: "research", Origin: journal.OfAdoption, State: journal.LiveKey, CreatedAt: at, ExposedAt: at},
	}
	rec.Effects = []journal.Effect{
		{ID: "e1", Policy: c.Policy, Key: "f1", Kind: journal.EffectPromote, Target: id, State: journal.EffectUnknown, At: at, QuietAt: at},
	}
	rec.Targets = []journal.Target{{TargetID: id, Policy: c.Policy, Status: journal.TargetOK, SeenAt: at}}
	rec.Sightings = []journal.Sighting{{TargetID: id, Policy: c.Policy, Fingerprint: "p1", KeyID: "k1", FirstSeen: at}}
	events := make([]journal.Event, 450)
	for i := range events {
		events[i] = journal.Event{At: at, Policy: c.Policy, Kind: journal.Started, Data: map[string]string{"n": fmt.Sprint(i)}}
	}
	for _, err := range []error{
		db.Commit(t.Context(), c, rec, true, events...),
		db.SetHold(t.Context(), at, "b", journal.Hold{Reason: "'quoted', ünd", By: "me", At: at}, journal.Event{At: at, Kind: journal.HoldSet}),
		db.SaveList(t.Context(), at, "research", []journal.ListedKey{{ID: "k1", Disabled: true, ExpiresAt: at}}),
		db.SaveTeam(t.Context(), journal.Team{Name: "research", ID: "1"}),
		db.SetMeta(t.Context(), "x", "y"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.Place(t.Context(), journal.Order{Policy: "a", Kind: journal.OrderRotate, At: at}); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Chore(t.Context(), at, "sweep", time.Hour); err != nil {
		t.Fatal(err)
	}
}

// copyAlone copies when nothing is connected any more: the server forgets a connection a moment after its client has.
func copyAlone(t *testing.T, from, to *DB) (rows int, err error) {
	t.Helper()
	soon(t, "a copy without others", func() bool {
		rows, err = Copy(t.Context(), from, to)
		return !errors.Is(err, journal.ErrInUse)
	})
	return rows, err
}

// TestCopy moves a journal from SQLite to PostgreSQL and back: every row of every table arrives, and ids go on.
func TestCopy(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	_, first := newFile(t)
	_, last := newFile(t)
	sqlite, postgres, back := open(t, first), open(t, server.Database(t)), open(t, last)
	populate(t, sqlite)
	want := dump(t, sqlite)
	for _, c := range copied {
		if len(want[c.table]) == 0 {
			t.Errorf("nothing in %s would be copied", c.table)
		}
	}
	if _, err := copyAlone(t, sqlite, postgres); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, dump(t, postgres)); d != "" {
		t.Errorf("in PostgreSQL (-want +got):\n%s", d)
	}
	if mark, err := sqlite.Meta(t.Context(), journal.MetaRestored); err != nil || mark == "" {
		t.Errorf("the journal that was left is not marked: %q, %v", mark, err)
	}
	if _, err := copyAlone(t, sqlite, postgres); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("a second copy: %v", err)
	}
	if rows, err := copyAlone(t, postgres, back); err != nil || rows < 450 {
		t.Fatalf("%d rows, %v", rows, err)
	}
	if d := cmp.Diff(want, dump(t, back)); d != "" {
		t.Errorf("back in SQLite (-want +got):\n%s", d)
	}
	for _, db := range []*DB{postgres, back} {
		last, err := db.LastEvent(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Record(t.Context(), journal.Event{Kind: journal.Finished}); err != nil {
			t.Fatal(err)
		}
		events, err := db.Events(t.Context(), last, 10)
		if err != nil || len(events) != 1 || events[0].Kind != journal.Finished || events[0].ID != last+1 {
			t.Errorf("ids do not go on after those that were copied: %v, %v", events, err)
		}
	}
}

// TestCopyRefusesWhatIsInUse: a replica that is connected, on either side, keeps a journal where it is.
func TestCopyRefusesWhatIsInUse(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	url := server.Database(t)
	_, file := newFile(t)
	sqlite, postgres := open(t, file), open(t, url)
	replica := open(t, url)
	for _, pair := range [][2]*DB{{sqlite, postgres}, {postgres, sqlite}} {
		if _, err := Copy(t.Context(), pair[0], pair[1]); !errors.Is(err, journal.ErrInUse) {
			t.Errorf("with a replica beside it: %v", err)
		}
	}
	if err := replica.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := copyAlone(t, sqlite, postgres); err != nil {
		t.Error(err)
	}
}

// TestCopyRefusesReplicas: one that was just seen, and one that acts for a policy, keep a journal where it is also while
// nothing of the copy's user is connected.
func TestCopyRefusesReplicas(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	for what, s := range map[string]struct{ is, no string }{
		"seen":   {`INSERT INTO replicas (name, host, version, seen_at) SELECT 'host/1/a', '', '', %s - 20000000`, `UPDATE replicas SET seen_at = seen_at - 11000000`},
		"acting": {`UPDATE policies SET lease_owner = 'host/1/a', lease_until = %s + 600000000`, `UPDATE policies SET lease_until = lease_until - 700000000`},
	} {
		from, to := open(t, server.Database(t)), open(t, server.Database(t))
		setPolicies(t, from, "a")
		say := func(query string) {
			t.Helper()
			err := from.say(t.Context(), func(ctx context.Context, q tx) error { _, err := q.exec(ctx, query); return err })
			if err != nil {
				t.Fatal(err)
			}
		}
		say(fmt.Sprintf(s.is, from.clockColumn()))
		refused := ""
		soon(t, what+": the replica is named", func() bool {
			_, err := Copy(t.Context(), from, to)
			if !errors.Is(err, journal.ErrInUse) {
				t.Fatalf("%s: %v", what, err)
			}
			refused = err.Error()
			return !strings.Contains(refused, "connections")
		})
		if !strings.Contains(refused, "by replica host/1/a") {
			t.Errorf("%s: %s", what, refused)
		}
		say(s.no)
		if _, err := copyAlone(t, from, to); err != nil {
			t.Errorf("%s no longer: %v", what, err)
		}
	}
}

// TestCopyKnowsTheSchema: what a newer version recorded does not stay behind, and nothing is copied to where it is lost.
func TestCopyKnowsTheSchema(t *testing.T) {
	t.Parallel()
	_, first := newFile(t)
	_, last := newFile(t)
	from, to := open(t, first), open(t, last)
	if _, err := Copy(t.Context(), from, open(t, "sqlite::memory:")); err == nil {
		t.Error("a copy into memory")
	}
	err := from.say(t.Context(), func(ctx context.Context, q tx) error {
		_, err := q.exec(ctx, `INSERT INTO schema_version (version, file, at, program, compatible_with) VALUES (1000, '', 0, 'later', 1)`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Copy(t.Context(), from, to); !errors.Is(err, journal.ErrNewer) {
		t.Errorf("a newer schema, beside which this program may run: %v", err)
	}
	if mark, err := from.Meta(t.Context(), journal.MetaRestored); err != nil || mark != "" {
		t.Errorf("the journal that was refused is marked: %q, %v", mark, err)
	}
}

// TestCopyKnowsEveryColumn: a column that a later migration adds must not stay behind.
func TestCopyKnowsEveryColumn(t *testing.T) {
	t.Parallel()
	db := open(t, "sqlite::memory:")
	known := map[string]bool{"policies.lease_owner": true, "policies.lease_until": true, "policies.claimed_at": true}
	for _, c := range copied {
		for column := range strings.SplitSeq(c.columns, ", ") {
			known[c.table+"."+column] = true
		}
	}
	err := db.read(t.Context(), func(ctx context.Context, q tx) error {
		return q.query(ctx, func(scan func(...any) error) error {
			var table, column string
			if err := scan(&table, &column); err != nil {
				return err
			}
			if !known[table+"."+column] {
				t.Errorf("%s.%s is not copied", table, column)
			}
			return nil
		}, `SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c
			WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name NOT IN ('schema_version', 'replicas', 'loads', 'paces', 'places', 'lineage')`)
	})
	if err != nil {
		t.Fatal(err)
	}
}
