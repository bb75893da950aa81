package sqldb

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"rotator/rotation/journal"
)

// Commit implements journal.Journal. Besides what the interface says:
//
//   - Without release the policy's NextRunAt is not written: it stays in the past, so that a crash leaves the policy due.
//   - What the policy's row repeats of keys and rotations is made again: the record cannot say two things.
//   - Afterwards the record has no keys that are gone, no effects that are closed, and no rotations that ended.
//   - journal.ErrForbidden: a rule refuses what the record says, also a rotation that is dropped without having ended.
//
// After any other error than ErrLost and ErrForbidden it is not known whether the record was written: Load shows it.
func (db *DB) Commit(ctx context.Context, c journal.Claim, rec *journal.Record, release bool, events ...journal.Event) error {
	ch, err := changesOf(rec)
	if err == nil {
		kept := lasting(rec)
		err = db.engine.write(ctx, func(ctx context.Context, t tx) error {
			db.recent.writing(c.Policy, !kept)
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
		rec.Doubted = rec.Doubted || !errors.Is(err, journal.ErrLost) && !errors.Is(err, journal.ErrForbidden)
		db.recent.drop(c.Policy)
		return fmt.Errorf("commit %s: %w", c.Policy, err)
	}
	written(rec)
	if release {
		db.recent.keep(c, rec)
	}
	return nil
}

// guard holds the policy's row if the claim is still good, and writes the policy where it changed or the claim ends. Someone
// who spoke while the claim was held is heard at once: then the policy is due since the claim was made.
func (db *DB) guard(ctx context.Context, t tx, c journal.Claim, rec *journal.Record, policy *change[journal.Policy], release bool) error {
	if policy == nil && !release {
		var seq int64
		held, err := one(ctx, t, []any{&seq}, `SELECT wake_seq FROM policies WHERE name = $1`+heldBy(2, 3)+` AND `+
			db.same()+db.lockRow(), c.Policy, c.Epoch, c.Owner)
		if err == nil && !held {
			err = journal.ErrLost
		}
		rec.Woken = held && seq != c.Seq
		return err
	}
	if policy == nil {
		policy = &change[journal.Policy]{}
	}
	for _, woken := range []bool{false, true} { // nearly always no order came, and the first finds the row
		next := rec.Policy.NextRunAt
		if woken {
			next = c.Now
		}
		query, args := ownedUpdate(c, policy, release, next)
		if !woken {
			args = append(args, c.Seq)
			query += fmt.Sprintf(" AND wake_seq = $%d", len(args))
		}
		n, err := t.exec(ctx, query+" AND "+db.same(), args...)
		if err != nil {
			return err
		}
		if n > 0 {
			if !release {
				rec.Woken = woken
			}
			return nil
		}
	}
	return journal.ErrLost
}

// ownedUpdate writes the owner's part of a policy's row while the claim is good. With release it ends the claim.
func ownedUpdate(c journal.Claim, policy *change[journal.Policy], release bool, next time.Time) (query string, args []any) {
	args = []any{c.Policy, c.Epoch, c.Owner}
	var set []string
	add := func(column string, v any) {
		args = append(args, v)
		set = append(set, column+" = $"+strconv.Itoa(len(args)))
	}
	if release {
		set = append(set, "lease_owner = '', lease_until = NULL, claimed_at = NULL")
		add("next_run_at", micros(next))
	}
	was, now := ownedPolicies.fields(&policy.was), ownedPolicies.fields(&policy.now)
	for i, column := range ownedPolicies.names {
		if column != "name" && (policy.doubted || !sameValue(was[i], now[i])) {
			add(column, value(now[i]))
		}
	}
	return "UPDATE policies SET " + strings.Join(set, ", ") + " WHERE name = $1" + heldBy(2, 3), args
}

// heldBy is true of the row of a policy whose claim is still good, by the numbers of the arguments that name it.
func heldBy(epoch, owner int) string {
	return fmt.Sprintf(" AND lease_epoch = $%d AND lease_owner = $%d", epoch, owner)
}

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
	err := db.writeTo(ctx, func(ctx context.Context, t tx) error { return db.append(ctx, t, events) })
	if err != nil {
		return fmt.Errorf("record events: %w", err)
	}
	return nil
}
