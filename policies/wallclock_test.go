package policies

import (
	_ "embed"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"
)

//go:embed testdata/zones.txt
var zoneNames string // every zone of the tz database that Go 1.26 embeds

// oracleRuns are schedules in two tongues: cron, and a plain function of the wall clock's fields. All run on quarters of
// an hour, to which every offset in use today is a multiple.
var oracleRuns = []struct {
	cron    string
	matches func(month time.Month, day int, weekday time.Weekday, hour, minute int) bool
}{
	{"0 * * * *", func(_ time.Month, _ int, _ time.Weekday, _, minute int) bool { return minute == 0 }},
	{"0 0 * * *", func(_ time.Month, _ int, _ time.Weekday, hour, minute int) bool { return hour == 0 && minute == 0 }},
	{"30 2 * * *", func(_ time.Month, _ int, _ time.Weekday, hour, minute int) bool { return hour == 2 && minute == 30 }},
	{"15,45 0-3 * * 0", func(_ time.Month, _ int, weekday time.Weekday, hour, minute int) bool {
		return weekday == time.Sunday && hour <= 3 && (minute == 15 || minute == 45)
	}},
	{"30 1 25-31 3,10,11 *", func(month time.Month, day int, _ time.Weekday, hour, minute int) bool {
		return (month == 3 || month == 10 || month == 11) && day >= 25 && hour == 1 && minute == 30
	}},
	{"0 23 1 * 6", func(_ time.Month, day int, weekday time.Weekday, hour, minute int) bool {
		return (day == 1 || weekday == time.Saturday) && hour == 23 && minute == 0
	}},
}

// brute walks through time quarter by quarter and looks at the clock: whenever it shows a quarter for the first time,
// what was to run at any quarter that it has newly reached or jumped over runs now, once.
func brute(loc *time.Location, from, until time.Time) [][]time.Time {
	const quarter = 15 * 60
	runs := make([][]time.Time, len(oracleRuns))
	high := int64(-1 << 62)
	for t := from.Add(-reach); t.Before(until); t = t.Add(quarter * time.Second) {
		_, offset := t.In(loc).Zone()
		shown := t.Unix() + int64(offset)
		if shown <= high {
			continue
		}
		if high < 0 {
			high = shown - quarter
		}
		fired := make([]bool, len(oracleRuns))
		for high += quarter; ; high += quarter {
			wall := time.Unix(high, 0).UTC()
			for i, r := range oracleRuns {
				if !fired[i] && r.matches(wall.Month(), wall.Day(), wall.Weekday(), wall.Hour(), wall.Minute()) {
					fired[i] = true
					if t.After(from) {
						runs[i] = append(runs[i], t)
					}
				}
			}
			if high >= shown {
				break
			}
		}
	}
	return runs
}

func TestEveryZoneOverThreeYears(t *testing.T) {
	t.Parallel()
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	until := from.AddDate(3, 0, 0)
	known := map[string]string{} // changes of the clock → zone that was walked through
	zones := strings.Fields(zoneNames)
	if len(zones) < 590 {
		t.Fatalf("only %d zones", len(zones))
	}
	for _, name := range zones {
		z, err := openZone(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		same := signature(z.loc, from.Add(-reach), until)
		if _, done := known[same]; done {
			continue
		}
		known[same] = name
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for i, want := range brute(z.loc, from, until) {
				table, err := compile(oracleRuns[i].cron, z)
				if err != nil {
					t.Fatal(err)
				}
				at := from
				for _, w := range want {
					if at = table.next(at); !at.Equal(w) {
						t.Fatalf("%s: runs at %s, want %s", oracleRuns[i].cron, at.In(z.loc), w.In(z.loc))
					}
				}
				if at = table.next(at); at.Before(until) {
					t.Errorf("%s: runs at %s too", oracleRuns[i].cron, at.In(z.loc))
				}
			}
		})
	}
	t.Logf("%d zones, %d of them different", len(zones), len(known))
}

// signature is the offset of every hour: many names are the same zone.
func signature(loc *time.Location, from, until time.Time) string {
	var s strings.Builder
	last := 1 << 30
	for t := from; t.Before(until); t = t.Add(15 * time.Minute) {
		if _, offset := t.In(loc).Zone(); offset != last {
			last = offset
			s.WriteString(t.Format(time.RFC3339))
			s.WriteString(time.Duration(offset * int(time.Second)).String())
		}
	}
	return s.String()
}

// TestKnownChanges holds what calendars say, apart from any reasoning of ours.
func TestKnownChanges(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ what, cron, zone, after, want string }{
		{"gap of spring", "30 2 * * *", "Europe/Berlin", "2026-03-28T03:00:00+01:00", "2026-03-29T03:00:00+02:00"},
		{"day after the gap", "30 2 * * *", "Europe/Berlin", "2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"},
		{"first of two 02:30", "30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00+02:00", "2026-10-25T02:30:00+02:00"},
		{"not the second 02:30", "30 2 * * *", "Europe/Berlin", "2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"},
		{"asked within the repeated hour", "30 2 * * *", "Europe/Berlin", "2026-10-25T02:10:00+01:00", "2026-10-26T02:30:00+01:00"},
		{"end of the repeated hour", "0 3 * * *", "Europe/Berlin", "2026-10-25T02:59:00+01:00", "2026-10-25T03:00:00+01:00"},
		{"two runs of the gap are one", "0,30 2 * * *", "America/New_York", "2026-03-07T12:00:00-05:00", "2026-03-08T03:00:00-04:00"},
		{"and it comes once", "0,30 2 * * *", "America/New_York", "2026-03-08T03:00:00-04:00", "2026-03-09T02:00:00-04:00"},
		{"half an hour", "15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00+10:30", "2026-10-04T02:30:00+11:00"},
		{"gap at midnight", "0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00:00-03:00", "2018-11-04T01:00:00-02:00"},
		{"a day that was skipped", "0 12 30 12 *", "Pacific/Apia", "2011-12-29T12:00:00-10:00", "2011-12-31T00:00:00+14:00"},
		{"no change", "0 3 1 * *", "Asia/Tokyo", "2026-03-29T00:00:00+09:00", "2026-04-01T03:00:00+09:00"},
		{"leap day", "0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"},
		{"eight years without one", "0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", "2104-02-29T00:00:00Z"},
		{"last day of a leap year, far ahead", "0 12 * * *", "Europe/Berlin", "2044-12-31T06:00:00+01:00", "2044-12-31T12:00:00+01:00"},
		{"and over new year", "0 3 * * *", "Europe/Berlin", "2044-12-31T06:00:00+01:00", "2045-01-01T03:00:00+01:00"},
	} {
		z, err := openZone(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		table, err := compile(c.cron, z)
		if err != nil {
			t.Fatal(err)
		}
		after, want := instantOf(t, c.after), instantOf(t, c.want)
		if got := table.next(after); !got.Equal(want) {
			t.Errorf("%s: %s in %s after %s runs at %s, want %s", c.what, c.cron, c.zone, c.after, got.In(z.loc), c.want)
		}
	}
}

func instantOf(t *testing.T, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}
