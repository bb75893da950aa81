package rotation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"rotator/policies"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/rotation/turn"
)

// Turn acts for a policy until it has to wait, and ends the claim. It stops between two steps once the task is stopping;
// ctx ends the calls themselves. ErrLost means that another owner has the policy now and that nothing was written since.
// After any other error whoever handed the turn out ends the claim; failures of the policy are recorded in its row, and are
// not returned.
func (e *Engine) Turn(ctx context.Context, task *turn.Task) (err error) {
	if task.Record == nil {
		if task.Record, err = e.journal.Load(ctx, task.Claim.Policy); err != nil {
			return fmt.Errorf("load %s: %w", task.Claim.Policy, err)
		}
	}
	r := e.newRun(task.Claim, task.Record, e.environment(), task.Hooks)
	if err := r.recall(); err != nil {
		return &turn.Defect{Err: err}
	}
	if isUrgent(r) {
		return endRevoked(ctx, r, task)
	}
	if err := task.Admit(r.resources()); err != nil {
		return r.unadmitted(task, err)
	}
	if err := r.work(ctx, task.Stopping); err != nil {
		return err
	}
	if r.uneventful() && task.ReleaseTogether() {
		return nil
	}
	// The release is written even when the process is stopping: otherwise the policy would wait for the lease to run out.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	return r.commit(ctx, true)
}

// lastWords bounds the commit that ends a turn.
const lastWords = 10 * time.Second

// unadmitted ends a turn that was not admitted. One of a batch is as due as it was, unless its stores or its team are
// crowded: then its watch is put off.
func (r *run) unadmitted(task *turn.Task, err error) error {
	if !task.ReleaseTogether() {
		return err
	}
	if full, ok := errors.AsType[*turn.Crowded](err); ok && !task.Stopping() {
		r.rec.Policy.WatchAt = r.now().Add(full.Pause)
		r.rec.Policy.NextRunAt = r.rec.Policy.WatchAt
	}
	return nil
}

// Fail records in the policy's row a failure that its turn could not record, and releases the claim; the policy is tried
// again after pause.
func (e *Engine) Fail(ctx context.Context, task *turn.Task, cause error, pause time.Duration) error {
	rec, err := e.journal.Load(ctx, task.Claim.Policy)
	if err != nil {
		return err
	}
	now := task.Now()
	p := &rec.Policy
	if p.Reason != reason.Internal {
		p.Reason, p.Since = reason.Internal, now
	}
	p.Failures++
	p.Error, p.NextRunAt = cause.Error(), now.Add(pause)
	var tell []journal.Event
	if spec, err := policies.Decode([]byte(p.Spec)); err == nil {
		if from, to := rate(rec, spec, e.environment(), e.limits.Watch, now); toldOf(from, to) {
			tell = append(tell, journal.Event{At: now, Policy: task.Claim.Policy, Rotation: p.RotationID, Kind: journal.HealthChanged,
				Data: map[string]string{"from": string(from), "to": string(to), "reason": string(p.HealthReason), "error": p.Error}})
		}
	}
	if p.Failures == failuresTold {
		tell = append(tell, journal.Event{At: now, Policy: task.Claim.Policy, Rotation: p.RotationID, Kind: journal.Failed,
			Data: map[string]string{"reason": string(reason.Internal), "error": p.Error}})
	}
	return e.journal.Commit(ctx, task.Claim, rec, true, tell...)
}

// Lost is told that the claim on a policy was lost: another owner makes its keys from now on.
func (e *Engine) Lost(policy string) { e.hand.lose(policy) }

// Moving reports whether a rotation is on its way to live and neither failed too often nor
// waits for a human.
func (e *Engine) Moving(ctx context.Context) (bool, error) {
	all, err := e.journal.Summaries(ctx)
	if err != nil {
		return false, err
	}
	for _, s := range all {
		switch {
		case len(e.only) > 0 && !slices.Contains(e.only, s.Policy.Name):
		case s.Policy.NextRunAt.IsZero() || reason.NeedsHuman(s.Policy.Reason) || s.Policy.Failures >= failuresTold || s.Hold.Active(e.now()):
		case s.Rotation == nil || e.environment().Observes(): // which continues no rotation
			if !s.Policy.NextRunAt.After(e.now()) {
				return true, nil
			}
		case s.Policy.Reason == reason.WaitCanary: // a long wait
		case !s.Rotation.State.Final():
			return true, nil
		}
	}
	return false, nil
}
