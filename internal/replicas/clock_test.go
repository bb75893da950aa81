package replicas

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"rotator/internal/testenv/postgrestest"
)

// set sets the clock of a replica of a skewed build, so much ahead of the machine's.
func (r *replica) set(ahead time.Duration) {
	r.Helper()
	r.write(r.name("clock"), fmt.Sprintf("%d", int(ahead.Seconds())))
}

// TestClocks: the database's clock jumps while owners hold leases by it, and so do the replicas', which never agree. The
// rotations go on, no process ends, and nothing is lost. A clock that goes back lets what is due wait for as long.
func TestClocks(t *testing.T) {
	t.Parallel()
	const apart = 3 * 24 * time.Hour // of this machine's clock: one replica before it, the other after
	// Of the database's clock and xAI's. Every deadline waits for both clocks, and is counted from the one that is ahead: an old
	// key's overlap and its soak take so much longer each.
	const furthest = 90 * time.Second
	c := newClusterOn(t, postgrestest.StartWithClock(t), 2, 6)
	c.complain()
	for i, r := range c.replicas {
		r.program = skewed
		r.set(time.Duration(1-2*i) * apart)
	}
	users, stop := c.rotating(6 * time.Second)
	goesOn := func(why string) {
		t.Helper()
		was := c.live()
		// The server's processes notice one after the other: what one puts off by another's clock waits for as long as they differ.
		within(t, 2*time.Minute, "they rotate on after "+why, func() bool { return c.live() >= was+len(c.names) })
		for _, r := range c.replicas {
			r.ready(http.StatusOK, why)
		}
	}
	for _, ahead := range []time.Duration{40 * time.Second, 20 * time.Second, furthest} {
		users.setClock(ahead)
		goesOn(fmt.Sprintf("the database's clock went to %s ahead", ahead))
	}
	users.setClock(furthest - 20*time.Second)
	for i, r := range c.replicas {
		r.set(time.Duration(2*i-1) * apart)
	}
	goesOn("every clock jumped")
	c.nothingLost(users, stop)
}
