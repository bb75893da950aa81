package rotation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"time"

	"rotator/internal/secret"
	"rotator/policies"
	"rotator/rotation/journal"
	"rotator/rotation/schedule"
)

// turn is one owner's turn at a policy, from the claim to its release. Its methods are the steps of the machine.
type turn struct {
	*Engine
	claim   journal.Claim
	rec     *journal.Record
	task    *schedule.Task // nil: it only looks
	world   World
	policy  *policies.Policy   // as the files say now, or said last when it was removed
	plan    *policies.Policy   // as recorded by the rotation in flight, with the `retire` of policy
	events  []journal.Event    // for the next commit
	ended   []journal.Rotation // by the step in hand
	worried journal.Reason     // a failure beside the rotation, shown unless the rotation has one of its own
	unsure  error              // why it is not known whether the last commit was written
	read    secret.Text        // the value of the rotation's key, once this turn has read it
	proved  time.Time          // when that value last proved itself in this turn
	bears   map[string]string  // key id → its name, of the keys with our prefix that said who they are in this turn
	log     *slog.Logger
}

// next is what a step says: go on at once, or wait until a time for a reason.
type next struct {
	again  bool
	onward bool // a part of a step says: nothing is in the way, the rotation did not move
	parked bool // the step's time has not come: how the last one ended still stands
	at     time.Time
	reason journal.Reason
}

var (
	again  = next{again: true}
	onward = next{onward: true}
)

func wait(at time.Time, r journal.Reason) next { return next{at: at, reason: r} }

// maxSteps bounds a turn: no rotation needs more states than this without a wait between them.
const maxSteps = 24

// now is the journal's clock.
func (t *turn) now() time.Time {
	if t.task == nil {
		return t.Engine.now().UTC().Truncate(time.Microsecond)
	}
	return t.task.Now()
}

// recall decodes the plan of the rotation in flight.
func (t *turn) recall() error {
	t.plan = t.policy
	r := t.rec.Rotation
	if r == nil {
		return nil
	}
	plan, err := policies.Decode([]byte(r.Spec))
	if err != nil {
		return stuckf(Internal, "rotation %s in the journal: %w", r.ID, err)
	}
	plan.Retire = t.policy.Retire
	t.plan = plan
	return nil
}

func (t *turn) run(ctx context.Context) error {
	var n next
	var err error
	for range maxSteps {
		if n, err = t.observed(ctx); err != nil || !n.again {
			break
		}
		if t.task.Stopping() { // the process is stopping: park here
			n = wait(t.now(), "")
			break
		}
		if t.rec.Rotation == nil {
			continue // what ended is written together with what follows: nothing outside lies between
		}
		if err = t.commit(ctx, false); err != nil {
			break
		}
		if t.rec.Woken { // what was said meanwhile comes before the next step
			n = wait(t.now(), "")
			break
		}
	}
	if errors.Is(err, journal.ErrLost) || errors.Is(context.Cause(ctx), journal.ErrLost) {
		return journal.ErrLost
	}
	if n.again && err == nil { // more steps than a rotation has: a defect, and no reason to spin
		err = stuckf(Internal, "a turn of more than %d steps", maxSteps)
	}
	// The release is written even when the process is stopping: otherwise the policy would wait for the lease to run out.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	t.settle(n, err)
	t.rec.Policy.NextRunAt = t.agenda()
	if t.uneventful() && t.task.ReleaseTogether() {
		return nil
	}
	return t.commit(ctx, true)
}

// observed takes a step and tells of it.
func (t *turn) observed(ctx context.Context) (next, error) {
	s := Step{Policy: t.claim.Policy}
	if r := t.rec.Rotation; r != nil {
		s.Rotation, s.State = r.ID, r.State
	}
	start := t.now()
	t.ended = nil
	ctx, end := t.observe(ctx, s)
	n, err := t.step(ctx)
	if r := t.rec.Rotation; r != nil {
		s.Rotation, s.After = cmp.Or(s.Rotation, r.ID), r.State
	}
	s.Outcome, s.Reason, s.Ended, s.Took = "moved", n.reason, t.ended, max(0, t.now().Sub(start))
	switch {
	case err != nil:
		s.Outcome, s.Reason = "failed", reasonOf(err)
	case len(t.ended) > 0:
		s.Outcome = "ended"
	case !n.again:
		s.Outcome = "waits"
	}
	end(s)
	return n, err
}

// step does whatever is to be done first.
func (t *turn) step(ctx context.Context) (next, error) {
	obeyed, unheard := t.orders(ctx)
	switch {
	case gone(ctx, unheard):
		return next{}, unheard
	case obeyed && unheard == nil:
		return again, nil // what was decided is recorded before anything follows from it
	}
	if err := t.sweep(ctx); err != nil {
		return next{}, err
	}
	if err := t.watch(ctx); err != nil {
		return next{}, err
	}
	if unheard != nil { // an order that cannot be carried out yet holds up only what it may change
		return next{}, unheard
	}
	r := t.rec.Rotation
	if r == nil {
		return t.idle(ctx)
	}
	if p := t.rec.Policy; t.ahead(p.StepAt) && !t.stirred() {
		return next{parked: true, at: p.StepAt, reason: p.Reason}, nil
	}
	switch r.State {
	case journal.Planned:
		return t.planned(ctx)
	case journal.Staged:
		return t.staged(ctx)
	case journal.Verified:
		return t.verified(ctx)
	case journal.Promoting:
		return t.promoting(ctx)
	case journal.Live:
		return t.live(ctx)
	case journal.Retiring:
		return t.retiring(ctx)
	case journal.Aborting:
		return t.aborting(ctx)
	case journal.RollingBack:
		return t.rollingBack(ctx)
	}
	return next{}, stuckf(Internal, "rotation %s is in flight in state %q", r.ID, r.State)
}

// ahead reports that a time has not come. One beyond the horizon is not believed: either the clock was set back since,
// or it is the end of a long wait, which the step computes anew at little cost.
func (t *turn) ahead(at time.Time) bool {
	return t.now().Before(at) && at.Before(t.now().Add(journal.Horizon))
}

// stirred reports that what the step waited for is no more, or may be over at another time: its hold was released, its
// policy edited, or a failure beside it, which hides why it waits, is over. How long overlap and soak last is the policy's
// to say while they run, and to compute it anew costs nothing.
func (t *turn) stirred() bool {
	r, p := t.rec.Rotation, &t.rec.Policy
	return p.Reason == Held && !t.held() ||
		p.Reason == WaitOverlap || p.Reason == WaitSoak ||
		p.Failures == 0 && p.Error != "" && t.worried == "" ||
		r.State.CanAbort() && r.State != journal.Aborting && (!t.rec.Policy.RemovedAt.IsZero() || !t.plan.SameRotation(t.policy))
}

// enter moves the rotation in flight to another state of the table.
func (t *turn) enter(s journal.State) {
	r := t.rec.Rotation
	if !r.State.May(s) {
		panic(fmt.Sprintf("rotation %s may not go from %s to %s", r.ID, r.State, s)) // a defect: recovered by the scheduler
	}
	r.State, r.EnteredAt = s, t.now()
	p := &t.rec.Policy
	p.StepAt = time.Time{}
	t.log.Info("rotation "+string(s), "rotation", r.ID, "key_id", r.KeyID)
}

// end closes the rotation in flight in a final state. It is written by the next commit, together with what follows it.
func (t *turn) end(s journal.State, why string) {
	r := t.rec.Rotation
	t.enter(s)
	r.EndedAt, r.Error = t.now(), why
	t.rec.Policy.RotationID = ""
	t.rec.Ended = append(t.rec.Ended, *r)
	t.ended = append(t.ended, *r)
	t.rec.Rotation = nil
	t.plan = t.policy
}

// settle writes into the policy's row how the step ended.
func (t *turn) settle(n next, err error) {
	p := &t.rec.Policy
	now := t.now()
	if n.parked {
		if t.worried != "" && p.Failures == 0 {
			t.reason(t.worried)
		}
		return
	}
	if err == nil {
		if p.Failures > 0 {
			t.tell(journal.Recovered, "after", fmt.Sprint(p.Failures))
		}
		p.Failures = 0
		if t.worried == "" {
			p.Error = ""
			t.reason(n.reason)
		} else {
			t.reason(t.worried)
		}
		p.StepAt = time.Time{}
		if t.rec.Rotation != nil {
			p.StepAt = n.at
			if n.at.IsZero() { // it waits for nothing but a human's word, which wakes it
				p.StepAt = p.WatchAt
			}
		}
		return
	}
	p.Failures++
	p.Error = err.Error()
	p.StepAt = now.Add(max(t.backoff(p.Failures), retryAfter(err)))
	r := reasonOf(err)
	t.reason(r)
	t.log.Warn("step did not go on", "reason", r, "tries", p.Failures, "err", err)
	if p.Failures == failuresTold && !NeedsHuman(r) {
		t.tell(journal.Failed, "reason", string(r), "error", p.Error)
	}
}

// failuresTold is how many times in a row a step fails before it is told to people: a hiccup is no news.
const failuresTold = 3

// reason records why the policy waits, and tells it when it is a human that it waits for.
func (t *turn) reason(r journal.Reason) {
	p := &t.rec.Policy
	if p.Reason == r {
		return
	}
	p.Reason, p.Since = r, t.now()
	if NeedsHuman(r) {
		t.tell(journal.WaitsForHuman, "reason", string(r), "error", p.Error)
	}
}

// backoff is the pause after the nth failure in a row: from one second, doubled, capped, and spread by the policy's name
// so that policies that failed together do not come back together.
func (t *turn) backoff(n int) time.Duration {
	d := t.limits.MaxBackoff
	if n < 20 {
		d = min(d, time.Second<<(n-1))
	}
	h := fnv.New32a()
	fmt.Fprint(h, t.claim.Policy, n)
	return d - d/4 + time.Duration(h.Sum32()%1000)*(d/4)/1000
}

// agenda is when the policy must be looked at again: the earliest of all that waits, and never beyond the next watch.
func (t *turn) agenda() time.Time {
	p := &t.rec.Policy
	at := minTime(p.WatchAt, t.now().Add(t.limits.Watch))
	sooner := func(c time.Time) {
		if !c.IsZero() && (at.IsZero() || c.Before(at)) {
			at = c
		}
	}
	if t.rec.Rotation != nil || p.Failures > 0 {
		if p.StepAt.IsZero() {
			return t.now()
		}
		sooner(p.StepAt)
	} else if !t.held() && p.RemovedAt.IsZero() {
		due := p.DueAt
		if !due.IsZero() && due.Before(p.NotBefore) {
			due = p.NotBefore
		}
		if soon := t.now().Add(time.Minute); t.ordered && !due.IsZero() && due.Before(soon) {
			due = soon // for whoever may begin it; here it would be looked at without a pause
		}
		sooner(due)
	}
	if t.held() {
		sooner(t.rec.Hold.Until)
	}
	for _, a := range t.rec.Attempts {
		if a.State == journal.InDoubt || a.State == journal.Lost {
			sooner(a.SweepAt)
		}
	}
	return at
}

// tell adds an event to the next commit; data are pairs of name and value.
func (t *turn) tell(k journal.Kind, data ...string) {
	e := journal.Event{At: t.now(), Policy: t.claim.Policy, Kind: k, Data: make(map[string]string, len(data)/2+1)}
	if r := t.rec.Rotation; r != nil {
		e.Rotation = r.ID
	}
	for i := 0; i+1 < len(data); i += 2 {
		if data[i+1] != "" {
			e.Data[data[i]] = data[i+1]
		}
	}
	if t.policy.Owner != "" {
		e.Data["owner"] = t.policy.Owner
	}
	t.events = append(t.events, e)
}

// commit writes what changed, with the events that tell of it. After ErrLost nothing more may be touched.
func (t *turn) commit(ctx context.Context, release bool) error {
	err := t.journal.Commit(ctx, t.claim, t.rec, release, t.events...)
	switch {
	case err == nil:
	case errors.Is(err, journal.ErrForbidden) && t.unsure != nil:
		// The last commit was written, and its answer lost: what it began cannot begin again. The next turn sees it.
		return t.unsure
	default:
		err = fmt.Errorf("commit %s: %w", t.claim.Policy, err)
		if !errors.Is(err, journal.ErrForbidden) {
			t.unsure = err
		}
		return err
	}
	t.unsure = nil
	t.events = nil
	t.rec.Ended = nil
	return nil
}

func (t *turn) held() bool { return t.rec.Hold.Active(t.now()) }

// team returns the team that a key or plan belongs to.
func (t *turn) team(ctx context.Context, name string) (Team, error) {
	defer t.patience(teamResource + name)() // it may ask xAI which id the team has
	team, err := t.world.Team(ctx, name)
	if err != nil {
		return Team{}, err
	}
	return t.through(name, team), nil
}

// guard refuses an effect outside once the claim may have run out: whoever took over must not meet a late write of ours.
func (t *turn) guard() error {
	if t.task == nil {
		return nil
	}
	return t.task.Guard()
}
