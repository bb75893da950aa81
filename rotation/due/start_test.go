package due_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"rotator/policies"
	"rotator/rotation/due"
)

func at(text string) time.Time {
	t, err := time.Parse("2006-01-02 15:04", text)
	if err != nil {
		panic(err)
	}
	return t
}

func freeze(from, to string, hard bool) policies.Freeze {
	a, err := policies.ParseMoment(from)
	if err != nil {
		panic(err)
	}
	b, err := policies.ParseMoment(to)
	if err != nil {
		panic(err)
	}
	return policies.Freeze{From: a, To: b, Why: "holidays", Hard: hard}
}

func hours(n int) policies.Duration { return policies.Duration(time.Duration(n) * time.Hour) }

// TestStart: windows delay the schedule, freezes delay all that can wait, and what a delay would break goes before it.
func TestStart(t *testing.T) {
	t.Parallel()
	const monday = "2026-11-30 "
	holidays := []policies.Freeze{freeze("2026-12-18", "2027-01-04", false)}
	hard := []policies.Freeze{freeze("2026-12-18", "2027-01-04", true)}
	office := []string{"Mon-Fri 08:00-17:00"}
	for name, c := range map[string]struct {
		policy policies.Policy
		facts  due.Facts
		now    string
		want   string
		cause  due.Cause
		delay  due.Delay
	}{
		"in an open window": {policies.Policy{Windows: office, Schedule: "0 9 * * *"}, due.Facts{LastSuccess: at(monday + "08:30")}, monday + "08:40", monday + "09:00", due.Schedule, ""},
		"before the window": {policies.Policy{Windows: office, Schedule: "0 3 * * *"}, due.Facts{LastSuccess: at(monday + "02:30")}, monday + "02:40", monday + "08:00", due.Schedule, due.ByWindow},
		"over the weekend":  {policies.Policy{Windows: office, Schedule: "0 18 * * 5"}, due.Facts{LastSuccess: at("2026-12-03 18:00")}, "2026-12-05 12:00", "2026-12-07 08:00", due.Schedule, due.ByWindow},
		"missed while a window was open, found while one is":  {policies.Policy{Windows: office, Schedule: "0 9 * * *"}, due.Facts{LastSuccess: at("2026-11-27 09:00")}, monday + "10:00", monday + "08:00", due.Schedule, due.ByWindow},
		"missed while a window was open, found while none is": {policies.Policy{Windows: office, Schedule: "0 9 * * *"}, due.Facts{LastSuccess: at("2026-11-26 09:00")}, "2026-11-28 10:00", monday + "08:00", due.Schedule, due.ByWindow},
		"a new target waits for no window":                    {policies.Policy{Windows: office, Schedule: "0 9 * * *"}, due.Facts{LastSuccess: at(monday + "09:00"), TargetsEmpty: true}, monday + "20:00", monday + "20:00", due.NewTarget, ""},
		"max_age waits for no window":                         {policies.Policy{Windows: office, Schedule: "0 3 * * *", MaxAge: hours(48)}, due.Facts{LastSuccess: at(monday + "00:00"), OldestKey: at("2026-11-28 06:00")}, monday + "03:30", monday + "05:00", due.MaxAge, ""},
		"an expiry waits for no freeze":                       {policies.Policy{Schedule: "0 3 * * *"}, due.Facts{LastSuccess: at("2026-12-24 03:00"), KeyExpires: at("2026-12-26 06:00"), Freezes: hard}, "2026-12-25 10:00", "2026-12-26 05:00", due.Expiry, ""},
		"a freeze":                                            {policies.Policy{Schedule: "0 3 * * *"}, due.Facts{LastSuccess: at("2026-12-17 03:00"), Freezes: holidays}, "2026-12-20 10:00", "2027-01-05 00:00", due.Schedule, due.ByFreeze},
		"a freeze that ends outside of a window":              {policies.Policy{Windows: office, Schedule: "0 3 * * *"}, due.Facts{LastSuccess: at("2026-12-17 09:00"), Freezes: holidays}, "2026-12-20 10:00", "2027-01-05 08:00", due.Schedule, due.ByWindow},
		"a new target in a freeze":                            {policies.Policy{Schedule: "0 3 * * *"}, due.Facts{LastSuccess: at("2026-12-17 03:00"), TargetsEmpty: true, Freezes: holidays}, "2026-12-20 10:00", "2027-01-05 00:00", due.NewTarget, due.ByFreeze},
		"max_age in a freeze":                                 {policies.Policy{Schedule: "0 3 * * *", MaxAge: hours(240)}, due.Facts{LastSuccess: at("2026-12-17 03:00"), OldestKey: at("2026-12-17 03:00"), Freezes: holidays}, "2026-12-20 10:00", "2026-12-27 02:00", due.MaxAge, ""},
		"max_age in a hard freeze":                            {policies.Policy{Schedule: "0 3 1 * *", MaxAge: hours(240)}, due.Facts{LastSuccess: at("2026-12-17 03:00"), OldestKey: at("2026-12-17 03:00"), Freezes: hard}, "2026-12-20 10:00", "2027-01-05 00:00", due.Schedule, due.ByFreeze},
		"a freeze of others": {policies.Policy{Schedule: "0 3 * * *", Labels: map[string]string{"tier": "dev"}}, due.Facts{LastSuccess: at("2026-12-17 03:00"),
			Freezes: []policies.Freeze{{From: holidays[0].From, To: holidays[0].To, Labels: map[string]string{"tier": "prod"}}}}, "2026-12-17 10:00", "2026-12-18 03:00", due.Schedule, ""},
		"days of the policy's own zone": {policies.Policy{Schedule: "0 3 * * *", Timezone: "Asia/Tokyo"}, due.Facts{LastSuccess: at("2026-12-18 03:00"), Freezes: holidays}, "2026-12-20 10:00", "2027-01-04 15:00", due.Schedule, due.ByFreeze},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.policy.Name = "chat"
			got := c.facts.Start(&c.policy, at(c.now))
			if !got.At.Equal(at(c.want)) || got.Cause != c.cause || got.Delay != c.delay {
				t.Errorf("at %s it begins at %s because of %s, delayed by %q; want %s, %s, %q", c.now, got.At, got.Cause, got.Delay, c.want, c.cause, c.delay)
			}
		})
	}
}

// TestStartStepByStep compares Start with a search through time.
func TestStartStepByStep(t *testing.T) {
	t.Parallel()
	const step = 5 * time.Minute // all times are multiples of it
	r := rand.New(rand.NewPCG(5, 6))
	day := func() string { return at("2026-12-01 00:00").AddDate(0, 0, r.IntN(20)).Format(time.DateOnly) }
	for range 300 {
		p := &policies.Policy{Name: "chat", Schedule: []string{"0 3 * * *", "30 20 * * 6", "@every 30h"}[r.IntN(3)], Timezone: []string{"UTC", "Asia/Tokyo"}[r.IntN(2)]}
		if r.IntN(2) == 0 {
			p.Windows = []string{[]string{"Mon-Fri 08:00-17:00", "Sun 22:00-04:00", "01:00-02:00"}[r.IntN(3)]}
		}
		f := due.Facts{LastSuccess: at("2026-12-01 00:00").Add(time.Duration(r.IntN(20*24*12)) * step)}
		if r.IntN(2) == 0 {
			p.MaxAge, f.OldestKey = hours(60+r.IntN(100)), f.LastSuccess
		}
		if r.IntN(3) == 0 {
			f.KeyExpires = f.LastSuccess.Add(time.Duration(10+r.IntN(200)) * time.Hour)
		}
		for range r.IntN(3) {
			from, to := day(), day()
			if from > to {
				from, to = to, from
			}
			f.Freezes = append(f.Freezes, freeze(from, to, r.IntN(2) == 0))
		}
		now := f.LastSuccess.Add(time.Duration(r.IntN(100*12)) * step)

		allowed := func(c due.Cause, u time.Time) bool {
			for _, z := range f.Freezes {
				if from, to := z.Span(p); c != due.Expiry && (z.Hard || c != due.MaxAge) && !u.Before(from) && u.Before(to) {
					return false
				}
			}
			opens, _ := p.Window(u)
			return c != due.Schedule || !opens.After(u)
		}
		dueAt := map[due.Cause]time.Time{}
		for cause, facts := range map[due.Cause]due.Facts{due.Schedule: {LastSuccess: f.LastSuccess}, due.MaxAge: {OldestKey: f.OldestKey}, due.Expiry: {KeyExpires: f.KeyExpires}} {
			q := *p
			if cause != due.Schedule {
				q.Schedule = "none"
			}
			if t, _ := facts.Next(&q, now); !t.IsZero() {
				dueAt[cause] = t
			}
		}
		begins := func(u time.Time) bool {
			for cause, t := range dueAt {
				if !t.After(u) && allowed(cause, u) {
					return true
				}
			}
			return false
		}
		want := now
		for !begins(want) {
			want = want.Add(step)
		}
		got := f.Start(p, now)
		begin := got.At
		if begin.Before(now) {
			begin = now
		}
		if !begin.Equal(want) {
			t.Fatalf("%+v\n%+v\nat %s: begins at %s because of %s, want %s", p, f, now, got.At, got.Cause, want)
		}
	}
}
