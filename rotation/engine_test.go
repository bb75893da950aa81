package rotation_test

import (
	"context"
	"time"

	"rotator/rotation"
	"rotator/rotation/journal"
	"rotator/rotation/schedule"
)

// engine is an engine with the scheduler that gives it its turns, as the daemon has them.
type engine struct {
	*rotation.Engine
	scheduler *schedule.Scheduler
	boot      func() time.Duration // what leases are measured on
}

// newEngine makes an engine that owner runs.
func newEngine(owner string, o rotation.Options) *engine {
	e := &engine{Engine: rotation.New(o), boot: schedule.SinceBoot}
	limits, j := e.Limits(), o.Journal
	e.scheduler = schedule.New(schedule.Options{
		Claims: j, Leases: j, Records: j, Replicas: j, Runner: e.Engine, Chores: e.Chores, Tidy: e.Tidy,
		Owner: owner, Host: "here", Version: "1.2.3", Only: o.Only, Concurrency: limits.Concurrency, Watch: limits.Watch,
		Log: o.Log, Now: o.Now, Boot: func() time.Duration { return e.boot() },
	})
	return e
}

// Turn gives the engine one turn. Nothing but what the turn does itself ends the claim.
func (e *engine) Turn(ctx context.Context, c journal.Claim) error { return e.scheduler.Turn(ctx, c) }
