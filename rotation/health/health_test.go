package health_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"rotator/rotation/health"
	"rotator/rotation/journal"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// minute is an instant that many minutes after the start.
func minute(n int) time.Time { return start.Add(time.Duration(n) * time.Minute) }

// draw makes any facts whose times lie within some hours around the start.
func draw(t *rapid.T) health.Facts {
	at := func(name string) time.Time {
		if rapid.Bool().Draw(t, "has "+name) {
			return minute(rapid.IntRange(-200, 200).Draw(t, name))
		}
		return time.Time{}
	}
	yes := func(name string) bool { return rapid.IntRange(0, 3).Draw(t, name) == 0 }
	f := health.Facts{
		AgeLimit: at("age limit"), DueAt: at("due"), RetireAt: at("retire"), CompromisedAt: at("compromised"),
		KeyDead: yes("dead"), Reconciling: yes("reconciling"), Removed: yes("removed"), Keys: yes("keys"),
		Failures: rapid.IntRange(0, 4).Draw(t, "failures"), SpecError: yes("spec"), Held: yes("held"),
		SeenAt: at("seen"), Moving: yes("moving"), Live: yes("live"), Proved: !yes("unproved"), Watch: 15 * time.Minute,
	}
	f.ExpiryAt, f.Alone = at("expiry"), at("alone")
	if yes("key") {
		f.Key = "key_drift"
	}
	if f.Held {
		f.HeldUntil = at("until")
	}
	if yes("human") {
		f.Human = "drift"
	}
	if yes("reason") {
		f.Reason = "store_unavailable"
	}
	if yes("observe mode") {
		f = f.Observed()
	}
	return f
}

// read is the table of the documentation, row by row, without a thought for speed or order of evaluation.
func read(f health.Facts, now time.Time) (rows []health.Health) {
	late := func(t time.Time, by time.Duration) bool { return t != time.Time{} && now.Sub(t) >= by }
	for _, row := range []struct {
		h    health.Health
		when bool
	}{
		{health.Overdue, late(f.AgeLimit, 0) || late(f.DueAt, time.Hour) || late(f.RetireAt, time.Hour) || late(f.CompromisedAt, 15*time.Minute)},
		{health.ActionRequired, f.Human != "" || f.KeyDead || f.Reconciling || f.Removed && f.Keys},
		{health.Degraded, f.Failures >= 3 || late(f.SeenAt, 30*time.Minute) && !f.Removed || late(f.ExpiryAt, 0) || f.SpecError || f.Key != "" || f.Held && !late(f.HeldUntil, 0) || f.Observing && f.Moving},
		{health.Progressing, f.Moving || late(f.DueAt, 0)},
		{health.OK, f.Proved || f.Removed},
		{health.Degraded, true},
	} {
		if row.when {
			rows = append(rows, row.h)
		}
	}
	return rows
}

func TestOfIsTheTable(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		f := draw(t)
		now := minute(rapid.IntRange(-300, 500).Draw(t, "now"))
		got, why, next := health.Of(f, now)
		if want := read(f, now)[0]; got != want {
			t.Fatalf("%s (%s), want %s", got, why, want)
		}
		if got != health.OK && got != health.Progressing && why == "" {
			t.Fatalf("%s for no reason", got)
		}
		// What is said to come next comes then, and nothing before.
		for m := int(now.Sub(start)/time.Minute) + 1; m < 600; m++ {
			then, because, _ := health.Of(f, minute(m))
			if changed := then != got || because != why; changed != minute(m).Equal(next) {
				t.Fatalf("%s (%s) at minute %d, said to change at %s", then, because, m, next)
			} else if changed {
				return
			}
		}
		if !next.IsZero() {
			t.Fatalf("nothing changes at %s", next)
		}
	})
}

// TestShownIsNoBetter: what a reader makes of a stored row is overdue exactly when its owner would say so, and never better
// than what the owner would say; nothing is ok without evidence of the last two watches.
func TestShownIsNoBetter(t *testing.T) {
	t.Parallel()
	rank := make(map[health.Health]int)
	for i, h := range health.All {
		rank[h] = i
	}
	rapid.Check(t, func(t *rapid.T) {
		f := draw(t)
		stored := rapid.IntRange(-300, 300).Draw(t, "stored")
		var p journal.Policy
		p.Health, p.HealthReason, _ = health.Of(f, minute(stored))
		p.OverdueAt, p.OverdueReason = f.OverdueAt()
		p.StaleAt, p.DueAt = f.StaleAt(), f.DueAt
		var h journal.Hold
		if f.Held {
			h = journal.Hold{At: minute(-300), Until: f.HeldUntil}
		}
		if f.Removed {
			p.RemovedAt = start
		}
		now := minute(rapid.IntRange(stored, 600).Draw(t, "now"))
		shown, why := health.Shown(&p, h, now)
		want, because, _ := health.Of(f, now)
		if (shown == health.Overdue) != (want == health.Overdue) {
			t.Fatalf("shown %s (%s), its owner would say %s", shown, why, want)
		}
		// Progressing is as good as ok, and its owner looks within a watch at a key that expires in hours.
		if rank[shown] > rank[want] && want != health.Progressing && because != health.ExpiryNear {
			t.Fatalf("shown %s (%s), its owner would say %s", shown, why, want)
		}
		if shown == health.OK && !f.Removed && (!f.Proved || !now.Before(f.StaleAt()) && !f.StaleAt().IsZero()) {
			t.Fatal("ok without evidence")
		}
	})
	if h, why := health.Shown(&journal.Policy{}, journal.Hold{}, start); h != health.Degraded || why != health.NotWatched {
		t.Errorf("a policy that nobody looked at is %s (%s)", h, why)
	}
	held := journal.Policy{Health: health.OK, StaleAt: minute(10)}
	if h, _ := health.Shown(&held, journal.Hold{At: start}, minute(1)); h != health.Degraded {
		t.Errorf("a policy that was held since is %s", h)
	}
}
