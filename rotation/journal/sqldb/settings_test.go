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
)

// TestIsolation: what the database takes for the usual isolation does not matter. A read after a lock sees what was
// committed before it, and who meets another does what is left to do.
func TestIsolation(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	for _, level := range []string{"repeatable read", "serializable"} {
		for name, part := range map[string]func(*testing.T, string){
			"events appear in order":       eventsInOrder,
			"replicas never share a claim": claimsAmongReplicas,
			"replicas that start together": startTogether,
		} {
			t.Run(level+": "+name, func(t *testing.T) {
				url := server.Database(t)
				server.Say(t, `ALTER DATABASE `+nameOf(url)+` SET default_transaction_isolation = '`+level+`'`)
				part(t, url)
			})
		}
	}
}

// TestEncoding: text is UTF-8 whatever the role's clients else speak, and a database that cannot hold it all is refused.
func TestEncoding(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	const owner = "Müller, 東京"
	url := server.Database(t)
	server.Say(t, `ALTER DATABASE `+nameOf(url)+` SET client_encoding = 'LATIN1'`)
	db := open(t, url)
	if err := db.SetPolicies(t.Context(), past, []journal.Spec{{Name: "a", Owner: owner}}); err != nil {
		t.Fatal(err)
	}
	server.Say(t, `ALTER DATABASE `+nameOf(url)+` RESET client_encoding`)
	if rec, err := open(t, url).Load(t.Context(), "a"); err != nil || rec.Policy.Owner != owner {
		t.Errorf("the owner is %q, %v; want %q", rec.Policy.Owner, err, owner)
	}
	server.Say(t, `CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0`)
	if _, err := Open(t.Context(), server.Same(t, "/latin"), Options{}); err == nil || !strings.Contains(err.Error(), "LATIN1") {
		t.Errorf("a database that cannot hold %q: %v", owner, err)
	}
}

// TestDurabilityIsTakenAway: nothing is claimed once a crash could lose what was committed, and all goes on when that is over.
func TestDurabilityIsTakenAway(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	db := open(t, server.Database(t))
	setPolicies(t, db, "a")
	server.Say(t, `ALTER SYSTEM SET synchronous_commit = off`, `SELECT pg_reload_conf()`)
	soon(t, "claims are refused", func() bool {
		claims, err := db.Claim(t.Context(), "me", past, 1)
		for _, c := range claims { // the server's processes notice one after the other
			if err := db.Release(t.Context(), c, time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		return errors.Is(err, errNotDurable)
	})
	server.Say(t, `ALTER SYSTEM RESET synchronous_commit`, `SELECT pg_reload_conf()`)
	soon(t, "claims are made again", func() bool {
		claims, err := db.Claim(t.Context(), "me", past, 1)
		return err == nil && len(claims) == 1
	})
}

// TestExcludedWhileItRuns: a replica that runs while a version is put beside it that excludes it stops acting, and what it had
// in hand is lost to it; it goes on when it is taken again.
func TestExcludedWhileItRuns(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	db := open(t, server.Database(t))
	setPolicies(t, db, "a", "b")
	claims, err := db.Claim(t.Context(), "me", past, 1)
	if err != nil || len(claims) != 1 {
		t.Fatal(claims, err)
	}
	mine := claims[0]
	rec, err := db.Load(t.Context(), mine.Policy)
	if err != nil {
		t.Fatal(err)
	}
	say := func(query string) {
		t.Helper()
		if err := db.say(t.Context(), func(ctx context.Context, q tx) error { _, err := q.exec(ctx, query); return err }); err != nil {
			t.Fatal(err)
		}
	}
	say(fmt.Sprintf(`INSERT INTO schema_version (version, file, at, program, compatible_with) VALUES (%d, 'x', 0, 'rotator 9.0', %[1]d)`, len(db.known)+1))
	if claims, err := db.Claim(t.Context(), "me", past, 1); !errors.Is(err, journal.ErrNewer) || !strings.Contains(err.Error(), "rotator 9.0") {
		t.Errorf("claimed %v: %v", claims, err)
	}
	if _, err := db.Renew(t.Context(), past, mine); !errors.Is(err, journal.ErrLost) {
		t.Errorf("renewed: %v", err)
	}
	if err := db.Commit(t.Context(), mine, rec, true); !errors.Is(err, journal.ErrLost) {
		t.Errorf("committed: %v", err)
	}
	if did, err := db.Chore(t.Context(), past, "sweep", time.Hour); did || err != nil {
		t.Errorf("the chore is its own: %t, %v", did, err)
	}
	if err := db.SetPolicies(t.Context(), past, nil); !errors.Is(err, journal.ErrNewer) {
		t.Errorf("loaded: %v", err)
	}
	say(`DELETE FROM schema_version WHERE file = 'x'`)
	if claims, err := db.Claim(t.Context(), "me", past, 1); err != nil || len(claims) != 1 {
		t.Errorf("taken again, it claims %v: %v", claims, err)
	}
}

// TestLoadersWait: a process that loads policies has patience with another who has thousands of them to load, longer than with the
// lock of a row.
func TestLoadersWait(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	url := server.Database(t)
	db := open(t, url)
	loaded := make(chan error, 1)
	err := db.ask(t.Context(), func(ctx context.Context, other tx) error {
		if _, err := other.exec(ctx, fmt.Sprintf(`SELECT pg_advisory_lock(%d)`, lockSchema)); err != nil {
			return err
		}
		go func() { loaded <- db.SetPolicies(t.Context(), past, []journal.Spec{{Name: "a"}}) }()
		_, err := other.exec(ctx, fmt.Sprintf(`SELECT pg_sleep(6), pg_advisory_unlock(%d)`, lockSchema))
		return err
	})
	if err := errors.Join(err, <-loaded); err != nil {
		t.Error(err)
	}
}

// TestFewConnections: where the server grants fewer connections than a replica may open, its callers wait for those there
// are, and are not refused.
func TestFewConnections(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	server.Say(t, `CREATE ROLE few LOGIN CONNECTION LIMIT 3`, `CREATE DATABASE few OWNER few`)
	db := open(t, strings.Replace(server.Same(t, "/few"), "postgres@", "few@", 1))
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			err := db.write(t.Context(), func(ctx context.Context, q tx) error {
				_, err := q.exec(ctx, `SELECT pg_sleep(0.2)`)
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func notDurable(t *testing.T, url string) {
	db := open(t, url)
	if _, err := db.engine.(*postgresDB).pool.ExecContext(t.Context(),
		`DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || current_database() || ' SET synchronous_commit = off'; END $$`); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), url, Options{}); err == nil || !strings.Contains(err.Error(), "synchronous_commit") {
		t.Errorf("a database that loses commits: %v", err)
	}
}

func lookOnly(t *testing.T, url string) {
	if _, err := Open(t.Context(), url, Options{ReadOnly: true}); !errors.Is(err, ErrNoJournal) {
		t.Errorf("a database without a journal, to look at: %v", err)
	}
	setPolicies(t, open(t, url), "a")
	db := openWith(t, url, Options{ReadOnly: true})
	if s, err := db.Summaries(t.Context()); err != nil || len(s) != 1 {
		t.Errorf("%d policies, %v", len(s), err)
	}
	if _, err := db.Events(t.Context(), 0, 0); err != nil {
		t.Error(err)
	}
	if err := db.SetMeta(t.Context(), "a", "b"); !errors.Is(err, ErrReadOnly) {
		t.Errorf("a write: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}

func quietErrors(t *testing.T, url string) {
	for _, bad := range []string{
		"postgres://rotator:hunter2@127.0.0.1:1/rotator?connect_timeout=1",
		"postgres://rotator:hunter2@127.0.0.1:port/rotator",
		"postgres://rotator:hunter2@127.0.0.1/rotator?sslmode=hunter2",
		"host=127.0.0.1 user=rotator password=hunter2",
		"hunter2://rotator@127.0.0.1/rotator",
	} {
		_, err := Open(t.Context(), bad, Options{})
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error is %v", err)
		}
	}
	db := open(t, url)
	if err := db.Backup(t.Context(), t.TempDir()+"/copy"); err == nil || !strings.Contains(err.Error(), "pg_dump") {
		t.Errorf("a backup: %v", err)
	}
	closed(t, db)
}
