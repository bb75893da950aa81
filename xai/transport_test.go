package xai

import (
	"testing"
	"time"

	"rotator/internal/blackhole"
)

// A connection that died without a word is given up within a minute, though every call keeps it busy.
func TestDeadConnection(t *testing.T) {
	t.Parallel()
	if after := blackhole.Escaped(t, newTransport()); after > time.Minute {
		t.Errorf("it took %v", after)
	}
}
