package audit_test

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"rotator/internal/audit"
	"rotator/internal/testenv/postgrestest"
	"rotator/rotation/journal"
	"rotator/rotation/journal/sqldb"
)

const edits = 1000

// TestTamperingSQLite and TestTamperingPostgres: of 1,000 random edits of what checkpoints cover, each is found, and the gate lets
// every key be that an edit names.
func TestTamperingSQLite(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal.db")
	raw, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	tampering(t, "sqlite:"+path, raw)
}

func TestTamperingPostgres(t *testing.T) {
	t.Parallel()
	url := postgrestest.Start(t).Database(t)
	raw, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	tampering(t, url, raw)
}

// vandal edits a journal behind the rotator's back.
type vandal struct {
	*testing.T
	db     *sqldb.DB
	raw    *sql.DB
	key    audit.Key
	events []int64  // that the last checkpoint covers
	refs   []string // of keys
	rnd    *rand.Rand
}

func tampering(t *testing.T, url string, raw *sql.DB) {
	t.Cleanup(func() { _ = raw.Close() })
	raw.SetMaxOpenConns(1)
	v := &vandal{T: t, raw: raw, rnd: rand.New(rand.NewPCG(7, 9))}
	v.lives(url)
	if r := v.verify(); !r.OK || r.Signed != 3 {
		t.Fatalf("untouched: %+v", r)
	}
	v.remember()
	for n := range edits {
		what := v.edit(n)
		if r := v.verify(); r.OK {
			t.Errorf("edit %d is not found: %s", n, what)
		}
		v.gateHolds(what)
		v.restore()
	}
	if r := v.verify(); !r.OK {
		t.Fatalf("restored: %v", r.Findings)
	}
}

// lives writes a journal of some policies with keys, a rename, an installation's events and three checkpoints.
func (v *vandal) lives(url string) {
	v.Helper()
	ctx := v.Context()
	must := func(err error) {
		v.Helper()
		if err != nil {
			v.Fatal(err)
		}
	}
	var err error
	v.db, err = sqldb.Open(ctx, url, sqldb.Options{})
	must(err)
	v.Cleanup(func() { _ = v.db.Close() })
	v.key, err = audit.NewKey([]byte("a seal key that is long enough"))
	must(err)
	now := time.Now()
	specs := []journal.Spec{}
	for i := range 6 {
		specs = append(specs, journal.Spec{Name: fmt.Sprint("p", i), Team: "research", Canonical: `{"key":{"acls":["a"]}}`})
	}
	must(v.db.SetPolicies(ctx, now, specs))
	for round := range 3 {
		if round == 1 {
			specs[0].RenamedFrom, specs[0].Name = "p0", "q0"
			specs[1].Canonical = `{"key":{"acls":["a","b"]}}`
			must(v.db.SetPolicies(ctx, now, specs))
		}
		must(v.db.Hasten(ctx, now, 0))
		claims, err := v.db.Claim(ctx, "me", now.Add(48*time.Hour), 100)
		must(err)
		for _, c := range claims {
			rec, err := v.db.Load(ctx, c.Policy)
			must(err)
			k := journal.Key{
				Ref: fmt.Sprint("ref-", c.Policy, round), ID: fmt.Sprint("id-", c.Policy, round), Policy: c.Policy, Team: "research",
				Name: fmt.Sprint("rotator-", c.Policy, "-", round), Origin: journal.OfAttempt, State: journal.RejectedKey,
				Fingerprint: fmt.Sprint("sha256:", c.Policy, round), CreatedAt: now,
			}
			rec.Keys = append(rec.Keys, k)
			made := journal.Event{At: now, Policy: c.Policy, Kind: journal.KeyCreated, Data: map[string]string{}}
			for said := range slices.Chunk(k.Explanation(), 2) {
				made.Data[said[0]] = said[1]
			}
			must(v.db.Commit(ctx, c, rec, false, journal.Event{At: now, Policy: c.Policy, Kind: journal.Started, Rotation: "r"}, made))
			must(v.db.SetHold(ctx, now, c.Policy, journal.Hold{Reason: "x", By: "me", At: now}, journal.Event{At: now, Policy: c.Policy, Kind: journal.HoldSet}))
			rec.Policy.NextRunAt = now
			must(v.db.Commit(ctx, c, rec, true, journal.Event{At: now, Policy: c.Policy, Kind: journal.Failed, Data: map[string]string{"error": "e"}}))
			v.refs = append(v.refs, k.Ref)
		}
		must(v.db.Record(ctx, journal.Event{At: now, Kind: journal.TeamRefused, Data: map[string]string{"team": "research"}}))
		made, err := v.db.Checkpoint(ctx, now, v.key.Seal)
		must(err)
		if !made {
			v.Fatal("no checkpoint")
		}
	}
	last := v.verify().Covered
	for id := int64(1); id <= last; id++ {
		v.events = append(v.events, id)
	}
}

func (v *vandal) verify() audit.Report {
	v.Helper()
	r, err := audit.Verify(v.Context(), v.db, audit.Options{Keys: []string{v.key.Public()}})
	if err != nil {
		v.Fatal(err)
	}
	return r
}

func (v *vandal) exec(query string, args ...any) int64 {
	v.Helper()
	res, err := v.raw.ExecContext(context.WithoutCancel(v.Context()), query, args...)
	if err != nil {
		v.Fatalf("%s: %v", query, err)
	}
	n, _ := res.RowsAffected()
	return n
}

var tables = []string{"events", "keys"}

func (v *vandal) remember() {
	for _, table := range tables {
		v.exec("CREATE TABLE was_" + table + " AS SELECT * FROM " + table)
	}
	v.exec("CREATE TABLE was_heads AS SELECT name, chain FROM policies")
}

func (v *vandal) restore() {
	for _, table := range tables {
		v.exec("DELETE FROM " + table)
		v.exec("INSERT INTO " + table + " SELECT * FROM was_" + table)
	}
	v.exec("UPDATE policies SET chain = (SELECT chain FROM was_heads WHERE was_heads.name = policies.name)")
}

func pick[T any](v *vandal, of []T) T { return of[v.rnd.IntN(len(of))] }

// edit changes one thing, and says what.
func (v *vandal) edit(n int) string {
	v.Helper()
	id, ref := pick(v, v.events), pick(v, v.refs)
	text := fmt.Sprint("forged", n)
	for {
		what, changed := "", int64(0)
		do := func(query string, args ...any) { what = fmt.Sprint(query, args); changed += v.exec(query, args...) }
		switch v.rnd.IntN(9) {
		case 0:
			column := pick(v, []string{"policy", "rotation", "kind", "data", "link", "link_before", "key_ref"})
			do("UPDATE events SET "+column+" = $1 WHERE id = $2", text, id)
		case 1: // what is there already, of another event
			column := pick(v, []string{"policy", "kind", "data", "link"})
			do("UPDATE events SET "+column+" = (SELECT o."+column+" FROM events o WHERE o.id = $1) WHERE id = $2 AND "+column+
				" <> (SELECT o."+column+" FROM events o WHERE o.id = $1)", pick(v, v.events), id)
		case 2:
			do("UPDATE events SET at = at + $1 WHERE id = $2", 1+v.rnd.IntN(1000), id)
		case 3:
			do("DELETE FROM events WHERE id = $1", id)
		case 4: // two change places
			other := pick(v, v.events)
			if other == id {
				continue
			}
			do("UPDATE events SET id = -1 WHERE id = $1", id)
			do("UPDATE events SET id = $1 WHERE id = $2", id, other)
			do("UPDATE events SET id = $1 WHERE id = -1", other)
		case 5: // one is put in
			do("INSERT INTO events (id, at, policy, rotation, kind, data, link, link_before, key_ref) SELECT $1, at, policy, rotation, kind, data, link, link_before, key_ref FROM events WHERE id = $2",
				-int64(n)-1, id)
		case 6:
			column := pick(v, []string{"id", "name", "team", "policy", "ref", "fingerprint"})
			do("UPDATE keys SET "+column+" = $1 WHERE ref = $2", text, ref)
		case 7: // one more key
			do("UPDATE keys SET id = id || 'x', name = name || 'x', ref = ref || 'x' WHERE ref = $1", ref)
		case 8:
			what, changed = v.relink(id, text), 1
		}
		if changed > 0 {
			return what
		}
	}
}

// relink changes an event and makes every later link of its chain again, as who knows how links are made, and has no seal key.
func (v *vandal) relink(id int64, text string) string {
	v.Helper()
	var rows []journal.Chained
	found, err := v.raw.QueryContext(v.Context(), "SELECT id, at, policy, rotation, kind, data, link, key_ref FROM events ORDER BY id")
	if err != nil {
		v.Fatal(err)
	}
	for found.Next() {
		var c journal.Chained
		var at int64
		if err := found.Scan(&c.ID, &at, &c.Policy, &c.Rotation, (*string)(&c.Kind), &c.Text, &c.Link, &c.KeyRef); err != nil {
			v.Fatal(err)
		}
		c.At = time.UnixMicro(at)
		rows = append(rows, c)
	}
	if err := found.Close(); err != nil {
		v.Fatal(err)
	}
	heads := make(map[string]string)
	for i := range rows {
		c := &rows[i]
		of := c.Policy
		if c.Kind == journal.PolicyRenamed {
			heads[of] = heads["p0"]
		}
		if c.ID == id {
			if c.Kind == journal.Checkpointed {
				c.Text = strings.Replace(c.Text, "number", "nomber", 1)
			} else {
				c.Rotation = text
			}
		}
		before := heads[of]
		heads[of] = c.LinkAfter(before, of != "")
		if c.Link == heads[of] && c.ID < id {
			continue
		}
		if c.KeyRef == "" {
			before = ""
		}
		v.exec("UPDATE events SET rotation = $1, data = $2, link = $3, link_before = $4 WHERE id = $5", c.Rotation, c.Text, heads[of], before, c.ID)
	}
	for policy, head := range heads {
		v.exec("UPDATE policies SET chain = $1 WHERE name = $2", head, policy)
	}
	return fmt.Sprintf("event %d and all links after it", id)
}

// gateHolds: every key that its row names otherwise than the rotator wrote it is let be.
func (v *vandal) gateHolds(what string) {
	v.Helper()
	rows, err := v.raw.QueryContext(v.Context(), "SELECT ref, id, policy, team, name, fingerprint FROM keys")
	if err != nil {
		v.Fatal(err)
	}
	var all []journal.Key
	for rows.Next() {
		var k journal.Key
		if err := rows.Scan(&k.Ref, &k.ID, &k.Policy, &k.Team, &k.Name, &k.Fingerprint); err != nil {
			v.Fatal(err)
		}
		all = append(all, k)
	}
	if err := rows.Close(); err != nil {
		v.Fatal(err)
	}
	for _, k := range all {
		n := 0
		if err := v.raw.QueryRowContext(v.Context(), "SELECT count(*) FROM was_keys WHERE ref = $1 AND id = $2 AND policy = $3 AND team = $4 AND name = $5 AND fingerprint = $6",
			k.Ref, k.ID, k.Policy, k.Team, k.Name, k.Fingerprint).Scan(&n); err != nil {
			v.Fatal(err)
		}
		if n > 0 {
			continue
		}
		told, err := v.db.Explanations(v.Context(), k.Ref)
		if err != nil || k.ExplainedBy(told) {
			v.Errorf("the gate lets key %s be destroyed, which an edit named: %s, %v", k.ID, what, err)
		}
	}
}
