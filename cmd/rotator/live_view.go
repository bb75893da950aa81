package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"rotator/internal/api"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
)

// liveViewMax is how many policies a live view shows; more would not fit on a terminal.
const liveViewMax = 20

// liveView shows errands while they go on: on a terminal a line for each that changes in place, with what happened above
// it; elsewhere only what happened.
type liveView struct {
	w       io.Writer
	live    bool
	columns int // of the terminal: a longer line would take two
	errands []*errand
	begun   time.Time
	drawn   int // lines of the live view that stand now
}

func (a *cli) newLiveView(errands []*errand) *liveView {
	columns, rows, live := a.screen()
	return &liveView{w: a.stdout, live: live && len(errands) <= min(liveViewMax, rows-1), columns: columns, errands: errands, begun: time.Now()}
}

// tell says what happened to a policy.
func (s *liveView) tell(policy, what string) {
	if what == "" {
		return
	}
	s.clear()
	fmt.Fprintf(s.w, "%s: %s\n", oneLine(policy), oneLine(what))
}

// clear takes the live view away.
func (s *liveView) clear() {
	if s.drawn > 0 {
		fmt.Fprintf(s.w, "\x1b[%dA\x1b[J", s.drawn) // up, and erase what is below
	}
	s.drawn = 0
}

// draw shows where the errands stand now.
func (s *liveView) draw(now time.Time) {
	if !s.live {
		return
	}
	s.clear()
	for _, e := range s.errands {
		if e.over {
			continue
		}
		line := e.request.Policy + "  " + e.row.State
		if e.row.Reason != nil {
			line += ", waits: " + *e.row.Reason
			if e.row.WaitingUntil != nil {
				line += " (" + in(e.row.WaitingUntil, now) + ")"
			}
		}
		all := []rune(oneLine(fmt.Sprintf("  %s  %s", human(now.Sub(s.begun)), line)))
		fmt.Fprintln(s.w, string(all[:min(len(all), s.columns)]))
		s.drawn++
	}
}

// sentence says in words what an event tells; "" for what is no news to whoever gave the order.
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
	case journal.Promoted:
		return "live: consumers read key " + d["key_id"]
	case journal.KeyDisabled:
		return "old key " + d["key_id"] + " is off"
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

// whatToDo is the advice of the list of reasons.
func whatToDo(why string) string {
	for _, r := range reason.All {
		if string(r.Reason) == why {
			return r.Do
		}
	}
	return "`rotator status` shows why."
}
