package replicas

import (
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestTransactionPooler: replicas reach the database through a pooler that has fewer connections than they open, and
// hands each out for one transaction. They rotate as ever, and an order that one takes wakes the other by its next look:
// no notification comes through.
func TestTransactionPooler(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2, 6)
	c.complain()
	c.upstream.Store(&upstream{"tcp", c.postgres.Pooler(t, 3)})
	users, stop := c.rotating(720 * time.Hour)
	a, b := c.replicas[0], c.replicas[1]
	a.ready(http.StatusOK, "it is behind a pooler")
	b.ready(http.StatusOK, "it is behind a pooler")

	a.signal(syscall.SIGSTOP)
	b.must(append([]string{"rotate", "--supersede"}, c.names[:3]...)...)
	a.signal(syscall.SIGCONT)
	b.signal(syscall.SIGSTOP)
	a.must(append([]string{"rotate", "--supersede"}, c.names[3:]...)...)
	b.signal(syscall.SIGCONT)
	for _, trouble := range []string{"prepared statement", "SQLSTATE 08P01", "unsupported"} {
		if n := c.said(trouble); n > 0 {
			t.Errorf("the logs say %q %d times", trouble, n)
		}
	}
	c.nothingLost(users, stop)
	if n := c.live(); n != 2*len(c.names) {
		t.Errorf("%d rotations became live, want two of each policy", n)
	}
	eventually(t, "the server has the pooler's three connections and this one, so that nobody goes around the pooler", func() bool {
		return c.count(`SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'`) <= 4
	})
	if out := a.must("status"); !strings.Contains(out, "p000") {
		t.Errorf("status:\n%s", out)
	}
}
