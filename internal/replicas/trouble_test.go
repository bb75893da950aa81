package replicas

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rotator/internal/testenv/postgrestest"
)

// TestDatabaseTrouble: a replica that cannot act says so, lives on, and goes on by itself.
func TestDatabaseTrouble(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2, 2)
	c.complain()
	c.schedule(720 * time.Hour)
	a, b := c.replicas[0], c.replicas[1]
	a.start()
	b.start()
	a.ready(http.StatusOK, "it has just begun")
	b.ready(http.StatusOK, "it has just begun")
	pid := a.pid()

	a.database.silence()
	a.ready(http.StatusServiceUnavailable, "the line is silent")
	b.ready(http.StatusOK, "its own line is well")
	a.repair()
	a.ready(http.StatusOK, "the line is repaired")

	a.database.setCut(true)
	a.ready(http.StatusServiceUnavailable, "the line is cut")
	a.repair()
	a.ready(http.StatusOK, "the line is repaired")

	// As a standby that was not promoted yet.
	const others = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`
	c.say(`ALTER ROLE postgres SET default_transaction_read_only = on`, others)
	a.ready(http.StatusServiceUnavailable, "the database only reads")
	b.ready(http.StatusServiceUnavailable, "the database only reads")
	c.say(`SET default_transaction_read_only = off`, `ALTER ROLE postgres RESET default_transaction_read_only`, others)
	a.ready(http.StatusOK, "the database writes again")

	c.postgres.Kill(t)
	a.ready(http.StatusServiceUnavailable, "there is no database")
	c.names = append(c.names, "p002")
	c.schedule(720 * time.Hour)
	eventually(t, "both read that there is a policy more", func() bool { return c.said("configuration not read again") >= 2 })
	c.postgres.Restart(t)
	a.ready(http.StatusOK, "the database is back")
	b.ready(http.StatusOK, "the database is back")
	if a.pid() != pid {
		t.Error("the replica was started again")
	}
	within(t, 2*time.Minute, "the policy that came meanwhile is live", func() bool { return c.live() == len(c.names) })
	select {
	case <-a.ended:
		t.Error("the replica ended")
	default:
	}
	if out := a.must("rotate", "p000", "--supersede"); !strings.Contains(out, "live") && !strings.Contains(out, "done") {
		t.Errorf("it does not rotate any more:\n%s", out)
	}
}

// rotating starts all replicas on policies that come due again and again, and consumers that use their keys.
func (c *cluster) rotating(every time.Duration) (users *consumers, stop func()) {
	c.Helper()
	c.schedule(every)
	for _, r := range c.replicas {
		r.start()
	}
	users, stop = c.consume()
	users.guardKeys()
	for _, r := range c.replicas {
		r.ready(http.StatusOK, "it has just begun")
	}
	eventually(c, "the first keys are live", func() bool { return c.live() >= len(c.names) })
	return users, stop
}

// changes says what the replicas have changed outside so far: calls to xAI that change something, and what is in
// the stores.
func (c *cluster) changes() string {
	c.Helper()
	calls := c.sim.Calls()
	var text strings.Builder
	fmt.Fprint(&text, calls["create"], calls["update"], calls["delete"])
	for _, pattern := range []string{"*", ".rotator/*.staged"} {
		files, _ := filepath.Glob(c.path("secrets", pattern))
		for _, file := range files {
			if i, err := os.Stat(file); err == nil && i.Mode().IsRegular() {
				fmt.Fprintf(&text, "\n%s %d", filepath.Base(file), i.ModTime().UnixNano())
			}
		}
	}
	return text.String()
}

// suffer lets all replicas meet a trouble while they rotate, of which their logs then say so much. They say that they are
// not ready, and when their leases are over nothing changes anything outside; when it ends, they go on by themselves.
func (c *cluster) suffer(trouble, logged string, begin, end func()) {
	c.Helper()
	said := c.said(logged)
	begin()
	for _, r := range c.replicas {
		r.ready(http.StatusServiceUnavailable, trouble)
	}
	time.Sleep(c.lease) // what they might still hold is over
	before := c.changes()
	time.Sleep(2 * c.lease)
	if after := c.changes(); after != before {
		c.Errorf("%s: someone acts without a lease: before\n%s\nand after\n%s", trouble, before, after)
	}
	if c.said(logged) == said {
		c.Errorf("%s: nobody met it: no log says %q", trouble, logged)
	}
	end()
	for _, r := range c.replicas {
		r.ready(http.StatusOK, "no longer: "+trouble)
		select {
		case <-r.ended:
			c.Errorf("%s: a replica ended", trouble)
		default:
		}
	}
	was := c.live()
	eventually(c, "they rotate again after: "+trouble, func() bool { return c.live() >= was+len(c.names) })
}

// TestTroubleUnderWay: a database whose disk is full, for its tables or its log, and one that others took all connections
// of.
func TestTroubleUnderWay(t *testing.T) {
	t.Parallel()
	const connections = 40
	c := newClusterOn(t, postgrestest.Start(t, fmt.Sprintf("max_connections=%d", connections), "autovacuum=off"), 2, 8)
	c.complain()
	users, stop := c.rotating(6 * time.Second)

	var full *sql.Conn
	c.suffer("the database's disk is full", "could not extend file", func() { full = c.fill() }, func() {
		c.postgres.Unfill(t)
		_ = full.Close()
	})
	var all []*sql.Conn
	c.suffer("others have all connections", "too many clients", func() { all = c.exhaust(connections) }, func() {
		for _, one := range all {
			_ = one.Close()
		}
	})
	c.suffer("the write-ahead log has no space", "connect", func() { c.postgres.EndByFullLog(t) }, func() { c.postgres.Restart(t) })
	c.nothingLost(users, stop)
}

// session opens a connection to the database beside the replicas.
func (c *cluster) session(ctx context.Context, name string) (*sql.Conn, error) {
	db, err := sql.Open("pgx", c.url+"&application_name="+name)
	if err != nil {
		return nil, err
	}
	db.SetMaxIdleConns(-1) // a connection that is given back is closed
	c.Cleanup(func() { _ = db.Close() })
	return db.Conn(ctx)
}

// fill fills the disk: the policies' table takes up its limit, and no room in it is used again while the session that
// is returned still sees what is old.
func (c *cluster) fill() *sql.Conn {
	c.Helper()
	const limit = 1 << 20 // the least with which the server can still write ahead
	ctx := context.Background()
	old, err := c.session(ctx, "old")
	if err != nil {
		c.Fatal(err)
	}
	for _, s := range []string{`BEGIN ISOLATION LEVEL REPEATABLE READ`, `SELECT count(*) FROM policies`} {
		if _, err := old.ExecContext(ctx, s); err != nil {
			c.Fatal(err)
		}
	}
	for c.count(`SELECT pg_relation_size('policies')`) <= limit {
		c.say(`DO $$ BEGIN FOR i IN 1..200 LOOP UPDATE policies SET name = name; END LOOP; END $$`)
	}
	c.postgres.Fill(c, limit)
	return old
}

// exhaust takes all connections that the server has, from their owners.
func (c *cluster) exhaust(connections int) (all []*sql.Conn) {
	c.Helper()
	const hog = "hog"
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	for ctx.Err() == nil {
		one, err := c.session(ctx, hog)
		if err == nil {
			all = append(all, one)
			continue
		}
		if len(all) == connections {
			return all
		}
		if _, err := all[0].ExecContext(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE backend_type = 'client backend' AND application_name <> $1`, hog); err != nil {
			c.Fatal(err)
		}
	}
	c.Fatalf("got %d of %d connections", len(all), connections)
	return nil
}

// TestSlowDatabase: each statement takes so long that a transaction takes nearly a lease, and then so long that no renewal
// comes in time.
func TestSlowDatabase(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2, 4)
	c.lease = 5 * time.Second // a renewal may take a second, as long as an answer to a probe
	c.complain()
	for _, r := range c.replicas {
		r.configure()
	}
	users, stop := c.rotating(10 * time.Second)
	slow := func(d time.Duration) {
		for _, r := range c.replicas {
			r.database.delay(d)
		}
	}
	slow(c.lease / 10) // some transactions come through in time: whatever happens, nothing may be lost
	time.Sleep(3 * c.lease)
	c.suffer("each statement takes a quarter of a lease", "not ready", func() { slow(c.lease / 4) }, func() {
		for _, r := range c.replicas {
			r.repair()
		}
	})
	c.nothingLost(users, stop)
}
