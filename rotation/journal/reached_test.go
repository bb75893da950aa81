package journal_test

import (
	"testing"
	"time"

	"rotator/rotation/journal"
)

func TestReached(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for want, r := range map[journal.State]journal.Rotation{
		journal.Planned:   {State: journal.Aborted},
		journal.Staged:    {State: journal.Aborted, StagedAt: at},
		journal.Verified:  {State: journal.Aborted, StagedAt: at, VerifiedAt: at},
		journal.Promoting: {State: journal.Superseded, StagedAt: at, PromotingAt: at},
		journal.Live:      {State: journal.RolledBack, StagedAt: at, PromotingAt: at, LiveAt: at, DisabledAt: at, RestoreKeyID: "old"}, // the new key's
		journal.Retiring:  {State: journal.Done, StagedAt: at, PromotingAt: at, LiveAt: at, DisabledAt: at},
	} {
		if got := r.Reached(); got != want {
			t.Errorf("%s reached %s, want %s", r.State, got, want)
		}
	}
}
