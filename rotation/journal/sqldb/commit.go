package sqldb

import (
	"context"
	"fmt"
	"strings"

	"rotator/rotation/journal"
)

// Commit implements journal.Journal. Besides what the interface says:
//
//   - Without release the policy's NextRunAt is not written: it stays in the past, so that a crash leaves the policy due.
//   - What the policy's row repeats of keys and rotations is made anew: the record cannot say two things.
//   - Afterwards the record has no keys that are gone, no effects that are closed, and no rotations that ended.
//   - journal.ErrForbidden: a rule refuses what the record says, also a rotation that is dropped without having ended.
//
// After any other error than ErrLost and ErrForbidden it is not known whether the record was written: Load tells.
func (db *DB) Commit(ctx context.Context, c journal.Claim, rec *journal.Record, release bool, events ...journal.Event) error {
	ch, err := changesOf(rec)
	if err == nil {
		err = db.write(ctx, func(ctx context.Context, t tx) error {
			if err := db.guard(ctx, t, c, rec, ch.policy, release); err != nil {
				return err
			}
			if err := ch.write(ctx, t); err != nil {
				return err
			}
			return db.append(ctx, t, events)
		})
	}
	if err != nil {
		return fmt.Errorf("commit %s: %w", c.Policy, err)
	}
	written(rec)
	return nil
}

// guard holds the policy's row if the claim is still good, and writes the policy where it changed or the claim ends.
func (db *DB) guard(ctx context.Context, t tx, c journal.Claim, rec *journal.Record, changed, release bool) error {
	if release {
		args := append(ownedPolicies.args(&rec.Policy), c.Epoch, c.Owner, micros(rec.Policy.NextRunAt), c.Seq, micros(c.Now))
		args[0] = c.Policy
		n, err := t.exec(ctx, commitAndRelease+" AND "+db.same(), args...)
		if err == nil && n == 0 {
			err = journal.ErrLost
		}
		return err
	}
	query := `SELECT wake_seq FROM policies WHERE name = $1` + heldBy(2, 3) + " AND " + db.same() + db.lockRow()
	args := []any{c.Policy, c.Epoch, c.Owner}
	if changed {
		query = commitPolicy + " AND " + db.same() + " RETURNING wake_seq"
		args = append(ownedPolicies.args(&rec.Policy), c.Epoch, c.Owner)
		args[0] = c.Policy
	}
	var seq int64
	held, err := one(ctx, t, []any{&seq}, query, args...)
	if err == nil && !held {
		err = journal.ErrLost
	}
	rec.Woken = held && seq != c.Seq
	return err
}

// heldBy is true of the row of a policy whose claim is still good, by the numbers of the arguments that name it.
func heldBy(epoch, owner int) string {
	return fmt.Sprintf(" AND lease_epoch = $%d AND lease_owner = $%d", epoch, owner)
}

// Somebody who spoke while the claim was held is heard at once: then the policy is due since the claim was made.
var (
	commitPolicy     = ownedPolicies.update(heldBy(nOwned+1, nOwned+2), "name")
	commitAndRelease = strings.Replace(commitPolicy, " SET ", fmt.Sprintf(
		" SET lease_owner = '', lease_until = NULL, claimed_at = NULL, "+
			"next_run_at = CASE WHEN wake_seq = $%d THEN CAST($%d AS BIGINT) ELSE CAST($%d AS BIGINT) END, ",
		nOwned+4, nOwned+3, nOwned+5), 1)
	nOwned = len(ownedPolicies.names)
)

// append writes events, after all else that the transaction does.
func (db *DB) append(ctx context.Context, t tx, events []journal.Event) error {
	return appendTo(ctx, db.engine, t, events)
}

func appendTo(ctx context.Context, e engine, t tx, events []journal.Event) error {
	if len(events) == 0 {
		return nil
	}
	var args []any
	for i := range events {
		data, err := encodeData(events[i].Data)
		if err != nil {
			return fmt.Errorf("event %s: %w", events[i].Kind, err)
		}
		args = append(args, micros(events[i].At), events[i].Policy, events[i].Rotation, string(events[i].Kind), data)
	}
	if _, err := t.exec(ctx, e.insertEvents(len(events)), args...); err != nil {
		return fmt.Errorf("events: %w", err)
	}
	return nil
}

// Record implements journal.Journal.
func (db *DB) Record(ctx context.Context, events ...journal.Event) error {
	if len(events) == 0 {
		return nil
	}
	err := db.write(ctx, func(ctx context.Context, t tx) error { return db.append(ctx, t, events) })
	if err != nil {
		return fmt.Errorf("record events: %w", err)
	}
	return nil
}
