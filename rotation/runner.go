package rotation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"rotator/policies"
	"rotator/rotation/journal"
	"rotator/rotation/schedule"
)

// Turn acts for a policy until it has to wait, and gives the claim back. ErrLost means that another owner has the policy
// now and that nothing was written since. Other failures are the policy's, are recorded in its row, and are not returned.
func (e *Engine) Turn(ctx context.Context, c journal.Claim) error { return e.scheduler.Turn(ctx, c) }

// runner takes the turns that the scheduler hands out.
type runner struct{ *Engine }

// Turn implements schedule.Runner: it loads the policy and acts for it. It parks between two steps once the task is
// stopping; ctx ends the calls themselves.
func (e runner) Turn(ctx context.Context, task *schedule.Task) (err error) {
	if task.Record == nil {
		if task.Record, err = e.journal.Load(ctx, task.Claim.Policy); err != nil {
			return fmt.Errorf("load %s: %w", task.Claim.Policy, err)
		}
	}
	t := &turn{
		Engine: e.Engine, claim: task.Claim, rec: task.Record, task: task, world: e.theWorld(), log: e.log.With("policy", task.Claim.Policy),
	}
	if t.policy, err = policies.Decode([]byte(t.rec.Policy.Spec)); err != nil {
		return &schedule.Defect{Err: stuckf(Internal, "policy %s in the journal: %w", t.claim.Policy, err)}
	}
	if err := t.recall(); err != nil {
		return &schedule.Defect{Err: err}
	}
	if err := task.Admit(t.resources()); err != nil {
		return t.unadmitted(err)
	}
	return t.run(ctx)
}

// Fail implements schedule.Runner.
func (e runner) Fail(ctx context.Context, task *schedule.Task, cause error, pause time.Duration) error {
	rec, err := e.journal.Load(ctx, task.Claim.Policy)
	if err != nil {
		return err
	}
	now := task.Now()
	p := &rec.Policy
	if p.Reason != Internal {
		p.Reason, p.Since = Internal, now
	}
	p.Failures++
	p.Error, p.StepAt = cause.Error(), now.Add(pause)
	p.NextRunAt = p.StepAt
	var tell []journal.Event
	if p.Failures == failuresTold {
		tell = append(tell, journal.Event{At: now, Policy: task.Claim.Policy, Rotation: p.RotationID, Kind: journal.Failed,
			Data: map[string]string{"reason": string(Internal), "error": p.Error}})
	}
	return e.journal.Commit(ctx, task.Claim, rec, true, tell...)
}

// Lost implements schedule.Runner.
func (e runner) Lost(policy string) { e.loseClaim(policy) }

// Moving implements schedule.Runner: it reports whether a rotation is on its way to live and neither failed too often nor
// waits for a human.
func (e runner) Moving(ctx context.Context) (bool, error) {
	all, err := e.journal.Summaries(ctx)
	if err != nil {
		return false, err
	}
	for _, s := range all {
		switch {
		case len(e.only) > 0 && !slices.Contains(e.only, s.Policy.Name):
		case s.Policy.NextRunAt.IsZero() || NeedsHuman(s.Policy.Reason) || s.Policy.Failures >= failuresTold || s.Hold.Active(e.now()):
		case s.Rotation == nil:
			if !s.Policy.NextRunAt.After(e.now()) {
				return true, nil
			}
		case s.Policy.Reason != WaitOverlap && s.Policy.Reason != WaitSoak && s.Policy.Reason != WaitIdle:
			return true, nil
		}
	}
	return false, nil
}

// The kinds of resources.
const (
	teamResource  = "team "
	storeResource = "store "
)

// resources are the teams and stores that this turn may call.
func (t *turn) resources() []schedule.Resource {
	var list []schedule.Resource
	add := func(name string, share int) {
		for _, r := range list {
			if r.Name == name {
				return
			}
		}
		list = append(list, schedule.Resource{Name: name, Share: share})
	}
	team, store := schedule.Shares(t.limits.Concurrency, len(t.world.Teams()), len(t.world.Stores()))
	add(teamResource+t.policy.Team, team)
	add(teamResource+t.plan.Team, team)
	for _, row := range t.rec.Targets {
		if row.Decision != journal.Drop {
			add(storeResource+row.Store, store)
		}
	}
	for _, pt := range t.policy.Targets {
		add(storeResource+pt.Store, store)
	}
	return list
}

// patience watches a call of this turn to a team or store until the returned function is called.
func (t *turn) patience(name string) (done func()) {
	if t.task == nil {
		return func() {}
	}
	return t.task.Slow(name)
}

// unadmitted ends a turn that was not admitted. One of a batch is as due as it was, unless its stores or its team are
// crowded: then its watch is put off.
func (t *turn) unadmitted(err error) error {
	if !t.task.ReleaseTogether() {
		return err
	}
	if full, ok := errors.AsType[*schedule.Crowded](err); ok && !t.task.Stopping() {
		t.rec.Policy.WatchAt = t.now().Add(full.Pause)
		t.rec.Policy.NextRunAt = t.agenda()
	}
	return nil
}

// uneventful reports whether a turn changed nothing but what may be written together with others: its policy's row, and
// targets and keys that were there before.
func (t *turn) uneventful() bool {
	now, was := t.rec, t.rec.Base
	return len(t.events) == 0 && len(now.Ended) == 0 && now.Rotation == nil && was.Rotation == nil && now.Hold == was.Hold &&
		slices.Equal(now.Attempts, was.Attempts) && slices.Equal(now.Orders, was.Orders) &&
		len(now.Targets) == len(was.Targets) && len(now.Keys) == len(was.Keys)
}
