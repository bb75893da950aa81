package replicas

import (
	"math/rand/v2"
	"os"
	"regexp"
	"testing"
	"time"
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
			eventually(b, time.Minute, "somebody owns the policy", func() bool { r = c.owner(); return r != nil })
			time.Sleep(rand.N(c.lease / 3))
			epoch := c.epoch()
			r.kill()
			began := time.Now()
			eventually(b, time.Minute, "the other took it over", func() bool { return c.epoch() > epoch })
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

// statement is a line of the server's log that tells of one.
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
		c.watch = 15 * time.Minute // as in production
		r := c.replicas[0]
		r.configure()
		r.start()
		rest := func() {
			eventually(b, 2*time.Minute, "all is at rest", func() bool {
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
		const while = 20 * time.Second // nobody asks meanwhile: to ask would be counted
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
