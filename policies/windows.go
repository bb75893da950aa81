package policies

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// window is a part of each week, on the wall clock: on some days from one time of day to another. One that ends before it
// begins goes on into the next day.
type window struct {
	days     [7]bool // by time.Weekday: the days on which it begins
	from, to int     // minutes since midnight; to is later than from, and later than a day where it goes on into the next
}

const windowWant = `days and times such as "Mon-Fri 08:00-17:00", "Sat,Sun 22:00-04:00" or "02:00-05:00"`

var (
	windowForm = regexp.MustCompile(`^(?:([A-Za-z,-]+) +)?([0-2][0-9]):([0-5][0-9])-([0-2][0-9]):([0-5][0-9])$`)
	weekdays   = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}
)

// parseWindow reads the text of a window.
func parseWindow(text string) (w window, err error) {
	m := windowForm.FindStringSubmatch(text)
	if m == nil {
		return w, fmt.Errorf("%q is no window", text)
	}
	number := func(s string) int { n, _ := strconv.Atoi(s); return n } // the form has digits only
	w.from, w.to = number(m[2])*60+number(m[3]), number(m[4])*60+number(m[5])
	const day = 24 * 60
	if w.from >= day || w.to > day || w.from == w.to {
		return w, fmt.Errorf("%q is no window", text)
	}
	if w.to < w.from {
		w.to += day
	}
	if m[1] == "" {
		w.days = [7]bool{true, true, true, true, true, true, true}
		return w, nil
	}
	for item := range strings.SplitSeq(strings.ToLower(m[1]), ",") {
		first, last, isRange := strings.Cut(item, "-")
		a, b := slices.Index(weekdays, first), slices.Index(weekdays, last)
		if !isRange {
			b = a
		}
		if a < 0 || b < 0 {
			return w, fmt.Errorf("%q is no window", text)
		}
		for d := a; ; d = (d + 1) % 7 { // Fri-Mon goes over the weekend
			w.days[d] = true
			if d == b {
				break
			}
		}
	}
	return w, nil
}

// Window returns when the window that is open at t opened, or when the next one opens, and when it closes. Both are zero for
// a policy without windows, whose rotations may begin at any time. Of windows that overlap it is the one that opens first.
// Times are read in the policy's time zone; the result is in UTC.
func (p *Policy) Window(t time.Time) (opens, closes time.Time) {
	if len(p.Windows) == 0 {
		return time.Time{}, time.Time{}
	}
	t = t.UTC().Round(0)
	zone, err := openZone(p.Timezone)
	if err != nil {
		return time.Time{}, time.Time{}
	}
	midnight := clock(t, zone.loc).Truncate(24 * time.Hour)
	for d := -1; d <= 8; d++ { // one that began yesterday may still be open; in a week each comes, but for one that a clock jumps over
		date := midnight.AddDate(0, 0, d)
		for _, text := range p.Windows {
			w, err := parseWindow(text)
			if err != nil || !w.days[date.Weekday()] {
				continue
			}
			from := instant(date.Add(time.Duration(w.from)*time.Minute), zone.loc)
			to := instant(date.Add(time.Duration(w.to)*time.Minute), zone.loc)
			if !to.After(t) || !to.After(from) {
				continue
			}
			if opens.IsZero() || from.Before(opens) || from.Equal(opens) && to.After(closes) {
				opens, closes = from, to
			}
		}
	}
	return opens, closes
}

// windows checks the windows of a policy.
func (c *checker) windows() {
	for i, text := range c.p.Windows {
		if text == "" {
			continue // reported already
		}
		if _, err := parseWindow(text); err != nil {
			c.at(fmt.Sprintf("windows[%d]%s is no part of a week", i, quote(text)), windowWant, "windows", i)
		}
	}
}

var (
	labelKeyForm   = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?$`)
	labelValueForm = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`)
)

// labels checks the labels of a policy.
func (c *checker) labels() {
	for _, key := range slices.Sorted(maps.Keys(c.p.Labels)) {
		switch value := c.p.Labels[key]; {
		case !labelKeyForm.MatchString(key):
			c.at("labels:"+quote(key)+" is no name of a label", "at most 63 letters, digits, '.', '_', '/' and '-'", "labels")
		case value != "" && !labelValueForm.MatchString(value):
			c.at("labels."+key+quote(value)+" is no value of a label", "at most 63 letters, digits, '.', '_' and '-'", "labels", key)
		}
	}
}

// Matches reports whether a policy has all of the labels. Every policy has none.
func (p *Policy) Matches(labels map[string]string) bool {
	for key, value := range labels {
		if have, ok := p.Labels[key]; !ok || have != value {
			return false
		}
	}
	return true
}
