package follow

import (
	"cmp"
	"strings"
	"time"

	"rotator/internal/api"
	"rotator/rotation/reason"
)

// The outcomes of a task.
const (
	Done           = "done"            // it reached its goal
	Refused        = "refused"         // the order was not carried out
	Failed         = "failed"          // it could not be given, or its rotation ended elsewhere
	ActionRequired = "action_required" // the policy waits for a human; what was asked for stays wanted
	Held           = "held"            // a human holds the policy; what was asked for stays wanted
	StillWanted    = "still_wanted"    // no one looks any more; what was asked for stays wanted
)

// Row says what became of one task.
type Row struct {
	Policy   string  `json:"policy"`
	Outcome  string  `json:"outcome"`  // done, refused, failed, action_required, held or still_wanted
	Rotation *string `json:"rotation"` // that it began or joined
	KeyID    *string `json:"key_id"`   // of that rotation
	Took     int64   `json:"took"`     // seconds since the order was given
	Detail   *string `json:"detail"`   // why, and what stays wanted
}

func (f *follower) rows() []Row {
	rows := make([]Row, 0, len(f.tasks))
	for _, t := range f.tasks {
		row := Row{Policy: t.Policy(), Outcome: t.outcome(), Rotation: text(t.rotation), KeyID: text(cmp.Or(t.key, t.Key)), Took: int64(t.ended.Sub(t.begun) / time.Second)}
		said := t.detail
		if t.err != nil && !t.left {
			said = strings.TrimPrefix(t.err.Error(), t.Policy()+": ")
			if _, do := advise(t.err); do != "" {
				said += ". " + strings.TrimSuffix(do, ".")
			}
		}
		if t.lifted != "" {
			said = strings.TrimPrefix(said+"; its hold was lifted: "+t.lifted, "; ")
		}
		row.Detail = text(said)
		rows = append(rows, row)
	}
	return rows
}

func (t *Task) outcome() string {
	code, _ := 0, ""
	if t.err != nil {
		code, _ = advise(t.err)
	}
	switch {
	case t.err == nil:
		return Done
	case t.left:
		return StillWanted
	case t.refused:
		return Refused
	case code == api.ExitWaiting && t.row.Hold != nil && or(t.row.Reason) == string(reason.Held):
		return Held
	case code == api.ExitWaiting:
		return ActionRequired
	}
	return Failed
}

func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
