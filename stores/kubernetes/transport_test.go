package kubernetes

import (
	"testing"
	"time"

	"rotator/internal/testenv/blackhole"
)

// A connection that died without a word is given up within a minute.
func TestDeadConnection(t *testing.T) {
	t.Parallel()
	s, err := New(Options{Server: "https://example.com", Token: text("token")})
	if err != nil {
		t.Fatal(err)
	}
	if after := blackhole.Escaped(t, s.connections); after > time.Minute {
		t.Errorf("it took %v", after)
	}
}
