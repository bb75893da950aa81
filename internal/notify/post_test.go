package notify

import (
	"testing"
	"time"
)

// TestRetryAfterForms: seconds and dates are followed, up to the longest pause; anything else says nothing.
func TestRetryAfterForms(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"": 0, "0": 0, "-5": 0, "30": 30 * time.Second, "soon": 0, "1.5": 0,
		"3600": longPause, "9999999999": longPause, "18446744073709551616": longPause,
		"Sun, 01 Mar 2026 03:00:30 GMT": 30 * time.Second, "Sunday, 01-Mar-26 03:01:00 GMT": time.Minute,
		"Sun, 01 Mar 2099 03:00:00 GMT": longPause,
	} {
		if got := retryAfter(header, now); got != want {
			t.Errorf("%q: %s, want %s", header, got, want)
		}
	}
	if got := retryAfter("Sun, 01 Mar 2020 03:00:00 GMT", now); got > 0 {
		t.Errorf("a date that is over: %s", got)
	}
}
