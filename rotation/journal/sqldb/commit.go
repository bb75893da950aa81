package sqldb

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"rotator/rotation/journal"
)

// Commit implements journal.Journal. Besides what the interface says:
//
//   - Without release the policy's NextRunAt is not written: it stays in the past, so that a crash leaves the policy due.
//   - The policy's RotationID is set to the rotation in flight: the record cannot say two things.
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
	rec.Ended = nil
	rec.Base = rec.Clone()
	return nil
}

// guard holds the policy's row if the claim is still good, and writes the policy where it changed or the claim ends.
func (db *DB) guard(ctx context.Context, t tx, c journal.Claim, rec *journal.Record, changed, release bool) error {
	var n int64
	var err error
	switch {
	case release:
		args := append(ownedPolicies.args(&rec.Policy), c.Epoch, c.Owner, micros(rec.Policy.NextRunAt), c.Seq, micros(c.Now))
		args[0] = c.Policy
		n, err = t.exec(ctx, commitAndRelease, args...)
	case changed:
		args := append(ownedPolicies.args(&rec.Policy), c.Epoch, c.Owner)
		args[0] = c.Policy
		n, err = t.exec(ctx, commitPolicy, args...)
	default:
		err = t.query(ctx, func(scan func(...any) error) error { return scan(&n) },
			`SELECT 1 FROM policies WHERE name = $1 AND lease_epoch = $2 AND lease_owner = $3`+db.lockRow(),
			c.Policy, c.Epoch, c.Owner)
	}
	if err == nil && n == 0 {
		err = journal.ErrLost
	}
	return err
}

// Somebody who spoke while the claim was held is heard at once: then the policy is due since the claim was made.
var (
	commitPolicy     = ownedPolicies.update("name", fmt.Sprintf(" AND lease_epoch = $%d AND lease_owner = $%d", nOwned+1, nOwned+2))
	commitAndRelease = strings.Replace(commitPolicy, " SET ", fmt.Sprintf(
		" SET next_run_at = CASE WHEN wake_seq = $%d THEN CAST($%d AS BIGINT) ELSE CAST($%d AS BIGINT) END, lease_owner = '', lease_until = NULL, ",
		nOwned+4, nOwned+3, nOwned+5), 1)
	nOwned = len(strings.Split(ownedPolicies.columns, ", "))
)

// changes are the rows of a record that differ from what was loaded.
type changes struct {
	policy    bool
	begun     []journal.Rotation // to insert
	moved     []journal.Rotation // to update
	attempts  []journal.Attempt
	keys      []journal.Key
	targets   []journal.Target
	known     []journal.Target // that were loaded
	orders    []journal.Order
	hold      *journal.Hold // set when the owner holds the policy
	policyRow string
}

// changesOf compares the record with its base. It brings the record's times to what the database keeps.
func changesOf(rec *journal.Record) (changes, error) {
	roundRecord(rec)
	base := rec.Base
	if base == nil {
		return changes{}, fmt.Errorf("%w: the record was not loaded", journal.ErrForbidden)
	}
	rotationsNow := rec.Ended
	rec.Policy.RotationID = ""
	if rec.Rotation != nil {
		// The ended come first: only then is there room for a new one in flight.
		rotationsNow = append(rotationsNow[:len(rotationsNow):len(rotationsNow)], *rec.Rotation)
		if rec.Rotation.EndedAt.IsZero() {
			rec.Policy.RotationID = rec.Rotation.ID
		}
	}
	ch := changes{
		attempts: changed(rec.Attempts, base.Attempts, func(a *journal.Attempt) string { return a.ID }),
		keys:     changed(rec.Keys, base.Keys, func(k *journal.Key) string { return k.ID }),
		targets:  changed(rec.Targets, base.Targets, func(g *journal.Target) journal.TargetID { return g.TargetID }),
		known:    base.Targets,
		orders:   changed(rec.Orders, base.Orders, func(o *journal.Order) int64 { return o.ID }),
	}
	if rec.Hold != base.Hold {
		ch.hold = &rec.Hold
	}
	now, was := rec.Policy, base.Policy
	now.NextRunAt, was.NextRunAt = time.Time{}, time.Time{}
	ch.policy, ch.policyRow = now != was, was.Name
	kept := false
	for _, r := range rotationsNow {
		switch {
		case base.Rotation == nil || base.Rotation.ID != r.ID:
			ch.begun = append(ch.begun, r)
		case r != *base.Rotation:
			ch.moved = append(ch.moved, r)
			kept = true
		default:
			kept = true
		}
	}
	if base.Rotation != nil && base.Rotation.EndedAt.IsZero() && !kept {
		return changes{}, fmt.Errorf("%w: rotation %s was dropped in flight", journal.ErrForbidden, base.Rotation.ID)
	}
	return ch, ch.check()
}

// check refuses rows of another policy: a claim speaks for its policy alone.
func (ch *changes) check() error {
	for _, r := range append(ch.begun[:len(ch.begun):len(ch.begun)], ch.moved...) {
		if r.Policy != ch.policyRow {
			return fmt.Errorf("%w: rotation %s is of policy %q", journal.ErrForbidden, r.ID, r.Policy)
		}
	}
	for i := range ch.attempts {
		if ch.attempts[i].Policy != ch.policyRow {
			return fmt.Errorf("%w: attempt %s is of policy %q", journal.ErrForbidden, ch.attempts[i].ID, ch.attempts[i].Policy)
		}
	}
	for i := range ch.keys {
		if ch.keys[i].Policy != ch.policyRow {
			return fmt.Errorf("%w: key %s is of policy %q", journal.ErrForbidden, ch.keys[i].ID, ch.keys[i].Policy)
		}
	}
	for i := range ch.targets {
		if ch.targets[i].Policy != ch.policyRow {
			return fmt.Errorf("%w: target %s is of policy %q", journal.ErrForbidden, ch.targets[i].TargetID, ch.targets[i].Policy)
		}
	}
	return nil
}

// changed are the rows that are not in base as they are now.
func changed[T comparable, K comparable](now, base []T, id func(*T) K) []T {
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

// write writes the rows, those that others refer to first.
func (ch *changes) write(ctx context.Context, t tx) error {
	for i := range ch.moved {
		r := &ch.moved[i]
		if err := must(ctx, t, "rotation "+r.ID+" to "+string(r.State), moves[r.State], rotations.args(r)); err != nil {
			return err
		}
	}
	for i := range ch.begun {
		r := &ch.begun[i]
		if err := must(ctx, t, "rotation "+r.ID, rotations.insert, rotations.args(r)); err != nil {
			return err
		}
	}
	for i := range ch.attempts {
		a := &ch.attempts[i]
		if err := must(ctx, t, "attempt "+a.ID, upsertAttempt, attempts.args(a)); err != nil {
			return err
		}
	}
	for i := range ch.keys {
		k := &ch.keys[i]
		if err := must(ctx, t, "key "+k.ID, upsertKey, keys.args(k)); err != nil {
			return err
		}
	}
	for i := range ch.targets {
		g := &ch.targets[i]
		if slices.ContainsFunc(ch.known, func(k journal.Target) bool { return k.TargetID == g.TargetID }) {
			// A row that is not there any more was forgotten meanwhile, and is not to come back.
			if _, err := t.exec(ctx, updateTarget, targets.args(g)...); err != nil {
				return fmt.Errorf("target %s: %w", g, err)
			}
			continue
		}
		if err := must(ctx, t, "target "+g.String(), upsertTarget, targets.args(g)); err != nil {
			return err
		}
	}
	if ch.hold != nil {
		if err := putHold(ctx, t, ch.policyRow, *ch.hold); err != nil {
			return err
		}
	}
	for i := range ch.orders {
		o := &ch.orders[i]
		args := []any{o.ID, ch.policyRow, micros(o.DoneAt), o.Refused, o.RotationID}
		if err := must(ctx, t, fmt.Sprintf("order %d", o.ID), `UPDATE orders SET done_at = $3, refused = $4, rotation_id = $5
			WHERE id = $1 AND policy = $2`, args); err != nil {
			return err
		}
	}
	return nil
}

// must runs a statement that changes one row. None changed: a guard refused, which is journal.ErrForbidden.
func must(ctx context.Context, t tx, what, query string, args []any) error {
	if query == "" {
		return fmt.Errorf("%w: %s: no such state", journal.ErrForbidden, what)
	}
	n, err := t.exec(ctx, query, args...)
	if err == nil && n == 0 {
		err = journal.ErrForbidden
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

func roundRecord(r *journal.Record) {
	p := []journal.Policy{r.Policy}
	policies.round(p)
	r.Policy = p[0]
	if r.Rotation != nil {
		rot := []journal.Rotation{*r.Rotation}
		rotations.round(rot)
		*r.Rotation = rot[0]
	}
	rotations.round(r.Ended)
	attempts.round(r.Attempts)
	keys.round(r.Keys)
	targets.round(r.Targets)
	orders.round(r.Orders)
	h := []journal.Hold{r.Hold}
	holds.round(h)
	r.Hold = h[0]
}

// append writes events, after all else that the transaction does.
func (db *DB) append(ctx context.Context, t tx, events []journal.Event) error {
	if len(events) == 0 {
		return nil
	}
	if err := db.beforeEvents(ctx, t); err != nil {
		return err
	}
	for i := range events {
		e := &events[i]
		data := ""
		if len(e.Data) > 0 {
			b, err := json.Marshal(e.Data)
			if err != nil {
				return err
			}
			data = string(b)
		}
		_, err := t.exec(ctx, `INSERT INTO events (at, policy, rotation, kind, data) VALUES ($1, $2, $3, $4, $5)`,
			micros(e.At), e.Policy, e.Rotation, string(e.Kind), data)
		if err != nil {
			return fmt.Errorf("event %s: %w", e.Kind, err)
		}
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
