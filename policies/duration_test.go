package policies

import (
	"testing"
	"time"
)

func TestDuration(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct {
		d    time.Duration
		form string
	}{
		"0s": {0, "0s"}, "90s": {90 * time.Second, "1m30s"}, "24h": {day, "24h"}, "1d": {day, "24h"}, "48h": {2 * day, "2d"},
		"45d": {45 * day, "45d"}, "1w": {7 * day, "7d"}, "1w2d3h30m": {9*day + 3*time.Hour + 30*time.Minute, "219h30m"},
		"720h": {30 * day, "30d"}, "1.5h": {90 * time.Minute, "1h30m"}, "10m": {10 * time.Minute, "10m"}, "10ms": {10 * time.Millisecond, "10ms"},
		"1h0m5s": {time.Hour + 5*time.Second, "1h0m5s"}, "3650d": {maxDuration, "3650d"},
	} {
		d, err := ParseDuration(text)
		if err != nil || d.Std() != want.d || d.String() != want.form {
			t.Errorf("%q is %s (%v), want %s", text, d, err, want.form)
		}
		if back, err := ParseDuration(d.String()); err != nil || back != d {
			t.Errorf("%q: %q reads back as %s (%v)", text, d, back, err)
		}
	}
	for _, text := range []string{"", "0", "5", "-1h", "+1h", "1d-1h", "1.5d", "d", "1d1w", "1h1d", "3651d", "99999999999999999w", "9999999h", "1 h", "1h ", "1y", "521w5d"} {
		if d, err := ParseDuration(text); err == nil {
			t.Errorf("%q is accepted as %s", text, d)
		}
	}
}
