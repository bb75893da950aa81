package sqldb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"rotator/rotation/journal"
)

// Claim implements journal.Claimer.
func (db *DB) Claim(ctx context.Context, owner string, now time.Time, limit int) ([]journal.Claim, error) {
	if owner == "" || limit < 1 {
		return nil, fmt.Errorf("claim: owner %q, limit %d", owner, limit)
	}
	var claims []journal.Claim
	err := db.write(ctx, func(ctx context.Context, t tx) error {
		now, err := db.clock(ctx, t, now)
		if err != nil {
			return err
		}
		claims, err = claimDue(ctx, t, db.claim(), owner, now, db.lease(now), limit)
		return err
	})
	if err != nil {
		// An error is not a claim, even if the database may have done it: the claim then ends with its lease.
		return nil, fmt.Errorf("claim: %w", err)
	}
	return claims, nil
}

func claimDue(ctx context.Context, t tx, query, owner string, now, until time.Time, limit int) ([]journal.Claim, error) {
	type due struct {
		journal.Claim
		at time.Time
	}
	var found []due
	err := t.query(ctx, func(scan func(...any) error) error {
		d := due{Claim: journal.Claim{Owner: owner, Now: now, Until: until}}
		if err := scan(&d.Policy, &d.Epoch, &d.Seq, instant{&d.at}); err != nil {
			return err
		}
		found = append(found, d)
		return nil
	}, query, micros(now), owner, micros(until), int64(limit))
	if err != nil {
		return nil, err
	}
	// RETURNING promises no order.
	slices.SortFunc(found, func(a, b due) int { return a.at.Compare(b.at) })
	claims := make([]journal.Claim, len(found))
	for i := range found {
		claims[i] = found[i].Claim
	}
	return claims, nil
}

// Renew implements journal.Claimer.
func (db *DB) Renew(ctx context.Context, now time.Time, c journal.Claim) (journal.Claim, error) {
	err := db.write(ctx, func(ctx context.Context, t tx) error {
		now, err := db.clock(ctx, t, now)
		if err != nil {
			return err
		}
		c.Until = db.lease(now)
		n, err := t.exec(ctx, `UPDATE policies SET lease_until = $1 WHERE name = $2 AND lease_epoch = $3 AND lease_owner = $4`,
			micros(c.Until), c.Policy, c.Epoch, c.Owner)
		if err == nil && n == 0 {
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
	err := db.write(ctx, func(ctx context.Context, t tx) error {
		n, err := t.exec(ctx, `UPDATE policies SET lease_owner = '', lease_until = NULL,
			next_run_at = CASE WHEN wake_seq = $4 THEN CAST($5 AS BIGINT) ELSE CAST($6 AS BIGINT) END
			WHERE name = $1 AND lease_epoch = $2 AND lease_owner = $3`,
			c.Policy, c.Epoch, c.Owner, c.Seq, micros(at), micros(c.Now))
		if err == nil && n == 0 {
			err = journal.ErrLost
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("release %s: %w", c.Policy, err)
	}
	return nil
}

// Next implements journal.Claimer. A claim whose owner died counts from when it ends by itself. Where
// this process's clock is more than a second off the database's, the answer is on its own: nobody sleeps too long by it.
func (db *DB) Next(ctx context.Context) (next time.Time, err error) {
	err = db.ask(ctx, func(ctx context.Context, t tx) error {
		here := db.now()
		var there, due, ends time.Time
		_, err := one(ctx, t, []any{instant{&there}, instant{&due}, instant{&ends}}, `SELECT `+db.clockColumn()+`,
			(SELECT next_run_at FROM policies WHERE lease_owner = '' AND next_run_at IS NOT NULL ORDER BY next_run_at LIMIT 1),
			(SELECT lease_until FROM policies WHERE lease_owner <> '' AND lease_until IS NOT NULL ORDER BY lease_until LIMIT 1)`)
		if next = due; next.IsZero() || !ends.IsZero() && ends.Before(next) {
			next = ends
		}
		if off := here.Sub(there); !next.IsZero() && !there.IsZero() && off.Abs() > time.Second {
			next = next.Add(off)
		}
		return err
	})
	if err != nil {
		return time.Time{}, fmt.Errorf("next due: %w", err)
	}
	return next, nil
}

// wake makes the policy's owner look again: at once where nobody has it, and otherwise when the claim is released.
// It reports whether there is such a policy.
func (db *DB) wake(ctx context.Context, t tx, now time.Time, policy string) (bool, error) {
	now, err := db.clock(ctx, t, now)
	if err != nil {
		return false, err
	}
	// While it is claimed next_run_at lies in the past already.
	n, err := t.exec(ctx, `UPDATE policies SET `+woken+` WHERE name = $1`, policy, micros(now))
	return n > 0, err
}

// woken is a policy's row after somebody spoke at $2.
const woken = `wake_seq = wake_seq + 1, next_run_at = CASE WHEN next_run_at <= $2 THEN next_run_at ELSE $2 END`

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
