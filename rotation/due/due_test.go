package due

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"rotator/policies"
	"rotator/rotation/journal"
)

const day = 24 * time.Hour

func instant(t *testing.T, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func of(d time.Duration) policies.Duration { return policies.Duration(d) }

func TestNext(t *testing.T) {
	t.Parallel()
	at := func(s string) time.Time { return instant(t, s+":00Z") }
	monthly := policies.Policy{Name: "chat-prod", Schedule: "0 3 1 * *", MaxAge: of(45 * day),
		Retire: policies.Retire{Overlap: of(day), Soak: of(day)}}
	interval := monthly
	interval.Schedule = "@every 30d"
	patient := monthly
	patient.Retire.RequireIdle = of(3 * day)
	hasty := monthly
	hasty.MaxAge = of(40 * time.Hour)
	for _, c := range []struct {
		what   string
		policy policies.Policy
		h      Facts
		now    string
		want   string
		cause  Cause
	}{
		{"a new policy counts from when it was first seen", monthly,
			Facts{FirstSeen: at("2026-05-10T12:00")}, "2026-05-20T00:00", "2026-06-01T03:00", Schedule},
		{"after the last success, not after first seen", monthly,
			Facts{FirstSeen: at("2026-01-01T00:00"), LastSuccess: at("2026-05-10T12:00")}, "2026-05-20T00:00", "2026-06-01T03:00", Schedule},
		{"a missed run stays in the past", monthly,
			Facts{LastSuccess: at("2026-02-10T12:00")}, "2026-05-20T00:00", "2026-03-01T03:00", Schedule},
		{"a success at the very run is not due again", monthly,
			Facts{LastSuccess: at("2026-05-01T03:00")}, "2026-05-01T03:00", "2026-06-01T03:00", Schedule},
		{"nothing known yet", monthly, Facts{}, "2026-05-20T00:00", "2026-06-01T03:00", Schedule},
		{"@every from the last success", interval,
			Facts{FirstSeen: at("2026-01-01T00:00"), LastSuccess: at("2026-05-10T12:34")}, "2026-05-20T00:00", "2026-06-09T12:34", Schedule},
		{"@every from first seen", interval, Facts{FirstSeen: at("2026-05-10T12:34")}, "2026-05-20T00:00", "2026-06-09T12:34", Schedule},
		{"age, less overlap and an hour: the old key is off in its soak", monthly,
			Facts{LastSuccess: at("2026-05-10T12:00"), OldestKey: at("2026-04-10T12:00")}, "2026-05-20T00:00", "2026-05-24T11:00", MaxAge},
		{"age, less the soak too where xAI turns no keys off", monthly,
			Facts{LastSuccess: at("2026-05-10T12:00"), OldestKey: at("2026-04-10T12:00"), StaysOn: true}, "2026-05-20T00:00", "2026-05-23T11:00", MaxAge},
		{"age, less the time that the old key must be idle", patient,
			Facts{LastSuccess: at("2026-05-10T12:00"), OldestKey: at("2026-04-10T12:00")}, "2026-05-20T00:00", "2026-05-22T11:00", MaxAge},
		{"a promise that cannot be kept does not make a key every minute", hasty,
			Facts{LastSuccess: at("2026-05-10T12:00"), OldestKey: at("2026-05-10T12:00"), StaysOn: true}, "2026-05-20T00:00", "2026-05-10T13:00", MaxAge},
		{"a key over age is due although the policy is new", monthly,
			Facts{FirstSeen: at("2026-05-20T00:00"), OldestKey: at("2025-05-20T00:00")}, "2026-05-20T00:00", "2025-07-02T23:00", MaxAge},
		{"expiry, less overlap and an hour", monthly,
			Facts{LastSuccess: at("2026-05-10T12:00"), OldestKey: at("2026-05-10T12:00"), KeyExpires: at("2026-05-25T06:00")}, "2026-05-20T00:00", "2026-05-24T05:00", Expiry},
		{"an expiry after the schedule changes nothing", monthly,
			Facts{LastSuccess: at("2026-05-10T12:00"), KeyExpires: at("2026-08-25T06:00")}, "2026-05-20T00:00", "2026-06-01T03:00", Schedule},
		{"of two causes at once the schedule", monthly,
			Facts{LastSuccess: at("2026-05-10T12:00"), KeyExpires: at("2026-06-02T04:00")}, "2026-05-20T00:00", "2026-06-01T03:00", Schedule},
		{"an empty target is due now", monthly,
			Facts{LastSuccess: at("2026-05-10T12:00"), TargetsEmpty: true}, "2026-05-20T00:00", "2026-05-20T00:00", NewTarget},
		{"no max_age, no cause", policies.Policy{Name: "x", Schedule: "@yearly"},
			Facts{FirstSeen: at("2026-05-10T12:00"), OldestKey: at("2020-01-01T00:00")}, "2026-05-20T00:00", "2027-01-01T00:00", Schedule},
	} {
		got, cause := c.h.Next(&c.policy, at(c.now))
		if !got.Equal(at(c.want)) || cause != c.cause {
			t.Errorf("%s: due %s by %s, want %s by %s", c.what, got, cause, c.want, c.cause)
		}
		if got.Location() != time.UTC {
			t.Errorf("%s: not in UTC", c.what)
		}
	}
	if got, cause := (Facts{}).Next(&policies.Policy{Schedule: "no such"}, at("2026-05-20T00:00")); !got.IsZero() || cause != "" {
		t.Errorf("without a schedule: due %s by %s, want never", got, cause)
	}
}

func TestJitterIsSteadyAndBreaksNoPromise(t *testing.T) {
	t.Parallel()
	now := instant(t, "2026-05-20T00:00:00Z")
	run := instant(t, "2026-06-01T03:00:00Z")
	quarters := map[int]int{}
	for i := range 400 {
		p := policies.Policy{Name: fmt.Sprintf("policy-%d", i), Schedule: "0 3 1 * *", Jitter: of(time.Hour)}
		p.MaxAge, p.Retire.Overlap, p.Retire.Soak = of(45*day), of(day), of(day)
		offset := p.Offset()
		if again := (&policies.Policy{Name: p.Name, Jitter: p.Jitter}).Offset(); again != offset || offset < 0 || offset >= time.Hour {
			t.Fatalf("%s: offset %s, then %s", p.Name, offset, again)
		}
		quarters[int(offset/(15*time.Minute))]++
		if at, _ := (Facts{FirstSeen: now}).Next(&p, now); !at.Equal(run.Add(offset)) {
			t.Errorf("%s: due %s, want the run and %s", p.Name, at, offset)
		}
		h := Facts{FirstSeen: now, OldestKey: now.Add(-43 * day)}
		if at, cause := h.Next(&p, now); cause != MaxAge || at.After(h.OldestKey.Add(44*day-time.Hour)) {
			t.Errorf("%s: due %s by %s", p.Name, at, cause)
		}
		if at, _ := (Facts{TargetsEmpty: true}).Next(&p, now); !at.Equal(now) {
			t.Errorf("%s: an empty target waits until %s", p.Name, at)
		}
	}
	for q := range 4 {
		if quarters[q] < 60 {
			t.Errorf("only %d of 400 policies in quarter %d of the jitter: %v", quarters[q], q, quarters)
		}
	}
	// A later version must not shift every policy: this value is forever.
	if got := (&policies.Policy{Name: "chat-prod", Jitter: of(10 * time.Minute)}).Offset(); got != 213783*time.Millisecond {
		t.Errorf("offset of chat-prod %s, want 3m33.783s", got)
	}
}

// upcoming are the times of the next n rotations.
func upcoming(f Facts, p *policies.Policy, now time.Time, n int) (runs []time.Time) {
	for _, s := range f.Starts(p, now, time.Time{}, n) {
		runs = append(runs, s.At)
	}
	return runs
}

func TestUpcoming(t *testing.T) {
	t.Parallel()
	now := instant(t, "2026-05-20T00:00:00Z")
	p := policies.Policy{Name: "chat-prod", Schedule: "0 3 1 * *", Timezone: "Europe/Berlin"}
	h := Facts{LastSuccess: instant(t, "2026-03-15T00:00:00Z")} // the run of April was missed
	want := []string{"2026-05-20T00:00:00Z", "2026-06-01T01:00:00Z", "2026-07-01T01:00:00Z"}
	got := upcoming(h, &p, now, len(want))
	for i, w := range want {
		if len(got) != len(want) || !got[i].Equal(instant(t, w)) {
			t.Fatalf("upcoming %v, want %v", got, want)
		}
	}
	p.Schedule, p.MaxAge = "@yearly", of(30*day) // age comes first, each time
	got = upcoming((Facts{LastSuccess: now, OldestKey: now}), &p, now, 3)
	for i, at := range got {
		if want := now.Add(time.Duration(i+1) * (30*day - time.Hour)); !at.Equal(want) {
			t.Errorf("run %d at %s, want %s", i, at, want)
		}
	}
	if got := upcoming(Facts{}, &policies.Policy{}, now, 3); len(got) != 0 {
		t.Errorf("without a schedule: %v", got)
	}
}

// TestNoKeyOutlivesMaxAge lives through the cycles of policies that just pass the checks of package policies: a rotation
// takes up to half an hour, an old key works until its overlap and its idle time are over, and through its soak where xAI
// turns no keys off. No key that works gets older than the promise, and what Starts predicts is what begins.
func TestNoKeyOutlivesMaxAge(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		span := func(name string, most int) time.Duration {
			return time.Duration(rapid.IntRange(0, most).Draw(t, name)) * 10 * time.Minute
		}
		p := policies.Policy{Name: rapid.StringMatching(`[a-z]{1,8}`).Draw(t, "name"), Schedule: "@yearly", Jitter: of(span("jitter", 20))}
		p.Retire = policies.Retire{Overlap: of(span("overlap", 300)), Soak: of(span("soak", 300)), RequireIdle: of(span("idle", 300))}
		staysOn := rapid.Bool().Draw(t, "stays on")
		p.MaxAge = of(p.Cycle(staysOn)+time.Hour) + p.Jitter + of(span("slack", 300))
		began := time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
		f := Facts{LastSuccess: began, OldestKey: began, StaysOn: staysOn}
		predicted := upcoming(f, &p, began, 12)
		stays := max(p.Retire.Overlap, p.Retire.RequireIdle).Std()
		if staysOn {
			stays += p.Retire.Soak.Std()
		}
		prompt := true // every rotation took no time so far, as is predicted
		for i := range predicted {
			at, cause := f.Next(&p, f.LastSuccess)
			if at.Sub(f.OldestKey) < time.Hour {
				t.Fatalf("due %s after the last key was made", at.Sub(f.OldestKey))
			}
			took := time.Duration(rapid.IntRange(0, 30).Draw(t, "took")) * time.Minute
			if prompt && !at.Equal(predicted[i]) {
				t.Fatalf("run %d at %s, predicted %s", i, at, predicted[i])
			}
			prompt = prompt && took == 0
			if age := at.Add(took + stays).Sub(f.OldestKey); cause != Schedule && age > p.MaxAge.Std() {
				t.Fatalf("a key works until it is %s old, promised are %s", age, p.MaxAge)
			}
			f = f.Renewed(at.Add(took))
		}
	})
}

// TestFactsOf: of the keys of a record the live one counts, and an expiry that is not later than the creation does not.
func TestFactsOf(t *testing.T) {
	t.Parallel()
	now := instant(t, "2026-05-20T00:00:00Z")
	target := policies.Target{Store: "vault", Path: "a"}
	p := policies.Policy{Name: "chat", Schedule: "@yearly", Targets: []policies.Target{target}}
	id := journal.TargetID{Store: "vault", Path: "a"}
	old := journal.Key{Ref: "1", ID: "k1", State: journal.RetiringKey, CreatedAt: now.Add(-50 * day)}
	live := journal.Key{Ref: "2", ID: "k2", State: journal.LiveKey, CreatedAt: now.Add(-day), ExpiresAt: now.Add(-2 * day)}
	row := journal.Target{TargetID: id, Status: journal.TargetOK, KeyID: "k2", ContactAt: now}
	for _, c := range []struct {
		what   string
		keys   []journal.Key
		row    journal.Target
		oldest time.Time
		empty  bool
	}{
		{"the live key", []journal.Key{old, live}, row, live.CreatedAt, false},
		{"without a live key the oldest that works", []journal.Key{old}, row, old.CreatedAt, false},
		{"a target with an older key", []journal.Key{old, live}, journal.Target{TargetID: id, Status: journal.TargetOK, KeyID: "k1", ContactAt: now}, live.CreatedAt, true},
		{"an empty target", []journal.Key{live}, journal.Target{TargetID: id, Status: journal.TargetEmpty, ContactAt: now}, live.CreatedAt, true},
		{"an empty target that was never read", []journal.Key{live}, journal.Target{TargetID: id, Status: journal.TargetEmpty}, live.CreatedAt, false},
		{"an empty target that a human dropped", []journal.Key{live}, journal.Target{TargetID: id, Status: journal.TargetEmpty, ContactAt: now, Decision: journal.Drop}, live.CreatedAt, false},
	} {
		f := FactsOf(&p, &journal.Record{Keys: c.keys, Targets: []journal.Target{c.row}})
		if !f.OldestKey.Equal(c.oldest) || f.TargetsEmpty != c.empty || !f.KeyExpires.IsZero() {
			t.Errorf("%s: %+v", c.what, f)
		}
	}
}

// TestUpcomingWaits: what is held, or pauses after a failure, is not predicted earlier than it can begin.
func TestUpcomingWaits(t *testing.T) {
	t.Parallel()
	now := instant(t, "2026-05-20T00:00:00Z")
	p := policies.Policy{Name: "chat", Schedule: "@every 12h"}
	runs := upcoming(Facts{LastSuccess: now.Add(-2 * day), NotBefore: now.Add(7 * time.Hour)}, &p, now, 2)
	if len(runs) != 2 || !runs[0].Equal(now.Add(7*time.Hour)) || !runs[1].Equal(now.Add(19*time.Hour)) {
		t.Errorf("predicted %v", runs)
	}
}
