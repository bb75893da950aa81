package sqldb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"rotator/rotation/journal"
)

// changes are the rows of a record that differ from what was loaded.
type changes struct {
	of       string             // the policy; a claim speaks for no other
	policy   bool               // whether the owner's part of its row differs
	moved    []journal.Rotation // to update
	begun    []journal.Rotation // to insert
	attempts []journal.Attempt
	keys     []journal.Key
	seen     []journal.Target // targets to update
	found    []journal.Target // targets to insert
	orders   []journal.Order
	hold     *journal.Hold // nil: as it was
}

// changesOf compares the record with its base. It brings the record's times to what the database keeps, and its
// RotationID to its rotation. journal.ErrForbidden: the record was not loaded, or drops a rotation in flight.
func changesOf(rec *journal.Record) (changes, error) {
	base := rec.Base
	if base == nil {
		return changes{}, fmt.Errorf("%w: the record was not loaded", journal.ErrForbidden)
	}
	roundRecord(rec)
	rec.Policy.RotationID = ""
	if rec.Rotation != nil && rec.Rotation.EndedAt.IsZero() {
		rec.Policy.RotationID = rec.Rotation.ID
	}
	ch := changes{
		of:       base.Policy.Name,
		attempts: changed(rec.Attempts, base.Attempts, func(a *journal.Attempt) string { return a.ID }),
		keys:     changed(rec.Keys, base.Keys, func(k *journal.Key) string { return k.ID }),
		orders:   changed(rec.Orders, base.Orders, func(o *journal.Order) int64 { return o.ID }),
	}
	now, was := rec.Policy, base.Policy
	now.NextRunAt, was.NextRunAt = time.Time{}, time.Time{}
	ch.policy = now != was
	if rec.Hold != base.Hold {
		ch.hold = &rec.Hold
	}
	for _, g := range changed(rec.Targets, base.Targets, func(g *journal.Target) journal.TargetID { return g.TargetID }) {
		if slices.ContainsFunc(base.Targets, func(b journal.Target) bool { return b.TargetID == g.TargetID }) {
			ch.seen = append(ch.seen, g)
		} else {
			ch.found = append(ch.found, g)
		}
	}
	return ch, ch.sortRotations(rec, base.Rotation)
}

// sortRotations says which rotations go on and which begin; was is the one that was loaded.
func (ch *changes) sortRotations(rec *journal.Record, was *journal.Rotation) error {
	all := slices.Clone(rec.Ended)
	if rec.Rotation != nil {
		all = append(all, *rec.Rotation)
	}
	kept := was == nil || !was.EndedAt.IsZero()
	for _, r := range all {
		if was == nil || was.ID != r.ID {
			ch.begun = append(ch.begun, r)
			continue
		}
		kept = true
		if r != *was {
			ch.moved = append(ch.moved, r)
		}
	}
	if !kept {
		return fmt.Errorf("%w: rotation %s was dropped in flight", journal.ErrForbidden, was.ID)
	}
	return nil
}

// changed are the rows that are not in base as they are now.
func changed[T, K comparable](now, base []T, id func(*T) K) []T {
	var diff []T
	for i := range now {
		same := false
		// A record has a handful of rows, in the order they were loaded: nearly always the first look finds it.
		for j := range base {
			if b := &base[(i+j)%len(base)]; id(b) == id(&now[i]) {
				same = *b == now[i]
				break
			}
		}
		if !same {
			diff = append(diff, now[i])
		}
	}
	return diff
}

// write writes the rows, those that others refer to first. What ended comes before what begins: only then is there
// room for a rotation in flight.
func (ch *changes) write(ctx context.Context, t tx) error {
	for i := range ch.moved {
		query, ok := moves[ch.moved[i].State]
		if !ok {
			return fmt.Errorf("%w: no state %q", journal.ErrForbidden, ch.moved[i].State)
		}
		if err := put(ctx, t, ch.of, rotations, query, ch.moved[i:i+1]); err != nil {
			return err
		}
	}
	if err := put(ctx, t, ch.of, rotations, rotations.insert, ch.begun); err != nil {
		return err
	}
	if err := put(ctx, t, ch.of, attempts, upsertAttempt, ch.attempts); err != nil {
		return err
	}
	if err := put(ctx, t, ch.of, keys, upsertKey, ch.keys); err != nil {
		return err
	}
	if err := put(ctx, t, ch.of, targets, targets.insert, ch.found); err != nil {
		return err
	}
	for i := range ch.seen {
		// A row that is not there any more was forgotten meanwhile, and is not to come back.
		err := put(ctx, t, ch.of, targets, updateTarget, ch.seen[i:i+1])
		if err != nil && !errors.Is(err, errNoRow) {
			return err
		}
	}
	for i := range ch.orders {
		o := &ch.orders[i]
		n, err := t.exec(ctx, `UPDATE orders SET done_at = $3, refused = $4, rotation_id = $5 WHERE id = $1 AND policy = $2`,
			o.ID, ch.of, micros(o.DoneAt), o.Refused, o.RotationID)
		if err == nil && n == 0 {
			err = journal.ErrForbidden
		}
		if err != nil {
			return fmt.Errorf("order %d: %w", o.ID, err)
		}
	}
	if ch.hold != nil {
		return putHold(ctx, t, ch.of, *ch.hold)
	}
	return nil
}

// put runs a statement for each row, which must be of the policy and must change a row of the database: where none
// changed, a guard refused.
func put[T any](ctx context.Context, t tx, policy string, into table[T], query string, rows []T) error {
	for i := range rows {
		args := into.args(&rows[i])
		if of := args[into.policy]; of != policy {
			return fmt.Errorf("%w: %s: a row of policy %q", journal.ErrForbidden, into.name, of)
		}
		n, err := t.exec(ctx, query, args...)
		if err == nil && n == 0 {
			err = errNoRow
		}
		if err != nil {
			return fmt.Errorf("%s %s: %w", into.name, args[0], err)
		}
	}
	return nil
}

// errNoRow: no row agreed to a guard.
var errNoRow = fmt.Errorf("%w: the row may not be changed so", journal.ErrForbidden)

func roundRecord(r *journal.Record) {
	policies.round(&r.Policy)
	holds.round(&r.Hold)
	if r.Rotation != nil {
		rotations.round(r.Rotation)
	}
	roundAll(rotations, r.Ended)
	roundAll(attempts, r.Attempts)
	roundAll(keys, r.Keys)
	roundAll(targets, r.Targets)
	roundAll(orders, r.Orders)
}
