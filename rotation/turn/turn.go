// Package turn is what passes between the scheduler, which hands out turns, and the engine, which takes them. A turn is one
// claim on one policy. Neither of the two imports the other.
package turn

import (
	"fmt"
	"time"

	"rotator/rotation/journal"
)

// Task is a claim with what its turn needs besides. One turn uses it.
type Task struct {
	Claim journal.Claim
	// Record is what the turn acts on, as it was loaded for a batch; nil: the turn loads it, and leaves it here.
	Record *journal.Record
	Hooks
}

// Hooks are what a turn may ask of the scheduler.
type Hooks struct {
	// Now is the journal's clock: that of the claim, and the time that passed here since.
	Now func() time.Time
	// Guard refuses with journal.ErrLost once the claim may have run out. A turn asks it before each change outside.
	Guard func() error
	// Slow watches a call to a resource until done is called: once it takes long, the turn loses its worker slot.
	Slow func(resource string) (done func())
	// Admit counts the turn for the resources that it may call, until it ends. It is called once, before the first call.
	// [*Crowded]: there is no room; the turn returns the error, and is tried again when there may be.
	Admit func([]Resource) error
	// Stopping reports that the process is to stop: the turn ends before its next step.
	Stopping func() bool
	// ReleaseTogether says that nothing happened in the turn: its batch writes the record and ends the claim, together with
	// those of others. It reports false for a task of no batch, whose turn ends the claim itself.
	ReleaseTogether func() bool
}

// Resource is a team or a store that a turn may call.
type Resource struct {
	Name  string // with its kind before it
	Share int    // how many turns may be counted for it
}

// Shares are how many turns may be counted for one team and one store, of so many at once, where there are so many teams
// and stores. A team's is smaller, so that none takes all of a store that others need too.
func Shares(concurrency, teams, stores int) (team, store int) {
	team, store = concurrency, concurrency
	if teams > 1 {
		team -= concurrency / 4
	}
	if stores > 1 {
		store -= concurrency / 8
	}
	return team, store
}

// Crowded says that the share of a resource is taken.
type Crowded struct {
	Resource string
	Pause    time.Duration // until there may be room
}

func (c *Crowded) Error() string { return fmt.Sprintf("%s: too many turns use it", c.Resource) }

// Defect is an error of the program or of a record, by which a turn could not even begin. The scheduler has the engine
// record it.
type Defect struct{ Err error }

func (d *Defect) Error() string { return d.Err.Error() }
func (d *Defect) Unwrap() error { return d.Err }
