package policies

import (
	"errors"
	"fmt"
	"math/bits"
	"strings"
	"sync"
	"time"

	"github.com/robfig/cron/v3"
)

// timetable is a compiled schedule: cron in a time zone, or a fixed interval.
type timetable struct {
	every time.Duration // "@every"; then the rest is unused
	cron  *cron.SpecSchedule
	zone  *zone
}

// scheduleError says what is wrong with the field schedule or timezone, and what would be right.
type scheduleError struct{ field, what, want string }

func (e *scheduleError) Error() string { return e.what + "; want " + e.want }

const scheduleForm = `cron with five fields such as "0 3 1 * *", @daily, @weekly, @monthly or "@every 720h"`

// compile parses a schedule. Everything robfig/cron is known to accept without sense or to panic on is refused first:
// TZ= prefixes panic, "@every 0s" fires each second, a date that never comes has the zero time as its next.
func compile(schedule string, z *zone) (t *timetable, err error) {
	t = &timetable{zone: z}
	if interval, ok := strings.CutPrefix(schedule, "@every "); ok {
		d, err := ParseDuration(strings.TrimSpace(interval))
		if err != nil || d.Std() < time.Second {
			return nil, &scheduleError{"schedule", "schedule" + quote(schedule) + " has no valid interval", `"@every" and ` + durationForm}
		}
		t.every = d.Std()
		return t, nil
	}
	if t.cron, err = parseCron(schedule); err != nil {
		return nil, err
	}
	if t.next(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return nil, &scheduleError{"schedule", "schedule" + quote(schedule) + " names a date that never comes", "a date that exists"}
	}
	return t, nil
}

// zone is a time zone and, computed on demand, its changes forward. Policies share zones: a location takes kilobytes.
type zone struct {
	loc   *time.Location
	leaps func() []leap
}

func openZone(timezone string) (*zone, error) {
	loc, err := time.LoadLocation(timezone) // UTC for ""
	if err != nil || timezone == "Local" {  // Local is another zone on every machine
		return nil, &scheduleError{"timezone", "timezone" + quote(timezone) + " is not known", "a name of the tz database such as Europe/Berlin, or UTC"}
	}
	return &zone{loc, sync.OnceValue(func() []leap { return leaps(loc) })}, nil
}

// cronField is one of the five fields, with what it takes.
type cronField struct{ name, want string }

var cronFields = [...]cronField{
	{"minute", "0-59"}, {"hour", "0-23"}, {"day of month", "1-31"}, {"month", "1-12 or jan-dec"}, {"day of week", "0-6 or sun-sat"},
}

func parseCron(schedule string) (*cron.SpecSchedule, error) {
	if strings.HasPrefix(schedule, "TZ=") || strings.HasPrefix(schedule, "CRON_TZ=") {
		return nil, &scheduleError{"schedule", "schedule has a time zone in front", "the zone in timezone: instead"}
	}
	if strings.HasPrefix(schedule, "@") {
		spec, err := robfig(schedule)
		if err != nil {
			return nil, &scheduleError{"schedule", "schedule" + quote(schedule) + " is not known", scheduleForm}
		}
		return spec, nil
	}
	fields := strings.Fields(schedule)
	if len(fields) != len(cronFields) {
		return nil, &scheduleError{"schedule", fmt.Sprintf("schedule%s has %d fields", quote(schedule), len(fields)), scheduleForm}
	}
	for i, f := range fields {
		if err := checkField(i, f); err != nil {
			return nil, err
		}
	}
	spec, err := robfig(schedule)
	if err != nil {
		return nil, &scheduleError{"schedule", "schedule" + quote(schedule) + " is not valid", scheduleForm}
	}
	return spec, nil
}

// checkField parses one field alone, so that an error can name it. Forms that robfig/cron reads as something else than
// what is there are refused: empty items of a list, and a range that begins with a star.
func checkField(i int, field string) error {
	alone := []string{"*", "*", "*", "*", "*"}
	alone[i] = field
	_, err := robfig(strings.Join(alone, " "))
	for item := range strings.SplitSeq(field, ",") {
		if item == "" || strings.HasPrefix(item, "*-") || strings.HasPrefix(item, "?-") {
			err = errCron
		}
	}
	if err == nil {
		return nil
	}
	want := cronFields[i].want + `, *, lists (1,2), ranges (1-5) or steps (*/2)`
	if i == 4 && strings.Contains(field, "7") {
		want = "0 or sun for Sunday"
	}
	return &scheduleError{"schedule", "schedule: " + cronFields[i].name + quote(field) + " is not valid", want}
}

var errCron = errors.New("no valid cron expression")

// robfig calls the parser of robfig/cron and turns its panics into errors.
func robfig(spec string) (schedule *cron.SpecSchedule, err error) {
	defer func() {
		if recover() != nil {
			schedule, err = nil, errCron
		}
	}()
	parsed, err := cron.ParseStandard(spec)
	if err != nil {
		return nil, err
	}
	schedule, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return nil, errCron
	}
	return schedule, nil
}

// next is the first run after t, in UTC. Zero: there is none.
func (s *timetable) next(t time.Time) time.Time {
	if s.every > 0 {
		return t.UTC().Round(0).Add(s.every)
	}
	wall := s.nextWall(passed(t, s.zone.loc))
	if wall.IsZero() {
		return wall
	}
	return instant(wall, s.zone.loc)
}

// nextWall is the first run after wall, on the wall clock. robfig/cron looks five years ahead, which is less than the
// eight years between the leap days around 2100, hence the second look.
func (s *timetable) nextWall(wall time.Time) time.Time {
	if next := s.cron.Next(wall); !next.IsZero() {
		return next
	}
	return s.cron.Next(wall.AddDate(5, 0, 0))
}

// shortest is the shortest interval between two runs. It is exact when it is shorter than limit, and else at least limit.
// On days when clocks are put forward, a run that is made up comes closer to the next one than any wall clock shows.
func (s *timetable) shortest(limit time.Duration) time.Duration {
	if s.every > 0 {
		return s.every
	}
	wall := s.shortestWall()
	shortest := wall
	limit = min(limit, wall)
	for _, l := range s.zone.leaps() {
		if wall-l.by >= limit {
			continue
		}
		previous := s.next(l.at.Add(-limit))
		for !previous.After(l.at) {
			run := s.next(previous)
			shortest = min(shortest, run.Sub(previous))
			previous = run
		}
	}
	return shortest
}

// shortestWall is the shortest interval between two runs on the wall clock, computed from the sets of minutes, hours and
// days: trying out runs one by one would take seconds for a folder of many policies.
func (s *timetable) shortestWall() time.Duration {
	firstMinute, lastMinute, minutes := closest(s.cron.Minute)
	firstHour, lastHour, hours := closest(s.cron.Hour)
	within := 24 * 60 // no second run on the same day
	if minutes > 0 {
		within = minutes
	}
	if hours > 0 {
		within = min(within, hours*60-(lastMinute-firstMinute))
	}
	span := (lastHour-firstHour)*60 + lastMinute - firstMinute
	across := closestDays(s.cron)*24*60 - span
	if minutes == 0 && hours == 0 {
		within = across
	}
	return time.Duration(min(within, across)) * time.Minute
}

// longest is the longest interval between two runs on the wall clock. Clocks that are put back add an hour to it at times.
func (s *timetable) longest() time.Duration {
	if s.every > 0 {
		return s.every
	}
	firstMinute, lastMinute, _ := closest(s.cron.Minute)
	firstHour, lastHour, _ := closest(s.cron.Hour)
	days := 0
	eachDayGap(s.cron, func(gap int) { days = max(days, gap) })
	across := days*24*60 - ((lastHour-firstHour)*60 + lastMinute - firstMinute)
	within := farthest(s.cron.Minute)
	if hours := farthest(s.cron.Hour); hours > 0 {
		within = max(within, hours*60-(lastMinute-firstMinute))
	}
	return time.Duration(max(within, across)) * time.Minute
}

// farthest is the largest distance between neighbors in a field's set, 0 when there is only one.
func farthest(set uint64) (gap int) {
	set &^= 1 << 63
	for previous := -1; set != 0; set &= set - 1 {
		bit := bits.TrailingZeros64(set)
		if previous >= 0 {
			gap = max(gap, bit-previous)
		}
		previous = bit
	}
	return gap
}

// closest returns the lowest and the highest bit of a field's set, and the smallest distance between neighbors, 0 when
// there is only one. Bit 63 is robfig/cron's mark for a star.
func closest(set uint64) (first, last, gap int) {
	set &^= 1 << 63
	first, last = bits.TrailingZeros64(set), 63-bits.LeadingZeros64(set)
	for previous := -1; set != 0; set &= set - 1 {
		bit := bits.TrailingZeros64(set)
		if previous >= 0 && (gap == 0 || bit-previous < gap) {
			gap = bit - previous
		}
		previous = bit
	}
	return first, last, gap
}

// closestDays is the smallest number of days between two days that match.
func closestDays(s *cron.SpecSchedule) int {
	gap := 28 * 366
	eachDayGap(s, func(days int) { gap = min(gap, days) })
	return gap
}

// eachDayGap calls f with the number of days between each two neighboring days that match, over the 28 years from 2026 on,
// which hold every pairing of weekday and date. Each month is a set of bits: trying out day by day takes 50 times as long, and
// this runs for every different schedule at load.
func eachDayGap(s *cron.SpecSchedule, f func(days int)) {
	const star = 1 << 63
	var weekdays [7]uint64 // weekday of the first of a month → days of that month that the field day of week names
	for first := range weekdays {
		for d := 1; d <= 31; d++ {
			weekdays[first] |= s.Dow >> ((first + d - 1) % 7) & 1 << d
		}
	}
	previous := -1
	number := 0 // of the month's first day, counted from the beginning of 2026, a Thursday
	for month := range 28 * 12 {
		length := daysIn(2026+month/12, time.Month(month%12+1))
		days, first := s.Dom, (int(time.Thursday)+number)%7
		if s.Dom&star != 0 || s.Dow&star != 0 {
			days &= weekdays[first]
		} else {
			days |= weekdays[first]
		}
		days &= 1<<(length+1) - 1
		if s.Month&(1<<(month%12+1)) == 0 {
			days = 0
		}
		for ; days != 0; days &= days - 1 {
			day := number + bits.TrailingZeros64(days)
			if previous >= 0 {
				f(day - previous)
			}
			previous = day
		}
		number += length
	}
}

// daysIn is the length of a month between 1901 and 2099.
func daysIn(year int, month time.Month) int {
	switch month {
	case time.April, time.June, time.September, time.November:
		return 30
	case time.February:
		if year%4 == 0 {
			return 29
		}
		return 28
	}
	return 31
}
