package api_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rotator/internal/api"
	"rotator/rotation/journal"
)

// TestLoads: how files were read is shown by the API, the page, the metrics and readiness, which it never costs.
func TestLoads(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.ok(d.journal.SaveTeam(t.Context(), journal.Team{Name: "research", ValidatedAt: noon}))
	spec := journal.Spec{Name: "chat", Team: "research", Canonical: `{"name":"chat"}`}
	read := func(r journal.Reading, l api.Loading) {
		t.Helper()
		_, err := d.journal.TakeReading(t.Context(), d.now(), r)
		d.ok(err)
		d.loading.Store(&l)
		d.at(d.now().Add(2 * time.Second)) // another snapshot
		look := d.now()
		d.engine.look.Store(&look)
	}
	ready := func(want string) {
		t.Helper()
		d.get("/metrics") // makes a snapshot
		if w := d.get("/readyz"); w.Body.String() != want || w.Code != http.StatusOK {
			t.Errorf("%d %q, want %q", w.Code, w.Body, want)
		}
	}
	shows := func(page string, want ...string) {
		t.Helper()
		body := d.get(page).Body.String()
		for _, w := range want {
			if !strings.Contains(body, w) {
				t.Errorf("%s: no %q in\n%s", page, w, body)
			}
		}
	}

	read(journal.Reading{Load: journal.Load{Replica: "alpha"}, Specs: []journal.Spec{spec}}, api.Loading{At: noon, Succeeded: noon, Policies: 1})
	ready("ok\n")
	shows("/", `<p class="soft">configuration: read 2s ago, 1 policy in force</p>`)
	shows("/metrics", "rotator_config_last_reload_successful 1\n", "rotator_config_last_reload_success_timestamp_seconds 1.7")

	bad := journal.Load{Replica: "alpha", Problems: 2, Error: "chat.yaml:3: unknown key <b>\nb.yaml: this is not YAML", Digest: "x"}
	read(journal.Reading{Load: bad, Kept: map[string]string{"chat": "chat.yaml:3: unknown key <b>"}},
		api.Loading{At: noon, Succeeded: noon, Policies: 1, Problems: 2, Error: bad.Error})
	ready("ok\nconfiguration: 2 problems; what they name stays as it was: chat.yaml:3: unknown key <b>\n")
	shows("/", `<p class="alarm" role="alert">configuration: read 2s ago, 1 policy in force, 2 problems<br><code>chat.yaml:3: unknown key &lt;b&gt;</code><br>`,
		"Uses the last accepted version: <code>chat.yaml:3: unknown key &lt;b&gt;</code>")
	shows("/metrics", "rotator_config_last_reload_successful 0\n", "rotator_config_last_reload_success_timestamp_seconds 1.7")
	rows, err := d.client.Loads(t.Context())
	d.ok(err)
	for i := range rows {
		rows[i].At = nil
	}
	want := []api.LoadRow{{Replicas: []string{"alpha"}, Policies: 1, Problems: 2, Errors: strings.Split(bad.Error, "\n")}}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("loads (-want +got):\n%s", diff)
	}
	healthy, err := d.client.Health(t.Context())
	d.ok(err)
	i := slices.IndexFunc(healthy, func(r api.HealthRow) bool { return r.Kind == api.KindConfiguration })
	if i < 0 || !healthy[i].Broken() || healthy[i].Name != "as read by alpha" || !strings.HasSuffix(*healthy[i].Detail, "2 problems: chat.yaml:3: unknown key <b>") {
		t.Errorf("health does not tell of the refused files: %+v", healthy)
	}
	status, err := d.client.Status(t.Context())
	d.ok(err)
	if status[0].SpecError == nil || *status[0].SpecError != "chat.yaml:3: unknown key <b>" {
		t.Errorf("status %+v", status[0])
	}

	read(journal.Reading{Load: journal.Load{Replica: "alpha"}}, api.Loading{At: noon, Succeeded: noon})
	ready("ok\nconfiguration: no policies\nconfiguration: 1 policy is in no file any more\n")
	shows("/", "configuration: read 2s ago, no policies in force")
	shows("/metrics", `rotator_policies{state="removed"} 1`)
}

// TestLoadsOfReplicas: replicas that read the same are one line, and others are named.
func TestLoadsOfReplicas(t *testing.T) {
	t.Parallel()
	now := noon.Add(time.Hour)
	row := api.LoadRow{Replicas: []string{"a", "b"}, At: &noon, OK: true, Policies: 12}
	if got, want := row.Line(now, false), "configuration: read 1h ago, 12 policies in force"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	row.Problems, row.OK = 1, false
	if got, want := row.Line(now, true), "configuration: read 1h ago, 12 policies in force, 1 problem (replica a, b)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
