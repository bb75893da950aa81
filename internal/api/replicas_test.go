package api_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rotator/internal/api"
	"rotator/rotation/journal"
)

// beat lets a replica be seen now.
func (d *desk) beat(name string) {
	d.Helper()
	host, _, _ := strings.Cut(name, "/")
	d.ok(d.journal.Beat(d.Context(), d.now(), journal.Replica{Name: name, Host: host, Version: "v1.2.3", StartedAt: noon.Add(-time.Hour)}))
}

// TestReplicas: who acts for what, since when, and when it was last seen, in the API, the status, the page and the metrics.
func TestReplicas(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.policies("a", "b", "c")
	d.beat("alpha/1/x")
	if page := d.get("/").Body.String(); strings.Contains(page, "Replicas") {
		t.Error("the page speaks of replicas where there is one process")
	}
	d.beat("beta/2/y")
	d.at(noon.Add(30 * time.Second))
	d.beat("alpha/1/x")
	for owner, policy := range map[string]string{"alpha/1/x": "a", "gamma/3/z": "b"} { // gamma's version does not beat
		claims, err := d.journal.Claim(t.Context(), owner, d.now(), 1, policy)
		d.ok(err)
		if len(claims) != 1 {
			t.Fatalf("%s claims nothing", owner)
		}
	}
	d.at(noon.Add(31 * time.Second))

	text := func(s string) *string { return &s }
	at := func(s time.Duration) *time.Time { a := noon.Add(s * time.Second); return &a }
	age := func(n int64) *int64 { return &n }
	want := []api.ReplicaRow{
		{Replica: "alpha/1/x", Host: text("alpha"), Version: text("v1.2.3"), Mode: text("rotate"), Since: at(-3600), LastSeen: at(30), Age: age(1), Policies: []string{"a"}},
		{Replica: "beta/2/y", Host: text("beta"), Version: text("v1.2.3"), Mode: text("rotate"), Since: at(-3600), LastSeen: at(0), Age: age(31), Stale: true, Policies: []string{}},
		{Replica: "gamma/3/z", Policies: []string{"b"}},
	}
	got, err := d.client.Replicas(t.Context())
	d.ok(err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("replicas (-want +got):\n%s", diff)
	}

	for _, named := range [][]string{nil, {"c", "a"}} {
		rows, err := d.client.Status(t.Context(), named...)
		d.ok(err)
		a, c := rows[0], rows[len(rows)-1]
		if a.Policy != "a" || value(a.Replica) != "alpha/1/x" || !a.ReplicaSince.Equal(noon.Add(30*time.Second)) {
			t.Errorf("%s is in hand of %s since %v", a.Policy, value(a.Replica), a.ReplicaSince)
		}
		if c.Policy != "c" || c.Replica != nil || c.ReplicaSince != nil {
			t.Errorf("nobody acts for %s: %s, %v", c.Policy, value(c.Replica), c.ReplicaSince)
		}
	}

	page := d.get("/").Body.String()
	for _, want := range []string{"Replicas", "<b>beta/2/y</b>", `class="bad">31s ago`, "in hand of alpha/1/x, 1s ago"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
	metrics := d.get("/metrics").Body.String()
	for _, want := range []string{
		"rotator_replicas 1\n",
		fmt.Sprintf("rotator_replica_last_seen_timestamp_seconds{replica=\"alpha\"} %g\n", float64(noon.Unix()+30)),
		fmt.Sprintf("rotator_replica_last_seen_timestamp_seconds{replica=\"beta\"} %g\n", float64(noon.Unix())),
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics lack %q", want)
		}
	}
}

// TestReplicaSeries: however often processes begin and die, there is one series for each host, and an end to hosts.
func TestReplicaSeries(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for i := range 150 {
		d.at(noon.Add(time.Duration(i) * time.Second))
		d.beat(fmt.Sprintf("host%d/1/x", i))
		d.beat(fmt.Sprintf("host%d/2/y", i))
	}
	metrics := d.get("/metrics").Body.String()
	if n := strings.Count(metrics, "rotator_replica_last_seen_timestamp_seconds{"); n != 100 {
		t.Errorf("%d series", n)
	}
	if !strings.Contains(metrics, `{replica="host149"}`) || strings.Contains(metrics, `{replica="host49"}`) || !strings.Contains(metrics, "rotator_replicas 62\n") {
		t.Errorf("those longest not seen are left out:\n%s", metrics)
	}
}
