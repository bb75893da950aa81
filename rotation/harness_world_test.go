package rotation_test

import (
	"context"
	"path/filepath"
	"slices"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"rotator/policies"
	"rotator/rotation"
	"rotator/rotation/journal"
	"rotator/rotation/journal/sqldb"
	"rotator/stores"
)

// Store implements rotation.Environment.
func (b *bench) Store(name string) (stores.Store, bool) {
	if s, ok := b.wrapped[name]; ok {
		return s, s != nil
	}
	s, ok := b.stores[name]
	return s, ok
}

// Team implements rotation.Environment.
func (b *bench) Team(context.Context, string) (rotation.Team, error) {
	return rotation.Team{ID: teamID, Keys: b.mgmt, About: b.mgmt, Probe: b.infer}, b.teamless
}

// Teams implements rotation.Environment.
func (b *bench) Teams() []string { return []string{"research"} }

// Stores implements rotation.Environment.
func (b *bench) Stores() []string { return []string{"a", "b", "c"} }

// Freezes implements rotation.Environment.
func (b *bench) Freezes() []policies.Freeze { return b.freezes }

// AdoptedWithin implements rotation.Environment.
func (b *bench) AdoptedWithin(file string) func(string) bool {
	if !b.apart {
		return nil
	}
	return func(other string) bool { return filepath.Dir(other) == filepath.Dir(file) }
}

// faultyJournal passes a point before and after every commit.
type faultyJournal struct {
	*sqldb.DB
	b *bench
}

func (j faultyJournal) Commit(ctx context.Context, c journal.Claim, rec *journal.Record, release bool, ev ...journal.Event) error {
	if err := j.b.point("commit before"); err != nil {
		return err
	}
	ended, written := slices.Clone(rec.Ended), j.b.seen.commits(rec)
	if err := j.DB.Commit(ctx, c, rec, release, ev...); err != nil {
		return err
	}
	written()
	arrived := func(r journal.Rotation) bool { return r.State == j.b.dieIn }
	if s := j.b.dieIn; s != "" && (rec.Rotation != nil && arrived(*rec.Rotation) || slices.ContainsFunc(ended, arrived) || (s == journal.Soaking || s == journal.RollingBack) && shown(rec) == s) {
		j.b.dieIn = ""
		panic(crash{})
	}
	return j.b.point("commit after")
}

// Load compares a record that the journal kept with the rows themselves, where the bench says so.
func (j faultyJournal) Load(ctx context.Context, policy string) (*journal.Record, error) {
	rec, err := j.DB.Load(ctx, policy)
	if err != nil || !j.b.rereads {
		return rec, err
	}
	rows, err := j.DB.LoadAll(ctx, []string{policy})
	if d := cmp.Diff(rows[0], rec, cmpopts.EquateEmpty()); d != "" {
		j.b.violated("the record of %s is not what its rows are:\n%s", policy, d)
	}
	return rec, err
}
