package sqldb

import (
	"context"
	"fmt"
	"time"
)

// Hasten implements journal.Claimer.
func (db *DB) Hasten(ctx context.Context, now time.Time, beyond time.Duration) error {
	err := db.sayTo(ctx, func(ctx context.Context, t tx) error {
		n, err := t.exec(ctx, `UPDATE policies SET next_run_at = `+db.at(1)+` WHERE next_run_at > `+db.at(1)+` + $2`,
			micros(now), beyond.Microseconds())
		if n > 0 {
			db.recent.dropAll()
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("hasten: %w", err)
	}
	return nil
}
