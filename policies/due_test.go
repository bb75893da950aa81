package policies

import (
	"fmt"
	"testing"
	"time"
)

func TestNextDue(t *testing.T) {
	t.Parallel()
	at := func(s string) time.Time { return instantOf(t, s+":00Z") }
	monthly := Policy{Name: "chat-prod", Schedule: "0 3 1 * *", MaxAge: Duration(45 * day),
		Retire: Retire{Overlap: Duration(day), Soak: Duration(day)}}
	interval := monthly
	interval.Schedule = "@every 30d"
	for _, c := range []struct {
		what   string
		policy Policy
		h      History
		now    string
		want   string
		cause  Cause
	}{
		{"a new policy counts from when it was first seen", monthly,
			History{FirstSeen: at("2026-05-10T12:00")}, "2026-05-20T00:00", "2026-06-01T03:00", CauseSchedule},
		{"after the last success, not after first seen", monthly,
			History{FirstSeen: at("2026-01-01T00:00"), LastSuccess: at("2026-05-10T12:00")}, "2026-05-20T00:00", "2026-06-01T03:00", CauseSchedule},
		{"a missed run stays in the past", monthly,
			History{LastSuccess: at("2026-02-10T12:00")}, "2026-05-20T00:00", "2026-03-01T03:00", CauseSchedule},
		{"a success at the very run is not due again", monthly,
			History{LastSuccess: at("2026-05-01T03:00")}, "2026-05-01T03:00", "2026-06-01T03:00", CauseSchedule},
		{"nothing known yet", monthly, History{}, "2026-05-20T00:00", "2026-06-01T03:00", CauseSchedule},
		{"@every from the last success", interval,
			History{FirstSeen: at("2026-01-01T00:00"), LastSuccess: at("2026-05-10T12:34")}, "2026-05-20T00:00", "2026-06-09T12:34", CauseSchedule},
		{"@every from first seen", interval, History{FirstSeen: at("2026-05-10T12:34")}, "2026-05-20T00:00", "2026-06-09T12:34", CauseSchedule},
		{"age, less overlap, soak and an hour", monthly,
			History{LastSuccess: at("2026-05-10T12:00"), OldestKey: at("2026-04-10T12:00")}, "2026-05-20T00:00", "2026-05-23T11:00", CauseMaxAge},
		{"a key over age is due although the policy is new", monthly,
			History{FirstSeen: at("2026-05-20T00:00"), OldestKey: at("2025-05-20T00:00")}, "2026-05-20T00:00", "2025-07-01T23:00", CauseMaxAge},
		{"expiry, less overlap and an hour", monthly,
			History{LastSuccess: at("2026-05-10T12:00"), OldestKey: at("2026-05-10T12:00"), KeyExpires: at("2026-05-25T06:00")}, "2026-05-20T00:00", "2026-05-24T05:00", CauseExpiry},
		{"an expiry after the schedule changes nothing", monthly,
			History{LastSuccess: at("2026-05-10T12:00"), KeyExpires: at("2026-08-25T06:00")}, "2026-05-20T00:00", "2026-06-01T03:00", CauseSchedule},
		{"of two causes at once the schedule", monthly,
			History{LastSuccess: at("2026-05-10T12:00"), KeyExpires: at("2026-06-02T04:00")}, "2026-05-20T00:00", "2026-06-01T03:00", CauseSchedule},
		{"an empty target is due now", monthly,
			History{LastSuccess: at("2026-05-10T12:00"), TargetsEmpty: true}, "2026-05-20T00:00", "2026-05-20T00:00", CauseNewTarget},
		{"no max_age, no cause", Policy{Name: "x", Schedule: "@yearly"},
			History{FirstSeen: at("2026-05-10T12:00"), OldestKey: at("2020-01-01T00:00")}, "2026-05-20T00:00", "2027-01-01T00:00", CauseSchedule},
	} {
		got, cause := c.policy.NextDue(c.h, at(c.now))
		if !got.Equal(at(c.want)) || cause != c.cause {
			t.Errorf("%s: due %s by %s, want %s by %s", c.what, got, cause, c.want, c.cause)
		}
		if got.Location() != time.UTC {
			t.Errorf("%s: not in UTC", c.what)
		}
	}
	if got, cause := (&Policy{Schedule: "no such"}).NextDue(History{}, at("2026-05-20T00:00")); !got.IsZero() || cause != "" {
		t.Errorf("without a schedule: due %s by %s, want never", got, cause)
	}
}

func TestJitterIsSteadyAndBreaksNoPromise(t *testing.T) {
	t.Parallel()
	now := instantOf(t, "2026-05-20T00:00:00Z")
	run := instantOf(t, "2026-06-01T03:00:00Z")
	quarters := map[int]int{}
	for i := range 400 {
		p := Policy{Name: fmt.Sprintf("policy-%d", i), Schedule: "0 3 1 * *", Jitter: Duration(time.Hour)}
		p.MaxAge, p.Retire.Overlap, p.Retire.Soak = Duration(45*day), Duration(day), Duration(day)
		offset := p.Offset()
		if again := (&Policy{Name: p.Name, Jitter: p.Jitter}).Offset(); again != offset || offset < 0 || offset >= time.Hour {
			t.Fatalf("%s: offset %s, then %s", p.Name, offset, again)
		}
		quarters[int(offset/(15*time.Minute))]++
		if at, _ := p.NextDue(History{FirstSeen: now}, now); !at.Equal(run.Add(offset)) {
			t.Errorf("%s: due %s, want the run and %s", p.Name, at, offset)
		}
		h := History{FirstSeen: now, OldestKey: now.Add(-42 * day)}
		if at, cause := p.NextDue(h, now); cause != CauseMaxAge || at.After(h.OldestKey.Add(43*day-time.Hour)) {
			t.Errorf("%s: due %s by %s", p.Name, at, cause)
		}
		if at, _ := p.NextDue(History{TargetsEmpty: true}, now); !at.Equal(now) {
			t.Errorf("%s: an empty target waits until %s", p.Name, at)
		}
	}
	for q := range 4 {
		if quarters[q] < 60 {
			t.Errorf("only %d of 400 policies in quarter %d of the jitter: %v", quarters[q], q, quarters)
		}
	}
	// A later version must not shift every policy: this value is for ever.
	if got := (&Policy{Name: "chat-prod", Jitter: Duration(10 * time.Minute)}).Offset(); got != 213783*time.Millisecond {
		t.Errorf("offset of chat-prod %s, want 3m33.783s", got)
	}
}

func TestUpcoming(t *testing.T) {
	t.Parallel()
	now := instantOf(t, "2026-05-20T00:00:00Z")
	p := Policy{Name: "chat-prod", Schedule: "0 3 1 * *", Timezone: "Europe/Berlin"}
	h := History{LastSuccess: instantOf(t, "2026-03-15T00:00:00Z")} // the run of April was missed
	want := []string{"2026-05-20T00:00:00Z", "2026-06-01T01:00:00Z", "2026-07-01T01:00:00Z"}
	got := p.Upcoming(h, now, len(want))
	for i, w := range want {
		if len(got) != len(want) || !got[i].Equal(instantOf(t, w)) {
			t.Fatalf("upcoming %v, want %v", got, want)
		}
	}
	p.Schedule, p.MaxAge = "@yearly", Duration(30*day) // age comes first, each time
	got = p.Upcoming(History{LastSuccess: now, OldestKey: now}, now, 3)
	for i, at := range got {
		if want := now.Add(time.Duration(i+1) * (30*day - time.Hour)); !at.Equal(want) {
			t.Errorf("run %d at %s, want %s", i, at, want)
		}
	}
	if got := (&Policy{}).Upcoming(History{}, now, 3); len(got) != 0 {
		t.Errorf("without a schedule: %v", got)
	}
}

func TestDuration(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct {
		d    time.Duration
		form string
	}{
		"0s": {0, "0s"}, "90s": {90 * time.Second, "1m30s"}, "24h": {day, "24h"}, "1d": {day, "24h"}, "48h": {2 * day, "2d"},
		"45d": {45 * day, "45d"}, "1w": {7 * day, "7d"}, "1w2d3h30m": {9*day + 3*time.Hour + 30*time.Minute, "219h30m"},
		"720h": {30 * day, "30d"}, "1.5h": {90 * time.Minute, "1h30m"}, "10m": {10 * time.Minute, "10m"}, "10ms": {10 * time.Millisecond, "10ms"},
		"1h0m5s": {time.Hour + 5*time.Second, "1h0m5s"}, "3650d": {maxDuration, "3650d"},
	} {
		d, err := ParseDuration(text)
		if err != nil || d.Std() != want.d || d.String() != want.form {
			t.Errorf("%q is %s (%v), want %s", text, d, err, want.form)
		}
		if back, err := ParseDuration(d.String()); err != nil || back != d {
			t.Errorf("%q: %q reads back as %s (%v)", text, d, back, err)
		}
	}
	for _, text := range []string{"", "0", "5", "-1h", "+1h", "1d-1h", "1.5d", "d", "1d1w", "1h1d", "3651d", "99999999999999999w", "9999999h", "1 h", "1h ", "1y", "521w5d"} {
		if d, err := ParseDuration(text); err == nil {
			t.Errorf("%q is accepted as %s", text, d)
		}
	}
}
