package api

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"rotator/rotation/journal"
)

// ReplicaRow is one of the processes that act for the policies.
type ReplicaRow struct {
	Replica  string     `json:"replica"` // host/process/random: unique among all that ever share the journal
	Host     *string    `json:"host"`    // null: an older version, which is known by what it acts for alone
	Version  *string    `json:"version"`
	Mode     *string    `json:"mode"`  // rotate or observe; null where the version is
	Since    *time.Time `json:"since"` // when it began
	LastSeen *time.Time `json:"last_seen"`
	Age      *int64     `json:"age"`      // seconds since it was last seen
	Stale    bool       `json:"stale"`    // not seen for 30 seconds: it died, or cannot reach the journal
	Policies []string   `json:"policies"` // that it acts for at this moment
}

func (c *Server) getReplicas(r *http.Request) (any, error) {
	known, err := c.o.Journal.Replicas(r.Context())
	if err != nil {
		return nil, err
	}
	all, err := c.o.Journal.Summaries(r.Context())
	if err != nil {
		return nil, err
	}
	return c.replicaRows(known, all), nil
}

// replicaRows are the replicas by name, and what each acts for.
func (c *Server) replicaRows(known []journal.Replica, all []journal.Summary) []ReplicaRow {
	held := make(map[string][]string) // replica → policies
	for _, s := range all {
		if s.Owner != "" {
			held[s.Owner] = append(held[s.Owner], s.Policy.Name)
		}
	}
	rows := make([]ReplicaRow, 0, len(known))
	for _, r := range known {
		mode := ModeRotate
		if r.Observes {
			mode = ModeObserve
		}
		rows = append(rows, ReplicaRow{Replica: r.Name, Host: text(r.Host), Version: text(r.Version), Mode: &mode, Since: instant(r.StartedAt),
			LastSeen: instant(r.SeenAt), Age: seconds(r.Unseen), Stale: r.Unseen > journal.StaleAfter, Policies: append([]string{}, held[r.Name]...)})
		delete(held, r.Name)
	}
	for name, policies := range held {
		rows = append(rows, ReplicaRow{Replica: name, Policies: policies})
	}
	slices.SortFunc(rows, func(a, b ReplicaRow) int { return cmp.Compare(a.Replica, b.Replica) })
	return rows
}

// Replicas says which processes act for the policies, by name.
func (c *Client) Replicas(ctx context.Context) (rows []ReplicaRow, err error) {
	return rows, c.get(ctx, &rows, "/v1/replicas", nil)
}

// maxHosts bounds the series of replicas: those longest not seen are left out.
const maxHosts = 100

// ofReplicas reports hosts rather than processes: one that was killed and started again is not missed.
func (f facts) ofReplicas(s *snapshot, gauge func(*prometheus.Desc, float64, ...string)) {
	seen := make(map[string]time.Time) // host → when a replica on it was last seen
	fresh := 0
	for _, r := range s.replicas {
		if r.Unseen <= journal.StaleAfter {
			fresh++
		}
		if r.SeenAt.After(seen[r.Host]) {
			seen[r.Host] = r.SeenAt
		}
	}
	gauge(descReplicas, float64(fresh))
	hosts := slices.SortedFunc(maps.Keys(seen), func(a, b string) int { return seen[b].Compare(seen[a]) })
	for _, host := range hosts[:min(len(hosts), maxHosts)] {
		gauge(descSeen, unix(seen[host]), host)
	}
}
