package sqldb

import (
	"context"
	"errors"
	"sync"
	"testing"

	"rotator/rotation/journal"
)

// restingTakeover: a policy at rest whose owner died is claimed as one at rest, and belongs to no one meanwhile.
func restingTakeover(t *testing.T, url string) {
	frozen, alive := shortLease(t, url), open(t, url)
	setPolicies(t, alive, "a")
	c := claimOne(t, frozen, "frozen")
	rec, err := frozen.Load(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	rec.Policy.NextRunAt, rec.Policy.WatchAt = past, past
	if err := frozen.Commit(t.Context(), c, rec, true); err != nil {
		t.Fatal(err)
	}
	if err := frozen.Beat(t.Context(), past, journal.Replica{Name: "frozen", StartedAt: past}); err != nil {
		t.Fatal(err)
	}
	old, err := frozen.ClaimResting(t.Context(), "frozen", past, 1)
	if err != nil || len(old) != 1 {
		t.Fatal(old, err)
	}
	var fresh []journal.Claim
	soon(t, "it is claimed again", func() bool {
		due, rest, err := alive.Next(t.Context())
		if err != nil || !due.IsZero() || rest.IsZero() {
			t.Fatalf("next due at %v, at rest %v: %v", due, rest, err)
		}
		if moving, err := alive.Claim(t.Context(), "alive", past, 1); err != nil || len(moving) > 0 {
			t.Fatalf("claimed %v as one that moves: %v", moving, err)
		}
		summaries, err := alive.Summaries(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if summaries[0].Owner == "" { // the lease ran out
			if replicas, err := alive.Replicas(t.Context()); err != nil || len(replicas) != 1 || replicas[0].Claims > 0 {
				t.Fatalf("replicas %+v: %v", replicas, err)
			}
		}
		fresh, err = alive.ClaimResting(t.Context(), "alive", past, 1)
		return err == nil && len(fresh) == 1
	})
	if fresh[0].Now.Before(old[0].Until) {
		t.Errorf("taken over at %v, before %v", fresh[0].Now, old[0].Until)
	}
	errs, err := frozen.CommitAll(t.Context(), []journal.Outcome{{Claim: old[0], Record: rec}})
	if err != nil || !errors.Is(errs[0], journal.ErrLost) {
		t.Errorf("the frozen one's commit: %v, %v", errs, err)
	}
}

// deadlock: of two transactions that lock the same rows in different orders both are done in the end.
func deadlock(t *testing.T, url string) {
	db := open(t, url)
	setPolicies(t, db, "a", "b")
	claims, err := db.Claim(t.Context(), "me", past, 2)
	if err != nil || len(claims) != 2 {
		t.Fatal(claims, err)
	}
	recs, err := db.LoadAll(t.Context(), []string{"a", "b"})
	if err != nil {
		t.Fatal(err)
	}
	done := make([]journal.Outcome, 2)
	for i := range done {
		done[i] = journal.Outcome{Claim: claims[i], Record: recs[i]}
		done[i].Claim.Policy = recs[i].Policy.Name // both claims have the same epoch
	}
	waited := false // once: when it is this transaction that is broken off, the other one does not wait for it again
	var committed error
	var committing sync.WaitGroup
	commit := sync.OnceFunc(func() {
		committing.Go(func() {
			errs, err := db.CommitAll(t.Context(), done)
			committed = errors.Join(append(errs, err)...)
		})
	})
	lock := func(ctx context.Context, q tx, name string) error {
		_, err := q.exec(ctx, `UPDATE policies SET reason = 'locked' WHERE name = $1`, name)
		return err
	}
	err = db.write(t.Context(), func(ctx context.Context, q tx) error {
		if err := lock(ctx, q, "b"); err != nil {
			return err
		}
		commit()
		for waiting := 0; waiting == 0 && !waited; {
			// pg_stat_activity would show each time what it showed this transaction first: not who connected since.
			if _, err := one(ctx, q, []any{&waiting}, `SELECT count(*) FROM pg_locks
				WHERE NOT granted AND transactionid = pg_current_xact_id()::xid`); err != nil {
				return err
			}
		}
		waited = true
		return lock(ctx, q, "a")
	})
	committing.Wait()
	if err := errors.Join(err, committed); err != nil {
		t.Error(err)
	}
	soon(t, "the server counts a deadlock", func() bool {
		n := 0
		err := db.ask(t.Context(), func(ctx context.Context, q tx) error {
			_, err := one(ctx, q, []any{&n}, `SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()`)
			return err
		})
		return err == nil && n > 0
	})
}

// brokenIdle: connections that broke while nothing used them are found out before they are used, and none that is fine
// is asked.
func brokenIdle(t *testing.T, url string) {
	db := open(t, url)
	setPolicies(t, db, "a")
	pool := db.engine.(*postgresDB).pool
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := db.Load(t.Context(), "a"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	other := open(t, url)
	err := other.ask(t.Context(), func(ctx context.Context, q tx) error {
		_, err := q.exec(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE datname = current_database() AND pid <> pg_backend_pid()`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	soon(t, "they are gone", func() bool {
		n := 0
		err := other.ask(t.Context(), func(ctx context.Context, q tx) error {
			_, err := one(ctx, q, []any{&n}, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
			return err
		})
		return err == nil && n == 0
	})
	if idle := pool.Stats().Idle; idle == 0 {
		t.Error("no connection was idle")
	}
	for range 8 {
		if _, err := db.Claim(t.Context(), "me", past, 1, "none"); err != nil {
			t.Errorf("a claim over a connection that broke: %v", err)
		}
	}
}
