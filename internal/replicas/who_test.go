package replicas

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"rotator/internal/api"
)

// seen is what a replica says of all replicas.
func (r *replica) seen() (rows []api.ReplicaRow) {
	r.Helper()
	if err := json.Unmarshal([]byte(r.must("status", "--replicas", "-o", "json")), &rows); err != nil {
		r.Fatal(err)
	}
	return rows
}

// of finds the row of a process.
func of(pid int, rows []api.ReplicaRow) *api.ReplicaRow {
	i := slices.IndexFunc(rows, func(row api.ReplicaRow) bool { return strings.Contains(row.Replica, fmt.Sprintf("/%d/", pid)) })
	if i < 0 {
		return nil
	}
	return &rows[i]
}

// hands says which replica has the policy in hand, as r reports it; "": no one.
func (r *replica) hands(policy string) string {
	r.Helper()
	rows, err := r.client().Status(r.Context(), policy)
	if err != nil || len(rows) != 1 {
		r.Fatalf("%+v, %v", rows, err)
	}
	if rows[0].Replica == nil || rows[0].ReplicaSince == nil {
		return ""
	}
	return *rows[0].Replica
}

// TestWhoHoldsWhat: every replica shows the same of all. What one that was killed had in hand, another takes over; the
// dead one is stale, and one that stops is gone.
func TestWhoHoldsWhat(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, 1)
	c.lease = 10 * time.Second // no replica loses one because the machine is busy
	c.complain()
	c.schedule(720 * time.Hour)
	for _, r := range c.replicas {
		r.configure()
		r.start()
	}
	for _, r := range c.replicas {
		r.ready(http.StatusOK, "it has just begun")
	}
	eventually(t, "the first key is live", func() bool { return c.live() == 1 && c.owner() == nil })
	for _, r := range c.replicas {
		eventually(t, r.name("replica")+" shows all of them", func() bool {
			rows := r.seen()
			return len(rows) == 3 && !slices.ContainsFunc(c.replicas, func(other *replica) bool {
				row := of(other.pid(), rows)
				return row == nil || row.Stale || row.Host == nil || row.Version == nil || row.Since == nil || row.LastSeen == nil
			})
		})
	}

	for _, r := range c.replicas {
		r.xai.silence() // whoever claims the policy waits for xAI, and renews
	}
	c.replicas[0].must("rotate", "p000", "--supersede", "--wait", "none")
	var owner *replica
	eventually(t, "every replica shows who has the policy in hand", func() bool {
		owner = c.owner()
		return owner != nil && !slices.ContainsFunc(c.replicas, func(r *replica) bool {
			row := of(owner.pid(), r.seen())
			return row == nil || !slices.Equal(row.Policies, c.names) || !strings.Contains(r.hands("p000"), fmt.Sprintf("/%d/", owner.pid()))
		})
	})
	pid := owner.pid()
	owner.kill()
	left := slices.DeleteFunc(slices.Clone(c.replicas), func(r *replica) bool { return r == owner })
	eventually(t, "another has it in hand", func() bool {
		by := left[0].hands("p000")
		return by != "" && !strings.Contains(by, fmt.Sprintf("/%d/", pid))
	})
	eventually(t, "the dead one is stale", func() bool {
		row := of(pid, left[0].seen())
		return row != nil && row.Stale && len(row.Policies) == 0
	})
	if row := of(pid, left[1].seen()); row == nil || !row.Stale {
		t.Errorf("the other shows of it %+v", row)
	}

	for tries := 1; ; tries++ {
		stopped := left[1].pid()
		left[1].terminate()
		rows := left[0].seen()
		if of(stopped, rows) == nil && of(left[0].pid(), rows) != nil {
			break
		}
		if tries == 3 { // who stops waits a second for the journal, which a machine may not have
			t.Fatalf("after one was stopped, %d times: %+v", tries, rows)
		}
		left[1].start()
		left[1].ready(http.StatusOK, "it was started again")
	}
}
