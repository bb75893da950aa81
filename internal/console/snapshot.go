package console

import (
	"time"

	"rotator/rotation/journal"
)

type snapshots struct {
	journal journal.Journal
	now     func() time.Time
}
