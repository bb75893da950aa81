package sqldb

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"rotator/rotation/journal"
)

// Accepted implements journal.Reader.
func (db *DB) Accepted(ctx context.Context) ([]journal.Spec, error) {
	return db.specs(ctx, "accepted", `WHERE removed_at IS NULL`)
}

// Vanished implements journal.Reader.
func (db *DB) Vanished(ctx context.Context) ([]journal.Spec, error) {
	return db.specs(ctx, "vanished", `WHERE removed_at IS NOT NULL`)
}

// specs are the policies of a kind, by name, as they were accepted last.
func (db *DB) specs(ctx context.Context, kind, where string) (all []journal.Spec, err error) {
	err = db.ask(ctx, func(ctx context.Context, t tx) error {
		all = nil
		return t.query(ctx, func(scan func(...any) error) error {
			var s journal.Spec
			err := scan(&s.Name, &s.Team, &s.Owner, &s.Canonical, &s.File)
			all = append(all, s)
			return err
		}, `SELECT name, team, owner, spec, file FROM policies `+where)
	})
	if err != nil {
		return nil, fmt.Errorf("%s policies: %w", kind, err)
	}
	slices.SortFunc(all, func(a, b journal.Spec) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// Loads implements journal.Reader.
func (db *DB) Loads(ctx context.Context) (all []journal.Load, err error) {
	var last []journal.Load
	err = db.ask(ctx, func(ctx context.Context, t tx) error {
		all, last = nil, nil
		return t.query(ctx, func(scan func(...any) error) error {
			var l journal.Load
			lives := false
			err := scan(append(loads.fields(&l), flag{&lives})...)
			if lives {
				all = append(all, l)
			}
			if len(last) == 0 || l.At.After(last[0].At) {
				last = []journal.Load{l}
			}
			return err
		}, "SELECT "+loads.columns+", CASE WHEN "+db.living(1)+" THEN 1 ELSE 0 END FROM loads ORDER BY replica", micros(db.now()))
	})
	if err != nil {
		return nil, fmt.Errorf("loads: %w", err)
	}
	if len(all) == 0 {
		return last, nil
	}
	slices.SortFunc(all, func(a, b journal.Load) int { return cmp.Compare(a.Replica, b.Replica) })
	return all, nil
}

// living is a condition on a row of loads: its replica beat lately, or read its files just now and has not beaten yet.
// Parameter n is the caller's clock.
func (db *DB) living(n int) string {
	since := fmt.Sprintf("%s - %d", db.at(n), journal.StaleAfter.Microseconds())
	return "(loads.at > " + since + " OR EXISTS (SELECT 1 FROM replicas WHERE replicas.name = loads.replica AND replicas.seen_at > " + since + "))"
}

// shared reports whether other replicas may act beside this process.
func (db *DB) shared() bool { return db.lease() != nil }

// awaitOthers divides policies that a process no longer reads into those that nothing reads any more and those that a live
// replica still does: a host with yesterday's files must not switch off the others' policies.
func (db *DB) awaitOthers(ctx context.Context, t tx, at time.Time, r journal.Reading, missing []string) (gone, awaited []string, err error) {
	if len(missing) == 0 || r.Load.Replica == "" || !db.shared() {
		return missing, nil, nil
	}
	named := make(map[string]bool)
	err = t.query(ctx, func(scan func(...any) error) error {
		var names string
		err := scan(&names)
		for name := range strings.SplitSeq(names, "\n") {
			named[name] = true
		}
		return err
	}, "SELECT names FROM loads WHERE replica <> $2 AND "+db.living(1), micros(at), r.Load.Replica)
	for _, name := range missing {
		if named[name] {
			awaited = append(awaited, name)
		} else {
			gone = append(gone, name)
		}
	}
	return gone, awaited, err
}

// saveLoad records a reading, and tells of a set of problems that is in no record yet.
func (db *DB) saveLoad(ctx context.Context, t tx, at time.Time, r journal.Reading, d differences) (told []journal.Event, err error) {
	l := r.Load
	if l.Replica == "" {
		return nil, nil
	}
	l.At, l.Policies = at, len(r.Specs)+len(d.kept)
	if l.Digest != "" {
		known := 0
		if _, err := one(ctx, t, []any{&known}, `SELECT count(*) FROM loads WHERE digest = $1`, l.Digest); err != nil {
			return nil, err
		}
		if known == 0 {
			told = []journal.Event{{At: at, Kind: journal.ReloadRefused, Data: map[string]string{
				"error": l.Error, "problems": fmt.Sprint(l.Problems), "policies": fmt.Sprint(l.Policies), "replica": l.Replica}}}
		}
	}
	var names strings.Builder
	if db.shared() {
		for i := range r.Specs {
			names.WriteString(r.Specs[i].Name + "\n")
		}
		for _, name := range d.kept {
			names.WriteString(name + "\n")
		}
		// Those of processes that are long gone.
		if _, err := t.exec(ctx, "DELETE FROM loads WHERE at < $2 AND replica <> $3 AND NOT "+db.living(1), micros(at), micros(at.Add(-forgetAfter)), l.Replica); err != nil {
			return nil, err
		}
	} else if _, err := t.exec(ctx, "DELETE FROM loads WHERE replica <> $1", l.Replica); err != nil {
		return nil, err
	}
	_, err = t.exec(ctx, upsertLoad, append(loads.args(&l), names.String())...)
	return told, err
}

var upsertLoad = `INSERT INTO loads (` + loads.columns + `, names) VALUES ($1, $2, $3, $4, $5, $6, $7)
	ON CONFLICT (replica) DO UPDATE SET at = excluded.at, policies = excluded.policies, problems = excluded.problems, error = excluded.error,
	digest = excluded.digest, names = excluded.names`
