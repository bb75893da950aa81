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
)

// errand is a claim with what its turn needs besides.
type errand struct {
	claim journal.Claim
	asked time.Duration   // the boot time before the claim was asked for
	at    time.Time       // our clock when it was answered: only the time passed since is ever used
	rec   *journal.Record // as it was loaded; nil: the turn loads it
	place func()          // gives the turn's place up to another: when a call takes long, and at the end; may be called often

	// Of turns of a round; nil for others.
	admit func([]need) (*stay, error) // waits for a place
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

// turn is one owner's turn at a policy, from the claim to its release. Its methods are the steps of the machine.
type turn struct {
	*Engine
	errand
	lease   *lease // nil where one process has the journal
	stay    *stay  // among the turns of its team and stores; nil: it only looks
	world   World
	policy  *policies.Policy   // as the files say now, or said last when it was removed
	plan    *policies.Policy   // as recorded by the rotation in flight, with the `retire` of policy
	events  []journal.Event    // for the next commit
	ended   []journal.Rotation // by the step in hand
	worried journal.Reason     // a failure beside the rotation, shown unless the rotation has one of its own
	unsure  error              // why it is not known whether the last commit was written
	read    secret.Text        // the value of the rotation's key, once this turn has read it
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

func (t *turn) now() time.Time { return t.clock(t.Engine.now()) }

// Turn acts for a policy until it has to wait, and gives the claim back. ErrLost means that another owner has the policy
// now and that nothing was written since. Other failures are the policy's, are recorded in its row, and are not returned.
func (e *Engine) Turn(ctx context.Context, c journal.Claim) error {
	return e.turn(ctx, ctx, errand{claim: c, asked: e.boot(), at: e.now(), place: func() {}})
}

// turn parks between two steps once stop has ended; ctx ends the calls themselves.
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
	t := &turn{Engine: e, errand: er, lease: l, world: e.theWorld(), log: e.log.With("policy", er.claim.Policy)}
	if t.policy, err = policies.Decode([]byte(t.rec.Policy.Spec)); err != nil {
		return stuckf(Internal, "policy %s in the journal: %w", er.claim.Policy, err)
	}
	if err := t.recall(); err != nil {
		return err
	}
	enter := t.crowd.enter
	if t.admit != nil {
		enter = t.admit
	}
	if t.stay, err = enter(t.needs()); err != nil {
		return t.unadmitted(stop, err)
	}
	defer t.stay.leave()
	return t.run(ctx, stop)
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

func (t *turn) run(ctx, stop context.Context) error {
	var n next
	var err error
	for range maxSteps {
		if n, err = t.observed(ctx); err != nil || !n.again {
			break
		}
		if stop.Err() != nil { // the process is stopping: park here
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
	if t.quiet != nil && t.uneventful() {
		t.quiet()
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
	defer t.patience(teamNeed + name)() // it may ask xAI which id the team has
	team, err := t.world.Team(ctx, name)
	if err != nil {
		return Team{}, err
	}
	return t.through(name, team), nil
}

// fence refuses an effect outside once the claim may have run out: whoever took over must not meet a late write of ours.
func (t *turn) fence() error {
	if t.lease == nil {
		return nil
	}
	return t.lease.valid()
}
