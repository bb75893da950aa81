package sqldb

import (
	"errors"
	"testing"
	"time"

	"rotator/internal/testenv/postgrestest"
	"rotator/rotation/journal"
)

// BenchmarkRound is what an idle replica does on PostgreSQL among 100,000 policies at rest: a look at what is due, and a
// round of 500 of them, claimed, loaded and committed.
func BenchmarkRound(b *testing.B) {
	const all, some = 100_000, 500
	server := postgrestest.Start(b)
	db, err := Open(b.Context(), server.Database(b), Options{Lease: time.Hour})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	if err := db.SetPolicies(b.Context(), past, benchmarkSpecs(all)); err != nil {
		b.Fatal(err)
	}
	pool := db.engine.(*postgresDB).pool
	for _, s := range []string{
		`UPDATE policies SET next_run_at = first_seen - 1000000 + (random() * 900000000)::bigint`,
		`UPDATE policies SET watch_at = next_run_at`,
		`INSERT INTO targets (policy, store, path, field, status) SELECT name, 's', name, 'f', 'ok' FROM policies`,
		`VACUUM ANALYZE`,
	} {
		if _, err := pool.ExecContext(b.Context(), s); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("look", func(b *testing.B) {
		for b.Loop() {
			if _, _, err := db.Next(b.Context()); err != nil {
				b.Fatal(err)
			}
			if claims, err := db.Claim(b.Context(), "me", past, 16); err != nil || len(claims) > 0 {
				b.Fatal(len(claims), err)
			}
		}
	})
	b.Run("round", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			if _, err := pool.ExecContext(b.Context(), `WITH soon AS (SELECT name FROM policies ORDER BY next_run_at LIMIT $1)
				UPDATE policies SET next_run_at = 1, watch_at = 1 WHERE name IN (SELECT name FROM soon)`, some); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
			claims, err := db.ClaimResting(b.Context(), "me", past, some)
			if err != nil || len(claims) != some {
				b.Fatal(len(claims), err)
			}
			names := make([]string, some)
			for i, c := range claims {
				names[i] = c.Policy
			}
			recs, err := db.LoadAll(b.Context(), names)
			if err != nil {
				b.Fatal(err)
			}
			done := make([]journal.Outcome, some)
			for i, rec := range recs {
				at := claims[i].Now.Add(15 * time.Minute)
				rec.Policy.NextRunAt, rec.Policy.WatchAt, rec.Targets[0].SeenAt = at, at, claims[i].Now
				done[i] = journal.Outcome{Claim: claims[i], Record: rec}
			}
			errs, err := db.CommitAll(b.Context(), done)
			if err := errors.Join(append(errs, err)...); err != nil {
				b.Fatal(err)
			}
		}
	})
}
