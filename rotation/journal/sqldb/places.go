package sqldb

import (
	"context"
	"fmt"
	"strings"
	"time"

	"rotator/rotation/journal"
)

// A place is a row, which names the claim that has it. The row counts while that claim is good. Where claims end by
// themselves it also counts until the claim's lease as it was when the place was taken: a statement that began before
// a claim was made does not see that claim, but it sees the row.
//
// $1 place, $2 the caller's clock, $3 policy, $4 epoch, $5 owner.
const takePlace = `INSERT INTO places (name, policy, owner, epoch, until)
	SELECT $1, name, lease_owner, lease_epoch, coalesce(lease_until, 0) FROM policies
		WHERE name = $3 AND lease_epoch = $4 AND lease_owner = $5 AND (lease_until IS NULL OR lease_until >= @now) AND @same
	ON CONFLICT (name) DO UPDATE SET policy = excluded.policy, owner = excluded.owner, epoch = excluded.epoch, until = excluded.until
		WHERE places.policy = excluded.policy OR places.until < @now AND NOT EXISTS (
			SELECT 1 FROM policies AS other WHERE other.name = places.policy AND other.lease_epoch = places.epoch
				AND other.lease_owner = places.owner AND (other.lease_until IS NULL OR other.lease_until >= @now))`

// TakePlace implements journal.Places.
func (db *DB) TakePlace(ctx context.Context, now time.Time, c journal.Claim, place string) (taken bool, err error) {
	err = db.sayTo(ctx, func(ctx context.Context, t tx) error {
		n, err := t.exec(ctx, strings.NewReplacer("@now", db.at(2), "@same", db.same()).Replace(takePlace), place, micros(now), c.Policy, c.Epoch, c.Owner)
		taken = n > 0
		return err
	})
	if err == nil && !taken {
		err = db.ask(ctx, func(ctx context.Context, t tx) error {
			var epoch int64
			held, err := one(ctx, t, []any{&epoch}, `SELECT lease_epoch FROM policies WHERE name = $1`+heldBy(2, 3)+" AND "+db.same(), c.Policy, c.Epoch, c.Owner)
			if err == nil && !held {
				err = journal.ErrLost
			}
			return err
		})
	}
	if err != nil {
		return false, fmt.Errorf("take place %s: %w", place, err)
	}
	return taken, nil
}

// FreePlace implements journal.Places.
func (db *DB) FreePlace(ctx context.Context, c journal.Claim, place string) error {
	err := db.sayTo(ctx, func(ctx context.Context, t tx) error {
		_, err := t.exec(ctx, `DELETE FROM places WHERE name = $1 AND policy = $2 AND epoch = $3 AND owner = $4`, place, c.Policy, c.Epoch, c.Owner)
		return err
	})
	if err != nil {
		return fmt.Errorf("free place %s: %w", place, err)
	}
	return nil
}
