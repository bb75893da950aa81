package xai_test

import (
	"slices"
	"testing"
	"time"

	"rotator/internal/secret"
	"rotator/xai"
	"rotator/xai/xaisim"
)

// Whatever xAI does with filters and groups, a key is never called idle on less than a series of its own.
func TestUsageOfOneKey(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name               string
		o                  xaisim.Options
		class              xai.Class
		usedKnown, idKnown bool // what is known of the key that chatted, and of the idle one
	}{
		{name: "filtered", usedKnown: true},
		{name: "idle keys named", o: xaisim.Options{UsageShowsIdle: true}, usedKnown: true, idKnown: true},
		{name: "no filters", o: xaisim.Options{UsageUnfiltered: true}, class: xai.ClassInvalid},
		{name: "not grouped", o: xaisim.Options{UsageUngrouped: true}},
		{name: "forbidden", o: xaisim.Options{UsageUnavailable: true}, class: xai.ClassForbidden},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, c.o)
			id, value := b.sim.AddKey(team, "used", "api-key:model:*", "api-key:endpoint:*")
			idle, _ := b.sim.AddKey(team, "idle", "api-key:model:*", "api-key:endpoint:*")
			other, otherValue := b.sim.AddKey(team, "other", "api-key:model:*", "api-key:endpoint:*")
			for _, v := range []secret.Text{value, otherValue} {
				if err := b.i.Chat(t.Context(), v, "grok-4"); err != nil {
					t.Fatal(err)
				}
			}
			ask := func(of string) (xai.Usage, bool) {
				u, err := b.m.Usage(t.Context(), team, xai.UsageQuery{From: b.Now().Add(-2 * time.Hour), To: b.Now().Add(time.Hour), KeyID: of})
				if xai.ClassOf(err) != c.class {
					t.Fatalf("%v, want class %q", err, c.class)
				}
				if _, known := u.UsedSince(other, b.Now()); known {
					t.Error("the other key, which nobody asked about, is known")
				}
				return u, err == nil
			}
			u, answered := ask(id)
			if used, known := u.UsedSince(id, b.Now().Add(-time.Hour)); known != c.usedKnown || used != known {
				t.Errorf("the key that chatted: used %v, known %v", used, known)
			}
			at, seen := u.Newest(id)
			if want := b.Now().Truncate(time.Hour); c.usedKnown && (!seen || !at.Equal(want)) {
				t.Errorf("newest %v, %v, want %v", at, seen, want)
			}
			if !answered {
				return
			}
			u, _ = ask(idle)
			if used, known := u.UsedSince(idle, b.Now().Add(-time.Hour)); known != c.idKnown || used {
				t.Errorf("the idle key: used %v, known %v", used, known)
			}
		})
	}
}

// An answer that is only a part says nothing of the keys that it names either.
func TestUsageOfAPart(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{UsageLimit: 1, UsageShowsIdle: true})
	id, _ := b.sim.AddKey(team, "one", "api-key:model:*")
	b.sim.AddKey(team, "two", "api-key:model:*")
	ask := func(of string) xai.Usage {
		u, err := b.m.Usage(t.Context(), team, xai.UsageQuery{From: b.Now().Add(-2 * time.Hour), To: b.Now(), KeyID: of})
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	if _, known := ask(id).UsedSince(id, b.Now()); !known {
		t.Error("asked about alone, and not known")
	}
	u := ask("")
	if _, known := u.UsedSince(id, b.Now()); known || !u.Limited {
		t.Errorf("known %v, limited %v", known, u.Limited)
	}
}

// Points that cannot be read count as use, series that cannot be read as silence.
func TestUnreadableUsage(t *testing.T) {
	t.Parallel()
	for body, want := range map[string][2]bool{ // used, known
		`{"timeSeries":[{"group":["k"],"dataPoints":[{"timestamp":"2026-03-01T11:00:00Z","values":[0]}]}]}`:                       {false, true},
		`{"timeSeries":[{"group":["k"],"dataPoints":[{"timestamp":"2026-03-01 11:00:00","values":[0.5]}]}]}`:                      {true, true},
		`{"timeSeries":[{"group":["k"],"dataPoints":[{"timestamp":"soon","values":[0]}]}]}`:                                       {true, true},
		`{"timeSeries":[{"group":["k"],"dataPoints":[{"timestamp":"2026-03-01T11:00:00Z","values":["0"]}]}]}`:                     {true, true},
		`{"timeSeries":[{"group":["k"],"dataPoints":[{"timestamp":"2026-03-01T11:00:00Z","values":[0]},7]}]}`:                     {false, false},
		`{"timeSeries":[{"group":["k","m"],"dataPoints":[{"timestamp":"2026-03-01T11:00:00Z","values":[0]}]}]}`:                   {false, false},
		`{"timeSeries":[{"group":["k"],"dataPoints":[{"timestamp":"2026-03-01T11:00:00Z","values":[0]}]}],"limitReached":true}`:   {false, false},
		`{"timeSeries":[{"group":["k"],"dataPoints":[{"timestamp":"2026-03-01T11:00:00Z","values":[1]}]}],"limitReached":"true"}`: {false, false},
		`{"timeSeries":[]}`: {false, false},
		`{}`:                {false, false},
	} {
		c := newClock()
		m, _ := clients(t, c, secret.New("xai-token-x"), answering(200, "application/json", body))
		u, err := m.Usage(t.Context(), team, xai.UsageQuery{From: c.Now().Add(-time.Hour), To: c.Now()})
		if err != nil {
			t.Errorf("%s: %v", body, err)
		}
		if used, known := u.UsedSince("k", c.Now().Add(-time.Hour)); !slices.Equal([]bool{used, known}, want[:]) {
			t.Errorf("%s: used %v, known %v", body, used, known)
		}
	}
}
