package replicas

import (
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// alone freezes every other replica until this one has made keys live.
func (r *replica) alone(why string) {
	r.Helper()
	for _, other := range r.replicas {
		if other != r {
			other.signal(syscall.SIGSTOP)
			defer other.signal(syscall.SIGCONT)
		}
	}
	time.Sleep(r.lease)
	was := r.live()
	eventually(r, fmt.Sprintf("%s alone, %s, rotates", r.name("replica"), why), func() bool { return r.live() > was })
}

// exchange stops a replica and starts another version in its place.
func (r *replica) exchange(program func() (string, error), why string) {
	r.Helper()
	r.terminate()
	r.program = program
	r.start()
	r.ready(http.StatusOK, why)
}

// TestRollingUpgrade: replicas are replaced by those of the next version one by one, while consumers use their keys. The
// first new one brings the schema up to date beside the old ones, and each of both goes on rotating and taking orders. The
// way back by one version is the same; a program that the schema excludes is refused, and says why.
func TestRollingUpgrade(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, 6)
	c.complain()
	users, stop := c.rotating(6 * time.Second)
	version := func() int { return c.count(`SELECT max(version) FROM schema_version`) }
	was := version()
	first, old := c.replicas[0], c.replicas[1]
	first.exchange(ahead, "it is new among old ones")
	if v := version(); v != was+1 {
		t.Fatalf("the schema is %d, want %d: nothing was migrated", v, was+1)
	}
	first.alone("new")
	old.alone("old, on the new schema")

	first.must("hold", "p000", "--reason", "audit")
	if out, code := old.order("status", "p000"); code != 3 || !strings.Contains(out, "audit") {
		t.Errorf("the old replica does not show the new one's hold: exit %d\n%s", code, out)
	}
	old.must("release", "p000")
	old.must("rotate", "p001", "--supersede")
	first.must("rotate", "p002", "--supersede")

	for _, r := range c.replicas[1:] {
		r.exchange(ahead, "it is new")
		r.alone("new")
	}
	old.exchange(binary, "it is old again")
	old.alone("old again")
	if v := version(); v != was+1 {
		t.Errorf("the old program made schema %d of %d", v, was+1)
	}

	old.terminate()
	c.say(fmt.Sprintf(`UPDATE schema_version SET compatible_with = %d WHERE version = %d`, was+1, was+1))
	out, code := old.order("run")
	if code == 0 || !strings.Contains(out, fmt.Sprintf("this program knows schemas up to %d", was)) {
		t.Errorf("a program that the schema excludes: exit %d\n%s", code, out)
	}
	c.say(fmt.Sprintf(`UPDATE schema_version SET compatible_with = %d WHERE version = %d`, was, was+1)) // for the look of this test
	old.program = ahead
	old.start()
	c.nothingLost(users, stop)
}
