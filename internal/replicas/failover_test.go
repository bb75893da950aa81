package replicas

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"rotator/xai/xaisim"
)

// TestLostCommits: the primary dies, and the standby that takes over never heard of its last commits: of a rotation that
// became live and retired its old key, and of one whose key is staged. It is recognized and reported, and everything is only
// compared until what was lost can land no more. What the journal does not know of is reported and never touched, no consumer
// reads a dead key, what matches goes on rotating, and a human decides on the rest.
func TestLostCommits(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2, 3)
	c.complain()
	line := c.newLine(t)
	standby := c.postgres.Standby(t, line.address())
	users, stop := c.rotating(720 * time.Hour)
	a, b := c.replicas[0], c.replicas[1]
	primary := c.url
	c.url = standby.Same(t, primary)
	eventually(t, "the standby knows all", func() bool {
		return c.count(`SELECT count(*) FROM rotations WHERE ended_at IS NOT NULL`) == len(c.names)
	})
	line.setCut(true)

	c.url = primary
	a.must("rotate", "p000", "--supersede", "--wait", "retired")
	c.sim.Inject(xaisim.LieNotPropagated(1_000_000))
	a.must("rotate", "p001", "--supersede", "--wait", "none")
	eventually(t, "the key of p001 is staged", func() bool {
		return c.count(`SELECT count(*) FROM rotations WHERE policy = 'p001' AND state = 'staged'`) == 1
	})
	if n := len(c.sim.Live(team)); n != 4 {
		t.Fatalf("xAI holds %d keys, want one of each policy and the successor of p001", n)
	}
	c.postgres.Kill(t)
	c.sim.ClearFaults()
	standby.Promote(t)
	c.url = standby.Same(t, primary)
	c.upstream.Store(&upstream{"unix", standby.Socket()})
	a.ready(http.StatusOK, "the standby was promoted")
	b.ready(http.StatusOK, "the standby was promoted")

	eventually(t, "it is reported, once", func() bool { return c.count(`SELECT count(*) FROM events WHERE kind = 'failed_over'`) == 1 })
	if out, code := b.order("rotate", "p002", "--supersede"); code == 0 || !strings.Contains(out, "the journal may not be the newest") {
		t.Errorf("it rotates while it compares: exit %d\n%s", code, out)
	}
	compared := func(policy string) bool {
		return c.count(`SELECT count(*) FROM events WHERE kind = 'reconciled' AND policy = '`+policy+`'`) > 0
	}
	eventually(t, "what matches is known to be the newest", func() bool { return compared("p001") && compared("p002") })
	eventually(t, "p000 waits for a human", func() bool {
		out, code := b.order("status", "p000")
		return code == 3 && strings.Contains(out, "does not hold the key that it expects there")
	})
	b.must("rotate", "p001", "--supersede")
	b.must("rotate", "p002", "--supersede")
	a.must("resolve", "p000", "--target", "local:p000", "--overwrite")
	eventually(t, "a human decided", func() bool { return compared("p000") })
	b.must("rotate", "p000", "--supersede")
	eventually(t, "every rotation has ended", func() bool {
		return c.count(`SELECT count(*) FROM rotations WHERE ended_at IS NULL`) == 0
	})
	eventually(t, "the orphans are told", func() bool { return c.count(`SELECT count(*) FROM events WHERE kind = 'orphans'`) > 0 })
	stop()
	c.report("I1", users.failures)
	c.report("I6", c.oneStory())
	if n := c.orphans(); n != 2 {
		t.Errorf("%d keys are reported as orphans, want the two whose intents were lost:\n%s", n, a.must("keys"))
	}
	if n := len(c.sim.Live(team)); n != len(c.names)+2 {
		t.Errorf("xAI holds %d keys, want one of each policy, and the two that nobody may touch", n)
	}
	if n := c.count(`SELECT count(*) FROM events WHERE kind = 'failed_over'`); n != 1 {
		t.Errorf("it was told %d times", n)
	}
	t.Logf("consumers: %d calls, %d failed", users.calls.Load(), len(users.failures))
}

// orphans counts the keys that have the rotator's prefix and that no intent names, as `rotator keys` shows them.
func (c *cluster) orphans() (n int) {
	c.Helper()
	var rows []struct{ Kind string }
	out := c.replicas[0].must("keys", "-o", "json")
	if err := json.NewDecoder(strings.NewReader(out)).Decode(&rows); err != nil {
		c.Fatalf("%v: %s", err, out)
	}
	for _, r := range rows {
		if r.Kind == "orphan" {
			n++
		}
	}
	return n
}
