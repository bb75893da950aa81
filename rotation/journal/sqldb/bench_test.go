package sqldb

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rotator/rotation/journal"
)

func benchmarkDB(b *testing.B, specs []journal.Spec) *DB {
	b.Helper()
	db, err := Open(b.Context(), "sqlite:"+b.TempDir()+"/rotator.db", Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	if err := db.SetPolicies(b.Context(), time.Now(), specs); err != nil {
		b.Fatal(err)
	}
	return db
}

func benchmarkSpecs(n int) []journal.Spec {
	specs := make([]journal.Spec, n)
	for i := range specs {
		specs[i] = journal.Spec{
			Name: fmt.Sprintf("policy-%06d", i), Team: "research", Owner: "ml@example.com",
			Canonical: fmt.Sprintf(`{"name":"policy-%06d","schedule":"%s"}`, i, strings.Repeat("x", 500)),
		}
	}
	return specs
}

// BenchmarkCommit is one commit of a step: a rotation and a target changed, and an event.
func BenchmarkCommit(b *testing.B) {
	for _, n := range []int{1, 16, 300} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			db := benchmarkDB(b, benchmarkSpecs(n))
			claimed, err := db.Claim(b.Context(), "me", time.Now(), n)
			if err != nil || len(claimed) != n {
				b.Fatal(len(claimed), err)
			}
			var left atomic.Int64
			left.Store(int64(b.N))
			var wg sync.WaitGroup
			b.ResetTimer()
			for _, c := range claimed {
				wg.Go(func() {
					rec, err := db.Load(b.Context(), c.Policy)
					if err != nil {
						b.Error(err)
						return
					}
					rec.Rotation = &journal.Rotation{ID: c.Policy, Policy: c.Policy, State: journal.Planned, StartedAt: time.Now()}
					rec.Targets = []journal.Target{{Policy: c.Policy, TargetID: journal.TargetID{Store: "vault", Path: c.Policy}}}
					for left.Add(-1) >= 0 {
						rec.Rotation.Tries++
						rec.Targets[0].SeenAt = time.Now()
						e := journal.Event{At: time.Now(), Policy: c.Policy, Kind: journal.KeyStaged, Data: map[string]string{"target": "x"}}
						if err := db.Commit(b.Context(), c, rec, false, e); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
		})
	}
}

// BenchmarkClaim is a claim of 16 among 10,000, and their release.
func BenchmarkClaim(b *testing.B) {
	db := benchmarkDB(b, benchmarkSpecs(10_000))
	for b.Loop() {
		claimed, err := db.Claim(b.Context(), "me", time.Now(), 16)
		if err != nil || len(claimed) != 16 {
			b.Fatal(len(claimed), err)
		}
		var wg sync.WaitGroup
		for _, c := range claimed {
			wg.Go(func() {
				if err := db.Release(b.Context(), c, time.Now().Add(-time.Minute)); err != nil {
					b.Error(err)
				}
			})
		}
		wg.Wait()
	}
}

func BenchmarkLoad(b *testing.B) {
	db := benchmarkDB(b, benchmarkSpecs(1000))
	for b.Loop() {
		if _, err := db.Load(b.Context(), "policy-000500"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRoundInFile is what the daemon asks of the journal for each of 256 policies at rest that come to their watch together,
// among 100,000: the claim, the record, whether another target is the same place, and the commit.
func BenchmarkRoundInFile(b *testing.B) {
	const all, some = 100_000, 256
	db := benchmarkDB(b, benchmarkSpecs(all))
	err := db.write(b.Context(), func(ctx context.Context, t tx) error {
		for _, s := range []string{
			`UPDATE policies SET next_run_at = first_seen - 1000000 + abs(random() % 900000000)`,
			`UPDATE policies SET watch_at = next_run_at`,
			`INSERT INTO targets (policy, store, path, field, place, status) SELECT name, 's', name, 'f', 'place of ' || name, 'ok' FROM policies`,
		} {
			if _, err := t.exec(ctx, s); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	at := time.Now().Add(time.Hour)
	for b.Loop() {
		claims, err := db.ClaimResting(b.Context(), "me", at, some)
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
			if found, err := db.TargetsAt(b.Context(), "s", rec.Targets[0].Place); err != nil || len(found) != 1 {
				b.Fatal(found, err)
			}
			rec.Policy.WatchAt = at.Add(15 * time.Minute)
			rec.Policy.NextRunAt, rec.Targets[0].SeenAt = rec.Policy.WatchAt, at
			done[i] = journal.Outcome{Claim: claims[i], Record: rec}
		}
		errs, err := db.CommitAll(b.Context(), done)
		if err := errors.Join(append(errs, err)...); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/some, "µs/watch")
}

// BenchmarkSetPolicies100k loads 100,000 policies: new ones, and the same again.
func BenchmarkSetPolicies100k(b *testing.B) {
	specs := benchmarkSpecs(100_000)
	b.Run("new", func(b *testing.B) {
		for b.Loop() {
			_ = benchmarkDB(b, specs).Close()
		}
	})
	b.Run("unchanged", func(b *testing.B) {
		db := benchmarkDB(b, specs)
		for b.Loop() {
			if err := db.SetPolicies(b.Context(), time.Now(), specs); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("summaries", func(b *testing.B) {
		db := benchmarkDB(b, specs)
		for b.Loop() {
			if _, err := db.Summaries(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
