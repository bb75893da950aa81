package policies

import (
	"strings"
	"testing"
	"time"
)

func TestSchedulesRefused(t *testing.T) {
	t.Parallel()
	utc, _ := openZone("")
	for schedule, want := range map[string]string{
		"TZ=Europe/Berlin 0 3 * * *":      "timezone:",
		"CRON_TZ=Europe/Berlin 0 3 * * *": "timezone:",
		"TZ=":                             "timezone:",
		" TZ= 0 3 * *":                    "minute",
		"0 0 30 2 *":                      "never comes",
		"0 0 31 4,6,9,11 *":               "never comes",
		"@every 0s":                       "no valid interval",
		"@every 500ms":                    "no valid interval",
		"@every -1h":                      "no valid interval",
		"@every":                          "not known",
		"@every soon":                     "no valid interval",
		"@fortnightly":                    "not known",
		"0 3 * *":                         "4 fields",
		"0 0 3 * * *":                     "6 fields",
		"60 3 * * *":                      `minute "60"`,
		"0 24 * * *":                      `hour "24"`,
		"0 3 0 * *":                       `day of month "0"`,
		"0 3 * 13 *":                      `month "13"`,
		"0 3 * * 7":                       "0 or sun for Sunday",
		"0 3 * * 1-7":                     "0 or sun for Sunday",
		"*/0 3 * * *":                     "minute",
		"5-1 3 * * *":                     "minute",
		", 3 * * *":                       "minute",
		"0 1,,2 * * *":                    "hour",
		"0 *-5 * * *":                     "hour",
		"0 x * * *":                       "hour",
		"":                                "0 fields",
	} {
		table, err := compile(schedule, utc)
		if err == nil {
			t.Errorf("%q is accepted: next %s", schedule, table.next(time.Now()))
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q in it", schedule, err, want)
		}
	}
	for _, zone := range []string{"Local", "Europe/Atlantis", "../etc/passwd", "/etc/localtime", "UTC+1"} {
		if _, err := openZone(zone); err == nil {
			t.Errorf("zone %q is accepted", zone)
		}
	}
}

func TestShortestInterval(t *testing.T) {
	t.Parallel()
	const h = time.Hour
	for _, c := range []struct {
		schedule, zone string
		want           time.Duration
	}{
		{"@every 36h", "UTC", 36 * h},
		{"@every 1w2d", "UTC", 9 * day},
		{"@every 90s", "Europe/Berlin", 90 * time.Second},
		{"@hourly", "UTC", h},
		{"* * * * *", "Europe/Berlin", time.Minute},
		{"*/7 * * * *", "UTC", 4 * time.Minute},      // 56 to 00
		{"0,50 * * * *", "UTC", 10 * time.Minute},    // 50 to 00
		{"0 3,22 * * *", "UTC", 5 * h},               // 22 to 3
		{"0 3,9 1 * *", "UTC", 6 * h},                //
		{"0 3 * * *", "UTC", 24 * h},                 //
		{"0 3 */2 * *", "UTC", 24 * h},               // 31st to 1st
		{"0 3 1,15 * *", "UTC", 14 * day},            //
		{"0 3 1 * *", "UTC", 28 * day},               // February
		{"0 3 31 * *", "UTC", 31 * day},              // 31 July to 31 August
		{"0 3 1 * 1", "UTC", 24 * h},                 // a Monday beside a first
		{"0 3 * * 1,4", "UTC", 3 * day},              //
		{"0 3 29 2 *", "UTC", 4 * 365 * day},         // at least: four years
		{"0 0 1 1 *", "UTC", 365 * day},              //
		{"0 3 * * *", "Europe/Berlin", 23 * h},       // spring
		{"30 2 * * *", "Europe/Berlin", 23*h + h/2},  // made up at 03:00
		{"30 * * * *", "Europe/Berlin", h / 2},       // made up at 03:00, then 03:30
		{"0 * * * *", "Europe/Berlin", h},            // made up at 03:00 with the run of 03:00
		{"0 * * * *", "Australia/Lord_Howe", h / 2},  // 02:30, 03:00
		{"0 3 * * 0", "America/New_York", 7*day - h}, //
		{"0 3 1 * *", "Europe/Berlin", 28 * day},     // the change is at the month's end
	} {
		z, err := openZone(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		table, err := compile(c.schedule, z)
		if err != nil {
			t.Fatal(err)
		}
		if got := table.shortest(maxDuration); got < c.want || got > c.want+25*h && c.want > 1000*h || got != c.want && c.want < 1000*h {
			t.Errorf("%s in %s: shortest interval %s, want %s", c.schedule, c.zone, got, c.want)
		}
	}
}

// TestShortestIntervalAgainstRuns compares the computed interval with that of the runs of 28 years, one by one.
func TestShortestIntervalAgainstRuns(t *testing.T) {
	t.Parallel()
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, zone := range []string{"Europe/Berlin", "Australia/Lord_Howe", "Africa/Casablanca"} {
		z, err := openZone(zone)
		if err != nil {
			t.Fatal(err)
		}
		for _, schedule := range []string{
			"30 1,2,3 * * *", "0 0 * * *", "15 */5 * * *", "0 2 * 3,10 0", "59 23 28-31 * *", "0 0,12 1 */2 *", "45 2 10-20/3 * 3-5", "0 4 * * 2,6",
		} {
			table, err := compile(schedule, z)
			if err != nil {
				t.Fatal(err)
			}
			want, longest := maxDuration, time.Duration(0)
			last := table.next(from)
			for last.Before(from.AddDate(28, 0, 0)) {
				next := table.next(last)
				want, longest = min(want, next.Sub(last)), max(longest, next.Sub(last))
				last = next
			}
			if got := table.longest(); got > longest+time.Hour || got < longest-time.Hour { // clocks are changed by an hour at most
				t.Errorf("%s in %s: longest interval %s, want %s", schedule, zone, got, longest)
			}
			if got := table.shortest(maxDuration); got != want {
				t.Errorf("%s in %s: shortest interval %s, but runs come within %s", schedule, zone, got, want)
			}
			if limit := want - time.Minute; table.shortest(limit) < limit {
				t.Errorf("%s in %s: shorter than %s, which it is not", schedule, zone, limit)
			}
		}
	}
}

func FuzzSchedule(f *testing.F) {
	for _, s := range []string{"0 3 1 * *", "@every 720h", "@daily", "TZ=", "TZ=UTC", "0 0 30 2 *", "@every 0s", "*/7,3-9/2 * ? jan-mar sun", "1/99999999999999999 * * * *"} {
		f.Add(s, "Europe/Berlin")
	}
	now := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, schedule, timezone string) {
		z, err := openZone(timezone)
		if err != nil {
			return
		}
		table, err := compile(schedule, z)
		if err != nil {
			return
		}
		shortest := table.shortest(maxDuration)
		if shortest <= 0 {
			t.Fatalf("%q: shortest interval %s", schedule, shortest)
		}
		last := table.next(now)
		for range 20 {
			next := table.next(last)
			if !next.After(last) || next.Sub(last) < shortest {
				t.Fatalf("%q in %q: %s and %s, shortest interval %s", schedule, timezone, last, next, shortest)
			}
			last = next
		}
	})
}
