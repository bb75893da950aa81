package console_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rotator/internal/console"
	"rotator/rotation/journal"
)

var update = flag.Bool("update", false, "write testdata anew")

// golden compares what people's scripts read, byte for byte.
func golden(t *testing.T, name string, v any) {
	t.Helper()
	got, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s (-want +got):\n%s", name, d)
	}
}

func TestRowsAsPeopleReadThem(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.office()
	status, err := d.client.Status(t.Context())
	d.ok(err)
	golden(t, "status.json", status)
	history, err := d.client.History(t.Context(), "", 0)
	d.ok(err)
	golden(t, "history.json", history)
	events, err := d.client.Events(t.Context(), 0, "")
	d.ok(err)
	golden(t, "events.json", events)
}

func TestStatusRow(t *testing.T) {
	t.Parallel()
	human := func(r journal.Reason) bool { return r == "drift" }
	in := func(h int) time.Time { return noon.Add(time.Duration(h) * time.Hour) }
	spec := `{"name":"a","schedule":"0 0 * * *","timezone":"UTC"}`
	rotating := func(s journal.State) *journal.Rotation {
		return &journal.Rotation{ID: "r", State: s, StartedAt: noon, LiveAt: in(-1)}
	}
	adopting := rotating(journal.Live)
	adopting.Trigger = journal.ByAdoption
	for name, c := range map[string]struct {
		in    journal.Summary
		state string
		next  time.Time
		until time.Time
	}{
		"nothing known":              {journal.Summary{}, "idle", time.Time{}, time.Time{}},
		"waits for its schedule":     {journal.Summary{Policy: journal.Policy{DueAt: in(5), NextRunAt: in(1)}}, "idle", in(5), time.Time{}},
		"a rotation on its way":      {journal.Summary{Policy: journal.Policy{DueAt: in(-1)}, Rotation: rotating(journal.Staged)}, "staged", time.Time{}, time.Time{}},
		"live: the next is foreseen": {journal.Summary{Policy: journal.Policy{DueAt: in(-1), Spec: spec}, Rotation: rotating(journal.Live)}, "live", in(12), time.Time{}},
		"adopted: a run was missed":  {journal.Summary{Policy: journal.Policy{LastSuccess: in(-30), Spec: spec}, Rotation: adopting}, "live", in(-12), time.Time{}},
		"backoff":                    {journal.Summary{Policy: journal.Policy{Reason: "x", StepAt: in(2), NextRunAt: in(1)}, Rotation: rotating(journal.Planned)}, "planned", time.Time{}, in(2)},
		"a human is needed":          {journal.Summary{Policy: journal.Policy{Reason: "drift", NextRunAt: in(1), DueAt: in(3)}}, "waiting_for_human", in(3), in(1)},
		"removed tells before all":   {journal.Summary{Policy: journal.Policy{Reason: "drift", RemovedAt: in(-3), DueAt: in(3)}}, "removed", time.Time{}, time.Time{}},
		"held until released": {journal.Summary{Policy: journal.Policy{Reason: "held", NextRunAt: in(1)}, Hold: journal.Hold{At: in(-1)}},
			"idle", time.Time{}, time.Time{}},
		"held until a time": {journal.Summary{Policy: journal.Policy{Reason: "held", NextRunAt: in(1)}, Hold: journal.Hold{At: in(-1), Until: in(9)}},
			"idle", time.Time{}, in(9)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := console.StatusRowOf(c.in, noon, human)
			if got.State != c.state {
				t.Errorf("state %s, want %s", got.State, c.state)
			}
			same(t, "next_run", got.NextRun, c.next)
			if c.in.Policy.RemovedAt.IsZero() {
				same(t, "waiting_until", got.WaitingUntil, c.until)
			}
		})
	}
}

func same(t *testing.T, what string, got *time.Time, want time.Time) {
	t.Helper()
	if got == nil && want.IsZero() || got != nil && got.Equal(want) {
		return
	}
	t.Errorf("%s %v, want %v", what, got, want)
}

func TestAHoldThatIsOverIsNoHold(t *testing.T) {
	t.Parallel()
	s := journal.Summary{Hold: journal.Hold{Reason: "audit", By: "ann", At: noon.Add(-2 * time.Hour), Until: noon.Add(-time.Hour)}}
	if row := console.StatusRowOf(s, noon, func(journal.Reason) bool { return false }); row.Hold != nil {
		t.Errorf("hold %+v is shown after its end", row.Hold)
	}
}
