package sqldb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"rotator/rotation/journal"
)

// A policy is at rest, or moving, by its row. The indexes of the two kinds have the same words.
const (
	resting = `rotation_id = '' AND next_run_at = watch_at`
	moving  = `(rotation_id <> '' OR next_run_at IS DISTINCT FROM watch_at)`
)

// Claim implements journal.Claimer.
func (db *DB) Claim(ctx context.Context, owner string, now time.Time, limit int, only ...string) ([]journal.Claim, error) {
	return db.claimAll(ctx, moving, owner, now, limit, only)
}

// ClaimResting implements journal.Claimer.
func (db *DB) ClaimResting(ctx context.Context, owner string, now time.Time, limit int, only ...string) ([]journal.Claim, error) {
	return db.claimAll(ctx, resting, owner, now, limit, only)
}

func (db *DB) claimAll(ctx context.Context, which, owner string, now time.Time, limit int, only []string) ([]journal.Claim, error) {
	if owner == "" || limit < 1 {
		return nil, fmt.Errorf("claim: owner %q, limit %d", owner, limit)
	}
	args := []any{micros(now), owner, db.lease(), int64(limit)}
	if len(only) > 0 {
		which += " AND name " + db.among(5)
		args = append(args, db.list(only))
	}
	found, err := db.claim(ctx, which, args, func(found []claimed, foreign bool) {
		if foreign {
			db.recent.dropAll()
		}
		db.recent.claimed(found)
	})
	if err != nil {
		// An error is not a claim, even if the database may have done it: the claim then ends with its lease.
		return nil, fmt.Errorf("claim: %w", err)
	}
	// RETURNING promises no order.
	slices.SortFunc(found, func(a, b claimed) int { return a.due.Compare(b.due) })
	claims := make([]journal.Claim, len(found))
	for i := range found {
		claims[i] = found[i].Claim
		claims[i].Owner = owner
	}
	return claims, nil
}

// claimed is a row that a claim returns.
type claimed struct {
	journal.Claim
	due time.Time // since when
}

// fields are the places of a row: name, epoch, wake count, since when it was due, when it was claimed and until when.
func (c *claimed) fields() []any {
	return []any{&c.Policy, &c.Epoch, &c.Seq, instant{&c.due}, instant{&c.Now}, instant{&c.Until}}
}

// Lease implements journal.Claimer.
func (db *DB) Lease() time.Duration {
	micros, _ := db.lease().(int64)
	return time.Duration(micros) * time.Microsecond
}

// Renew implements journal.Claimer.
func (db *DB) Renew(ctx context.Context, now time.Time, c journal.Claim) (journal.Claim, error) {
	err := db.sayTo(ctx, func(ctx context.Context, t tx) error {
		found, err := one(ctx, t, []any{instant{&c.Until}}, `UPDATE policies SET lease_until = `+db.at(1)+` + CAST($2 AS BIGINT)
			WHERE name = $3 AND lease_epoch = $4 AND lease_owner = $5 AND `+db.same()+` RETURNING lease_until`,
			micros(now), db.lease(), c.Policy, c.Epoch, c.Owner)
		if err == nil && !found {
			err = journal.ErrLost
		}
		return err
	})
	if err != nil {
		return journal.Claim{}, fmt.Errorf("renew the claim on %s: %w", c.Policy, err)
	}
	return c, nil
}

// Release implements journal.Claimer.
func (db *DB) Release(ctx context.Context, c journal.Claim, at time.Time) error {
	err := db.sayTo(ctx, func(ctx context.Context, t tx) error {
		n, err := t.exec(ctx, `UPDATE policies SET lease_owner = '', lease_until = NULL, claimed_at = NULL,
			next_run_at = CASE WHEN wake_seq = $4 THEN CAST($5 AS BIGINT) ELSE CAST($6 AS BIGINT) END
			WHERE name = $1 AND lease_epoch = $2 AND lease_owner = $3`,
			c.Policy, c.Epoch, c.Owner, c.Seq, micros(at), micros(c.Now))
		if err == nil && n == 0 {
			err = journal.ErrLost
		}
		return err
	}, c.Policy)
	if err != nil {
		return fmt.Errorf("release %s: %w", c.Policy, err)
	}
	return nil
}

// Next implements journal.Claimer. A claim whose owner died counts from when it ends by itself. Where
// this process's clock is more than a second off the database's, the answer is on its own: no replica sleeps too long by it.
func (db *DB) Next(ctx context.Context) (due, rest time.Time, err error) {
	err = db.ask(ctx, func(ctx context.Context, t tx) error {
		here := db.now()
		var there time.Time
		var same bool
		var free, ends [2]time.Time // of those that move, and of those at rest
		_, err := one(ctx, t, []any{instant{&there}, &same, instant{&free[0]}, instant{&ends[0]}, instant{&free[1]}, instant{&ends[1]}},
			`SELECT `+db.clockColumn()+`, `+db.same()+nextOf(moving)+nextOf(resting))
		if err == nil && !same { // who claims finds out
			due, rest = here, here
			return nil
		}
		for i, next := range []*time.Time{&due, &rest} {
			if *next = free[i]; next.IsZero() || !ends[i].IsZero() && ends[i].Before(*next) {
				*next = ends[i]
			}
			if off := here.Sub(there); !next.IsZero() && !there.IsZero() && off.Abs() > time.Second {
				*next = next.Add(off)
			}
		}
		return err
	})
	if err != nil {
		return time.Time{}, time.Time{}, fmt.Errorf("next due: %w", err)
	}
	return due, rest, nil
}

// nextOf are two more columns: when the first policy of a kind comes due that no replica has, and that one has.
func nextOf(which string) string {
	return `,
		(SELECT next_run_at FROM policies WHERE lease_owner = '' AND next_run_at IS NOT NULL AND ` + which + ` ORDER BY next_run_at LIMIT 1),
		(SELECT lease_until FROM policies WHERE lease_owner <> '' AND lease_until IS NOT NULL AND ` + which + ` ORDER BY lease_until LIMIT 1)`
}

// wake makes the policy's owner look again: at once where nothing has it, and otherwise when the claim is released.
// It reports whether there is such a policy.
func (db *DB) wake(ctx context.Context, t tx, now time.Time, policy string) (bool, error) {
	n, err := t.exec(ctx, `UPDATE policies SET `+woken(db.at(2))+` WHERE name = $1`, policy, micros(now))
	if err == nil && n > 0 {
		err = db.tell(ctx, t)
	}
	return n > 0, err
}

// woken is a policy's row after a human spoke at now. While it is claimed next_run_at lies in the past already. Whoever
// was at rest is not any more, even if its watch is due.
func woken(now string) string {
	return `wake_seq = wake_seq + 1, next_run_at = CASE WHEN next_run_at <= ` + now + ` AND next_run_at IS DISTINCT FROM watch_at
		THEN next_run_at ELSE ` + now + ` END`
}

// patience is how long what needs an unclaimed policy waits for its owner, and look how often it looks. Claims are
// held for a step, which takes seconds; waits are not claimed.
const (
	patience = 30 * time.Second
	look     = 50 * time.Millisecond
)

// writeIdle is write for what takes a policy from under its owner: it tries again while that one is at work, so that
// never two act for one policy. journal.ErrBusy: he did not end in time.
func (db *DB) writeIdle(ctx context.Context, do func(context.Context, tx) error) error {
	enough := time.After(patience)
	for {
		err := db.write(ctx, do)
		if !errors.Is(err, journal.ErrBusy) {
			return err
		}
		select {
		case <-time.After(look):
		case <-enough:
			return err
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		}
	}
}

// idle locks a policy's row and reports whether there is one. journal.ErrBusy: it is claimed.
func (db *DB) idle(ctx context.Context, t tx, now time.Time, policy string) (found bool, err error) {
	if now, err = db.clock(ctx, t, now); err != nil {
		return false, err
	}
	var claimant string
	var until time.Time
	found, err = one(ctx, t, []any{&claimant, instant{&until}},
		`SELECT lease_owner, lease_until FROM policies WHERE name = $1`+db.lockRow(), policy)
	if err == nil && claimant != "" && (until.IsZero() || !until.Before(now)) {
		err = fmt.Errorf("%w: %s, by %s", journal.ErrBusy, policy, claimant)
	}
	return found, err
}
