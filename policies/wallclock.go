package policies

import "time"

// A wall-clock time is held as a time.Time in UTC whose date and clock are what a wall clock in the zone shows. Cron is
// evaluated on such times, where every day has 24 hours, and mapped to real instants here, so that the changes of
// daylight saving are handled in one place and by one rule:
//
//	a wall-clock time happens at the first instant at which the clock shows it or a later one.
//
// So a run in the gap of spring happens at the first instant after the gap, and a run in the hour that autumn repeats
// happens the first time. The mapping is monotone: two runs may fall on one instant, never change places.

// reach is farther than any clock was ever put forward or back; the longest in use is the day that a crossing of the
// date line skips or repeats.
const reach = 48 * time.Hour

// clock is what a wall clock in loc shows at instant t.
func clock(t time.Time, loc *time.Location) time.Time {
	t = t.In(loc)
	_, offset := t.Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

// instant is when wall happens in loc.
func instant(wall time.Time, loc *time.Location) time.Time {
	for t := wall.Add(-reach).In(loc); ; {
		start, end := bounds(t)
		_, offset := t.Zone()
		at := wall.Add(-time.Duration(offset) * time.Second)
		if at.Before(start) { // the clock jumped over wall when this period began
			return start.UTC()
		}
		if end.IsZero() || at.Before(end) {
			return at
		}
		t = end
	}
}

// bounds is t.ZoneBounds with an end that is always after t. In zones that follow a rule, Go 1.26 cuts periods at new year
// without a change of the clock, and on 31 December of a leap year it returns an end before t.
func bounds(t time.Time) (start, end time.Time) {
	start, end = t.ZoneBounds()
	if !end.IsZero() && !end.After(t) {
		end = t.Add(time.Hour)
	}
	return start, end
}

// passed is the latest wall-clock time that has happened in loc at instant t. It is later than clock(t, loc) while an
// hour repeats.
func passed(t time.Time, loc *time.Location) time.Time {
	latest := clock(t, loc)
	for start, _ := t.In(loc).ZoneBounds(); !start.IsZero() && t.Sub(start) < reach; {
		before := start.Add(-1)
		if wall := clock(before, loc); wall.After(latest) {
			latest = wall
		}
		start, _ = before.In(loc).ZoneBounds()
	}
	return latest
}

// leap is a change of the clock forward: at, and by how much.
type leap struct {
	at time.Time
	by time.Duration
}

// leaps returns the changes forward in loc over the 28 years from 2026 on, which hold every pairing of weekday and date.
func leaps(loc *time.Location) []leap {
	var list []leap
	t := time.Date(2026, 1, 1, 0, 0, 0, 0, loc)
	for until := t.AddDate(28, 0, 0); t.Before(until); {
		_, end := bounds(t)
		if end.IsZero() {
			break
		}
		_, before := end.Add(-1).In(loc).Zone()
		_, after := end.In(loc).Zone()
		if after > before {
			list = append(list, leap{end.UTC(), time.Duration(after-before) * time.Second})
		}
		t = end
	}
	return list
}
