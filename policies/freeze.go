package policies

import (
	"fmt"
	"time"
)

// Freeze is a time in which nothing is changed that can wait, such as the holidays: no rotation of a policy that has all of
// the labels begins, and no key of it is disabled or deleted. MaxAge wins over a freeze that is not hard; a key's expiry,
// consumers that fail, and a compromised key win over every freeze.
type Freeze struct {
	From, To Moment
	Why      string
	Labels   map[string]string // none: every policy
	Hard     bool
}

// Span is when the freeze is in force for a policy: dates are those of its time zone, and the last day counts.
func (f Freeze) Span(p *Policy) (from, to time.Time) {
	loc := time.UTC
	if z, err := openZone(p.Timezone); err == nil {
		loc = z.loc
	}
	return f.From.begin(loc), f.To.end(loc)
}

// Moment is a day on the calendar, or an instant. The zero Moment is neither.
type Moment struct {
	day  bool
	wall time.Time // of a day: its midnight on the wall clock
	at   time.Time
}

// MomentWant is what a moment is written as.
const MomentWant = "a day such as 2026-12-18, or an instant such as 2026-12-18T17:00:00Z"

// ParseMoment reads a day, or an instant in RFC 3339.
func ParseMoment(text string) (Moment, error) {
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		return Moment{day: true, wall: day}, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return Moment{}, fmt.Errorf("%q is neither a day nor an instant", text)
	}
	return Moment{at: at.UTC()}, nil
}

// Zero reports that there is no moment.
func (m Moment) Zero() bool { return !m.day && m.at.IsZero() }

// Before reports whether m is over when n begins: a freeze from n to m would never be in force.
func (m Moment) Before(n Moment) bool { return !m.end(time.UTC).After(n.begin(time.UTC)) }

func (m Moment) begin(loc *time.Location) time.Time {
	if m.day {
		return instant(m.wall, loc)
	}
	return m.at
}

func (m Moment) end(loc *time.Location) time.Time {
	if m.day {
		return instant(m.wall.AddDate(0, 0, 1), loc)
	}
	return m.at
}
