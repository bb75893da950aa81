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

// TestRollingUpgrade: replicas of the version before are replaced one by one, while consumers use their keys. The first
// new one brings the schema up to date beside the old ones, and each of both goes on rotating and taking orders. The way
// back by one version is the same; a program that the schema excludes is refused, and says why.
func TestRollingUpgrade(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, 6)
	c.complain()
	for _, r := range c.replicas {
		r.program = previous
	}
	users, stop := c.rotating(6 * time.Second)
	version := func() int { return c.count(`SELECT max(version) FROM schema_version`) }
	if v := version(); v != 1 {
		t.Fatalf("the version before makes schema %d", v)
	}
	first, old := c.replicas[0], c.replicas[1]
	first.exchange(binary, "it is new among old ones")
	now := version()
	if now < 2 {
		t.Fatalf("the schema is %d: nothing was migrated", now)
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
		r.exchange(binary, "it is new")
		r.alone("new")
	}
	old.exchange(previous, "it is old again")
	old.alone("old again")
	if v := version(); v != now {
		t.Errorf("the old program made schema %d of %d", v, now)
	}

	old.terminate()
	c.say(fmt.Sprintf(`UPDATE schema_version SET compatible_with = 2 WHERE version = %d`, now))
	out, code := old.order("run")
	if code == 0 || !strings.Contains(out, "this program knows schemas up to 1") {
		t.Errorf("a program that the schema excludes: exit %d\n%s", code, out)
	}
	old.program = binary
	old.start()
	c.nothingLost(users, stop)
}
