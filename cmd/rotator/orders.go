package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"rotator/internal/api"
	"rotator/internal/app"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
)

const (
	lookPace = 500 * time.Millisecond // between two looks at how far an order has come
	// patience is how long "waits for a human" must stand, with no step under way, before it counts: until the order's first
	// step has ended it may be from before, and a management key that was replaced is read again by the second step.
	patience = 3 * time.Second
	// absence is how long a daemon, or its database, may be away while an order is followed: it is restarted or upgraded, or
	// fails over, and the order stands in the journal.
	absence = time.Minute
)

// arrival reports whether the rotation that an order began or joined is where it was to go; an error means that it never
// will be. A nil arrival is the order itself: it is enough that it was carried out.
type arrival func(*errand, api.HistoryRow) (bool, error)

// errand is an order for one policy, and how far it has come.
type errand struct {
	request api.OrderRequest
	arrived arrival

	id       int64
	after    int64         // the last event before the order
	at       time.Time     // of the order
	rotation string        // that the order began or joined
	begun    string        // that began last since the order
	stuck    time.Time     // since when it is seen waiting for a human
	row      api.StatusRow // as last seen
	reason   string        // as last told
	over     bool
	err      error
}

// place gives the orders and follows them until all are over. It returns the gravest of their errors.
// When ctx ends it stops looking, and that is no error: whoever has the journal goes on.
func (a *cli) place(ctx context.Context, l *connection, errands []*errand) error {
	for i, e := range errands {
		placed, err := l.Place(ctx, e.request)
		if err != nil {
			a.detach(l, errands[:i]) // those stand
			return fmt.Errorf("%s: %w", e.request.Policy, err)
		}
		e.id, e.after = placed.ID, placed.After
	}
	stop := l.work(ctx)
	defer stop()
	s := a.newLiveView(errands)
	defer s.clear()
	after := errands[0].after
	var away time.Time // since when nobody could say how far they are
	for {
		err := l.progress(ctx, &after, errands, s)
		if ctx.Err() != nil {
			s.clear()
			a.detach(l, errands)
			return nil
		}
		if away, err = l.overlook(err, away); err != nil {
			return err
		}
		if !away.IsZero() {
			select {
			case <-time.After(lookPace):
			case <-ctx.Done():
			}
		}
		s.draw(time.Now())
		if !slices.ContainsFunc(errands, func(e *errand) bool { return !e.over }) {
			s.clear()
			return conclude(errands)
		}
	}
}

// overlook forgives a look that failed while the next may go well again. It returns since when looks fail, zero when they do
// not, or the error that ends them.
func (l *connection) overlook(err error, since time.Time) (time.Time, error) {
	if err == nil {
		return time.Time{}, nil
	}
	var told *api.Error
	if l.alone != nil || !errors.Is(err, api.ErrNoDaemon) && !(errors.As(err, &told) && told.Code == api.ExitFailed) {
		return since, err
	}
	if since.IsZero() {
		since = time.Now()
	}
	if time.Since(since) > absence {
		return since, failed(fmt.Errorf("not to be seen for %s: %w", absence, err), "What was ordered stands, and goes on with the daemon: `rotator status` shows it.")
	}
	return since, nil
}

// progress waits a moment for events, tells them, and looks how far the errands are.
func (l *connection) progress(ctx context.Context, after *int64, errands []*errand, s *liveView) error {
	if err := l.news(ctx, lookPace, after, errands, s); err != nil {
		return err
	}
	for _, e := range errands {
		if e.over {
			continue
		}
		if err := l.visit(ctx, e, s); err != nil {
			return err
		}
		if e.over {
			if err := l.lastNews(ctx, after, errands, s); err != nil {
				return err
			}
		}
	}
	return nil
}

// news tells the next events of the errands' policies, and waits for one at most so long.
func (l *connection) news(ctx context.Context, wait time.Duration, after *int64, errands []*errand, s *liveView) error {
	brief, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	got, err := l.Events(brief, *after, "")
	if err != nil {
		if brief.Err() != nil && ctx.Err() == nil {
			return nil // nothing happened
		}
		return err
	}
	*after = got.Next
	for _, event := range got.Events {
		for _, e := range errands {
			if earlier := e.rotation != "" && event.Kind == string(journal.Finished) && or(event.Rotation) != e.rotation; earlier {
				continue // the old keys of an earlier rotation are gone, or this one's to retire
			}
			if or(event.Policy) == e.request.Policy && event.ID > e.after {
				if event.Kind == string(journal.Started) {
					e.begun = or(event.Rotation)
				}
				s.tell(e.request.Policy, sentence(event))
			}
		}
	}
	return nil
}

// lastNews tells all that happened until now.
func (l *connection) lastNews(ctx context.Context, after *int64, errands []*errand, s *liveView) error {
	present, err := l.Present(ctx)
	for err == nil && *after < present {
		told := *after
		if err = l.news(ctx, 10*lookPace, after, errands, s); *after == told {
			break // the journal is too slow for the rest
		}
	}
	return err
}

// visit looks how far one errand is.
func (l *connection) visit(ctx context.Context, e *errand, s *liveView) error {
	rows, err := l.Status(ctx, e.request.Policy)
	if err != nil {
		return err
	}
	e.row = rows[0]
	if e.rotation == "" {
		if err := l.ask(ctx, e); err != nil || e.over {
			return err
		}
	}
	if e.rotation != "" {
		if over, err := l.arrive(ctx, e); err != nil || over {
			return err
		}
		if why := or(e.row.Reason); why != "" && why != e.reason {
			e.reason = why
			s.tell(e.request.Policy, "waits: "+why)
		}
	}
	e.human(time.Now())
	return nil
}

// ask looks whether the order was carried out.
func (l *connection) ask(ctx context.Context, e *errand) error {
	o, err := l.Order(ctx, e.id)
	if err != nil {
		return err
	}
	e.at = *o.At
	switch {
	case o.Refused != nil:
		e.end(refusal(e, *o.Refused))
	case o.Done != nil && e.arrived == nil:
		e.end(nil)
	case o.Done != nil && o.Rotation == nil:
		// What is wanted may not begin yet, and the policy says why it waits; or there is nothing to begin: the key that
		// was reported is none that consumers read.
		e.rotation = e.begun
		atRest := []string{"", string(journal.Overlap), string(journal.Soaking)}
		if keys := e.request.KeyIDs; e.rotation == "" && len(keys) > 0 && slices.Contains(atRest, or(e.row.RotationState)) && !slices.Contains(keys, or(e.row.KeyID)) {
			e.end(nil)
		}
	case o.Done != nil:
		e.rotation = *o.Rotation
	}
	return nil
}

// arrive reports whether the errand's rotation is where it was to go, or never will be.
func (l *connection) arrive(ctx context.Context, e *errand) (bool, error) {
	history, err := l.History(ctx, e.request.Policy, 20)
	if err != nil {
		return false, err
	}
	i := slices.IndexFunc(history, func(h api.HistoryRow) bool { return h.Rotation == e.rotation })
	if i < 0 {
		return false, nil
	}
	over, err := e.arrived(e, history[i])
	if over || err != nil {
		e.end(err)
	}
	return e.over, nil
}

// human ends the errand when the policy waits for a human, who is the one that looks: then a hold, or what its reason
// names, has to go first.
func (e *errand) human(now time.Time) {
	why := or(e.row.Reason)
	held := e.row.Hold != nil && why == string(reason.Held)
	if !held && e.row.State != api.StateBlocked || e.row.Replica != nil { // a step is under way: it may clear it
		e.stuck = time.Time{}
		return
	}
	if e.stuck.IsZero() {
		e.stuck = now
	}
	switch policy := e.request.Policy; {
	case now.Sub(e.stuck) < patience:
	case held:
		e.end(waiting(fmt.Errorf("%s is held by %s: %s", policy, e.row.Hold.By, e.row.Hold.Reason), "`rotator release "+policy+"` lets it go on."))
	default:
		e.end(waiting(fmt.Errorf("%s waits for a human (%s): %s", policy, why, or(e.row.Error)),
			strings.TrimSuffix(whatToDo(why), ".")+". It is tried again all the same."))
	}
}

func (e *errand) end(err error) { e.over, e.err = true, err }

// refusal is the error of an order that was not carried out.
func refusal(e *errand, why string) error {
	err := fmt.Errorf("%s: %s", e.request.Policy, why)
	do := "`rotator status " + e.request.Policy + "` shows where it stands."
	if stuck(e.row) {
		return waiting(err, do)
	}
	return failed(err, do)
}

// conclude returns the errands' error with the highest exit code, after which all others are told too.
func conclude(errands []*errand) error {
	var all []error
	code := exitDone
	do := ""
	for _, e := range errands {
		if e.err == nil {
			continue
		}
		all = append(all, e.err)
		if c, d := advise(e.err); c > code {
			code, do = c, d
		}
	}
	if len(all) == 0 {
		return nil
	}
	return &app.Failure{Code: code, Err: errors.Join(all...), Do: do}
}

// detach says what becomes of the orders that nobody looks at any more.
func (a *cli) detach(l *connection, errands []*errand) {
	who := "the daemon goes on"
	if l.alone != nil {
		who = "it is parked where it stands, and goes on when `rotator run` or the next command does"
	}
	for _, e := range errands {
		if !e.over {
			fmt.Fprintf(a.stdout, "%s: no longer looking; %s\n", e.request.Policy, who)
		}
	}
}
