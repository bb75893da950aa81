package sqldb

import (
	"context"
	"slices"
	"strings"
	"sync"

	"rotator/rotation/journal"
)

// recent are records as they were last committed, so that the next turn of a policy need not read what the last one wrote. Only
// a process that has the journal to itself keeps any: of what others write it would not know.
//
// A record is kept when its claim ends, if only its owner wrote in its rows since the claim was made. Every transaction
// that may write in a record's rows drops it ([DB.write] drops all), in the transaction itself: the one writer of the file runs
// one after the other, so that no record is kept that is older than what was written.
type recent struct {
	mu sync.Mutex
	of map[string]*keptRecord // policy name → its record; nil: none is ever kept
}

// keptRecord is what is known of a policy that was claimed.
type keptRecord struct {
	epoch int64           // of the last claim, since when only its owner wrote
	rec   *journal.Record // as the rows are; nil while the owner writes. It is never changed
}

// recentMost bounds how many are kept.
const recentMost = 1024

// claimed notes claims that are about to be committed. Only their owners wrote since.
func (r *recent) claimed(found []claimed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of == nil {
		return
	}
	for i := range found {
		c := &found[i]
		if k := r.of[c.Policy]; k != nil {
			k.epoch = c.Epoch
			continue
		}
		for policy := range r.of {
			if len(r.of) < recentMost {
				break
			}
			delete(r.of, policy)
		}
		r.of[c.Policy] = &keptRecord{epoch: c.Epoch}
	}
}

// writing notes that an owner is about to write the policy's rows. With drop nothing is kept of what this claim writes.
func (r *recent) writing(policy string, drop bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if drop {
		delete(r.of, policy)
	} else if k := r.of[policy]; k != nil {
		k.rec = nil
	}
}

// drop notes that someone is about to write in the rows of some policies.
func (r *recent) drop(policies ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range policies {
		delete(r.of, p)
	}
}

// dropAll notes that someone is about to write in the rows of any policy.
func (r *recent) dropAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.of)
}

// keep keeps a record that was written when its claim ended.
func (r *recent) keep(c journal.Claim, rec *journal.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if k := r.of[c.Policy]; k != nil && k.epoch == c.Epoch {
		k.rec = rec.Clone()
		k.rec.Orders = slices.DeleteFunc(k.rec.Orders, func(o journal.Order) bool { return !o.DoneAt.IsZero() })
		k.rec.Woken = false
		sortRows(k.rec)
	}
}

// load is a record as [DB.Load] returns it, or nil.
func (r *recent) load(policy string) *journal.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.of[policy]
	if k == nil || k.rec == nil {
		return nil
	}
	rec := k.rec.Clone()
	rec.Base = k.rec.Clone()
	return rec
}

// write runs do in a transaction that may write in any policy's rows.
func (db *DB) write(ctx context.Context, do func(context.Context, tx) error) error {
	return db.engine.write(ctx, func(ctx context.Context, t tx) error { db.recent.dropAll(); return do(ctx, t) })
}

// say is write for a single statement.
func (db *DB) say(ctx context.Context, do func(context.Context, tx) error) error {
	return db.engine.say(ctx, func(ctx context.Context, t tx) error { db.recent.dropAll(); return do(ctx, t) })
}

// writeTo is write for what writes in no rows but those of some policies.
func (db *DB) writeTo(ctx context.Context, do func(context.Context, tx) error, policies ...string) error {
	return db.engine.write(ctx, func(ctx context.Context, t tx) error { db.recent.drop(policies...); return do(ctx, t) })
}

// sayTo is writeTo for a single statement.
func (db *DB) sayTo(ctx context.Context, do func(context.Context, tx) error, policies ...string) error {
	return db.engine.say(ctx, func(ctx context.Context, t tx) error { db.recent.drop(policies...); return do(ctx, t) })
}

// lasting reports whether a record that is about to be written is what is loaded afterwards: it left out no row, which
// stays in the journal, and changed nothing of the loader's.
func lasting(rec *journal.Record) bool {
	base := rec.Base
	now, was := policies.fields(&rec.Policy), policies.fields(&base.Policy)
	for i := range strings.Fields(loaded) {
		if !sameValue(now[i], was[i]) {
			return false
		}
	}
	return !rec.Doubted &&
		len(missing(rec.Targets, base.Targets, idOfTarget)) == 0 && len(missing(rec.Keys, base.Keys, refOf)) == 0 &&
		len(missing(rec.Effects, base.Effects, idOfEffect)) == 0 && len(missing(rec.Orders, base.Orders, idOfOrder)) == 0 &&
		len(missing(slices.Concat(rec.Retired, rec.Ended), base.Retired, idOfRotation)) == 0
}
