package schedule

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"rotator/rotation/journal"
	"rotator/rotation/turn"
)

// defectPause is the pause of a policy whose turn could not even record its failure, and troublePause that of one whose
// journal failed: it may be back at once, and asks no more of a policy than a takeover would.
const (
	defectPause  = time.Minute
	troublePause = 5 * time.Second
)

// lastWords bounds what is written when a turn is over, also while the process is stopping.
const lastWords = 10 * time.Second

// releasePace is the pause between two tries to release a claim that does not end by itself.
const releasePace = 5 * time.Second

// slowCall is how long a call may take before its turn gives its slot up.
const slowCall = 2 * time.Second

// task is a claim that this scheduler has, with the turn that it is given.
type task struct {
	turn.Task

	sched  *Scheduler
	stop   context.Context // ends when the process is to stop
	asked  time.Duration   // the boot time before the claim was asked for
	at     time.Time       // our clock when it was answered: only the time passed since is ever used
	slot   *slot           // nil: it has none to give up
	lease  *lease          // nil: the claim does not end by itself
	permit *permit         // nil: not admitted

	// Of tasks of a batch.
	admit    func([]turn.Resource) (*permit, error) // waits for a slot; nil: it has one
	together bool                                   // the batch writes the record and ends the claim
}

// newTask makes a task of a claim that was asked for at the boot time asked and has just been answered.
func (s *Scheduler) newTask(stop context.Context, c journal.Claim, asked time.Duration) *task {
	t := &task{Task: turn.Task{Claim: c}, sched: s, stop: stop, asked: asked, at: s.now()}
	t.Hooks = turn.Hooks{
		Now: t.now, Guard: t.guard, Slow: t.slow, Admit: t.enter, Stopping: t.stopping, ReleaseTogether: t.releaseTogether,
	}
	return t
}

// now is the journal's clock: that of the claim, and the time that passed here since. No two processes' clocks are
// compared. Where one process has the journal, this machine's clock is the journal's, and a claim outlives a sleep of the
// machine: then what passed is what the wall shows, since the other clock stalled.
func (t *task) now() time.Time { return t.clock(t.sched.now()) }

func (t *task) clock(now time.Time) time.Time {
	at := t.at
	if t.Claim.Until.IsZero() {
		now, at = now.Round(0), at.Round(0)
	}
	return t.Claim.Now.Add(now.Sub(at)).UTC().Truncate(time.Microsecond)
}

// guard refuses with journal.ErrLost once the claim may have run out: the next owner must not meet a late write of ours.
// A turn asks it before each change outside.
func (t *task) guard() error {
	if t.lease == nil {
		return nil
	}
	return t.lease.guard()
}

// stopping reports that the process is to stop: the turn parks before its next step.
func (t *task) stopping() bool { return t.stop.Err() != nil }

// enter counts the turn for the resources that it may call, until it ends. A turn of a batch waits here, for room and then
// for a slot. It is called once, before the first call. [*turn.Crowded]: there is no room; the turn returns the error, and is
// tried again when there may be.
func (t *task) enter(resources []turn.Resource) (err error) {
	admit := t.sched.limiter.enter
	if t.admit != nil {
		admit = t.admit
	}
	t.permit, err = admit(resources)
	return err
}

// slow watches a call to a resource until the returned function is called: once it takes long, the turn yields.
func (t *task) slow(resource string) (done func()) {
	timer := time.AfterFunc(slowCall, func() { t.yield(resource) })
	return func() { timer.Stop() }
}

// yield gives the turn's slot to another, and counts the turn for nothing but the resource that it waits for. The turn goes
// on without a slot.
func (t *task) yield(resource string) {
	t.permit.waitFor(resource)
	t.slot.free()
}

// releaseTogether says that nothing happened in the turn: its batch writes the record and ends the claim, together with
// those of others. It reports false for a task of no batch, whose turn ends the claim itself.
func (t *task) releaseTogether() bool {
	t.together = t.admit != nil
	return t.together
}

// Turn gives one claim its turn. Its slot is no other claim's, and what the turn cannot end is left to the caller.
// journal.ErrLost means that another owner has the policy now and that nothing was written since.
func (s *Scheduler) Turn(ctx context.Context, c journal.Claim) error {
	return s.turn(ctx, s.newTask(ctx, c, s.boot()))
}

// turn runs a turn while the claim's lease is held. ctx ends its calls.
func (s *Scheduler) turn(ctx context.Context, t *task) error {
	if t.Claim.Until.IsZero() {
		return s.act(ctx, t)
	}
	t.lease = newLease(s.leases, t.Claim, t.asked, s.boot, s.now)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer t.lease.hold(ctx, cancel)()
	err := s.act(ctx, t)
	if errors.Is(context.Cause(ctx), journal.ErrLost) {
		err = fmt.Errorf("turn of %s: %w", t.Claim.Policy, journal.ErrLost)
	}
	if errors.Is(err, journal.ErrLost) {
		s.runner.Lost(t.Claim.Policy)
	}
	return err
}

// act runs a turn, and counts it out when it is over.
func (s *Scheduler) act(ctx context.Context, t *task) error {
	defer func() { t.permit.leave() }() // nil until the turn is admitted
	return s.runner.Turn(ctx, &t.Task)
}

// runTask gives one policy its turn and ends its claim. A defect that panics costs that policy a pause, and not the daemon.
func (l *loop) runTask(ctx context.Context, t *task) {
	defer t.slot.free()
	defer func() {
		if p := recover(); p != nil {
			l.log.Error("turn panicked", "policy", t.Claim.Policy, "panic", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
			l.fail(ctx, t, errors.New("a step panicked; the log says where"))
		}
	}()
	l.ended(ctx, t, l.turn(ctx, t))
}

// ended ends the claim of a turn that could not do so itself.
func (l *loop) ended(ctx context.Context, t *task, err error) {
	if err == nil {
		return
	}
	full, crowded := errors.AsType[*turn.Crowded](err)
	_, defect := errors.AsType[*turn.Defect](err)
	switch {
	case errors.Is(err, journal.ErrLost):
		l.log.Warn("claim lost; another replica took over", "policy", t.Claim.Policy)
	case crowded:
		l.log.Debug("turn put off; too many turns use the resource", "policy", t.Claim.Policy, "resource", full.Resource, "pause", full.Pause)
		l.postpone(ctx, t, full.Pause)
	case defect, errors.Is(err, journal.ErrForbidden):
		l.log.Error("turn not recorded", "policy", t.Claim.Policy, "err", err)
		l.fail(ctx, t, err)
	default:
		l.log.Error("turn failed", "policy", t.Claim.Policy, "err", err)
		l.postpone(ctx, t, troublePause)
	}
}

// fail has a failure recorded that its turn could not record: what the turn had to say is lost with it, or the journal
// refuses it. Status shows it at once, and people are notified when it goes on.
func (l *loop) fail(ctx context.Context, t *task, cause error) {
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	if err := l.runner.Fail(within, &t.Task, cause, defectPause); err != nil {
		l.log.Error("failure not recorded", "policy", t.Claim.Policy, "err", err)
		l.postpone(ctx, t, defectPause)
	}
}

// postpone releases a claim unchanged. A claim that does not end by itself is tried again until it is written: nothing
// would ever act for its policy again. When the process ends, the next one voids it.
func (l *loop) postpone(ctx context.Context, t *task, d time.Duration) {
	t.slot.free()
	defer l.strand(t.Claim.Policy, nil)
	for {
		err := l.release(ctx, t, d)
		if err == nil || errors.Is(err, journal.ErrLost) {
			return
		}
		l.log.Error("claim not released; will retry", "policy", t.Claim.Policy, "err", err)
		l.strand(t.Claim.Policy, err)
		if l.once || !t.Claim.Until.IsZero() || pause(t.stop, releasePace) != nil {
			return
		}
	}
}

func (l *loop) release(ctx context.Context, t *task, d time.Duration) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	return l.leases.Release(ctx, t.Claim, t.now().Add(d))
}
