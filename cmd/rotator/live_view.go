package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"rotator/internal/api"
	"rotator/internal/follow"
	"rotator/rotation/journal"
)

// liveViewMax is how many policies a live view shows; more would not fit on a terminal.
const liveViewMax = 20

// liveView shows tasks while they go on: on a terminal a line for each that changes in place, with what happened above
// it; elsewhere only what happened.
type liveView struct {
	w        io.Writer
	refusals io.Writer
	live     bool
	columns  int // of the terminal: a longer line would take two
	tasks    []followed
	begun    time.Time
	drawn    int // lines of the live view on the screen
}

// followed is a task as the view sees it.
type followed interface {
	Policy() string
	Status() (row api.StatusRow, open bool)
}

func (a *cli) newLiveView(tasks []*follow.Task) *liveView {
	columns, rows, live := a.screen()
	v := &liveView{w: a.stdout, refusals: a.stderr, live: live && len(tasks) <= min(liveViewMax, rows-1), columns: columns, begun: time.Now()}
	for _, t := range tasks {
		v.tasks = append(v.tasks, t)
	}
	return v
}

var _ follow.View = (*liveView)(nil)

// Event implements follow.View.
func (s *liveView) Event(policy string, e api.EventRow) { s.tell(policy, sentence(e)) }

// Waits implements follow.View.
func (s *liveView) Waits(policy, why string) { s.tell(policy, "waits: "+why) }

// Refused implements follow.View.
func (s *liveView) Refused(err error) {
	s.Clear()
	report(s.refusals, err)
}

// tell says what happened to a policy.
func (s *liveView) tell(policy, what string) {
	if what == "" {
		return
	}
	s.Clear()
	fmt.Fprintf(s.w, "%s: %s\n", oneLine(policy), oneLine(what))
}

// Clear implements follow.View: it takes the live view away.
func (s *liveView) Clear() {
	if s.drawn > 0 {
		fmt.Fprintf(s.w, "\x1b[%dA\x1b[J", s.drawn) // up, and erase what is below
	}
	s.drawn = 0
}

// Draw implements follow.View: it shows the tasks' states now.
func (s *liveView) Draw(now time.Time) {
	if !s.live {
		return
	}
	s.Clear()
	for _, t := range s.tasks {
		row, open := t.Status()
		if !open {
			continue
		}
		line := t.Policy() + "  " + row.State
		if row.Reason != nil {
			line += ", waits: " + *row.Reason
			if row.WaitingUntil != nil {
				line += " (" + in(row.WaitingUntil, now) + ")"
			}
		}
		all := []rune(oneLine(fmt.Sprintf("  %s  %s", human(now.Sub(s.begun)), line)))
		fmt.Fprintln(s.w, string(all[:min(len(all), s.columns)]))
		s.drawn++
	}
}

// sentence says in words what an event means; "" for what is no news to the sender of the order.
func sentence(e api.EventRow) string {
	d := e.Data
	switch journal.Kind(e.Kind) {
	case journal.Started:
		return "rotation " + or(e.Rotation) + " begins (" + d["trigger"] + ")"
	case journal.KeyCreated:
		return "key " + d["key_id"] + " created"
	case journal.KeyInDoubt:
		return "the outcome of a create is not known; it is looked for, and another one is made"
	case journal.KeyLost:
		return "the value of key " + d["key_id"] + " is lost; it will be deleted, and another one is made"
	case journal.KeyAdopted:
		switch journal.KeyState(d["as"]) {
		case journal.LiveKey:
			return "key " + d["key_id"] + " in " + d["target"] + " is adopted: the key in use"
		case journal.RetiringKey, journal.DisabledKey:
			return "key " + d["key_id"] + " is adopted, to be retired"
		}
		return "key " + d["key_id"] + " in " + d["target"] + " is adopted, to be retired"
	case journal.KeyStaged:
		return "staged in every target, beside the current value"
	case journal.KeyVerified:
		return "the staged value proved itself"
	case journal.PromoteBegun:
		return "promoting: from here on it goes forward, or is rolled back"
	case journal.TargetPromoted:
		return d["target"] + " holds the new key"
	case journal.CanaryBegun:
		return d["target"] + " is the canary: the others wait until its consumers use the new key, at most " + d["for"]
	case journal.CanaryEnded:
		return "the canary is over: " + d["why"]
	case journal.Promoted:
		return "live: consumers read key " + d["key_id"]
	case journal.KeyDisabled:
		return "key " + d["key_id"] + " is off"
	case journal.KeyRevoked:
		return strings.TrimSuffix("key "+d["key_id"]+" ends now; it was read from "+d["readers"], "; it was read from ")
	case journal.Decommission:
		return "decommissioned: no new rotation will start"
	case journal.DecommissionEnded:
		return strings.TrimSuffix("its keys are gone; their values are left in "+d["targets"], "; their values are left in ")
	case journal.DecommissionWithdrawn:
		return "the decommission is taken back"
	case journal.KeyEnabled:
		return "key " + d["key_id"] + " is on again"
	case journal.KeyDeleted:
		return "key " + d["key_id"] + " is deleted"
	case journal.Assumption:
		return strings.TrimSuffix(d["answer"]+": "+d["assumption"]+": "+d["detail"], ": ")
	case journal.Finished:
		return "done"
	case journal.RollbackBegun:
		return "rolling back to key " + d["key_id"]
	case journal.RollbackEnded:
		return "rolled back: consumers read key " + d["key_id"]
	case journal.HoldReleased:
		return strings.TrimSuffix("the hold is lifted: "+d["why"], ": ")
	case journal.OrderRefused, journal.WaitsForHuman:
		return "" // the command ends with it
	}
	words := strings.ReplaceAll(e.Kind, "_", " ")
	for _, what := range []string{d["target"], d["key_id"]} {
		if what != "" {
			words += " " + what
		}
	}
	for _, why := range []string{d["reason"], d["error"]} {
		if why != "" {
			words += ": " + why
		}
	}
	return words
}
