package policies

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// Duration is a length of time in nanoseconds, written as Go writes durations with d (24 hours) and w (7 days) in front:
// "90s", "24h", "45d", "1w12h". It is never negative and at most ten years.
type Duration int64

const (
	day         = 24 * time.Hour
	maxDuration = 3650 * day // keeps every sum of durations far from overflow
)

var errDuration = errors.New("no valid duration") // without the value: it could be anything

// durationForm is what a problem recommends, and the start of the schema's pattern.
const durationForm = "a duration such as 90s, 24h, 45d or 1w"

// Std returns d as the standard library's type.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String is the shortest form that [ParseDuration] reads back: whole days from two on ("45d"), else hours, minutes and
// seconds without zeros at the end ("24h", "1h30m").
func (d Duration) String() string {
	if d.Std() >= 2*day && d.Std()%day == 0 {
		return strconv.FormatInt(int64(d.Std()/day), 10) + "d"
	}
	s := d.Std().String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// ParseDuration reads a duration. Its error never quotes the value.
func ParseDuration(s string) (Duration, error) {
	var sum time.Duration
	rest := s
	for _, unit := range []struct {
		name  string
		value time.Duration
	}{{"w", 7 * day}, {"d", day}} {
		number, after, found := strings.Cut(rest, unit.name)
		if !found {
			continue
		}
		n, err := strconv.ParseUint(number, 10, 32)
		if err != nil || time.Duration(n) > maxDuration/unit.value {
			return 0, errDuration
		}
		sum += time.Duration(n) * unit.value
		rest = after
	}
	if rest != "" || s == "" {
		if rest == "" || !digit(rest[0]) || digit(rest[len(rest)-1]) { // no sign, and not a bare 0
			return 0, errDuration
		}
		std, err := time.ParseDuration(rest)
		if err != nil || std > maxDuration {
			return 0, errDuration
		}
		sum += std
	}
	if sum > maxDuration {
		return 0, errDuration
	}
	return Duration(sum), nil
}

// MarshalText implements encoding.TextMarshaler, for JSON and YAML.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := ParseDuration(string(text))
	if err != nil {
		return err
	}
	*d = parsed
	return nil
}

func digit(c byte) bool { return '0' <= c && c <= '9' }
