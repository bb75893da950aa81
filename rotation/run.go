package rotation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"time"

	"rotator/policies"
	"rotator/rotation/due"
	"rotator/rotation/effect"
	"rotator/rotation/health"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/rotation/target"
	"rotator/xai"
)

// run is one owner's turn at a policy, from the claim to its release.
type run struct {
	engine *Engine
	claim  journal.Claim
	env    Environment
	rec    *journal.Record
	policy *policies.Policy // as the files say now, or said last when it was removed
	plan   *policies.Policy // as recorded by the rotation in flight, with the `retire` of policy
	runner *effect.Runner
	reader *target.Reader
	now    func() time.Time                    // the journal's clock
	guard  func() error                        // refuses once the claim may have been lost
	slow   func(resource string) (done func()) // watches a call that takes long
	log    *slog.Logger

	events []journal.Event    // for the next commit
	ended  []journal.Rotation // in the pass in hand
	unsure error              // why it is not known whether the last commit was written

	ahead  time.Duration               // of xAI's clock before the journal's
	timed  bool                        // xAI's clock was seen in this turn
	unused map[string]bool             // key ref → its use proved in this turn that no one needs it
	proofs map[string]time.Time        // key ref → when it last proved itself in this turn
	names  map[string]string           // key id → its name, as the key itself said in this turn
	mark   *string                     // of a journal that may not be the newest; nil: not asked yet in this turn
	acls   map[string][]string         // key ref → the rights that an adopted key says it has
	owners map[string]string           // team → the user whose management key was validated in this turn
	notes  []note                      // what the jobs of the last pass say
	start  due.Start                   // when the next rotation begins, as computed last
	shared map[journal.TargetID]string // places that targets share with those of other policies, "" for none; as asked in this turn
	place  string                      // the one in hand, or ""
}

// Outcome is what a job says: it moved something, and is to be asked again; or it waits until a time (zero: for nothing
// but a human's word) for a reason; or it failed.
type Outcome struct {
	Moved  bool
	Wait   time.Time
	Reason journal.Reason
	Err    error
	// Standing is the text of an earlier failure that is not tried again yet.
	Standing string
	// Says is what a wait is for, where the reason alone does not say it. It is no failure.
	Says string
}

var (
	moved   = Outcome{Moved: true}
	nothing = Outcome{}
)

func waits(at time.Time, r journal.Reason) Outcome { return Outcome{Wait: at, Reason: r} }

func failed(err error) Outcome { return Outcome{Err: err} }

// stands says that an earlier failure or wait is not over.
func stands(until time.Time, r journal.Reason, text string) Outcome {
	return Outcome{Wait: until, Reason: r, Standing: text}
}

// A job is one of the things that a turn does. A failure of one never stops the others: each keeps when it tries again,
// and why it failed, in the row that it works on.
type job struct {
	name string
	do   func(ctx context.Context, r *run) Outcome
}

// jobs in their order: what people say comes first, and keys that must end now; then what earlier turns left unknown is settled
// and the world is looked at, so that what follows knows its state.
var jobs = []job{
	{"commands", commands},
	{"revoke", revoke},
	{"settle", settle},
	{"observe", observe},
	{"heal", heal},
	{"update", update},
	{"rotate", rotate},
	{"retire", retire},
}

// note is what one job says in a pass.
type note struct {
	job string
	Outcome
}

// maxPasses bounds a turn: no policy needs more without a wait between them.
const maxPasses = 48

// work acts for the policy until it has to wait. It parks between two passes once the process is stopping.
func (r *run) work(ctx context.Context, stopping func() bool) error {
	var err error
	for pass := 0; ; pass++ {
		var again bool
		if again, err = r.observed(ctx); err != nil || !again {
			break
		}
		if pass == maxPasses {
			err = reason.Errorf(reason.Internal, "a turn of more than %d passes", maxPasses)
			break
		}
		if err = r.commit(ctx, false); err != nil {
			break
		}
		if stopping() || r.rec.Woken { // what was said meanwhile comes first
			r.notes = append(r.notes, note{parked, waits(r.now(), "")})
			break
		}
	}
	if errors.Is(err, journal.ErrLost) || errors.Is(context.Cause(ctx), journal.ErrLost) {
		return journal.ErrLost
	}
	if err != nil {
		r.notes = append(r.notes, note{"turn", Outcome{Err: err, Reason: reason.Of(err)}})
	}
	noteSkew(r)
	r.conclude()
	return nil
}

// observed makes a pass and reports it.
func (r *run) observed(ctx context.Context) (again bool, err error) {
	s := Step{Policy: r.claim.Policy}
	if rot := r.rec.Rotation; rot != nil {
		s.Rotation, s.State = rot.ID, rot.State
	}
	start := r.now()
	r.ended = nil
	ctx, end := r.engine.observe(ctx, s)
	again, err = r.pass(ctx, jobs)
	if rot := r.rec.Rotation; rot != nil {
		s.Rotation, s.After = cmp.Or(s.Rotation, rot.ID), rot.State
	}
	for _, rot := range r.ended {
		if rot.ID == s.Rotation {
			s.After = rot.State
		}
	}
	s.Outcome, s.Ended, s.Took = "moved", r.ended, max(0, r.now().Sub(start))
	first := r.foremost()
	switch {
	case err != nil:
		s.Outcome, s.Reason = "failed", reason.Of(err)
	case len(r.ended) > 0:
		s.Outcome = "ended"
	case first.Err != nil:
		s.Outcome, s.Reason = "failed", first.Reason
	case !again:
		s.Outcome, s.Reason = "waits", first.Reason
	}
	end(s)
	return again, err
}

// pass runs each of some jobs once. An error ends the turn.
func (r *run) pass(ctx context.Context, jobs []job) (again bool, err error) {
	r.notes = r.notes[:0]
	for _, j := range jobs {
		out := j.do(ctx, r)
		if gone(ctx, out.Err) || errors.Is(out.Err, journal.ErrForbidden) || r.unsure != nil {
			return false, cmp.Or(out.Err, r.unsure)
		}
		if out.Err != nil {
			out.Reason = reason.Of(out.Err)
		}
		again = again || out.Moved
		r.notes = append(r.notes, note{j.name, out})
	}
	return again, nil
}

// foremost is what the policy's row shows: a failure that needs people, else a failure, else the reason of a wait, each
// of the first job that has one; the rotation in flight comes before what is done beside it.
func (r *run) foremost() note {
	var best note
	rank := func(n note) int {
		switch {
		case n.Err == nil && n.Reason == "":
			return 0
		case (n.job == "retire" || n.job == "update") && n.Err == nil && n.Standing == "" && !reason.NeedsHuman(n.Reason):
			return 1
		case n.Err == nil && n.Standing == "" && !reason.NeedsHuman(n.Reason):
			return 2
		case !reason.NeedsHuman(n.Reason):
			return 3
		}
		return 4
	}
	for _, n := range r.notes {
		if rank(n) > rank(best) {
			best = n
		}
	}
	return best
}

// failuresTold is how many times in a row something fails before people are notified.
const failuresTold = health.FailuresTold

// conclude writes into the policy's row how the turn ended, and when it is looked at again.
func (r *run) conclude() {
	p := &r.rec.Policy
	n := r.foremost()
	text := n.Standing
	switch {
	case n.Err != nil:
		text = n.Err.Error()
		p.Failures++
		r.log.Warn("step failed; will retry", "job", n.job, "reason", n.Reason, "failures", p.Failures, "err", n.Err)
	case text == "":
		if p.Failures >= failuresTold {
			r.tell(journal.Recovered, "after", fmt.Sprint(p.Failures))
		}
		p.Failures = 0
	}
	p.Error = cmp.Or(text, n.Says)
	if p.Reason != n.Reason {
		p.Reason, p.Since = n.Reason, r.now()
		if reason.NeedsHuman(n.Reason) {
			r.tell(journal.WaitsForHuman, "reason", string(n.Reason), "error", text)
		}
	}
	if p.Failures == failuresTold && !reason.NeedsHuman(n.Reason) {
		r.tell(journal.Failed, "reason", string(n.Reason), "error", text)
	}
	rateRun(r)
	p.NextRunAt = r.agenda()
}

// parked is the note of a turn that ended between two passes, and leastWait the least time between two turns otherwise.
const (
	parked    = "parked"
	leastWait = 250 * time.Millisecond
)

// agenda is when the policy must be looked at again: the earliest of all that waits, and never beyond the next watch.
func (r *run) agenda() time.Time {
	now := r.now()
	at := now.Add(r.engine.limits.Watch)
	if late := r.rec.Policy.OverdueAt; late.After(now) { // people are notified at once
		at = minTime(at, late)
	}
	if watch := r.rec.Policy.WatchAt; watch.After(now) {
		at = minTime(at, watch)
	} else { // a pass broke off before it: zero would mean never
		at = now.Add(r.backoff(max(1, r.rec.Policy.Failures)))
	}
	for _, n := range r.notes {
		if n.Err != nil && n.Wait.IsZero() {
			n.Wait = now.Add(r.backoff(r.rec.Policy.Failures))
			if r.rec.Policy.Failures == 0 { // it is not the one that is shown, and so not counted
				n.Wait = now.Add(time.Minute)
			}
		}
		if n.job != parked && !n.Wait.IsZero() && !n.Wait.After(now) { // nothing moved: at once it would only be the same again
			n.Wait = now.Add(leastWait)
		}
		if !n.Wait.IsZero() && n.Wait.Before(at) {
			at = n.Wait
		}
	}
	if short := at.Truncate(time.Microsecond); short.Before(at) { // the journal keeps no less; too early would be again at once
		at = short.Add(time.Microsecond)
	}
	return at
}

// backoff is the pause after the nth failure in a row: from one second, doubled, capped, and spread by the policy's name
// so that policies that failed together do not come back together.
func (r *run) backoff(n int) time.Duration {
	d := r.engine.limits.MaxBackoff
	if n < 20 {
		d = min(d, time.Second<<max(0, n-1))
	}
	h := fnv.New32a()
	fmt.Fprint(h, r.claim.Policy, n)
	return d - d/4 + time.Duration(h.Sum32()%1000)*(d/4)/1000
}

// postponed reports that a time has not come. One beyond the horizon is not believed: either the clock was set back since,
// or it is the end of a long wait, which the job computes again at little cost.
func (r *run) postponed(at time.Time) bool {
	return r.now().Before(at) && at.Before(r.now().Add(journal.Horizon))
}

// tell adds an event to the next commit; data are pairs of name and value.
func (r *run) tell(k journal.Kind, data ...string) {
	e := journal.Event{At: r.now(), Policy: r.claim.Policy, Kind: k, Data: make(map[string]string, len(data)/2+1)}
	if rot := r.rec.Rotation; rot != nil {
		e.Rotation = rot.ID
	}
	for i := 0; i+1 < len(data); i += 2 {
		if data[i+1] != "" {
			e.Data[data[i]] = data[i+1]
		}
	}
	if r.policy.Owner != "" {
		e.Data["owner"] = r.policy.Owner
	}
	r.events = append(r.events, e)
}

// commit writes what changed, with the events that report it. After ErrLost nothing more may be touched.
func (r *run) commit(ctx context.Context, release bool) error {
	rateRun(r)
	err := r.engine.ledger.Commit(ctx, r.claim, r.rec, release, r.events...)
	switch {
	case err == nil:
		r.unsure, r.events = nil, nil
		return nil
	case errors.Is(err, journal.ErrForbidden) && r.unsure != nil:
		// The last commit was written, and its answer lost: what it began cannot begin again. The next turn sees it.
		return r.unsure
	}
	err = fmt.Errorf("commit %s: %w", r.claim.Policy, err)
	if !errors.Is(err, journal.ErrForbidden) {
		r.unsure = err
	}
	return err
}

// clock is the time as the journal and xAI reports it.
func (r *run) clock() effect.Clock {
	c := effect.Clock{Journal: r.now()}
	if r.timed {
		c.XAI = c.Journal.Add(r.ahead)
	}
	return c
}

// dated notes xAI's clock, as the Date of an authenticated answer shows it. A zero date says nothing.
func (r *run) dated(at time.Time) {
	if !at.IsZero() {
		r.ahead, r.timed = at.Sub(r.now()), true
	}
}

// xaiTime makes sure that xAI's clock was seen in this turn, where xAI reports it.
func (r *run) xaiTime(ctx context.Context, team string) error {
	if r.timed {
		return nil
	}
	_, err := validate(ctx, r, team)
	return err
}

// gone reports an error that ends the turn without another word: the claim was lost, or the process is stopping. What
// went well meanwhile still counts.
func gone(ctx context.Context, err error) bool {
	return errors.Is(err, journal.ErrLost) || err != nil && ctx.Err() != nil
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// retryAfter is what the other side asked for, or 0.
func retryAfter(err error) time.Duration { return xai.RetryAfter(err) }

// noTime is the time that has not come.
var noTime time.Time

// timeFormat is how messages write a time.
const timeFormat = time.RFC3339
