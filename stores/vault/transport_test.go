package vault

import (
	"net/http"
	"testing"
	"time"

	"rotator/internal/testenv/blackhole"
)

// A connection that died without a word is given up within a minute.
func TestDeadConnection(t *testing.T) {
	t.Parallel()
	tr, err := Options{}.transport()
	if err != nil {
		t.Fatal(err)
	}
	if after := blackhole.Escaped(t, tr.(*http.Transport)); after > time.Minute {
		t.Errorf("it took %v", after)
	}
}
