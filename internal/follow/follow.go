// Package follow carries what a person asks of several policies to their owner, and follows each until it has what was asked
// for, is refused, or cannot go on without people. Whatever happens, it says at the end what became of each of them.
package follow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"rotator/internal/api"
	"rotator/internal/app"
	"rotator/rotation/journal"
)

const (
	lookPace = 500 * time.Millisecond // between two looks at how far an order has come
	hearPace = 50 * time.Millisecond  // between two looks at whether orders were answered
	// hearing is how long answers to the orders are waited for before anything else is shown: an owner hears an order within
	// a moment, unless a call of its is under way.
	hearing = 2 * time.Second
	// absence is how long a daemon, or its database, may be away while an order is followed: it is restarted or upgraded, or
	// fails over, and the order is in the journal.
	absence = time.Minute
	// lastLook bounds the look at the current state after an interruption.
	lastLook = 2 * time.Second
)

// View shows what happens while tasks are followed.
type View interface {
	// Event prints an event of a task's policy.
	Event(policy string, e api.EventRow)
	// Waits says why a policy waits now.
	Waits(policy, why string)
	// Refused reports an order that was not carried out, as soon as that is known.
	Refused(err error)
	// Draw shows the tasks' states, and Clear takes that away.
	Draw(now time.Time)
	Clear()
}

// Options are what [Run] needs.
type Options struct {
	Client *api.Client
	View   View
	// Alone: no daemon runs, and the command does the work itself.
	Alone bool
	// Timeout is how long is waited at the most; 0: until all is over.
	Timeout time.Duration
}

// follower is one run.
type follower struct {
	Options
	tasks []*Task
	after int64     // the last event that was told
	away  time.Time // since when no one can say how far the tasks are
}

// Run gives the tasks' orders and follows them until all are over, ctx ends, or the time is over. Refusals are shown first,
// before anything is waited for. It returns a row for each task, also when it was interrupted, and the gravest of their
// errors: nil only if every task reached its goal. A task that was refused is not in the error's text, for that was shown.
// An order that one could not be placed does not stop the others. What was placed is in the journal when Run returns.
func Run(ctx context.Context, o Options, tasks []*Task) ([]Row, error) {
	f := &follower{Options: o, tasks: tasks}
	until, cancel := ctx, context.CancelFunc(func() {})
	if o.Timeout > 0 {
		until, cancel = context.WithTimeout(ctx, o.Timeout)
	}
	defer cancel()
	f.place(until)
	err := f.hear(until)
	for err == nil && until.Err() == nil && f.open() {
		err = f.look(until)
	}
	if err == nil && until.Err() == nil && f.after >= 0 {
		_ = f.lastNews(until) // nothing depends on it
	}
	f.View.Clear()
	if f.open() {
		f.part(ctx, until.Err() != nil && ctx.Err() == nil, err)
	}
	return f.rows(), conclude(tasks)
}

func (f *follower) open() bool {
	return slices.ContainsFunc(f.tasks, func(t *Task) bool { return !t.over })
}

// place gives the orders.
func (f *follower) place(ctx context.Context) {
	f.after = -1
	for _, t := range f.tasks {
		t.begun = time.Now()
		if t.Do != nil {
			t.detail, t.err = t.Do(ctx)
			if t.err != nil {
				t.err = fmt.Errorf("%s: %w", t.Policy(), t.err)
			}
			t.over, t.ended = true, time.Now()
			continue
		}
		placed, err := f.placeOne(ctx, t.Order)
		if err != nil {
			t.end(fmt.Errorf("%s: %w", t.Policy(), err))
			continue
		}
		t.id, t.after = placed.ID, placed.After
		if f.after < 0 || placed.After < f.after {
			f.after = placed.After
		}
	}
}

// placeOne gives an order. One that was sent when ctx ends may be in the journal: its answer is waited for a moment more.
func (f *follower) placeOne(ctx context.Context, o api.OrderRequest) (api.Placed, error) {
	if err := ctx.Err(); err != nil {
		return api.Placed{}, err
	}
	sending, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(lastLook, cancel) })()
	return f.Client.Place(sending, o)
}

// hear waits a while for the answers to all orders, so that refusals are said before anything else.
func (f *follower) hear(ctx context.Context) error {
	for end := time.Now().Add(hearing); ctx.Err() == nil; {
		waiting := false
		for _, t := range f.tasks {
			if t.over || t.heard {
				continue
			}
			if err := f.ask(ctx, t); err != nil && ctx.Err() == nil {
				away, lasting := f.overlook(err)
				switch {
				case lasting != nil && isOwn(err): // the policy was forgotten, say
					t.end(fmt.Errorf("%s: %w", t.Policy(), err))
				case lasting != nil:
					return lasting
				default:
					f.away = away
				}
			}
			waiting = waiting || !t.over && !t.heard
		}
		if !waiting || time.Now().After(end) {
			return nil
		}
		pause(ctx, hearPace)
	}
	return nil
}

// look waits a moment for events, prints them, and looks how far the tasks are. A failed look is ignored while the next
// may go well again.
func (f *follower) look(ctx context.Context) error {
	err := f.progress(ctx)
	if ctx.Err() != nil {
		return nil
	}
	if f.away, err = f.overlook(err); err != nil {
		return err
	}
	if !f.away.IsZero() {
		pause(ctx, lookPace)
	}
	f.View.Draw(time.Now())
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// overlook returns since when looks fail, zero when they do not, or the error that ends them.
func (f *follower) overlook(err error) (time.Time, error) {
	if err == nil {
		return time.Time{}, nil
	}
	var told *api.Error
	if f.Alone || !errors.Is(err, api.ErrNoDaemon) && !(errors.As(err, &told) && told.Code == api.ExitFailed) {
		return f.away, err
	}
	since := f.away
	if since.IsZero() {
		since = time.Now()
	}
	if time.Since(since) > absence {
		return since, failed(fmt.Errorf("daemon unreachable for %s: %w", absence, err), "The order remains and goes on with the daemon: `rotator status` shows it.")
	}
	return since, nil
}

// progress takes one look.
func (f *follower) progress(ctx context.Context) error {
	if err := f.news(ctx, lookPace); err != nil {
		return err
	}
	for _, t := range f.tasks {
		if t.over {
			continue
		}
		if err := f.visit(ctx, t); ctx.Err() != nil {
			return nil
		} else if _, lasting := f.overlook(err); lasting != nil && isOwn(err) { // the policy was forgotten, say
			t.end(fmt.Errorf("%s: %w", t.Policy(), err))
		} else if err != nil {
			return err
		}
		if t.over {
			if err := f.lastNews(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// isOwn reports whether an error is an answer of the daemon on one policy, which says nothing of the others.
func isOwn(err error) bool {
	var told *api.Error
	return errors.As(err, &told) && told.Code != api.ExitFailed
}

// news prints the next events of the tasks' policies, and waits for one at most so long.
func (f *follower) news(ctx context.Context, wait time.Duration) error {
	brief, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	got, err := f.Client.Events(brief, f.after, "")
	if err != nil {
		if brief.Err() != nil && ctx.Err() == nil {
			return nil // nothing happened
		}
		return err
	}
	f.after = got.Next
	for _, event := range got.Events {
		for _, t := range f.tasks {
			if t.hears(event) && !journal.Kind(event.Kind).TrailOnly() {
				f.View.Event(t.Policy(), event)
			}
		}
	}
	return nil
}

// lastNews prints all that happened until now.
func (f *follower) lastNews(ctx context.Context) error {
	present, err := f.Client.Present(ctx)
	for err == nil && f.after < present {
		told := f.after
		if err = f.news(ctx, 10*lookPace); f.after == told {
			break // the journal is too slow for the rest
		}
	}
	return err
}

// part says of tasks that no one follows any more what becomes of them. late: their time is over; cause: they can no longer be
// seen.
func (f *follower) part(ctx context.Context, late bool, cause error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastLook)
	defer cancel()
	for _, t := range f.tasks {
		if t.over {
			continue
		}
		if cause == nil {
			_ = f.visit(ctx, t) // it may have got there meanwhile, or been refused; else it remains
		}
		if t.over {
			continue
		}
		why := "interrupted"
		if late {
			why = "not done after " + f.Timeout.String()
		}
		t.leave(why, cause, f.Alone)
	}
}

// conclude returns the tasks' error with the highest exit code, after which all others are told too.
func conclude(tasks []*Task) error {
	var all []error
	code, do, told := 0, "", false
	for _, t := range tasks {
		if t.err == nil {
			continue
		}
		c, d := advise(t.err)
		if t.refused {
			told = true
		} else {
			all = append(all, t.err)
		}
		if c > code {
			code, do = c, d
			if t.refused {
				do = ""
			}
		}
	}
	switch {
	case len(all) == 0 && !told:
		return nil
	case len(all) == 0:
		return &app.Failure{Code: code, Err: ErrTold}
	}
	return &app.Failure{Code: code, Err: errors.Join(all...), Do: do}
}

// ErrTold is the error where everything was shown already.
var ErrTold = errors.New("told")

// advise returns the exit code of an error, and what to do about it.
func advise(err error) (code int, do string) {
	var f *app.Failure
	var told *api.Error
	switch {
	case errors.As(err, &f):
		return f.Code, f.Do
	case errors.As(err, &told):
		return told.Code, ""
	}
	return api.ExitFailed, ""
}

func failed(err error, do string) error { return &app.Failure{Code: api.ExitFailed, Err: err, Do: do} }

func waiting(err error, do string) error {
	return &app.Failure{Code: api.ExitWaiting, Err: err, Do: do}
}
