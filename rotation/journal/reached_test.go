package journal_test

import (
	"testing"
	"time"

	"rotator/rotation/journal"
)

func TestReached(t *testing.T) {
	t.Parallel()
	at := time.Now()
	for want, r := range map[journal.State]journal.Rotation{
		journal.Planned:   {},
		journal.Staged:    {StagedAt: at},
		journal.Verified:  {StagedAt: at, VerifiedAt: at},
		journal.Promoting: {PromotingAt: at},
		journal.Live:      {PromotingAt: at, LiveAt: at},
	} {
		if got := r.Reached(); got != want {
			t.Errorf("reached %s, want %s", got, want)
		}
	}
}
