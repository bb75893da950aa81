package sqldb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"testing"
	"time"

	"rotator/internal/testenv/postgrestest"
	"rotator/rotation/journal"
)

// TestStatements holds what each question costs: an idle replica asks some of them every second.
func TestStatements(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t, "log_statement=all")
	db := open(t, server.Database(t))
	line := regexp.MustCompile(`(?m)LOG:  (statement|execute [^:]*):`)
	count := func() int {
		text, err := os.ReadFile(server.LogFile())
		if err != nil {
			t.Fatal(err)
		}
		return len(line.FindAll(text, -1))
	}
	var specs []journal.Spec
	for i := range 300 {
		specs = append(specs, journal.Spec{Name: fmt.Sprintf("policy-%03d", i)})
	}
	var claims, resting []journal.Claim
	var recs []*journal.Record
	var done []journal.Outcome
	for _, q := range []struct {
		what string
		want int
		ask  func(ctx context.Context) error
	}{
		{"set 300 new policies", 14, func(ctx context.Context) error { return db.SetPolicies(ctx, past, specs) }},
		{"next", 1, func(ctx context.Context) error { _, _, err := db.Next(ctx); return err }},
		{"claim 300", 1, func(ctx context.Context) (err error) { claims, err = db.Claim(ctx, "me", past, 300); return err }},
		{"load one", 1, func(ctx context.Context) error { _, err := db.Load(ctx, claims[0].Policy); return err }},
		{"load 300", 1, func(ctx context.Context) (err error) {
			names := make([]string, len(claims))
			for i, c := range claims {
				names[i] = c.Policy
			}
			recs, err = db.LoadAll(ctx, names)
			return err
		}},
		{"renew", 1, func(ctx context.Context) error { _, err := db.Renew(ctx, past, claims[0]); return err }},
		{"commit a target and an event", 5, func(ctx context.Context) error {
			recs[0].Targets = []journal.Target{{Policy: claims[0].Policy, TargetID: journal.TargetID{Store: "s", Path: "p"}}}
			return db.Commit(ctx, claims[0], recs[0], false, journal.Event{Policy: claims[0].Policy, Kind: journal.Started})
		}},
		{"commit 300", 3, func(ctx context.Context) error {
			for i, c := range claims {
				recs[i].Policy.NextRunAt, recs[i].Policy.WatchAt = past, past
				done = append(done, journal.Outcome{Claim: c, Record: recs[i]})
			}
			errs, err := db.CommitAll(ctx, done)
			return errors.Join(append(errs, err)...)
		}},
		{"claim one at rest", 1, func(ctx context.Context) (err error) {
			resting, err = db.ClaimResting(ctx, "me", past, 1, claims[0].Policy)
			return err
		}},
		{"commit one at rest", 4, func(ctx context.Context) error {
			recs[0].Targets[0].SeenAt = past
			errs, err := db.CommitAll(ctx, []journal.Outcome{{Claim: resting[0], Record: recs[0]}})
			return errors.Join(append(errs, err)...)
		}},
		{"no events", 1, func(ctx context.Context) error { _, err := db.Events(ctx, 1<<40, 0); return err }},
		{"an event", 2, func(ctx context.Context) error { _, err := db.Events(ctx, 0, 0); return err }},
		{"the last event", 2, func(ctx context.Context) error { _, err := db.LastEvent(ctx); return err }},
		{"keys", 1, func(ctx context.Context) error { _, err := db.Keys(ctx, []string{"a", "b"}); return err }},
		{"a hold", 1, func(ctx context.Context) error { _, err := db.HoldOf(ctx, "x"); return err }},
		{"a fact", 1, func(ctx context.Context) error { _, err := db.Meta(ctx, "x"); return err }},
		{"a chore", 1, func(ctx context.Context) error { _, err := db.Chore(ctx, past, "x", time.Hour); return err }},
		{"hasten", 1, func(ctx context.Context) error { return db.Hasten(ctx, past, journal.Horizon) }},
		{"a beat", 1, func(ctx context.Context) error { return db.Beat(ctx, past, journal.Replica{Name: "x"}) }},
		{"change 150 policies, remove 100 and tell it", 15, func(ctx context.Context) error {
			for i := range 150 {
				specs[i].Owner = "someone else"
			}
			return db.SetPolicies(ctx, past, specs[:200])
		}},
		{"an order", 8, func(ctx context.Context) error {
			_, err := db.Place(ctx, journal.Order{Policy: claims[0].Policy, Kind: journal.OrderAbort})
			return err
		}},
	} {
		before := count()
		if err := q.ask(t.Context()); err != nil {
			t.Fatalf("%s: %v", q.what, err)
		}
		if n := count() - before; n != q.want {
			t.Errorf("%s: %d statements, want %d", q.what, n, q.want)
		}
	}
}
