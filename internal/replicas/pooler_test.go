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
	if n := c.count(`SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'`); n > 4 {
		t.Errorf("the server has %d connections, the pooler's three and this one: somebody goes around the pooler", n)
	}
	if out := a.must("status"); !strings.Contains(out, "p000") {
		t.Errorf("status:\n%s", out)
	}
}
