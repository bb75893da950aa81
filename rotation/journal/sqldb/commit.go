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
	var own *chain
	if err == nil {
		own, err = db.commit(ctx, c, rec, &ch, release, events)
	}
	if err != nil {
		rec.Doubted = rec.Doubted || !errors.Is(err, journal.ErrLost) && !errors.Is(err, journal.ErrForbidden)
		db.recent.drop(c.Policy)
		return fmt.Errorf("commit %s: %w", c.Policy, err)
	}
	if len(own.events) > 0 {
		rec.Policy.Chain = own.head
	}
	written(rec)
	if release {
		db.recent.keep(c, rec)
	}
	return nil
}

func (db *DB) commit(ctx context.Context, c journal.Claim, rec *journal.Record, ch *changes, release bool, events []journal.Event) (*chain, error) {
	own, others, err := chainOf(c.Policy, events)
	if err != nil {
		return nil, err
	}
	kept := lasting(rec)
	return own, db.engine.write(ctx, func(ctx context.Context, t tx) error {
		db.recent.writing(c.Policy, !kept)
		if err := db.guard(ctx, t, c, rec, ch.policy, release, own); err != nil {
			return err
		}
		if err := ch.write(ctx, t); err != nil {
			return err
		}
		if err := insertChained(ctx, db.engine, t, own.events); err != nil {
			return err
		}
		return db.append(ctx, t, others)
	})
}

// guard holds the policy's row if the claim is still good, and writes the policy where it changed, where events are added to its
// chain, or where the claim ends. Someone who spoke while the claim was held is heard at once: then the policy is due since the
// claim was made.
func (db *DB) guard(ctx context.Context, t tx, c journal.Claim, rec *journal.Record, policy *change[journal.Policy], release bool, own *chain) error {
	links := len(own.events) > 0
	if policy == nil && !release && !links {
		seq, _, err := db.held(ctx, t, c)
		rec.Woken = err == nil && seq != c.Seq
		return err
	}
	if policy == nil {
		policy = &change[journal.Policy]{}
	}
	// Nearly always no one spoke and no one else wrote an event, and the first statement finds the row.
	own.follow(rec.Policy.Chain)
	query, args := ownedUpdate(c, policy, release, rec.Policy.NextRunAt, own)
	args = append(args, c.Seq)
	query += fmt.Sprintf(" AND wake_seq = $%d", len(args))
	if links {
		args = append(args, own.before)
		query += fmt.Sprintf(" AND chain = $%d", len(args))
	}
	n, err := t.exec(ctx, query+" AND "+db.same(), args...)
	if err != nil {
		return err
	}
	if n > 0 {
		if !release {
			rec.Woken = false
		}
		return nil
	}
	seq, head, err := db.held(ctx, t, c)
	if err != nil {
		return err
	}
	next := rec.Policy.NextRunAt
	if seq != c.Seq {
		next = c.Now
	}
	own.follow(head)
	query, args = ownedUpdate(c, policy, release, next, own)
	if n, err = t.exec(ctx, query+" AND "+db.same(), args...); err == nil && n == 0 {
		err = journal.ErrLost
	}
	if err == nil && !release {
		rec.Woken = seq != c.Seq
	}
	return err
}

// held holds the policy's row, and returns its wake count and the last link of its chain. journal.ErrLost: the claim is not good
// any more.
func (db *DB) held(ctx context.Context, t tx, c journal.Claim) (seq int64, head string, err error) {
	held, err := one(ctx, t, []any{&seq, &head}, `SELECT wake_seq, chain FROM policies WHERE name = $1`+heldBy(2, 3)+` AND `+
		db.same()+db.lockRow(), c.Policy, c.Epoch, c.Owner)
	if err == nil && !held {
		err = journal.ErrLost
	}
	return seq, head, err
}

// ownedUpdate writes the owner's part of a policy's row while the claim is good. With release it ends the claim.
func ownedUpdate(c journal.Claim, policy *change[journal.Policy], release bool, next time.Time, own *chain) (query string, args []any) {
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
	if len(own.events) > 0 {
		add("chain", own.head)
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

// Record implements journal.Journal.
func (db *DB) Record(ctx context.Context, events ...journal.Event) error {
	if len(events) == 0 {
		return nil
	}
	var of []string
	for i := range events {
		of = append(of, events[i].Policy)
	}
	err := db.writeTo(ctx, func(ctx context.Context, t tx) error { return db.append(ctx, t, events) }, of...)
	if err != nil {
		return fmt.Errorf("record events: %w", err)
	}
	return nil
}
