package sqldb

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"rotator/internal/testenv/postgrestest"
	"rotator/rotation/journal"
	"rotator/rotation/journal/journaltest"
)

// past is a time that a replica whose clock is wrong may believe in; the database's clock counts.
var past = time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)

func TestPostgres(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	t.Run("parts", func(t *testing.T) {
		t.Run("suite", func(t *testing.T) {
			t.Parallel()
			journaltest.Run(t, func(t *testing.T) journal.Journal { return open(t, server.Database(t)) })
		})
		for name, part := range map[string]func(*testing.T, string){
			"a word is heard by every replica":       wordsAmongReplicas,
			"replicas never share a claim":           claimsAmongReplicas,
			"the dead are taken over":                takeover,
			"the living are not":                     renewal,
			"places of the dead and of the living":   placesAmongReplicas,
			"a locked row is skipped":                skipLocked,
			"wakes are heard":                        wakesAmongReplicas,
			"the dead at rest are taken over":        restingTakeover,
			"who waits for each other":               deadlock,
			"connections that broke unused":          brokenIdle,
			"events appear in order":                 eventsInOrder,
			"who freezes with a transaction open":    frozenMidway,
			"teams take turns":                       fairness,
			"replicas that start together":           startTogether,
			"nothing is left in a session":           noSessionState,
			"who only looks":                         lookOnly,
			"a schema of a later version":            laterSchema,
			"a journal of the old line":              oldLine,
			"old effects":                            pruning,
			"commits that are not durable":           notDurable,
			"no password in an error, and no backup": quietErrors,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				part(t, server.Database(t))
			})
		}
	})
}

func claimsAmongReplicas(t *testing.T, url string) {
	replicas := []*DB{open(t, url), open(t, url)}
	var names []string
	for i := range 60 {
		names = append(names, fmt.Sprint("policy-", i))
	}
	setPolicies(t, replicas[0], names...)
	var mu sync.Mutex
	owners := make(map[string]string) // policy → who claimed it
	chores := 0
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			db, me := replicas[i%2], fmt.Sprint("replica-", i)
			mine, err := db.Chore(t.Context(), past, "sweep", time.Hour)
			if err != nil {
				t.Error(err)
			}
			for misses := 0; misses < 10; {
				claimed, err := db.Claim(t.Context(), me, past, 5)
				if err != nil {
					t.Error(err)
					return
				}
				if len(claimed) == 0 {
					misses++
				}
				mu.Lock()
				for _, c := range claimed {
					if had, ok := owners[c.Policy]; ok {
						t.Errorf("%s was claimed by %s and by %s", c.Policy, had, me)
					}
					owners[c.Policy] = me
				}
				mu.Unlock()
			}
			mu.Lock()
			defer mu.Unlock()
			if mine {
				chores++
			}
		})
	}
	wg.Wait()
	if len(owners) != len(names) || chores != 1 {
		t.Errorf("%d of %d were claimed; the chore was done %d times", len(owners), len(names), chores)
	}
}

func wordsAmongReplicas(t *testing.T, url string) {
	here, there := openWith(t, url, Options{}), open(t, url)
	setPolicies(t, here, "a")
	c := claimOne(t, here, "here")
	if c.Now.Before(past.AddDate(20, 0, 0)) || c.Until.Sub(c.Now) != 15*time.Second {
		t.Errorf("claimed at %v until %v, by the database's clock and for 15 s", c.Now, c.Until)
	}
	if _, err := there.Place(t.Context(), journal.Order{Policy: "a", Kind: journal.OrderAbort}); err != nil {
		t.Fatal(err)
	}
	if err := here.Release(t.Context(), c, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	claimOne(t, there, "there")
}

// claimOne claims the one policy that is due, and waits for it until another's short lease has ended.
func claimOne(t *testing.T, db *DB, owner string) (c journal.Claim) {
	t.Helper()
	soon(t, "a policy is due", func() bool {
		claimed, err := db.Claim(t.Context(), owner, past, 1)
		if err != nil {
			t.Fatal(err)
		}
		if len(claimed) == 1 {
			c = claimed[0]
		}
		return len(claimed) == 1
	})
	return c
}

func shortLease(t *testing.T, url string) *DB {
	t.Helper()
	return openWith(t, url, Options{Lease: 500 * time.Millisecond})
}

func takeover(t *testing.T, url string) {
	frozen, alive := shortLease(t, url), open(t, url)
	setPolicies(t, alive, "a")
	old := claimOne(t, frozen, "frozen")
	rec, err := frozen.Load(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	// Halfway through its step it stops. What it had put off does not put off who takes over.
	rec.Policy.NextRunAt = time.Now().Add(time.Hour)
	if err := frozen.Commit(t.Context(), old, rec, false); err != nil {
		t.Fatal(err)
	}
	fresh := claimOne(t, alive, "alive")
	if fresh.Now.Before(old.Until) {
		t.Errorf("taken over at %v, before %v", fresh.Now, old.Until)
	}
	rec.Policy.Error = "from the past"
	if err := frozen.Commit(t.Context(), old, rec, true, journal.Event{Kind: journal.Failed}); !errors.Is(err, journal.ErrLost) {
		t.Errorf("the frozen one's commit: %v", err)
	}
	if _, err := frozen.Renew(t.Context(), past, old); !errors.Is(err, journal.ErrLost) {
		t.Errorf("the frozen one's renewal: %v", err)
	}
	if err := frozen.Release(t.Context(), old, past); !errors.Is(err, journal.ErrLost) {
		t.Errorf("the frozen one's release: %v", err)
	}
	if rec, err := alive.Load(t.Context(), "a"); err != nil || rec.Policy.Error != "" {
		t.Errorf("it wrote %q, %v", rec.Policy.Error, err)
	}
}

func renewal(t *testing.T, url string) {
	owner, other := shortLease(t, url), open(t, url)
	setPolicies(t, other, "a")
	c := claimOne(t, owner, "owner")
	for end := c.Until.Add(time.Second); c.Until.Before(end); {
		claimed, err := other.Claim(t.Context(), "other", past, 1)
		if err != nil {
			t.Fatal(err)
		}
		before := c.Until
		c, err = owner.Renew(t.Context(), past, c)
		if len(claimed) > 0 {
			// On a machine that stalled for half a second it is right; then the renewal must know.
			if claimed[0].Now.Before(before) || !errors.Is(err, journal.ErrLost) {
				t.Fatalf("claimed at %v, while it is ours until %v: %v", claimed[0].Now, before, err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func skipLocked(t *testing.T, url string) {
	db := open(t, url)
	setPolicies(t, db, "a", "b", "c")
	err := db.write(t.Context(), func(ctx context.Context, held tx) error {
		if _, err := held.exec(ctx, `UPDATE policies SET error = 'held' WHERE name = 'b'`); err != nil {
			return err
		}
		claimed, err := db.Claim(ctx, "me", past, 3)
		if len(claimed) != 2 || claimed[0].Policy == "b" || claimed[1].Policy == "b" {
			t.Errorf("claimed %v", claimed)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// eventsInOrder commits an event after a later one, while someone reads.
func eventsInOrder(t *testing.T, url string) {
	db := open(t, url)
	type answer struct {
		events []journal.Event
		err    error
	}
	read := make(chan answer, 1)
	if err := db.SetPolicies(t.Context(), past, []journal.Spec{{Name: "a"}, {Name: "b"}}); err != nil { // each has a chain of its own
		t.Fatal(err)
	}
	before, err := db.LastEvent(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = db.write(t.Context(), func(ctx context.Context, slow tx) error {
		if err := db.append(ctx, slow, []journal.Event{{Policy: "a", Kind: journal.Started}}); err != nil {
			return err
		}
		if err := db.Record(ctx, journal.Event{Policy: "b", Kind: journal.Finished}); err != nil {
			return err
		}
		go func() {
			events, err := db.Events(t.Context(), before, 0)
			read <- answer{events, err}
		}()
		// The reader has to wait: either it is seen waiting, or it has read too early.
		for waiting := 0; waiting == 0; {
			select {
			case a := <-read:
				read <- a
				return nil
			default:
			}
			if _, err := one(ctx, slow, []any{&waiting}, `SELECT count(*) FROM pg_locks
				WHERE locktype = 'advisory' AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if a := <-read; a.err != nil || len(a.events) != 2 || a.events[0].Kind != journal.Started {
		t.Errorf("read %v, %v; want both events in order", a.events, a.err)
	}
}

// frozenMidway stalls in the middle of a transaction: what waits for its locks gets them, and it finds its work undone.
func frozenMidway(t *testing.T, url string) {
	db := openWith(t, url, Options{limits: limits})
	if err := db.Record(t.Context(), journal.Event{Kind: journal.Started}); err != nil {
		t.Fatal(err)
	}
	for tries := 1; ; tries++ {
		var seen error
		err := db.write(t.Context(), func(ctx context.Context, frozen tx) error {
			if err := db.append(ctx, frozen, []journal.Event{{Kind: journal.Finished}}); err != nil {
				return err
			}
			_, seen = db.LastEvent(ctx)
			return nil
		})
		if err == nil {
			t.Error("what was held open was committed")
		}
		if seen == nil {
			break
		}
		if tries == 3 { // a machine that stalls at the wrong second lets both limits strike at once
			t.Fatalf("who looks meanwhile, each of %d times: %v", tries, seen)
		}
	}
	if events, err := db.Events(t.Context(), 0, 0); err != nil || len(events) != 1 {
		t.Errorf("read %v, %v; want what was there before", events, err)
	}
}

func fairness(t *testing.T, url string) {
	db := open(t, url)
	var flood, all []journal.Spec
	for i := range 50 {
		flood = append(flood, journal.Spec{Name: fmt.Sprint("flood-", i), Team: "loud"})
	}
	for i := range 2 {
		all = append(all, journal.Spec{Name: fmt.Sprint("quiet-", i), Team: "quiet"})
	}
	for _, specs := range [][]journal.Spec{flood, append(all, flood...)} {
		if err := db.SetPolicies(t.Context(), past, specs); err != nil {
			t.Fatal(err)
		}
	}
	claimed, err := db.Claim(t.Context(), "me", past, 6)
	if err != nil {
		t.Fatal(err)
	}
	quiet := 0
	for _, c := range claimed {
		if strings.HasPrefix(c.Policy, "quiet") {
			quiet++
		}
	}
	if len(claimed) != 6 || quiet != 2 {
		t.Errorf("of %d claims %d were the quiet team's", len(claimed), quiet)
	}
}

func startTogether(t *testing.T, url string) {
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			db, err := Open(t.Context(), url, Options{limits: patient})
			if err != nil {
				t.Error(err)
				return
			}
			if err := db.SetPolicies(t.Context(), past, []journal.Spec{{Name: "a"}, {Name: "b"}}); err != nil {
				t.Error(err)
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if s, err := open(t, url).Summaries(t.Context()); err != nil || len(s) != 2 {
		t.Errorf("%d policies, %v", len(s), err)
	}
}

// noSessionState shows that a pooler may give every transaction another connection.
func noSessionState(t *testing.T, url string) {
	db := open(t, url)
	pool := db.engine.(*postgresDB).pool
	pool.SetMaxOpenConns(1)
	setPolicies(t, db, "a")
	c := claimOne(t, db, "me")
	rec, err := db.Load(t.Context(), "a")
	if err == nil {
		err = db.Commit(t.Context(), c, rec, true, journal.Event{Kind: journal.Failed})
	}
	if err == nil {
		_, err = db.Events(t.Context(), 0, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	for what, query := range map[string]string{
		"prepared statements": `SELECT count(*) FROM pg_prepared_statements`,
		"advisory locks":      `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()`,
		"settings":            `SELECT count(*) FROM pg_settings WHERE name = 'lock_timeout' AND setting <> '0'`,
	} {
		var n int
		if err := pool.QueryRowContext(t.Context(), query).Scan(&n); err != nil || n != 0 {
			t.Errorf("%d %s are left in the session, %v", n, what, err)
		}
	}
}
