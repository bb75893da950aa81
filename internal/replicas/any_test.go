package replicas

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"rotator/rotation/journal"
	"rotator/xai/xaisim"
)

// order runs a command through a replica and returns what it said and its exit code. One that the replica was too slow to
// greet has asked for nothing yet, and is run again.
func (r *replica) order(args ...string) (string, int) {
	r.Helper()
	path, err := r.program()
	if err != nil {
		r.Fatal(err)
	}
	for tries := 1; ; tries++ {
		cmd := exec.Command(path, append(args, "--config", r.path(r.name("replica")+".yaml"))...)
		cmd.Dir = r.dir
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil {
			r.Fatal(err)
		}
		if tries == 3 || !strings.Contains(string(out), "does not answer as it should") {
			return string(out), cmd.ProcessState.ExitCode()
		}
	}
}

// must is order for what succeeds.
func (r *replica) must(args ...string) string {
	r.Helper()
	out, code := r.order(args...)
	if code != 0 {
		r.Fatalf("%s through %s: exit %d\n%s", strings.Join(args, " "), r.name("replica"), code, out)
	}
	return out
}

// probe asks the replica's web address.
func (r *replica) probe(path string) (status int, body string) {
	client := http.Client{Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	answer, err := client.Get("http://" + r.web + path)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = answer.Body.Close() }()
	b, _ := io.ReadAll(answer.Body)
	return answer.StatusCode, string(b)
}

// ready waits until the replica says whether it is ready. One that ended before it ever was is started again.
func (r *replica) ready(want int, why string) {
	r.Helper()
	last := ""
	defer func() {
		if r.Failed() {
			r.Logf("%s said %s", r.name("replica"), last)
		}
	}()
	eventually(r, fmt.Sprintf("readyz is %d: %s", want, why), func() bool {
		if want == http.StatusOK && !r.begun {
			r.revive()
		}
		status, body := r.probe("/readyz")
		last = body
		return status == want
	})
	r.begun = r.begun || want == http.StatusOK
	var status int
	var body string
	eventually(r, "an answer about its health", func() bool { status, body = r.probe("/healthz"); return status != 0 })
	if status != http.StatusOK {
		r.Errorf("healthz %d %q: a database's trouble is no reason to start a replica again", status, body)
	}
}

// say runs statements in the database, in one session. One that is broken off for a replica's sake, since both wait for
// each other, is said again.
func (c *cluster) say(statements ...string) {
	c.Helper()
	db, err := sql.Open("pgx", c.url)
	if err != nil {
		c.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	db.SetMaxOpenConns(1)
	for _, s := range statements {
		_, err := db.ExecContext(context.Background(), s)
		for isDeadlock(err) {
			_, err = db.ExecContext(context.Background(), s)
		}
		if err != nil {
			c.Fatalf("%s: %v", s, err)
		}
	}
}

func isDeadlock(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && e.Code == "40P01"
}

// TestAnyReplica: what people say to one replica holds for all, and each shows the same.
func TestAnyReplica(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2, 3)
	c.complain()
	c.schedule(720 * time.Hour)
	a, b := c.replicas[0], c.replicas[1]
	a.start()
	b.start()
	a.ready(http.StatusOK, "it has just begun")
	b.ready(http.StatusOK, "it has just begun")
	eventually(t, "the first keys are live and at rest", func() bool { return c.live() == len(c.names) && c.owner() == nil })

	a.must("hold", "p000", "--reason", "audit")
	if out, code := b.order("status", "p000"); code != 3 || !strings.Contains(out, "audit") {
		t.Errorf("a hold is not seen through the other replica: exit %d\n%s", code, out)
	}
	b.must("release", "p000")
	a.must("status", "p000")

	c.sim.Inject(xaisim.LieNotPropagated(1_000_000)) // a rotation that cannot make progress
	a.must("rotate", "p001", "--supersede", "--wait", "none", "--why", "to be aborted")
	eventually(t, "the rotation waits for its key to spread", func() bool {
		return c.count(`SELECT count(*) FROM rotations WHERE policy = 'p001' AND state = 'staged'`) == 1
	})
	b.must("abort", "p001", "--why", "changed my mind")
	c.sim.ClearFaults()
	eventually(t, "it is aborted", func() bool {
		return c.count(`SELECT count(*) FROM rotations WHERE policy = 'p001' AND state = 'aborted'`) == 1
	})
	b.must("rotate", "p002", "--supersede") // and waits until it is live, whoever made it so
	if n := c.count(`SELECT count(*) FROM rotations WHERE policy = 'p002' AND live_at IS NOT NULL`); n != 2 {
		t.Errorf("p002 became live %d times, want 2", n)
	}
	// While a rotation goes on, it may do so between the two questions.
	eventually(t, "two replicas tell one history", func() bool { return a.must("history", "-o", "json") == b.must("history", "-o", "json") })
	j := c.look()
	defer func() { _ = j.Close() }()
	if h, err := j.HoldOf(t.Context(), "p001"); err != nil || !h.Active(time.Now()) {
		t.Errorf("an abort leaves a hold: %+v, %v", h, err)
	}
	if _, err := j.Load(t.Context(), "p003"); err == nil || !strings.Contains(err.Error(), journal.ErrNotFound.Error()) {
		t.Errorf("a policy that nobody has: %v", err)
	}
}

// count reads a number from the database. Where a standby recovers, or sessions still end, it asks again.
func (c *cluster) count(query string) (n int) {
	c.Helper()
	var last error
	defer func() {
		if c.Failed() {
			c.Logf("%s: %v", query, last)
		}
	}()
	eventually(c, "an answer to "+query, func() bool { last = c.query(query, &n); return last == nil })
	return n
}
