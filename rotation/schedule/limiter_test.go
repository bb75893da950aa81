package schedule

import (
	"rotator/rotation/turn"
	"testing"
	"time"
)

// TestLateWaiter: a turn that left while its call was just being found to take long is counted out once.
func TestLateWaiter(t *testing.T) {
	t.Parallel()
	l := newLimiter(time.Now)
	resources := []turn.Resource{{Name: "team research", Share: 1}, {Name: "store vault", Share: 1}}
	first, err := l.enter(resources)
	if err != nil {
		t.Fatal(err)
	}
	first.leave()
	first.waitFor("store vault")
	for turns := range 2 {
		if _, err := l.enter(resources[:1]); (err == nil) != (turns == 0) {
			t.Errorf("a share of one holds %d turns, and of one more it says %v", turns, err)
		}
	}
}
