package replicas

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"regexp"
	"testing"
	"time"

	"rotator/internal/testenv/postgrestest"
)

// BenchmarkTakeover kills the owner of a policy at a random moment between two renewals of its lease, and measures how
// long it takes until the other replica owns it, over the length of the lease.
func BenchmarkTakeover(b *testing.B) {
	const kills = 6
	for b.Loop() {
		c := newCluster(b, 2, 1)
		c.lease = 15 * time.Second
		c.schedule(time.Hour)
		for _, r := range c.replicas {
			r.xai.silence() // whoever claims the policy waits for xAI, and renews
			r.configure()
			r.start()
		}
		sum, worst := 0.0, 0.0
		for range kills {
			var r *replica
			eventually(b, "someone owns the policy", func() bool { r = c.owner(); return r != nil })
			time.Sleep(rand.N(c.lease / 3))
			epoch := c.epoch()
			r.kill()
			began := time.Now()
			eventually(b, "the other took it over", func() bool { return c.epoch() > epoch })
			ratio := time.Since(began).Seconds() / c.lease.Seconds()
			sum, worst = sum+ratio, max(worst, ratio)
			r.start()
		}
		b.ReportMetric(sum/kills, "takeover/lease")
		b.ReportMetric(worst, "worst/lease")
	}
}

// epoch counts the claims of the one policy.
func (c *cluster) epoch() int {
	c.Helper()
	return c.count(`SELECT sum(lease_epoch) FROM policies`)
}

// statement is a line of the server's log that reports one.
var statement = regexp.MustCompile(`(?m)LOG:  (statement|execute [^:]*):`)

// statements counts what the server was asked so far.
func (c *cluster) statements() int {
	c.Helper()
	b, err := os.ReadFile(c.postgres.LogFile())
	if err != nil {
		c.Fatal(err)
	}
	return len(statement.FindAll(b, -1))
}

// BenchmarkStatements counts what one replica asks of the database while nothing is due, and what a rotation adds, from
// its order until the old key is deleted.
func BenchmarkStatements(b *testing.B) {
	for b.Loop() {
		c := newCluster(b, 1, 20)
		c.say(`ALTER ROLE postgres SET log_statement = 'all'`)
		c.schedule(720 * time.Hour)
		c.lease, c.watch = 15*time.Second, 15*time.Minute // as in production
		r := c.replicas[0]
		r.configure()
		r.start()
		rest := func() {
			eventually(b, "all is at rest", func() bool {
				return c.live() >= len(c.names) && c.count(`SELECT count(*) FROM rotations WHERE ended_at IS NULL`) == 0
			})
		}
		rest()
		const idle = 10 * time.Second
		time.Sleep(idle) // the last events are still being told
		before := c.statements()
		time.Sleep(idle)
		each := float64(c.statements()-before) / idle.Seconds()

		before = c.statements()
		r.must(append([]string{"rotate", "--wait", "none"}, c.names...)...)
		const while = 20 * time.Second // no one asks meanwhile: to ask would be counted
		time.Sleep(while)
		busy := float64(c.statements()-before) - each*while.Seconds()
		rest()
		if n := c.live(); n != 2*len(c.names) {
			b.Fatalf("%d rotations became live, want two of each policy", n)
		}
		b.ReportMetric(each, "idle-statements/s")
		b.ReportMetric(busy/float64(len(c.names)), "statements/rotation")
	}
}

// BenchmarkIdle counts what each replica asks of the database while nothing is due but watches, every 15 minutes for each
// of so many policies.
func BenchmarkIdle(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		for _, replicas := range []int{1, 2} {
			b.Run(fmt.Sprintf("%d/%d", n, replicas), func(b *testing.B) {
				for b.Loop() {
					idle(b, n, replicas)
				}
			})
		}
	}
}

func idle(b *testing.B, n, replicas int) {
	c := newClusterOn(b, postgrestest.Start(b, "log_statement=all"), replicas, 1)
	c.complain()
	c.lease, c.watch = 15*time.Second, 15*time.Minute // as in production
	c.schedule(720 * time.Hour)
	for _, r := range c.replicas {
		r.configure()
	}
	r := c.replicas[0]
	r.start()
	r.ready(http.StatusOK, "it has begun")
	eventually(b, "the pattern of all is at rest", func() bool {
		return c.count(`SELECT count(*) FROM rotations WHERE ended_at IS NOT NULL`) == 1
	})
	r.terminate()
	c.multiply(n)
	c.schedule(720 * time.Hour)
	for _, r := range c.replicas {
		r.start()
		eventually(b, "it has begun", func() bool { status, _ := r.probe("/readyz"); return status == http.StatusOK })
	}
	eventually(b, "what came due while it began is watched", func() bool {
		return c.count(`SELECT count(*) FROM policies WHERE next_run_at < extract(epoch FROM now() - interval '10 seconds') * 1000000`) == 0
	})
	const while = 30 * time.Second
	time.Sleep(while)
	events := c.count(`SELECT count(*) FROM events`)
	calls, before := c.sim.Calls(), c.statements()
	time.Sleep(while)
	asked := c.statements() - before
	watched := c.sim.Calls()["whoami"] - calls["whoami"]
	if due := n * int(while/time.Second) / 900; watched < due/2 {
		b.Errorf("%d policies were watched, and %d were due", watched, due)
	}
	if now := c.count(`SELECT count(*) FROM events`); now != events {
		b.Errorf("%d events: they were not idle", now-events)
	}
	b.ReportMetric(float64(asked)/while.Seconds()/float64(replicas), "statements/s")
	b.ReportMetric(float64(watched)/while.Seconds(), "watches/s")
}

// multiply makes n policies at rest of the one that is there, each with a key and a target of its own. Their watches are
// due evenly.
func (c *cluster) multiply(n int) {
	c.Helper()
	var ids, values []string
	for i := len(c.names); i < n; i++ {
		name := fmt.Sprintf("p%06d", i)
		id, value := c.sim.AddKey(team, "rotator-"+name+"-multiplied", "api-key:model:grok-4", "api-key:endpoint:chat")
		c.names, ids, values = append(c.names, name), append(ids, id), append(values, string(value.Fingerprint()))
		if err := os.WriteFile(c.path("secrets", name), []byte(value.Reveal()), 0o600); err != nil {
			c.Fatal(err)
		}
	}
	db, err := sql.Open("pgx", c.url)
	if err != nil {
		c.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for table, facts := range map[string]string{
		"policies": `'name', m.name, 'spec', replace(p.spec, 'p000', m.name), 'key_id', m.id, 'fingerprint', m.print,
			'next_run_at', m.at, 'watch_at', m.at`,
		"keys":    `'id', m.id, 'policy', m.name, 'name', 'rotator-' || m.name || '-multiplied', 'fingerprint', m.print`,
		"targets": `'policy', m.name, 'path', m.name, 'key_id', m.id, 'fingerprint', m.print, 'replaceable', m.print`,
	} {
		_, err := db.ExecContext(context.Background(), `WITH m AS (SELECT *, ((extract(epoch FROM now()) + 900 * random()) * 1000000)::bigint AS at
				FROM unnest($1::text[], $2::text[], $3::text[]) AS u (name, id, print))
			INSERT INTO `+table+` SELECT (jsonb_populate_record(p, jsonb_build_object(`+facts+`))).* FROM `+table+` AS p, m`,
			c.names[1:], ids, values)
		if err != nil {
			c.Fatalf("%s: %v", table, err)
		}
	}
	c.say("ANALYZE")
}

// BenchmarkThroughput is how many first rotations become live in a second with one, two and four replicas, over what one
// alone does. Each call to xAI takes a quarter of a second, and a replica takes four steps at a time, so that neither
// this machine nor the database is what limits it.
func BenchmarkThroughput(b *testing.B) {
	const policies = 64
	for b.Loop() {
		alone := 0.0
		for _, n := range []int{1, 2, 4} {
			c := newCluster(b, n, policies)
			c.complain()
			c.slots, c.lease, c.watch = 4, 15*time.Second, 15*time.Minute
			for _, r := range c.replicas {
				r.configure()
				r.xai.delay(250 * time.Millisecond)
				r.start()
			}
			for _, r := range c.replicas {
				r.ready(http.StatusOK, "it has begun")
			}
			began := time.Now()
			c.schedule(720 * time.Hour)
			eventually(b, "all are live", func() bool { return c.live() == policies })
			rate := policies / time.Since(began).Seconds()
			for _, r := range c.replicas {
				r.terminate()
			}
			if n == 1 {
				alone = rate
				b.ReportMetric(rate, "rotations/s")
			} else {
				b.ReportMetric(rate/alone, fmt.Sprintf("%d/1", n))
			}
		}
	}
}
