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
	of      string                  // the policy; a claim speaks for no other
	policy  *change[journal.Policy] // nil: the owner's part of its row is as it was
	moved   []change[journal.Rotation]
	begun   []journal.Rotation // to insert
	keys    []keyChange
	acted   []change[journal.Effect]
	intends []journal.Effect // effects to insert
	seen    []change[journal.Target]
	found   []journal.Target // targets to insert
	sighted []journal.Sighting
	unseen  []journal.Sighting        // sightings to delete
	known   map[journal.TargetID]bool // targets that were loaded, where sightings changed
	orders  []journal.Order
	hold    *journal.Hold // nil: as it was
}

// keyChange is a key that changed.
type keyChange struct {
	change[journal.Key]
	known  bool // it was loaded, and there is a row to update
	listed bool // also what lists say of it
	moved  bool // to another state
}

// changesOf compares the record with its base. It brings the record's times to what the database keeps, and what the policy
// repeats of keys and rotations up to date. journal.ErrForbidden: the record was not loaded, or drops a rotation in flight.
func changesOf(rec *journal.Record) (changes, error) {
	base := rec.Base
	if base == nil {
		return changes{}, fmt.Errorf("%w: the record was not loaded", journal.ErrForbidden)
	}
	roundRecord(rec)
	rec.Summarize()
	ch := changes{
		of:      base.Policy.Name,
		sighted: changed(rec.Sightings, base.Sightings, idOfSighting),
		unseen:  missing(rec.Sightings, base.Sightings, idOfSighting),
		orders:  changed(rec.Orders, base.Orders, idOfOrder),
	}
	now, was := rec.Policy, base.Policy
	now.NextRunAt, was.NextRunAt = time.Time{}, time.Time{}
	if now != was || rec.Doubted {
		ch.policy = &change[journal.Policy]{was, now, rec.Doubted}
	}
	if rec.Hold != base.Hold {
		ch.hold = &rec.Hold
	}
	ch.seen, ch.found = split(rec.Targets, base.Targets, rec.Doubted, idOfTarget)
	ch.acted, ch.intends = split(rec.Effects, base.Effects, rec.Doubted, idOfEffect)
	known, fresh := split(rec.Keys, base.Keys, rec.Doubted, refOf)
	for _, c := range known {
		ch.keys = append(ch.keys, keyChange{
			change: c, known: true, moved: c.was.State != c.now.State,
			listed: c.was.UserID != c.now.UserID || c.was.ExpiresAt != c.now.ExpiresAt || c.was.Listed != c.now.Listed,
		})
	}
	for _, k := range fresh {
		ch.keys = append(ch.keys, keyChange{change: change[journal.Key]{now: k}, listed: true, moved: true})
	}
	// A policy has one live key at a time: the one that ceases to be it comes first.
	slices.SortStableFunc(ch.keys, func(a, b keyChange) int {
		switch aLive, bLive := a.now.State == journal.LiveKey, b.now.State == journal.LiveKey; {
		case aLive == bLive:
			return 0
		case aLive:
			return 1
		}
		return -1
	})
	if len(ch.sighted) > 0 {
		ch.known = make(map[journal.TargetID]bool)
		for i := range base.Targets {
			ch.known[base.Targets[i].TargetID] = true
		}
	}
	return ch, ch.sortRotations(rec, base)
}

func refOf(k *journal.Key) string                   { return k.Ref }
func idOfEffect(e *journal.Effect) string           { return e.ID }
func idOfOrder(o *journal.Order) int64              { return o.ID }
func idOfRotation(r *journal.Rotation) string       { return r.ID }
func idOfTarget(g *journal.Target) journal.TargetID { return g.TargetID }

// sightingID distinguishes the sightings of one policy.
type sightingID struct {
	at    journal.TargetID
	print string
}

func idOfSighting(s *journal.Sighting) sightingID { return sightingID{s.TargetID, s.Fingerprint} }

// written makes a record that was written like one that is loaded now: without what ended, closed or is gone.
func written(rec *journal.Record) {
	rec.Ended, rec.Doubted = nil, false
	if r := rec.Rotation; r != nil && r.State.Final() {
		if r.EndedAt.IsZero() && !slices.ContainsFunc(rec.Retired, func(o journal.Rotation) bool { return o.ID == r.ID }) {
			rec.Retired = append(rec.Retired, *r)
		}
		rec.Rotation = nil
	}
	rec.Keys = dropped(rec.Keys, func(k journal.Key) bool { return k.State.Gone() })
	rec.Effects = dropped(rec.Effects, func(e journal.Effect) bool { return !e.ClosedAt.IsZero() })
	rec.Retired = dropped(rec.Retired, func(r journal.Rotation) bool { return !r.EndedAt.IsZero() })
	rec.Base = rec.Clone()
}

// dropped are the rows but those that are to go, in a new list: code that still points to a row of the old one does not point
// to another row now.
func dropped[T any](rows []T, drop func(T) bool) []T {
	if !slices.ContainsFunc(rows, drop) {
		return rows
	}
	return slices.DeleteFunc(slices.Clone(rows), drop)
}

// sortRotations says which rotations go on and which begin. One that is in the record twice is written as it is
// last: a rotation that becomes live in this commit is among those that ended and among those whose old keys are retired.
func (ch *changes) sortRotations(rec, base *journal.Record) error {
	was := make(map[string]journal.Rotation, 1+len(base.Retired)) // rotation's id → as it was loaded
	for _, r := range base.Retired {
		was[r.ID] = r
	}
	inFlight := ""
	if r := base.Rotation; r != nil {
		was[r.ID], inFlight = *r, r.ID
	}
	var all []journal.Rotation
	add := func(r journal.Rotation) {
		if i := slices.IndexFunc(all, func(o journal.Rotation) bool { return o.ID == r.ID }); i >= 0 {
			all[i] = r
		} else {
			all = append(all, r)
		}
	}
	for _, r := range rec.Ended {
		add(r)
	}
	for _, r := range rec.Retired {
		add(r)
	}
	if rec.Rotation != nil {
		add(*rec.Rotation)
	}
	for _, r := range all {
		before, known := was[r.ID]
		switch {
		case !known:
			ch.begun = append(ch.begun, r)
		case r != before || rec.Doubted:
			ch.moved = append(ch.moved, change[journal.Rotation]{before, r, rec.Doubted})
		}
		if r.ID == inFlight {
			inFlight = ""
		}
	}
	if inFlight != "" {
		return fmt.Errorf("%w: rotation %s was dropped in flight", journal.ErrForbidden, inFlight)
	}
	return nil
}

// changed are the rows that are not in base as they are now.
func changed[T, K comparable](now, base []T, id func(*T) K) []T {
	var diff []T
	for i := range now {
		if was := find(base, i, id, id(&now[i])); was == nil || *was != now[i] {
			diff = append(diff, now[i])
		}
	}
	return diff
}

// split separates the rows that changed, of those that are in base, and those that are not. With doubted every row of base counts
// as changed.
func split[T, K comparable](now, base []T, doubted bool, id func(*T) K) (known []change[T], fresh []T) {
	for i := range now {
		was := find(base, i, id, id(&now[i]))
		switch {
		case was == nil:
			fresh = append(fresh, now[i])
		case *was != now[i] || doubted:
			known = append(known, change[T]{*was, now[i], doubted})
		}
	}
	return known, fresh
}

// find returns the row of that id, or nil. A record has a handful of rows, in the order they were loaded: nearly always the
// first look, at i, finds it.
func find[T any, K comparable](rows []T, i int, id func(*T) K, want K) *T {
	for j := range rows {
		if row := &rows[(i+j)%len(rows)]; id(row) == want {
			return row
		}
	}
	return nil
}

// missing are the rows of base that are not there any more.
func missing[T any, K comparable](now, base []T, id func(*T) K) []T {
	var gone []T
	for i := range base {
		if !slices.ContainsFunc(now, func(v T) bool { return id(&v) == id(&base[i]) }) {
			gone = append(gone, base[i])
		}
	}
	return gone
}

// write writes the rows, those that others refer to first. What ended comes before what begins: only then is there
// room for a rotation in flight.
func (ch *changes) write(ctx context.Context, t tx) error {
	for i := range ch.moved {
		if err := rotationWriter.put(ctx, t, ch.of, &ch.moved[i]); err != nil {
			return err
		}
	}
	if err := put(ctx, t, ch.of, rotations, rotations.insert, ch.begun); err != nil {
		return err
	}
	for i := range ch.keys {
		k := &ch.keys[i]
		var err error
		if k.known {
			err = keyWriter.put(ctx, t, ch.of, &k.change)
		} else {
			err = put(ctx, t, ch.of, keys, addKey, []journal.Key{k.now})
		}
		if err != nil {
			return err
		}
	}
	for i := range ch.acted {
		if err := effectWriter.put(ctx, t, ch.of, &ch.acted[i]); err != nil {
			return err
		}
	}
	if err := put(ctx, t, ch.of, effects, effects.insert, ch.intends); err != nil {
		return err
	}
	if err := ch.writeTargets(ctx, t); err != nil {
		return err
	}
	return ch.writeWords(ctx, t)
}

// writeTargets writes targets and what was seen in them. A target that is not there any more was forgotten meanwhile, and is
// not to come back.
func (ch *changes) writeTargets(ctx context.Context, t tx) error {
	if err := put(ctx, t, ch.of, targets, addTarget, ch.found); err != nil {
		return err
	}
	for i := range ch.seen {
		if err := targetWriter.put(ctx, t, ch.of, &ch.seen[i]); err != nil && !errors.Is(err, errNoRow) {
			return err
		}
	}
	for i := range ch.sighted {
		err := put(ctx, t, ch.of, sightings, addSighting, ch.sighted[i:i+1])
		if err != nil && !(errors.Is(err, errNoRow) && ch.known[ch.sighted[i].TargetID]) {
			return err
		}
	}
	for _, s := range ch.unseen {
		if _, err := t.exec(ctx, removeSighting, ch.of, s.Store, s.Path, s.Field, s.Fingerprint); err != nil {
			return fmt.Errorf("sightings: %w", err)
		}
	}
	return nil
}

// writeWords writes what became of orders, and the hold.
func (ch *changes) writeWords(ctx context.Context, t tx) error {
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
			return fmt.Errorf("%s %s%s: %w", into.name, args[0], into.state(args), err)
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
	roundAll(rotations, r.Retired)
	roundAll(effects, r.Effects)
	roundAll(sightings, r.Sightings)
	roundAll(keys, r.Keys)
	roundAll(targets, r.Targets)
	roundAll(orders, r.Orders)
}
