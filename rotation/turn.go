package rotation

import (
	"context"
	"slices"
	"time"

	"rotator/internal/secret"
	"rotator/rotation/effect"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/rotation/target"
	"rotator/rotation/turn"
)

// newRun makes a run. Its policy is decoded by recall.
func (e *Engine) newRun(c journal.Claim, rec *journal.Record, env Environment, h turn.Hooks) *run {
	r := &run{
		engine: e, claim: c, env: env, rec: rec, log: e.log.With("policy", c.Policy), now: h.Now, guard: h.Guard, slow: h.Slow,
		proofs: make(map[string]time.Time), names: make(map[string]string), acls: make(map[string][]string),
		owners: make(map[string]string), unused: make(map[string]bool),
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
		Identify: func(ctx context.Context, v secret.Text) (string, error) { return whoIs(ctx, r, v) },
		Slow:     func(store string) func() { return r.slow(storeResource + store) },
	}
	r.runner = effect.New(effect.Options{
		Record: rec, Bounds: effect.Bounds{Call: e.limits.Call, Quarantine: e.limits.Quarantine},
		Commit: func(ctx context.Context) error { return r.commit(ctx, false) }, Guard: r.guard, Clock: r.clock,
		ReadOnly: e.observing,
	})
	return r
}

// recall decodes the policy, and the plan of the rotation in flight.
func (r *run) recall() error {
	var err error
	if r.policy, err = r.engine.specs.decode(r.rec.Policy.Spec); err != nil {
		return reason.Errorf(reason.Internal, "policy %s in the journal: %w", r.claim.Policy, err)
	}
	r.plan = r.policy
	rot := r.rec.Rotation
	if rot == nil {
		return nil
	}
	plan, err := r.engine.specs.decode(rot.Spec)
	if err != nil {
		return reason.Errorf(reason.Internal, "rotation %s in the journal: %w", rot.ID, err)
	}
	plan.Retire, plan.Canary = r.policy.Retire, r.policy.Canary
	if plan.SameRotation(r.policy) { // the new key is made so, or updated
		plan.Key = r.policy.Key
	}
	r.plan = plan
	return nil
}

// The kinds of resources.
const (
	teamResource  = "team "
	storeResource = "store "
)

// resources are the teams and stores that this turn may call.
func (r *run) resources() []turn.Resource {
	var list []turn.Resource
	add := func(name string, share int) {
		for _, one := range list {
			if one.Name == name {
				return
			}
		}
		list = append(list, turn.Resource{Name: name, Share: share})
	}
	team, store := turn.Shares(r.engine.limits.Concurrency, len(r.env.Teams()), len(r.env.Stores()))
	add(teamResource+r.policy.Team, team)
	add(teamResource+r.plan.Team, team)
	for _, row := range r.rec.Targets {
		if row.Decision != journal.Drop {
			add(storeResource+row.Store, store)
		}
	}
	for _, pt := range r.policy.Targets {
		add(storeResource+pt.Store, store)
	}
	return list
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
