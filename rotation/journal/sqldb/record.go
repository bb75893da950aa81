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
	of      string             // the policy; a claim speaks for no other
	policy  bool               // whether the owner's part of its row differs
	moved   []journal.Rotation // to update
	begun   []journal.Rotation // to insert
	keys    []keyChange
	acted   []journal.Effect // effects to update
	intends []journal.Effect // effects to insert
	seen    []journal.Target // targets to update
	found   []journal.Target // targets to insert
	sighted []journal.Sighting
	unseen  []journal.Sighting        // sightings to delete
	known   map[journal.TargetID]bool // targets that were loaded, where sightings changed
	orders  []journal.Order
	hold    *journal.Hold // nil: as it was
}

// keyChange is a key that changed.
type keyChange struct {
	journal.Key
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
		orders:  changed(rec.Orders, base.Orders, func(o *journal.Order) int64 { return o.ID }),
	}
	now, was := rec.Policy, base.Policy
	now.NextRunAt, was.NextRunAt = time.Time{}, time.Time{}
	ch.policy = now != was
	if rec.Hold != base.Hold {
		ch.hold = &rec.Hold
	}
	ch.seen, ch.found = split(rec.Targets, base.Targets, func(g *journal.Target) journal.TargetID { return g.TargetID })
	ch.acted, ch.intends = split(rec.Effects, base.Effects, func(e *journal.Effect) string { return e.ID })
	for _, k := range changed(rec.Keys, base.Keys, refOf) {
		c := keyChange{Key: k, listed: true, moved: true}
		if was := base.Key(k.Ref); was != nil {
			c.known, c.moved = true, was.State != k.State
			c.listed = was.UserID != k.UserID || was.ExpiresAt != k.ExpiresAt
		}
		ch.keys = append(ch.keys, c)
	}
	// A policy has one live key at a time: the one that ceases to be it comes first.
	slices.SortStableFunc(ch.keys, func(a, b keyChange) int {
		switch aLive, bLive := a.State == journal.LiveKey, b.State == journal.LiveKey; {
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

func refOf(k *journal.Key) string { return k.Ref }

// sightingID is what tells sightings of one policy apart.
type sightingID struct {
	at    journal.TargetID
	print string
}

func idOfSighting(s *journal.Sighting) sightingID { return sightingID{s.TargetID, s.Fingerprint} }

// written makes a record that was written like one that is loaded now: without what ended, closed or is gone.
func written(rec *journal.Record) {
	rec.Ended = nil
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

// dropped are the rows but those that are to go, in a new list: whoever still points to a row of the old one does not point
// to another row now.
func dropped[T any](rows []T, drop func(T) bool) []T {
	if !slices.ContainsFunc(rows, drop) {
		return rows
	}
	return slices.DeleteFunc(slices.Clone(rows), drop)
}

// sortRotations says which rotations go on and which begin. One that stands in the record twice is written as it stands
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
		case r != before:
			ch.moved = append(ch.moved, r)
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

// split tells the rows that changed, of those that are in base, and those that are not.
func split[T, K comparable](now, base []T, id func(*T) K) (known, fresh []T) {
	for _, v := range changed(now, base, id) {
		if slices.ContainsFunc(base, func(b T) bool { return id(&b) == id(&v) }) {
			known = append(known, v)
		} else {
			fresh = append(fresh, v)
		}
	}
	return known, fresh
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
	if err := ch.writeKeys(ctx, t); err != nil {
		return err
	}
	if err := put(ctx, t, ch.of, effects, updateEffect, ch.acted); err != nil {
		return err
	}
	if err := put(ctx, t, ch.of, effects, effects.insert, ch.intends); err != nil {
		return err
	}
	if err := ch.writeTargets(ctx, t); err != nil {
		return err
	}
	return ch.writeWords(ctx, t)
}

func (ch *changes) writeKeys(ctx context.Context, t tx) error {
	for i := range ch.keys {
		k := &ch.keys[i]
		into, query := keys, addKey
		switch {
		case k.known && k.listed:
			query = keyMoves[k.State]
		case k.known:
			into, query = ownKeys, ownKeyMoves[k.State]
		}
		if query == "" {
			return fmt.Errorf("%w: no state %q", journal.ErrForbidden, k.State)
		}
		if err := put(ctx, t, ch.of, into, query, []journal.Key{k.Key}); err != nil {
			return err
		}
	}
	return nil
}

// writeTargets writes targets and what was seen in them. A target that is not there any more was forgotten meanwhile, and is
// not to come back.
func (ch *changes) writeTargets(ctx context.Context, t tx) error {
	if err := put(ctx, t, ch.of, targets, addTarget, ch.found); err != nil {
		return err
	}
	for i := range ch.seen {
		err := put(ctx, t, ch.of, targets, updateTarget, ch.seen[i:i+1])
		if err != nil && !errors.Is(err, errNoRow) {
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
