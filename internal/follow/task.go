package follow

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"rotator/internal/api"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
)

// patience is how long "waits for a human" must be, with no step under way, before it counts: until the order's first
// step has ended it may be from before, and a management key that was replaced is read again by the second step.
const patience = 3 * time.Second

// Goal reports whether the rotation that an order began or joined is where it was to go; an error means that it never
// will be.
type Goal func(api.HistoryRow) (bool, error)

// Task is what is asked of one policy, and how far it has come.
type Task struct {
	// Order is given to the policy's owner.
	Order api.OrderRequest
	// Do is done at once, in place of an order; it returns what to say of it.
	Do func(context.Context) (detail string, err error)
	// Goal is where the rotation is to go. nil: that the order was carried out is enough, unless Seen asks for more.
	Goal Goal
	// Seen asks of the policy's status whether the goal is reached, in place of Goal; done says what to say of it then.
	Seen func(api.StatusRow) (reached bool, done string)
	// Withdraws: the order may also take back a decommission, and has then reached its goal.
	Withdraws bool
	// Wants says in words what stays wanted when no one looks any more.
	Wants string

	// Key is the key that the order speaks of, for the row.
	Key string

	id        int64
	after     int64     // the last event before the order
	begun     time.Time // when the order was given
	ended     time.Time
	heard     bool      // the order was carried out
	rotation  string    // that the order began or joined
	newest    string    // that began last since the order
	withdrawn bool      // a decommission was taken back meanwhile
	lifted    string    // why a hold was lifted meanwhile
	stuck     time.Time // since when it is seen waiting for a human
	row       api.StatusRow
	reason    string // as last told
	detail    string
	key       string // that the rotation made live
	over      bool
	refused   bool
	left      bool // no one looks any more, and it was not over
	err       error
}

// Policy is the policy that the task is for.
func (t *Task) Policy() string { return t.Order.Policy }

// Status is the policy's status as last seen, and whether the task is not over yet.
func (t *Task) Status() (row api.StatusRow, open bool) { return t.row, !t.over }

func (t *Task) end(err error) {
	t.over, t.ended = true, time.Now()
	t.err = err
}

// hears takes an event in, and reports whether it is news of this task.
func (t *Task) hears(e api.EventRow) bool {
	if or(e.Policy) != t.Policy() || e.ID <= t.after || t.Do != nil {
		return false
	}
	if t.rotation != "" && e.Kind == string(journal.Finished) && or(e.Rotation) != t.rotation {
		return false // the old keys of an earlier rotation are gone, or this one's to retire
	}
	switch journal.Kind(e.Kind) {
	case journal.Started:
		t.newest = or(e.Rotation)
	case journal.HoldReleased:
		t.lifted = e.Data["why"]
	case journal.DecommissionWithdrawn:
		t.withdrawn = true
	}
	return true
}

// visit looks how far one task is.
func (f *follower) visit(ctx context.Context, t *Task) error {
	rows, err := f.Client.Status(ctx, t.Policy())
	if err != nil {
		return err
	}
	t.row = rows[0]
	if heard := t.heard; t.rotation == "" {
		if err := f.ask(ctx, t); err != nil || t.over {
			return err
		}
		if t.heard && !heard { // the row is from before the order was carried out
			return nil
		}
	}
	switch {
	case t.heard && t.withdrawn && t.Withdraws:
		t.detail = "the decommission is taken back"
		t.end(nil)
		return nil
	case t.heard && t.withdrawn && t.Order.Kind == string(journal.OrderDecommission):
		t.end(failed(fmt.Errorf("%s: the decommission was taken back", t.Policy()), "`rotator events` shows by whom."))
		return nil
	}
	if t.heard && t.Seen != nil {
		if reached, done := t.Seen(t.row); reached {
			t.detail = done
			t.end(nil)
			return nil
		}
	}
	if t.rotation != "" || t.Seen != nil && t.heard {
		if over, err := f.arrive(ctx, t); err != nil || over {
			return err
		}
		if why := or(t.row.Reason); why != "" && why != t.reason {
			t.reason = why
			f.View.Waits(t.Policy(), why)
		}
	}
	t.human(time.Now())
	return nil
}

// ask looks whether the order was carried out.
func (f *follower) ask(ctx context.Context, t *Task) error {
	o, err := f.Client.Order(ctx, t.id)
	if err != nil {
		return err
	}
	switch {
	case o.Refused != nil:
		if rows, err := f.Client.Status(ctx, t.Policy()); err == nil && len(rows) == 1 {
			t.row = rows[0]
		}
		t.refused = true
		t.end(refusal(t, *o.Refused))
		f.View.Refused(t.err)
		return nil
	case o.Done == nil:
		return nil
	}
	t.heard = true
	switch {
	case t.Goal == nil && t.Seen == nil:
		t.rotation = or(o.Rotation)
		t.end(nil)
	case o.Rotation == nil:
		// What is wanted may not begin yet, and the policy says why it waits; or there is nothing to begin: the key that
		// was reported is none that consumers read.
		t.rotation = t.newest
		atRest := []string{"", string(journal.Overlap), string(journal.Soaking)}
		if keys := t.Order.KeyIDs; t.Goal != nil && t.rotation == "" && len(keys) > 0 && t.row.Policy != "" && slices.Contains(atRest, or(t.row.RotationState)) && !slices.Contains(keys, or(t.row.KeyID)) {
			t.end(nil)
		}
	case t.Goal != nil:
		t.rotation = *o.Rotation
	}
	return nil
}

// arrive reports whether the task's rotation is where it was to go, or never will be. One that ended elsewhere while a key
// is still wanted is followed by another.
func (f *follower) arrive(ctx context.Context, t *Task) (bool, error) {
	if t.Goal == nil {
		return false, nil
	}
	history, err := f.Client.History(ctx, t.Policy(), 20)
	if err != nil {
		return false, err
	}
	i := slices.IndexFunc(history, func(h api.HistoryRow) bool { return h.Rotation == t.rotation })
	if i < 0 {
		return false, nil
	}
	t.key = or(history[i].NewKeyID)
	reached, err := t.Goal(history[i])
	switch {
	case err != nil && t.wantedStill():
		if i > 0 {
			t.rotation = history[i-1].Rotation
		}
		return false, nil
	case reached || err != nil:
		t.end(err)
	}
	return t.over, nil
}

// wantedStill reports whether what the order asked for is still wanted, whatever became of the rotation that it began.
func (t *Task) wantedStill() bool {
	return slices.ContainsFunc(t.row.Wanted, func(w api.WantedRow) bool { return w.What == t.Order.Kind })
}

// human ends the task when the policy waits for a human, who is the one that looks: then a hold, or what its reason
// names, has to go first.
func (t *Task) human(now time.Time) {
	why := or(t.row.Reason)
	held := t.row.Hold != nil && why == string(reason.Held)
	blocked := t.row.State == api.StateBlocked || t.row.State == api.StateRemoved && t.row.Health == api.HealthActionRequired
	if !held && !blocked || t.row.Replica != nil { // a step is under way: it may clear it
		t.stuck = time.Time{}
		return
	}
	if t.stuck.IsZero() {
		t.stuck = now
	}
	switch policy := t.Policy(); {
	case now.Sub(t.stuck) < patience:
	case held:
		t.end(waiting(fmt.Errorf("%s is held by %s: %s", policy, t.row.Hold.By, t.row.Hold.Reason), "`rotator release "+policy+"` lets it go on."))
	default:
		t.end(waiting(fmt.Errorf("%s waits for a human (%s): %s", policy, why, or(t.row.Error)),
			strings.TrimSuffix(Advice(why), ".")+". It will be retried."))
	}
}

// leave ends a task that was not over when no one looked any more.
func (t *Task) leave(why string, cause error, alone bool) {
	t.left = true
	who := "the daemon goes on"
	if alone {
		who = "it is parked where it is, and goes on when `rotator run` or the next command does"
	}
	what := t.Wants
	if what == "" {
		what = "the order to " + t.Order.Kind
	}
	t.detail = fmt.Sprintf("%s: %s stays wanted; %s; `rotator status %s` shows it", why, what, who, t.Policy())
	err := fmt.Errorf("%s: %s before it was done", t.Policy(), why)
	switch {
	case cause != nil:
		t.detail = fmt.Sprintf("%v; %s stays wanted; `rotator status %s` shows it", cause, what, t.Policy())
		t.end(cause)
	case Stuck(t.row):
		t.end(waiting(err, ""))
	default:
		t.end(failed(err, ""))
	}
}

// refusal is the error of an order that was not carried out.
func refusal(t *Task, why string) error {
	err := fmt.Errorf("%s: %s", t.Policy(), why)
	do := "`rotator status " + t.Policy() + "` shows its state."
	if Stuck(t.row) {
		return waiting(err, do)
	}
	return failed(err, do)
}

// Stuck reports whether a policy waits for a human, is held by one, or is late.
func Stuck(r api.StatusRow) bool {
	return r.State == api.StateBlocked || r.Hold != nil || r.Health == api.HealthOverdue || r.Health == api.HealthActionRequired
}

// Advice is what the list of reasons says to do.
func Advice(why string) string {
	for _, r := range reason.All {
		if string(r.Reason) == why {
			return r.Do
		}
	}
	return "`rotator status` shows why."
}

// Until is the goal of a rotation that is to be in one of these states.
func Until(states ...journal.State) Goal {
	return func(h api.HistoryRow) (bool, error) {
		switch {
		case slices.Contains(states, journal.State(h.State)):
			return true, nil
		case h.Ended != nil:
			return true, failed(fmt.Errorf("%s: the rotation was %s: %s", h.Policy, h.State, or(h.Error)), "`rotator history "+h.Policy+"` shows it; `rotator rotate` begins another one.")
		}
		return false, nil
	}
}

// Live is the goal of a rotation whose key consumers are to read everywhere.
func Live(h api.HistoryRow) (bool, error) {
	if h.Live != nil {
		return true, nil
	}
	return Until(journal.Done)(h)
}

func or(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
