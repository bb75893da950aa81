package rotation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"rotator/internal/secret"
	"rotator/policies"
	"rotator/rotation/effect"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/rotation/target"
)

// errand is a claim with what its turn needs besides.
type errand struct {
	claim journal.Claim
	asked time.Duration   // the boot time before the claim was asked for
	at    time.Time       // our clock when it was answered: only the time passed since is ever used
	rec   *journal.Record // as it was loaded; nil: the turn loads it
	place func()          // gives the turn's worker slot to another: when a call takes long, and at the end; may be called often

	// Of turns of a round; nil for others.
	admit func([]need) (*stay, error) // waits for a worker slot
	quiet func()                      // takes over to write rec, in which nothing happened, and to end the claim
}

// clock is the journal's: that of the claim, and the time that passed here since. No two processes' clocks are compared.
// Where one process has the journal, this machine's clock is the journal's, and a claim outlives a sleep of the machine: then
// what passed is what the wall shows, since the other clock stood still.
func (er *errand) clock(now time.Time) time.Time {
	at := er.at
	if er.claim.Until.IsZero() {
		now, at = now.Round(0), at.Round(0)
	}
	return er.claim.Now.Add(now.Sub(at)).UTC().Truncate(time.Microsecond)
}

// Turn acts for a policy until it has to wait, and gives the claim back. ErrLost means that another owner has the policy
// now and that nothing was written since. Other failures are the policy's, are recorded in its row, and are not returned.
func (e *Engine) Turn(ctx context.Context, c journal.Claim) error {
	return e.turn(ctx, ctx, errand{claim: c, asked: e.boot(), at: e.now(), place: func() {}})
}

// turn parks between two passes once stop has ended; ctx ends the calls themselves.
func (e *Engine) turn(ctx, stop context.Context, er errand) error {
	if er.claim.Until.IsZero() {
		return e.act(ctx, stop, er, nil)
	}
	l := newLease(e.journal, er.claim, er.asked, e.boot, e.now)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer l.hold(ctx, cancel)()
	err := e.act(ctx, stop, er, l)
	if errors.Is(context.Cause(ctx), journal.ErrLost) {
		err = fmt.Errorf("turn of %s: %w", er.claim.Policy, journal.ErrLost)
	}
	if errors.Is(err, journal.ErrLost) {
		e.loseClaim(er.claim.Policy)
	}
	return err
}

// act loads the policy and acts for it, under a lease that is being held (nil: none is needed).
func (e *Engine) act(ctx, stop context.Context, er errand, l *lease) (err error) {
	if er.rec == nil {
		if er.rec, err = e.journal.Load(ctx, er.claim.Policy); err != nil {
			return fmt.Errorf("load %s: %w", er.claim.Policy, err)
		}
	}
	env := e.environment()
	var stay *stay
	r := e.newRun(er.claim, er.rec, env, Hooks{
		Now: func() time.Time { return er.clock(e.now()) },
		Guard: func() error {
			if l == nil {
				return nil
			}
			return l.valid()
		},
		Slow: func(resource string) func() {
			timer := time.AfterFunc(slowCall, func() {
				stay.waitFor(resource)
				er.place()
			})
			return func() { timer.Stop() }
		},
	})
	if err := r.recall(); err != nil {
		return err
	}
	enter := e.crowd.enter
	if er.admit != nil {
		enter = er.admit
	}
	if stay, err = enter(r.needs()); err != nil {
		return r.unadmitted(stop, er, err)
	}
	defer stay.leave()
	if err := r.work(ctx, stop); err != nil {
		return err
	}
	if er.quiet != nil && r.uneventful() {
		er.quiet()
		return nil
	}
	// The release is written even when the process is stopping: otherwise the policy would wait for the lease to run out.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	return r.commit(ctx, true)
}

// Hooks connect a turn with what runs it.
type Hooks struct {
	Now   func() time.Time                    // the journal's clock; nil: the engine's
	Guard func() error                        // refuses once the claim may have been lost; nil: it cannot be
	Slow  func(resource string) (done func()) // watches a call that takes long; nil: nobody waits for the slot
}

// newRun makes a run. Its policy is decoded by recall.
func (e *Engine) newRun(c journal.Claim, rec *journal.Record, env Environment, h Hooks) *run {
	r := &run{
		engine: e, claim: c, env: env, rec: rec, log: e.log.With("policy", c.Policy), now: h.Now, guard: h.Guard, slow: h.Slow,
		proofs: make(map[string]time.Time), names: make(map[string]string), acls: make(map[string][]string),
	}
	if r.now == nil {
		r.now = e.now
	}
	if r.guard == nil {
		r.guard = func() error { return nil }
	}
	if r.slow == nil {
		r.slow = func(string) func() { return func() {} }
	}
	r.reader = &target.Reader{
		Record: rec, Store: env.Store, Now: r.now, Limit: e.limits.Call,
		Identify: func(ctx context.Context, v secret.Text) (string, error) { return r.whoIs(ctx, v) },
		Slow:     func(store string) func() { return r.slow(storeNeed + store) },
	}
	r.runner = effect.New(effect.Options{
		Record: rec, Bounds: effect.Bounds{Call: e.limits.Call, Quarantine: e.limits.Quarantine},
		Commit: func(ctx context.Context) error { return r.commit(ctx, false) }, Guard: r.guard, Clock: r.clock,
	})
	return r
}

// recall decodes the policy, and the plan of the rotation in flight.
func (r *run) recall() error {
	var err error
	if r.policy, err = policies.Decode([]byte(r.rec.Policy.Spec)); err != nil {
		return reason.Errorf(reason.Internal, "policy %s in the journal: %w", r.claim.Policy, err)
	}
	r.plan = r.policy
	rot := r.rec.Rotation
	if rot == nil {
		return nil
	}
	plan, err := policies.Decode([]byte(rot.Spec))
	if err != nil {
		return reason.Errorf(reason.Internal, "rotation %s in the journal: %w", rot.ID, err)
	}
	plan.Retire = r.policy.Retire
	r.plan = plan
	return nil
}

// needs are the teams and stores that this turn may call.
func (r *run) needs() []need {
	var list []need
	add := func(name string, share int) {
		for _, n := range list {
			if n.name == name {
				return
			}
		}
		list = append(list, need{name, share})
	}
	team, store := r.engine.limits.shares(len(r.env.Teams()), len(r.env.Stores()))
	add(teamNeed+r.policy.Team, team)
	add(teamNeed+r.plan.Team, team)
	for _, row := range r.rec.Targets {
		if row.Decision != journal.Drop {
			add(storeNeed+row.Store, store)
		}
	}
	for _, pt := range r.policy.Targets {
		add(storeNeed+pt.Store, store)
	}
	return list
}

// unadmitted ends a turn that was not admitted. One of a round is as due as it was, unless its stores or its team are
// crowded: then its watch is put off.
func (r *run) unadmitted(stop context.Context, er errand, err error) error {
	if er.quiet == nil {
		return err
	}
	if full, ok := errors.AsType[*crowded](err); ok && stop.Err() == nil {
		r.rec.Policy.WatchAt = r.now().Add(full.pause)
		r.rec.Policy.NextRunAt = r.rec.Policy.WatchAt
	}
	er.quiet()
	return nil
}

// uneventful reports whether a turn changed nothing but what may be written together with others: its policy's row, and
// targets and keys that were there before.
func (r *run) uneventful() bool {
	now, was := r.rec, r.rec.Base
	return len(r.events) == 0 && len(now.Ended) == 0 && now.Rotation == nil && was.Rotation == nil && now.Hold == was.Hold &&
		slices.Equal(now.Orders, was.Orders) && slices.Equal(now.Effects, was.Effects) && slices.Equal(now.Sightings, was.Sightings) &&
		slices.Equal(now.Retired, was.Retired) && len(now.Targets) == len(was.Targets) &&
		slices.EqualFunc(now.Keys, was.Keys, func(a, b journal.Key) bool { return a.Ref == b.Ref && a.State == b.State })
}
