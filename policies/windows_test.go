package policies

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseWindow(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"Mon-Fri 08:00-17:00":       "mon tue wed thu fri 480-1020",
		"Sat,Sun 22:00-04:00":       "sun sat 1320-1680",
		"02:00-05:00":               "sun mon tue wed thu fri sat 120-300",
		"fri-mon,wed   00:00-24:00": "sun mon wed fri sat 0-1440",
		"Tue 23:59-00:00":           "tue 1439-1440",
		"Tue 10:00-10:00":           "",
		"Tue 24:00-01:00":           "",
		"Tue 10:00-24:30":           "",
		"Tue 10:60-11:00":           "",
		"Tues 10:00-11:00":          "",
		"Mon- 10:00-11:00":          "",
		"Mon,,Tue 10:00-11:00":      "",
		"10-11":                     "",
		"08:00-17:00 Mon":           "",
		"":                          "",
	} {
		got := ""
		if w, err := parseWindow(text); err == nil {
			for d, on := range w.days {
				if on {
					got += weekdays[d] + " "
				}
			}
			got += fmt.Sprintf("%d-%d", w.from, w.to)
		}
		if got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}

func TestWindow(t *testing.T) {
	t.Parallel()
	berlin := func(text string) time.Time {
		zone, err := time.LoadLocation("Europe/Berlin")
		if err != nil {
			t.Fatal(err)
		}
		at, err := time.ParseInLocation("2006-01-02 15:04", text, zone)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	for _, c := range []struct {
		windows           string
		at, opens, closes string
	}{
		{"Mon-Fri 08:00-17:00", "2026-11-30 09:00", "2026-11-30 08:00", "2026-11-30 17:00"}, // a Monday
		{"Mon-Fri 08:00-17:00", "2026-11-30 17:00", "2026-12-01 08:00", "2026-12-01 17:00"}, // what closes is closed
		{"Mon-Fri 08:00-17:00", "2026-12-04 20:00", "2026-12-07 08:00", "2026-12-07 17:00"},
		{"Sat,Sun 22:00-04:00", "2026-12-06 03:00", "2026-12-05 22:00", "2026-12-06 04:00"}, // since Saturday
		{"Sat 22:00-04:00; 03:00-05:00", "2026-12-06 03:30", "2026-12-05 22:00", "2026-12-06 04:00"},
		{"Sun 02:15-02:45", "2026-03-28 12:00", "2026-04-05 02:15", "2026-04-05 02:45"}, // the clock jumps over that of March 29
		{"Sun 02:00-04:00", "2026-03-28 12:00", "2026-03-29 03:00", "2026-03-29 04:00"},
		{"Mon 08:00-09:00", "2026-11-30 09:30", "2026-12-07 08:00", "2026-12-07 09:00"},
	} {
		p := &Policy{Timezone: "Europe/Berlin", Windows: strings.Split(c.windows, "; ")}
		opens, closes := p.Window(berlin(c.at))
		if !opens.Equal(berlin(c.opens)) || !closes.Equal(berlin(c.closes)) {
			t.Errorf("%s at %s: from %s to %s, want from %s to %s", c.windows, c.at, opens, closes, c.opens, c.closes)
		}
	}
	if opens, closes := (&Policy{Timezone: "UTC"}).Window(berlin("2026-11-30 09:00")); !opens.IsZero() || !closes.IsZero() {
		t.Errorf("without windows: from %s to %s", opens, closes)
	}
}

// TestWindowByTheMinute compares windows with the wall clock, minute by minute, also where clocks are changed.
func TestWindowByTheMinute(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for _, zone := range []string{"UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia"} {
		loc, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			from, length := r.IntN(24*60), 60+r.IntN(20*60)
			to := (from + length) % (24 * 60)
			days := []string{"", "Mon-Fri ", "Sat,Sun ", "Wed "}[r.IntN(4)]
			p := &Policy{Timezone: zone, Windows: []string{fmt.Sprintf("%s%02d:%02d-%02d:%02d", days, from/60, from%60, to/60, to%60)}}
			w, err := parseWindow(p.Windows[0])
			if err != nil {
				t.Fatal(err)
			}
			at := time.Date(2026, time.Month(1+r.IntN(12)), 1+r.IntN(28), r.IntN(24), r.IntN(60), 0, 0, time.UTC)
			opens, closes := p.Window(at)
			inside := func(u time.Time) bool {
				wall := clock(u, loc)
				m := wall.Hour()*60 + wall.Minute()
				return w.days[wall.Weekday()] && m >= w.from && m < w.to || w.days[(wall.Weekday()+6)%7] && m+24*60 < w.to
			}
			changes := slices.ContainsFunc([]time.Time{at.AddDate(0, 0, -2), at, at.AddDate(0, 0, 9)}, func(u time.Time) bool {
				_, a := u.In(loc).Zone()
				_, b := at.In(loc).Zone()
				return a != b
			})
			if changes {
				continue // an hour that repeats belongs to the window once: TestWindow has the clock's changes
			}
			want := at
			for !inside(want) {
				want = want.Add(time.Minute)
			}
			for inside(want.Add(-time.Minute)) {
				want = want.Add(-time.Minute)
			}
			end := want
			for inside(end) {
				end = end.Add(time.Minute)
			}
			if !opens.Equal(want) || !closes.Equal(end) {
				t.Errorf("%s %s at %s: from %s to %s, want from %s to %s", zone, p.Windows[0], at, opens, closes, want, end)
			}
		}
	}
}
