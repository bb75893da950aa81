package sqldb

import (
	"context"
	"fmt"
	"time"

	"rotator/rotation/journal"
)

// Hasten implements journal.Claimer.
func (db *DB) Hasten(ctx context.Context, now time.Time) error {
	err := db.write(ctx, func(ctx context.Context, t tx) error {
		now, err := db.clock(ctx, t, now)
		if err != nil {
			return err
		}
		_, err = t.exec(ctx, `UPDATE policies SET next_run_at = $1 WHERE next_run_at > $2`,
			micros(now), micros(now.Add(journal.Horizon)))
		return err
	})
	if err != nil {
		return fmt.Errorf("hasten: %w", err)
	}
	return nil
}
