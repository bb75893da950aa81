package rotation_test

import (
	"strings"
	"testing"
	"time"

	"rotator/rotation/journal"
	"rotator/xai/xaisim"
)

// TestManagementKeySince: since when a management key is in use is noted once for each key, and outlives the process.
func TestManagementKeySince(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{})
	since := func() (id string, at time.Time) {
		t.Helper()
		b.clock = b.clock.Add(time.Hour)
		if err := b.engine.RunOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
		text, err := b.journal.Meta(t.Context(), journal.MetaManagementKey+"research")
		if err != nil {
			t.Fatal(err)
		}
		id, when, _ := strings.Cut(text, " ")
		if at, err = time.Parse(time.RFC3339, when); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		return id, at
	}
	first, at := since()
	if first == "" || !at.Equal(b.clock) {
		t.Errorf("%q since %s, want since %s", first, at, b.clock)
	}
	b.birth()
	if again, later := since(); again != first || !later.Equal(at) {
		t.Errorf("another process knows %q since %s, want %q since %s", again, later, first, at)
	}
	b.token = b.sim.NewManagementKey(teamID)
	if other, later := since(); other == first || !later.Equal(b.clock) {
		t.Errorf("another key: %q since %s, want since %s", other, later, b.clock)
	}
}
