package replicas

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"rotator/internal/api"
)

// TestMove: a daemon on SQLite is stopped, its journal copied to PostgreSQL, and replicas go on where it was, while
// consumers use their keys. A copy is refused while anyone has either journal. Then it goes back the same way.
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
	eventually(t, "the first keys are live", func() bool {
		rows, err := a.client().Status(t.Context())
		return err == nil && len(rows) == 4 && !slices.ContainsFunc(rows, func(row api.StatusRow) bool { return row.LiveSince == nil })
	})
	if keys := len(c.sim.Live(team)); keys != 4 {
		t.Fatalf("xAI holds %d keys", keys)
	}
	if out, code := a.order("state", "copy", "--from", file, "--to", database); code != 1 || !strings.Contains(out, "in use") {
		t.Errorf("a journal that a daemon has was copied: exit %d\n%s", code, out)
	}
	a.terminate()
	copied := func(from, to string) {
		t.Helper()
		eventually(t, "the server forgets connections that were closed", func() bool {
			out, code := a.order("state", "copy", "--from", from, "--to", to)
			if code != 0 && !strings.Contains(out, "in use") {
				t.Fatalf("copy from %s: exit %d\n%s", from, code, out)
			}
			return code == 0
		})
	}

	copied(file, database)
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
	copied(database, back)
	on(back)
	a.start()
	a.ready(http.StatusOK, "a daemon on SQLite again")
	eventually(t, "the rotation that began on PostgreSQL ends on SQLite", func() bool { return len(c.sim.Live(team)) == 4 })
	stop()
	for _, f := range users.failures {
		t.Error(f)
	}
	eventually(t, "two rotations are told", func() bool { return strings.Count(a.must("history", "p000"), "done") == 2 })
	t.Logf("consumers: %d calls, %d failed", users.calls.Load(), len(users.failures))
}
