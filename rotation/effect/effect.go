// Package effect sends changes to xAI and to stores, and keeps the book of those that may still take effect.
//
// Every change is recorded before it is sent: [Runner.Intend] commits its row, and [Runner.Send] calls. A crash between
// the two, or a lost answer, leaves a row that says so. [Book.MayLand] tells what relies on a key or a target
// whether a change that contradicts it is still under way.
package effect

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"rotator/internal/guard"
	"rotator/rotation/journal"
	"rotator/stores"
	"rotator/xai"
)

// Fresh is how old an intent may be when it is sent. An older one is withdrawn: the time in which it may land counts from
// the intent.
const Fresh = 30 * time.Second

// Clock is the time as the journal and xAI reports it.
type Clock struct {
	Journal time.Time
	XAI     time.Time // zero: no authenticated answer of xAI's told it in this turn
}

// Later returns the later of the two.
func (c Clock) Later() time.Time {
	if c.XAI.After(c.Journal) {
		return c.XAI
	}
	return c.Journal
}

// Passed reports whether both clocks say that t has passed. A clock that is not known says no.
func (c Clock) Passed(t time.Time) bool {
	return !c.XAI.IsZero() && !c.Journal.Before(t) && !c.XAI.Before(t)
}

// Book is what is known of effects that are not closed.
type Book []journal.Effect

// MayLand returns an effect of one of the kinds on the object that may still land: one without an answer, until it is
// quiet; and an enable or disable also after its answer, since xAI's clusters learn of it one by one. Effects on keys are
// quiet when both clocks say so, those on targets when the journal's does.
func (b Book) MayLand(on journal.Object, now Clock, kinds ...journal.EffectKind) (journal.Effect, bool) {
	for _, e := range b {
		if e.Object() == on && slices.Contains(kinds, e.Kind) && Pending(e, now) {
			return e, true
		}
	}
	return journal.Effect{}, false
}

// Pending reports whether the effect may still land.
func Pending(e journal.Effect, now Clock) bool {
	switch e.State {
	case journal.EffectOpen, journal.EffectUnknown:
	case journal.EffectDone:
		if e.Kind != journal.EffectEnable && e.Kind != journal.EffectDisable {
			return false
		}
	default:
		return false
	}
	return !Quiet(e, now)
}

// Quiet reports whether the effect's time is over.
func Quiet(e journal.Effect, now Clock) bool {
	if e.Kind.OnTarget() {
		return !now.Journal.Before(e.QuietAt)
	}
	return now.Passed(e.QuietAt)
}

// Bounds are how long an effect may take to land.
type Bounds struct {
	Call       time.Duration // one call, from the intent
	Quarantine time.Duration // after a call without an answer; for enable and disable after every call
}

// Options are what a Runner is made of.
type Options struct {
	Record *journal.Record
	Bounds Bounds
	// Commit writes the record. After an error nothing is sent.
	Commit func(context.Context) error
	// Guard refuses once the claim may have been lost.
	Guard func() error
	Clock func() Clock
	// ReadOnly returns why nothing may be changed now: then every intent and every call is refused. nil: nothing is.
	ReadOnly func() error
}

// Runner is the one way from the engine to the world outside.
type Runner struct{ Options }

// New makes a runner. Rows that a dead process left open become unknown: turns send one call after the other, so no call
// of this process is under way.
func New(o Options) *Runner {
	r := &Runner{o}
	for i := range o.Record.Effects {
		if e := &o.Record.Effects[i]; e.State == journal.EffectOpen {
			r.unknown(e, "the process ended before an answer came")
		}
	}
	return r
}

// Book returns the book of the record's effects.
func (r *Runner) Book() Book { return Book(r.Record.Effects) }

// allowed returns why nothing may be sent: the process only observes, or the claim may have been lost.
func (r *Runner) allowed() error {
	if r.ReadOnly != nil {
		if err := r.ReadOnly(); err != nil {
			return err
		}
	}
	return r.Guard()
}

// Intend records effects, with whatever else changed in the record, in one commit. It sets their ids and times. Nothing
// may be sent when it fails.
func (r *Runner) Intend(ctx context.Context, effects ...*journal.Effect) error {
	if err := r.allowed(); err != nil {
		return err
	}
	now := r.Clock()
	for _, e := range effects {
		e.ID, e.Policy, e.State = uuid.Must(uuid.NewV7()).String(), r.Record.Policy.Name, journal.EffectOpen
		e.At = now.Journal
		from := now.Later()
		if e.Kind.OnTarget() {
			from = now.Journal
		}
		e.QuietAt = from.Add(r.Bounds.Call)
		if e.Kind == journal.EffectEnable || e.Kind == journal.EffectDisable {
			e.QuietAt = e.QuietAt.Add(r.Bounds.Quarantine)
		}
		r.Record.Effects = append(r.Record.Effects, *e)
	}
	return r.Commit(ctx)
}

// Send makes the call of an effect that Intend recorded, and notes its outcome in the record; the next commit writes it. An
// error of the call is returned as it is. A call that was never made is withdrawn: it cannot land.
func (r *Runner) Send(ctx context.Context, id string, call func(context.Context) error) error {
	e := r.effect(id)
	if e == nil || e.State != journal.EffectOpen {
		return fmt.Errorf("effect %s was not recorded", id)
	}
	if age := r.Clock().Journal.Sub(e.At); age > Fresh || age < -Fresh {
		r.close(e, journal.EffectWithdrawn)
		return ErrWithdrawn
	}
	if err := r.allowed(); err != nil {
		r.close(e, journal.EffectWithdrawn)
		return err
	}
	ctx, cancel := context.WithTimeout(guard.With(ctx, r.allowed), r.Bounds.Call)
	defer cancel()
	err := call(ctx)
	switch e = r.effect(id); {
	case err == nil:
		e.State, e.AckAt = journal.EffectDone, r.Clock().Journal
	case errors.Is(err, journal.ErrLost): // by the guard: whether an earlier part of the call left is not known
		r.unknown(e, "the claim was lost")
	case Refused(err):
		e.Error = err.Error()
		r.close(e, journal.EffectRefused)
	default:
		r.unknown(e, err.Error())
	}
	return err
}

// Do intends one effect and sends it.
func (r *Runner) Do(ctx context.Context, e journal.Effect, call func(context.Context) error) error {
	if err := r.Intend(ctx, &e); err != nil {
		return err
	}
	return r.Send(ctx, e.ID, call)
}

// ErrWithdrawn means that too much time passed between the intent and the call. Nothing was sent; the job intends again.
var ErrWithdrawn = errors.New("too slow between the intent and the call; nothing was sent")

// Settle notes that the outcome of an effect is known now.
func (r *Runner) Settle(id string) {
	if e := r.effect(id); e != nil {
		r.close(e, journal.EffectSettled)
	}
}

// Tidy closes the rows of effects for which nothing is left to do: those that are known and quiet. owed says of which one
// something is still owed.
func (r *Runner) Tidy(owed func(journal.Effect) bool) {
	now := r.Clock()
	for i := range r.Record.Effects {
		e := &r.Record.Effects[i]
		if !e.ClosedAt.IsZero() || owed(*e) || Pending(*e, now) {
			continue
		}
		switch e.State {
		case journal.EffectDone:
			e.ClosedAt = now.Journal
		case journal.EffectUnknown:
			if Quiet(*e, now) {
				r.close(e, journal.EffectSettled)
			}
		}
	}
}

func (r *Runner) unknown(e *journal.Effect, why string) {
	e.State, e.Error = journal.EffectUnknown, why
	if e.Kind != journal.EffectEnable && e.Kind != journal.EffectDisable { // theirs has it already
		e.QuietAt = e.QuietAt.Add(r.Bounds.Quarantine)
	}
}

func (r *Runner) close(e *journal.Effect, s journal.EffectState) {
	e.State, e.ClosedAt = s, r.Clock().Journal
}

func (r *Runner) effect(id string) *journal.Effect {
	for i := range r.Record.Effects {
		if r.Record.Effects[i].ID == id {
			return &r.Record.Effects[i]
		}
	}
	return nil
}

// Refused reports whether an error of a call says for certain that nothing changed.
func Refused(err error) bool {
	if x, ok := errors.AsType[*xai.Error](err); ok {
		return !xai.OutcomeUnknown(x)
	}
	for _, no := range []error{stores.ErrNotFound, stores.ErrConflict, stores.ErrNoStaging, stores.ErrDenied, stores.ErrInvalid, stores.ErrStale, stores.ErrCannotFence} {
		if errors.Is(err, no) {
			return true
		}
	}
	return false
}
