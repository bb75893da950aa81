package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"rotator/internal/api"
	"rotator/policies"
	"rotator/rotation/journal"
	"rotator/rotation/plan"
)

// Plan implements api.Actions.
func (p actions) Plan(ctx context.Context, names []string, until time.Time) ([]api.PlanRow, error) {
	v := p.present()
	all, err := p.journal.Summaries(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		known := v.Policies[name] != nil || p.lastRead().Refused[name] != "" || slices.ContainsFunc(all, func(s journal.Summary) bool { return s.Policy.Name == name })
		if !known {
			return nil, &api.Error{Message: fmt.Sprintf("no policy is named %q", name), Code: api.ExitUsage}
		}
	}
	wanted := func(name string) bool { return len(names) == 0 || slices.Contains(names, name) }
	rows := []api.PlanRow{}
	lists := newKeyLists(v)
	dangers, unknown := v.dangers(ctx, v.neighbors(wanted))
	for _, spec := range v.Specs() {
		if !wanted(spec.Name) {
			continue
		}
		of, err := p.planPolicy(ctx, v, v.Policies[spec.Name], lists, until)
		if err != nil {
			return nil, err
		}
		of = append(of, warnings(v.Policies[spec.Name], dangers, unknown)...)
		if rows = append(rows, planRows(spec.Name, of)...); len(rows) > maxPlanRows {
			return nil, &api.Error{Message: fmt.Sprintf("the plan has more than %d rows: name policies, or give a nearer --until", maxPlanRows), Code: api.ExitUsage}
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	for _, s := range all {
		if name := s.Policy.Name; v.Policies[name] == nil && wanted(name) {
			rows = append(rows, planRows(name, []plan.Row{{Action: plan.Warning,
				Detail: "the policy is in no file any more: its keys stay, and its age is watched, until `rotator forget " + name + "`"}})...)
		}
	}
	return append(rows, p.refusedRows(wanted)...), ctx.Err()
}

// lastRead is what the files of policies said when they were last read here.
func (p *Program) lastRead() policies.Loaded {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.read
}

// refusedRows tell of policies whose files are refused: a plan is of what is in force.
func (p *Program) refusedRows(wanted func(name string) bool) (rows []api.PlanRow) {
	read := p.lastRead()
	for _, name := range slices.Sorted(maps.Keys(read.Refused)) {
		if !wanted(name) {
			continue
		}
		state := "it is not in force"
		if read.Policies[name] != nil {
			state = "this plan is of the policy as it was accepted before"
		}
		rows = append(rows, planRows(name, []plan.Row{{Action: plan.Warning, Detail: "what the file says is refused, and " + state + ": " + read.Refused[name]}})...)
	}
	return rows
}

// maxPlanRows bounds a plan, which is made in memory: hourly schedules of many policies over years.
const maxPlanRows = 100_000

// planPolicy predicts what would happen to one policy.
func (p actions) planPolicy(ctx context.Context, v view, policy *policies.Policy, lists keyLists, until time.Time) ([]plan.Row, error) {
	rec, err := p.recordOf(ctx, policy.Name)
	if err != nil {
		return nil, err
	}
	all := p.survey(ctx, v, policy, rec)
	lists.narrow(ctx, policy, all)
	q := plan.Question{Policy: policy, Record: rec, Freezes: v.environment.freezes, Observe: v.environment.Observes(), Now: time.Now(), Until: until}
	q.Have = lists.grants(ctx, policy.Team, rec)
	for _, f := range all {
		q.Found = append(q.Found, f.Finding)
	}
	rows := append(plan.Of(q), risks(v, policy)...)
	return append(rows, lists.rights(ctx, policy, rec, rows)...), nil
}

// planRows are the rows of one policy's plan as the API shows them.
func planRows(policy string, rows []plan.Row) []api.PlanRow {
	out := make([]api.PlanRow, len(rows))
	for i, r := range rows {
		out[i] = api.PlanRow{Policy: policy, Action: string(r.Action), KeyID: optional(r.KeyID), Target: optional(r.Target), Detail: optional(r.Detail)}
		if at := r.At.UTC().Truncate(time.Second); !r.At.IsZero() {
			out[i].At = &at
		}
	}
	return out
}

// recordOf is the journal's part of a policy; of one that the journal does not know it is empty.
func (p actions) recordOf(ctx context.Context, policy string) (*journal.Record, error) {
	rec, err := p.journal.Load(ctx, policy)
	if errors.Is(err, journal.ErrNotFound) {
		return &journal.Record{Policy: journal.Policy{Name: policy, FirstSeen: time.Now()}}, nil
	}
	return rec, err
}
