package replicas

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// TestMove: a daemon on SQLite is stopped, its journal copied to PostgreSQL, and replicas go on where it stood, while
// consumers use their keys. A copy is refused while anybody has either journal. Then it goes back the same way.
func TestMove(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2, 4)
	c.overlap = 20 * time.Second // a rotation outlives the move
	c.complain()
	c.schedule(720 * time.Hour)
	a, b := c.replicas[0], c.replicas[1]
	shared, err := os.ReadFile(a.path("replica-0.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	on := func(state string) { // replica 0 uses another journal
		_, rest, _ := strings.Cut(string(shared), "\n")
		c.write("replica-0.yaml", fmt.Sprintf("state: %q\n%s", state, rest))
	}
	users, stop := c.consume()
	users.guardKeys()
	file, database := "sqlite:"+c.path("rotator.db"), c.url+"&password=file:"+c.path("database.password")
	refused := func(why string) {
		t.Helper()
		for _, way := range [][]string{{file, database}, {database, file}} {
			if out, code := a.order("state", "copy", "--from", way[0], "--to", way[1]); code != 1 || !strings.Contains(out, why) {
				t.Errorf("copy from %s: exit %d, want %q\n%s", way[0], code, why, out)
			}
		}
	}
	on(file)
	a.start()
	a.ready(http.StatusOK, "a daemon on SQLite")
	out := a.must("rotate", "p000", "p001", "p002", "p003")
	if keys := len(c.sim.Live(team)); keys != 4 {
		t.Fatalf("xAI holds %d keys\n%s", keys, out)
	}
	if out, code := a.order("state", "copy", "--from", file, "--to", database); code != 1 || !strings.Contains(out, "in use") {
		t.Errorf("a journal that a daemon has was copied: exit %d\n%s", code, out)
	}
	a.terminate()

	a.must("state", "copy", "--from", file, "--to", database)
	c.write("replica-0.yaml", string(shared))
	a.start()
	b.start()
	a.ready(http.StatusOK, "replicas on PostgreSQL")
	b.ready(http.StatusOK, "replicas on PostgreSQL")
	refused("in use")
	b.must("rotate", "p000", "--supersede")
	if keys := len(c.sim.Live(team)); keys != 5 {
		t.Errorf("after one rotation xAI holds %d keys, want 5: the old one is kept through the overlap", keys)
	}
	a.terminate()
	b.terminate()

	back := "sqlite:" + c.path("back.db")
	eventually(t, "the server forgets the replicas' connections", func() bool {
		out, code := a.order("state", "copy", "--from", database, "--to", back)
		return code == 0 || !strings.Contains(out, "in use")
	})
	on(back)
	a.start()
	a.ready(http.StatusOK, "a daemon on SQLite again")
	eventually(t, "the rotation that began on PostgreSQL ends on SQLite", func() bool { return len(c.sim.Live(team)) == 4 })
	stop()
	for _, f := range users.failures {
		t.Error(f)
	}
	if out := a.must("history", "p000"); strings.Count(out, "done") != 2 {
		t.Errorf("two rotations are told:\n%s", out)
	}
	t.Logf("consumers: %d calls, %d failed", users.calls.Load(), len(users.failures))
}
