// Package plan predicts what becomes of one policy: the rotation in flight, the keys that it replaced, and the rotations
// to come. It is pure: what the targets hold was read before, by the caller.
package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"rotator/policies"
	"rotator/rotation/due"
	"rotator/rotation/grant"
	"rotator/rotation/journal"
)

// Action is what would be done.
type Action string

// The actions.
const (
	Rotate  Action = "rotate"
	Adopt   Action = "adopt"
	Create  Action = "create"
	Update  Action = "update" // rights, limits, name or expiry of a key
	Promote Action = "promote"
	Disable Action = "disable"
	Delete  Action = "delete"
	Leave   Action = "leave"
	Wait    Action = "wait"
	Warning Action = "warning"
)

// Row is one thing that would happen.
type Row struct {
	Action                Action
	At                    time.Time // zero: no one can say yet
	KeyID, Target, Detail string
}

// Finding is what a target holds now, and what the next rotation would do there.
type Finding struct {
	Target string
	Action Action
	KeyID  string
	Detail string
	Empty  bool // it waits for its first key
	Adopt  bool // its key becomes the policy's
}

// Question is what is to be predicted.
type Question struct {
	Policy  *policies.Policy
	Record  *journal.Record        // of a policy that the journal does not know: an empty one
	Found   []Finding              // one for each target
	Have    map[string]grant.Grant // by key id, what xAI shows now; of the others what it showed last counts
	Freezes []policies.Freeze
	Observe bool // the mode: nothing of it happens until the mode is rotate
	Now     time.Time
	Until   time.Time // every rotation that begins before then; zero: the next one
}

// outline is the plan of one policy, as it grows.
type outline struct {
	Question
	rows []Row
}

// Of predicts what happens to a policy, in the order of time for each of its parts.
func Of(q Question) []Row {
	o := &outline{Question: q}
	rec := q.Record
	if q.Observe {
		o.add(Row{Action: Wait, Detail: "observe mode: nothing of this happens until the configuration says mode: rotate"})
	}
	if h := rec.Hold; h.Active(q.Now) {
		o.add(Row{Action: Wait, At: h.Until, Detail: "held by " + h.By + ": " + h.Reason})
	}
	if rec.Policy.Leaving() {
		o.leaving()
		return o.rows
	}
	o.inFlight()
	o.updates()
	o.retiring()
	facts := due.FactsOf(q.Policy, rec)
	facts.Freezes = q.Freezes
	facts.TargetsEmpty = slices.ContainsFunc(q.Found, func(f Finding) bool { return f.Empty })
	at := q.Now
	switch r := rec.Rotation; {
	case r != nil && r.State.CanAbort(): // it goes on by itself
		if !q.Until.IsZero() {
			o.upcoming(facts.Renewed(q.Now))
		}
	case r != nil:
		at = o.upcoming(facts.Renewed(o.live(r))) // it becomes live by itself
	default:
		at = o.upcoming(facts)
	}
	o.next(at)
	return o.rows
}

func (o *outline) add(r Row) { o.rows = append(o.rows, r) }

// inFlight outlines the rotation in flight, or the last one while keys that it replaced are left.
func (o *outline) inFlight() {
	r := o.Record.Rotation
	if n := len(o.Record.Retired); r == nil && n > 0 {
		r = &o.Record.Retired[n-1]
	}
	if r != nil {
		o.add(Row{Action: Rotate, At: r.StartedAt, KeyID: r.KeyID, Detail: fmt.Sprintf("rotation %s is %s (%s)", r.ID, r.State, r.Trigger)})
	}
}

// live is when a rotation that promotes becomes live: now, or when its canary is over. What that gives to the other targets, and
// when the key in use then goes, is outlined.
func (o *outline) live(r *journal.Rotation) time.Time {
	at := o.Now
	if end := due.CanaryEnd(o.Policy, r, o.Record.Live()); o.Policy.Canary.Wanted() && end.After(at) {
		at = end
		o.add(Row{Action: Promote, At: at, KeyID: r.KeyID, Detail: "to the targets other than the canary " + o.Policy.Canary.Target + ", which holds it; earlier if its consumers use it"})
	}
	if old := o.Record.Policy.KeyID; old != "" && old != r.KeyID {
		o.retired(at, old)
	}
	return at
}

// retired outlines when keys go that are replaced at an instant.
func (o *outline) retired(at time.Time, ids ...string) {
	off := due.Thawed(o.Freezes, o.Policy, due.Schedule, at.Add(o.Policy.Retire.Overlap.Std()))
	soak := o.Policy.Retire.Soak.Std()
	for _, id := range ids {
		if soak > 0 {
			o.add(Row{Action: Disable, At: off, KeyID: id})
		}
		o.add(Row{Action: Delete, At: due.Thawed(o.Freezes, o.Policy, due.Schedule, off.Add(soak)), KeyID: id})
	}
}

// leaving outlines the end of a policy that is decommissioned: no rotation begins.
func (o *outline) leaving() {
	p := o.Record.Policy
	o.add(Row{Action: Wait, Detail: fmt.Sprintf("decommissioned by %s: %s; no rotation begins", p.DecommissionBy, p.DecommissionWhy)})
	for _, k := range o.Record.Keys {
		switch {
		case k.State == journal.DisabledKey:
			o.add(Row{Action: Delete, At: o.thawed(k.DisabledAt.Add(o.Policy.Retire.Soak.Std()), k), KeyID: k.ID})
		case k.State.Exposed() && p.DecommissionOutage:
			o.add(Row{Action: Disable, At: o.thawed(o.Now, k), KeyID: k.ID, Detail: "whatever reads it"})
		case k.State.Exposed():
			o.add(Row{Action: Disable, KeyID: k.ID, Detail: "when its use shows that no one needs it"})
		}
	}
}

// retiring outlines when the old keys go that were replaced already.
func (o *outline) retiring() {
	soak := o.Policy.Retire.Soak.Std()
	for _, k := range o.Record.Keys {
		overlap := o.Policy.Retire.Overlap.Std()
		if k.Compromised() {
			overlap = 0
		}
		off := k.RetireFrom.Add(overlap)
		switch k.State {
		case journal.RetiringKey:
			if soak > 0 && !k.NeverDisabled {
				off = o.thawed(off, k)
				o.add(Row{Action: Disable, At: off, KeyID: k.ID})
			}
		case journal.DisabledKey, journal.DeletingKey:
			off = k.DisabledAt
		default:
			continue
		}
		if off.IsZero() {
			o.add(Row{Action: Delete, KeyID: k.ID})
			continue
		}
		o.add(Row{Action: Delete, At: o.thawed(off.Add(soak), k), KeyID: k.ID})
	}
}

// thawed is when a freeze lets an old key be disabled or deleted. It keeps no compromised one.
func (o *outline) thawed(t time.Time, k journal.Key) time.Time {
	if k.Compromised() {
		return t
	}
	return due.Thawed(o.Freezes, o.Policy, due.Schedule, t)
}

// upcoming outlines when the next rotations begin, and returns when the first does.
func (o *outline) upcoming(facts due.Facts) time.Time {
	start := facts.Start(o.Policy, o.Now)
	at := start.At
	facts.NotBefore = o.Record.Policy.NotBefore
	if h := o.Record.Hold; h.Active(o.Now) && !(start.Cause == due.Expiry && h.Scope == journal.HoldRotations) {
		if h.Until.IsZero() {
			o.add(Row{Action: Rotate, At: at, Detail: because(start) + ", once it is released"})
			return at
		}
		if h.Until.After(facts.NotBefore) {
			facts.NotBefore = h.Until
		}
	}
	starts := facts.Starts(o.Policy, o.Now, o.Until, 3)
	if len(starts) == 0 {
		return at
	}
	if starts[0].At.After(o.Now) {
		at = starts[0].At
	}
	if !o.Until.IsZero() {
		for i, s := range starts {
			if i == 0 {
				s.At = at
			}
			o.add(Row{Action: Rotate, At: s.At, Detail: because(s)})
		}
		return at
	}
	detail := because(starts[0])
	for _, s := range starts[1:] {
		detail += ", then " + s.At.Format(time.RFC3339)
	}
	o.add(Row{Action: Rotate, At: at, Detail: detail})
	return at
}

// because says why a rotation begins when it does.
func because(s due.Start) string {
	text := "because of " + string(s.Cause)
	switch s.Delay {
	case due.ByWindow:
		text += ", due " + s.Due.Format(time.RFC3339) + ", when no window is open"
	case due.ByFreeze:
		text += ", due " + s.Due.Format(time.RFC3339) + ", in a freeze: " + s.Why
	}
	return text
}

// next outlines the next rotation, or the rest of one that has promoted nothing yet.
func (o *outline) next(at time.Time) {
	old := []string{}
	retire := func(id string) {
		if id != "" && !slices.Contains(old, id) {
			old = append(old, id)
		}
	}
	current := o.Record.Policy.KeyID
	if r := o.Record.Rotation; r != nil && !r.State.CanAbort() { // it is live by then
		current = r.KeyID
	}
	retire(current)
	for _, f := range o.Found {
		if f.Adopt && !slices.Contains(old, f.KeyID) {
			o.add(Row{Action: Adopt, KeyID: f.KeyID, Target: f.Target, Detail: "it becomes this policy's, to be retired"})
			retire(f.KeyID)
		}
	}
	o.add(Row{Action: Create, At: at, Detail: keyDetail(o.Policy.Key)})
	last := at // when the last target gets the key
	if o.canary() {
		last = at.Add(o.Policy.Canary.For.Std())
	}
	for _, f := range o.Found {
		r := Row{Action: f.Action, KeyID: f.KeyID, Target: f.Target, Detail: f.Detail}
		if f.Action == Promote {
			r.At = last
			if o.canary() && f.Target == o.Policy.Canary.Target {
				r.At, r.Detail = at, strings.TrimPrefix(r.Detail+"; the canary: the others follow once its consumers use the key, or when its time is over", "; ")
			}
		}
		o.add(r)
	}
	if !slices.ContainsFunc(o.Found, func(f Finding) bool { return f.Action != Leave }) {
		o.add(Row{Action: Wait, Detail: "every target was left or dropped: edit the policy's targets, or resolve one with --overwrite"})
	}
	o.retired(last, old...)
}

// canary reports whether one target gets the next key first: only where consumers have a key meanwhile.
func (o *outline) canary() bool {
	empty := slices.ContainsFunc(o.Found, func(f Finding) bool { return f.Empty })
	writes := 0
	for _, f := range o.Found {
		if f.Action == Promote {
			writes++
		}
	}
	return o.Policy.Canary.Wanted() && o.Record.Policy.KeyID != "" && !empty && writes > 1
}

func keyDetail(k policies.KeySpec) string {
	detail := strings.Join(k.ACLs, ", ")
	if k.QPS != nil {
		detail += fmt.Sprintf(", %d requests a second", *k.QPS)
	}
	if k.QPM != nil {
		detail += fmt.Sprintf(", %d requests a minute", *k.QPM)
	}
	if k.TPM != nil {
		detail += ", " + *k.TPM + " tokens a minute"
	}
	if k.ExpiresAfter > 0 {
		detail += ", expires after " + k.ExpiresAfter.String()
	}
	return detail
}
