package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"rotator/internal/api"
	"rotator/policies"
	"rotator/rotation/due"
	"rotator/rotation/journal"
)

// What a plan's row says would be done.
const (
	actRotate  = "rotate"
	actAdopt   = "adopt"
	actCreate  = "create"
	actPromote = "promote"
	actDisable = "disable"
	actDelete  = "delete"
	actLeave   = "leave"
	actWait    = "wait"
	actWarning = "warning"
)

// Plan implements api.Actions.
func (p actions) Plan(ctx context.Context, names []string) ([]api.PlanRow, error) {
	v := p.present()
	all, err := p.journal.Summaries(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		known := v.Policies[name] != nil || slices.ContainsFunc(all, func(s journal.Summary) bool { return s.Policy.Name == name })
		if !known {
			return nil, &api.Error{Message: fmt.Sprintf("no policy is named %q", name), Code: api.ExitUsage}
		}
	}
	wanted := func(name string) bool { return len(names) == 0 || slices.Contains(names, name) }
	rows := []api.PlanRow{}
	lists := newKeyLists(v)
	dangers, unknown := v.dangers(ctx, v.neighbours(wanted))
	for _, spec := range v.Specs() {
		if !wanted(spec.Name) {
			continue
		}
		of, err := p.planPolicy(ctx, v, v.Policies[spec.Name], lists)
		if err != nil {
			return nil, err
		}
		rows = append(append(rows, of...), warnings(v.Policies[spec.Name], dangers, unknown)...)
	}
	for _, s := range all {
		if name := s.Policy.Name; v.Policies[name] == nil && wanted(name) {
			o := &outline{policy: name}
			o.add(actWarning, time.Time{}, "", "", "the policy is in no file any more: its keys stay, and its age is watched, until `rotator forget "+name+"`")
			rows = append(rows, o.rows...)
		}
	}
	return rows, ctx.Err()
}

// outline is the plan of one policy.
type outline struct {
	policy string
	rows   []api.PlanRow
}

func (o *outline) add(action string, at time.Time, key, target, detail string) {
	r := api.PlanRow{Policy: o.policy, Action: action, KeyID: optional(key), Target: optional(target), Detail: optional(detail)}
	if !at.IsZero() {
		at = at.UTC().Truncate(time.Second)
		r.At = &at
	}
	o.rows = append(o.rows, r)
}

// planPolicy outlines what would happen to one policy.
func (p actions) planPolicy(ctx context.Context, v view, policy *policies.Policy, lists keyLists) ([]api.PlanRow, error) {
	o := &outline{policy: policy.Name}
	now := time.Now()
	rec, err := p.recordOf(ctx, policy.Name)
	if err != nil {
		return nil, err
	}
	if h := rec.Hold; h.Active(now) {
		o.add(actWait, h.Until, "", "", "held by "+h.By+": "+h.Reason)
	}
	o.inFlight(rec)
	o.retiring(policy, rec)
	found := p.survey(ctx, v, policy, rec)
	lists.narrow(ctx, policy, found)
	facts := due.FactsOf(policy, rec)
	facts.TargetsEmpty = slices.ContainsFunc(found, func(f finding) bool { return f.empty })
	at := now
	switch r := rec.Rotation; {
	case r != nil && r.State.CanAbort(): // it goes on by itself
	case r != nil:
		at = o.upcoming(policy, facts.Renewed(now), rec, now) // it becomes live by itself
	default:
		at = o.upcoming(policy, facts, rec, now)
	}
	o.next(policy, rec, found, at)
	o.warn(v, policy)
	o.rights(ctx, lists, policy, rec)
	return o.rows, nil
}

// recordOf is the journal's part of a policy; of one that the journal does not know it is empty.
func (p actions) recordOf(ctx context.Context, policy string) (*journal.Record, error) {
	rec, err := p.journal.Load(ctx, policy)
	if errors.Is(err, journal.ErrNotFound) {
		return &journal.Record{Policy: journal.Policy{Name: policy, FirstSeen: time.Now()}}, nil
	}
	return rec, err
}

// upcoming outlines when the next rotations begin, and returns when the first does.
func (o *outline) upcoming(policy *policies.Policy, facts due.Facts, rec *journal.Record, now time.Time) time.Time {
	at, cause := facts.Next(policy, now)
	detail := "because of " + string(cause)
	facts.NotBefore = rec.Policy.NotBefore
	if h := rec.Hold; h.Active(now) && !(cause == due.Expiry && h.Scope == journal.HoldRotations) {
		if h.Until.IsZero() {
			o.add(actRotate, at, "", "", detail+", once it is released")
			return at
		}
		if h.Until.After(facts.NotBefore) {
			facts.NotBefore = h.Until
		}
	}
	for i, run := range facts.Upcoming(policy, now, 3) {
		if i == 0 && run.After(now) {
			at = run
		}
		if i > 0 {
			detail += ", then " + run.Format(time.RFC3339)
		}
	}
	o.add(actRotate, at, "", "", detail)
	return at
}

// inFlight outlines the rotation in flight, or the last one while keys that it replaced are left.
func (o *outline) inFlight(rec *journal.Record) {
	r := rec.Rotation
	if n := len(rec.Retired); r == nil && n > 0 {
		r = &rec.Retired[n-1]
	}
	if r != nil {
		o.add(actRotate, r.StartedAt, r.KeyID, "", fmt.Sprintf("rotation %s is %s (%s)", r.ID, r.State, r.Trigger))
	}
}

// retiring outlines when the old keys go that were replaced already.
func (o *outline) retiring(policy *policies.Policy, rec *journal.Record) {
	soak := policy.Retire.Soak.Std()
	for _, k := range rec.Keys {
		overlap := policy.Retire.Overlap.Std()
		if k.Compromised() {
			overlap = 0
		}
		off := k.RetireFrom.Add(overlap)
		switch k.State {
		case journal.RetiringKey:
			if soak > 0 && !k.NeverDisabled {
				o.add(actDisable, off, k.ID, "", "")
			}
		case journal.DisabledKey, journal.DeletingKey:
			off = k.DisabledAt
		default:
			continue
		}
		if off.IsZero() {
			o.add(actDelete, off, k.ID, "", "")
			continue
		}
		o.add(actDelete, off.Add(soak), k.ID, "", "")
	}
}

// next outlines the next rotation, or the rest of one that has promoted nothing yet.
func (o *outline) next(policy *policies.Policy, rec *journal.Record, found []finding, at time.Time) {
	old := []string{}
	retire := func(id string) {
		if id != "" && !slices.Contains(old, id) {
			old = append(old, id)
		}
	}
	retire(rec.Policy.KeyID)
	for _, f := range found {
		if f.adopt && !slices.Contains(old, f.key) {
			o.add(actAdopt, time.Time{}, f.key, f.target, "it becomes this policy's, to be retired")
			retire(f.key)
		}
	}
	o.add(actCreate, at, "", "", keyDetail(policy.Key))
	for _, f := range found {
		o.add(f.action, f.at(at), f.key, f.target, f.detail)
	}
	if !slices.ContainsFunc(found, func(f finding) bool { return f.action != actLeave }) {
		o.add(actWait, time.Time{}, "", "", "every target was left or dropped: edit the policy's targets, or resolve one with --overwrite")
	}
	off := at.Add(policy.Retire.Overlap.Std())
	soak := policy.Retire.Soak.Std()
	for _, id := range old {
		if soak > 0 {
			o.add(actDisable, off, id, "", "")
		}
		o.add(actDelete, off.Add(soak), id, "", "")
	}
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
	return detail
}
