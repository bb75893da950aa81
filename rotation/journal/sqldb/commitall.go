package sqldb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"rotator/rotation/journal"
)

// CommitAll implements journal.Journal. A handful of statements writes hundreds.
func (db *DB) CommitAll(ctx context.Context, done []journal.Outcome) ([]error, error) {
	errs := make([]error, len(done))
	all := make([]changes, len(done))
	for i, d := range done {
		all[i], errs[i] = restingChanges(d)
	}
	var kept map[string]bool // policies whose claim was good
	names := make([]string, len(done))
	for i, d := range done {
		names[i] = d.Claim.Policy
	}
	err := db.writeTo(ctx, func(ctx context.Context, t tx) error {
		kept = make(map[string]bool, len(done))
		if db.batch() == 1 {
			return db.commitEach(ctx, t, done, all, errs, kept)
		}
		var ends [][]any
		for i, d := range done {
			if errs[i] == nil {
				ends = append(ends, endArgs(d.Claim, d.Record))
			}
		}
		mine := endClaims
		mine.where += " AND " + db.same()
		err := db.updateAll(ctx, t, mine, ends, func(policy string) { kept[policy] = true })
		if err != nil {
			return err
		}
		var written []changes
		for i := range done {
			if errs[i] == nil && kept[all[i].of] {
				written = append(written, all[i])
			}
		}
		return db.writeResting(ctx, t, written)
	}, names...)
	if err != nil {
		return nil, fmt.Errorf("commit %d policies: %w", len(done), err)
	}
	for i, d := range done {
		switch {
		case errs[i] != nil:
		case !kept[d.Claim.Policy]:
			errs[i] = fmt.Errorf("commit %s: %w", d.Claim.Policy, journal.ErrLost)
		default:
			written(d.Record)
		}
	}
	return errs, nil
}

// commitEach commits one after the other, and notes in kept whose claim was good.
func (db *DB) commitEach(ctx context.Context, t tx, done []journal.Outcome, all []changes, errs []error, kept map[string]bool) error {
	for i, d := range done {
		if errs[i] != nil {
			continue
		}
		err := db.guard(ctx, t, d.Claim, d.Record, all[i].policy, true, &chain{})
		if errors.Is(err, journal.ErrLost) {
			continue
		}
		if err == nil {
			err = all[i].write(ctx, t)
		}
		if err != nil {
			return err
		}
		kept[d.Claim.Policy] = true
	}
	return nil
}

// writeResting writes targets and keys that were there before.
func (db *DB) writeResting(ctx context.Context, t tx, all []changes) error {
	var seen, ofKeys, ofListed [][]any
	for i := range all {
		for j := range all[i].seen {
			seen = append(seen, targets.args(&all[i].seen[j].now))
		}
		for j := range all[i].keys {
			if k := &all[i].keys[j]; k.listed {
				ofListed = append(ofListed, keys.args(&k.now))
			} else {
				ofKeys = append(ofKeys, ownKeys.args(&k.now))
			}
		}
	}
	// A target that is not there any more was forgotten meanwhile, and is not to come back.
	if err := db.updateAll(ctx, t, seeTargets, seen, func(string) {}); err != nil {
		return err
	}
	n := 0
	if err := db.updateAll(ctx, t, changeOwnKeys, ofKeys, func(string) { n++ }); err != nil {
		return err
	}
	err := db.updateAll(ctx, t, changeKeys, ofListed, func(string) { n++ })
	if err == nil && n < len(ofKeys)+len(ofListed) {
		err = fmt.Errorf("keys: %w", errNoRow)
	}
	return err
}

// restingChanges are the changes of a turn in which nothing began, moved or ended.
func restingChanges(d journal.Outcome) (changes, error) {
	ch, err := changesOf(d.Record)
	if err == nil && (ch.of != d.Claim.Policy || len(d.Record.Ended) > 0 || len(ch.moved)+len(ch.begun)+len(ch.acted)+len(ch.intends)+
		len(ch.found)+len(ch.sighted)+len(ch.unseen)+len(ch.orders) > 0 || ch.hold != nil ||
		slices.ContainsFunc(ch.keys, func(k keyChange) bool { return k.moved })) {
		err = fmt.Errorf("%w: more than the policy, its targets and keys changed", journal.ErrForbidden)
	}
	if err != nil {
		err = fmt.Errorf("commit %s: %w", d.Claim.Policy, err)
	}
	return ch, err
}

// The statements of CommitAll.
var (
	endClaims  = endingClaims()
	seeTargets = targets.updates("policy", "store", "path", "field")
	// A key that moves to another state is written by [DB.Commit].
	changeKeys    = keys.updates("ref", "policy", "name", "state")
	changeOwnKeys = ownKeys.updates("ref", "policy", "name", "state")
)

func endingClaims() updates {
	u := ownedPolicies.updates("name")
	u.names = append(u.names, "epoch", "holder", "next", "seq", "claimed")
	u.kinds = append(u.kinds, "BIGINT", "TEXT", "BIGINT", "BIGINT", "BIGINT")
	u.set = "lease_owner = '', lease_until = NULL, claimed_at = NULL, next_run_at = CASE WHEN wake_seq = " + u.at("seq") +
		" THEN " + u.at("next") + " ELSE " + u.at("claimed") + " END, " + u.set
	return u.guarded("lease_epoch = %s", "epoch").guarded("lease_owner = %s", "holder")
}

// endArgs is a row of endClaims.
func endArgs(c journal.Claim, rec *journal.Record) []any {
	return append(ownedPolicies.args(&rec.Policy), c.Epoch, c.Owner, micros(rec.Policy.NextRunAt), c.Seq, micros(c.Now))
}

// updates is a statement that updates many rows of a table by their keys, each with its own values.
type updates struct {
	table, set, where string
	names, kinds      []string // of the values of a row; the first is returned of each row that was updated
}

// updates sets every column but those of the key.
func (t table[T]) updates(key ...string) updates {
	var zero T
	u := updates{table: t.name, names: slices.Clone(t.names)}
	for _, f := range t.fields(&zero) {
		kind := "BIGINT"
		if _, ok := f.(*string); ok {
			kind = "TEXT"
		}
		u.kinds = append(u.kinds, kind)
	}
	var set, where []string
	for _, c := range t.names {
		if assign := c + " = " + u.at(c); slices.Contains(key, c) {
			where = append(where, assign)
		} else {
			set = append(set, assign)
		}
	}
	u.set, u.where = strings.Join(set, ", "), strings.Join(where, " AND ")
	return u
}

// guarded adds a condition on a row's value of that name.
func (u updates) guarded(condition, name string) updates {
	u.where += " AND " + fmt.Sprintf(condition, u.at(name))
	return u
}

// at is a value of the row in hand: both databases name the columns of VALUES so.
func (u updates) at(name string) string {
	return fmt.Sprintf("v.column%d", slices.Index(u.names, name)+1)
}

// text is the statement for n rows.
func (u updates) text(n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "UPDATE %s SET %s FROM (VALUES ", u.table, u.set)
	for i := range n {
		for j, kind := range u.kinds {
			before := ", "
			switch {
			case i+j == 0:
				before = "("
			case j == 0:
				before = "), ("
			}
			fmt.Fprintf(&b, "%sCAST($%d AS %s)", before, i*len(u.kinds)+j+1, kind)
		}
	}
	fmt.Fprintf(&b, ")) AS v WHERE %s RETURNING %s", u.where, u.names[0])
	return b.String()
}

// updateAll runs the statement for all rows, and calls each for every row that was updated.
func (db *DB) updateAll(ctx context.Context, t tx, u updates, rows [][]any, each func(first string)) error {
	for some := range slices.Chunk(rows, db.batch()) {
		err := t.query(ctx, func(scan func(...any) error) error {
			var first string
			if err := scan(&first); err != nil {
				return err
			}
			each(first)
			return nil
		}, u.text(len(some)), slices.Concat(some...)...)
		if err != nil {
			return fmt.Errorf("%s: %w", u.table, err)
		}
	}
	return nil
}
