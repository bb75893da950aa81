package app

import (
	"context"
	"errors"
	"slices"
	"strings"

	"rotator/internal/api"
	"rotator/policies"
	"rotator/rotation"
	"rotator/rotation/grant"
	"rotator/rotation/inventory"
	"rotator/rotation/journal"
	"rotator/rotation/plan"
	"rotator/xai"
)

// keyLists are the teams' keys, each team asked once.
type keyLists struct {
	view
	lists map[string]xai.KeyList
}

func newKeyLists(v view) keyLists { return keyLists{v, map[string]xai.KeyList{}} }

// of lists a team's keys.
func (l keyLists) of(ctx context.Context, team string) (xai.KeyList, error) {
	list, asked := l.lists[team]
	if asked {
		return list, nil
	}
	t, err := l.environment.Team(ctx, team)
	if err == nil {
		list, err = t.Keys.ListKeys(ctx, t.ID)
	}
	if err == nil {
		l.lists[team] = list
	}
	return list, err
}

// key is the listed key of that id; nil where the team does not list it.
func (l keyLists) key(ctx context.Context, team, id string) (*xai.Key, error) {
	list, err := l.of(ctx, team)
	if i := slices.IndexFunc(list.Keys, func(k xai.Key) bool { return k.ID == id }); i >= 0 {
		return &list.Keys[i], nil
	}
	return nil, err
}

// grants are what the keys of a record may do, by their ids, as the team lists them. Planning its rights reports that they cannot be
// listed.
func (l keyLists) grants(ctx context.Context, team string, rec *journal.Record) map[string]grant.Grant {
	all := map[string]grant.Grant{}
	for _, k := range rec.Keys {
		if have, err := l.key(ctx, team, k.ID); err == nil && have != nil && k.ID != "" {
			all[k.ID] = inventory.GrantOf(*have)
		}
	}
	return all
}

// narrow has findings wait whose key the policy would adopt although its consumers would lose rights, as the engine does.
func (l keyLists) narrow(ctx context.Context, policy *policies.Policy, all []finding) {
	for i, f := range all {
		if !f.Adopt || policy.AllowNarrowing {
			continue
		}
		k, err := l.key(ctx, policy.Team, f.KeyID)
		if err != nil || k == nil { // planning its rights reports that the team's keys cannot be listed
			continue
		}
		if lost := rotation.Narrowing(policy, *k); len(lost) > 0 {
			all[i] = finding{Finding: plan.Finding{Target: f.Target, Action: plan.Wait, KeyID: f.KeyID, Detail: rotation.NarrowingText(f.KeyID, lost)}, narrows: true}
		}
	}
}

// rights warns when the next key may do more than the one in use, or less. rows are the plan so far.
func (l keyLists) rights(ctx context.Context, policy *policies.Policy, rec *journal.Record, rows []plan.Row) (more []plan.Row) {
	id := rec.Policy.KeyID
	for _, r := range rows {
		if id == "" && r.KeyID != "" {
			id = r.KeyID // found in a target
		}
	}
	if id == "" {
		return nil
	}
	k, err := l.key(ctx, policy.Team, id)
	if err != nil {
		return []plan.Row{{Action: plan.Warning, Detail: "the team's keys cannot be listed: " + err.Error()}}
	}
	if k == nil {
		return nil
	}
	if grow := policies.Uncovered(k.ACLs, policy.Key.ACLs); len(grow) > 0 {
		more = append(more, plan.Row{Action: plan.Warning, KeyID: id, Detail: "permissions grow by " + strings.Join(grow, ", ")})
	}
	if shrink := policies.Uncovered(policy.Key.ACLs, k.ACLs); len(shrink) > 0 {
		more = append(more, plan.Row{Action: plan.Warning, KeyID: id, Detail: "permissions shrink by " + strings.Join(shrink, ", ")})
	}
	return more
}

// checkRights says which policies would adopt a key that may do more than their next one, and which live keys may.
func (p actions) checkRights(ctx context.Context, v view) (rows []api.CheckRow) {
	lists := newKeyLists(v)
	for _, s := range v.Specs() {
		policy := v.Policies[s.Name]
		rec, err := p.recordOf(ctx, policy.Name)
		if err != nil {
			rows = append(rows, warned("key of "+policy.Name, "what it may do was not compared: "+err.Error(), ""))
			continue
		}
		if live := rec.Live(); live != nil {
			rows = append(rows, lists.checkLive(ctx, policy, live.ID)...)
			continue
		}
		if !policy.Adopt.On {
			continue
		}
		found := p.survey(ctx, v, policy, rec)
		lists.narrow(ctx, policy, found)
		for _, f := range found {
			if f.narrows {
				rows = append(rows, checked("target "+f.Target+" of "+policy.Name, errors.New(f.Detail), "Until then the key is neither adopted nor replaced."))
			}
		}
	}
	return rows
}

// checkLive warns where the next key may do less than the live one. The policy says so: it is no problem.
func (l keyLists) checkLive(ctx context.Context, policy *policies.Policy, id string) []api.CheckRow {
	k, err := l.key(ctx, policy.Team, id)
	if err != nil || k == nil { // the check of the team shows it
		return nil
	}
	less := policies.Uncovered(policy.Key.ACLs, k.ACLs)
	if len(less) == 0 {
		return nil
	}
	return []api.CheckRow{warned("key of "+policy.Name, "the next key may not do what key "+id+" may: "+strings.Join(less, ", "),
		"Add to key.acls what consumers still need, before the next rotation.")}
}
