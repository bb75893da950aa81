package api_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rotator/internal/api"
	"rotator/rotation/journal"
)

var update = flag.Bool("update", false, "rewrite testdata")

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
	rotating := func(s journal.State) *journal.Rotation {
		return &journal.Rotation{ID: "r", State: s, StartedAt: noon, LiveAt: in(-1)}
	}
	waiting := func(state journal.State) *journal.Rotation {
		r := rotating(state)
		r.TryAt = in(2)
		return r
	}
	back := rotating(journal.Promoting)
	back.Trigger = journal.ByRollback
	retiring := func(states ...journal.KeyState) (keys []journal.Key) {
		for i, s := range states {
			keys = append(keys, journal.Key{State: s, ExposedAt: noon, Reason: "overlap", TryAt: in(20 + i)})
		}
		return keys
	}
	rejected := []journal.Key{{State: journal.DeletingKey}}
	for name, c := range map[string]struct {
		in    journal.Summary
		state string
		next  time.Time
		until time.Time
	}{
		"nothing known":          {journal.Summary{}, "idle", time.Time{}, time.Time{}},
		"waits for its schedule": {journal.Summary{Policy: journal.Policy{DueAt: in(5), NextRunAt: in(1)}}, "idle", in(5), time.Time{}},
		"a rotation on its way":  {journal.Summary{Policy: journal.Policy{DueAt: in(-1)}, Rotation: rotating(journal.Staged)}, "staged", time.Time{}, time.Time{}},
		"goes back":              {journal.Summary{Policy: journal.Policy{DueAt: in(5)}, Rotation: back}, "rolling_back", time.Time{}, time.Time{}},
		"an old key works": {journal.Summary{Policy: journal.Policy{Reason: "overlap", DueAt: in(50)}, Rotation: rotating(journal.Live),
			Keys: retiring(journal.DisabledKey, journal.RetiringKey)}, "overlap", in(50), in(20)},
		"an old key is off": {journal.Summary{Policy: journal.Policy{Reason: "overlap", DueAt: in(50)}, Rotation: rotating(journal.Live),
			Keys: retiring(journal.DisabledKey)}, "soaking", in(50), in(20)},
		"an old key is being deleted":      {journal.Summary{Keys: retiring(journal.DeletingKey)}, "soaking", time.Time{}, time.Time{}},
		"a key that was never read leaves": {journal.Summary{Keys: rejected}, "idle", time.Time{}, time.Time{}},
		"backoff":                          {journal.Summary{Policy: journal.Policy{Reason: "x", NextRunAt: in(1)}, Rotation: waiting(journal.Planned)}, "planned", time.Time{}, in(2)},
		"a human is needed":                {journal.Summary{Policy: journal.Policy{Reason: "drift", NextRunAt: in(1), DueAt: in(3)}}, "blocked", in(3), in(1)},
		"removed tells before all":         {journal.Summary{Policy: journal.Policy{Reason: "drift", RemovedAt: in(-3), DueAt: in(3)}}, "removed", time.Time{}, time.Time{}},
		"held until released": {journal.Summary{Policy: journal.Policy{Reason: "held", NextRunAt: in(1)}, Hold: journal.Hold{At: in(-1)}},
			"idle", time.Time{}, time.Time{}},
		"held until a time": {journal.Summary{Policy: journal.Policy{Reason: "held", NextRunAt: in(1)}, Hold: journal.Hold{At: in(-1), Until: in(9)}},
			"idle", time.Time{}, in(9)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := api.StatusRowOf(c.in, noon, human)
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
	if row := api.StatusRowOf(s, noon, func(journal.Reason) bool { return false }); row.Hold != nil {
		t.Errorf("hold %+v is shown after its end", row.Hold)
	}
}
