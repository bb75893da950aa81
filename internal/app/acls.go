package app

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"rotator/internal/api"
	"rotator/internal/typo"
	"rotator/policies"
	"rotator/xai"
)

// rights returns what the policies of a team name in their ACLs and for their verification, and which policies do: ACL → names.
func (v view) rights(team string) map[string][]string {
	named := map[string][]string{}
	for _, s := range v.Specs() {
		if policy := v.Policies[s.Name]; policy.Team == team {
			for _, acl := range rightsOf(policy) {
				named[acl] = append(named[acl], policy.Name)
			}
		}
	}
	return named
}

// rightsOf lists what a policy names: its ACLs, and the model that verifies its keys.
func rightsOf(policy *policies.Policy) []string {
	acls := slices.Clone(policy.Key.ACLs)
	if policy.Verify.Method == policies.MethodChat {
		acls = append(acls, "api-key:model:"+policy.Verify.Model)
	}
	slices.Sort(acls)
	return slices.Compact(acls)
}

// ACLs implements api.Actions.
func (p actions) ACLs(ctx context.Context, team string) ([]api.ACLRow, error) {
	v := p.present()
	names, err := v.environment.only(team)
	if err != nil {
		return nil, err
	}
	rows := []api.ACLRow{}
	for _, name := range names {
		of, err := v.aclsOf(ctx, name)
		switch {
		case err != nil && (team != "" || ctx.Err() != nil):
			return nil, err
		case err != nil:
			of = []api.ACLRow{{Team: name, Aliases: []string{}, Policies: []string{}, Error: optional(err.Error())}}
		}
		rows = append(rows, of...)
	}
	return rows, nil
}

// aclsOf lists what xAI offers to a team, and then what policies name beside that.
func (v view) aclsOf(ctx context.Context, team string) (rows []api.ACLRow, err error) {
	t, err := v.environment.Team(ctx, team)
	if err != nil {
		return nil, err
	}
	offered, err := t.About.Offered(ctx, t.ID)
	if err != nil {
		return nil, fmt.Errorf("team %s: %w", team, err)
	}
	named := v.rights(team)
	row := func(kind, acl string, aliases []string) {
		r := api.ACLRow{Team: team, ACL: &acl, Kind: &kind, Offered: true, Aliases: slices.Concat([]string{}, aliases), Policies: slices.Concat([]string{}, named[acl])}
		for _, alias := range aliases {
			r.Policies = append(r.Policies, named["api-key:model:"+alias]...)
		}
		slices.Sort(r.Policies)
		r.Policies = slices.Compact(r.Policies)
		rows = append(rows, r)
	}
	for _, m := range offered.Models {
		row(m.Kind, "api-key:model:"+m.Name, m.Aliases)
	}
	for _, acl := range offered.Endpoints {
		row("endpoint", acl, nil)
	}
	for acl, by := range named {
		if len(offered.Lacks([]string{acl})) == 0 {
			continue
		}
		kind := "model"
		if strings.HasPrefix(acl, "api-key:endpoint:") {
			kind = "endpoint"
		}
		rows = append(rows, api.ACLRow{Team: team, ACL: &acl, Kind: &kind, Aliases: []string{}, Policies: by, Nearest: optional(nearest(acl, offered.ACLs()))})
	}
	slices.SortStableFunc(rows, func(a, b api.ACLRow) int {
		if a.Offered != b.Offered { // what is missing comes last, where it is seen
			if a.Offered {
				return -1
			}
			return 1
		}
		return strings.Compare(*a.ACL, *b.ACL)
	})
	return rows, nil
}

// nearest is the offered right that was probably meant, "" if none resembles it. A longer or shorter name of one family comes
// before a misspelled one: grok-4 became grok-4-0709.
func nearest(acl string, offered []string) string {
	kind, name := splitACL(acl)
	best, least := "", max(2, len(name)/5)+1
	for _, o := range slices.Sorted(slices.Values(offered)) {
		k, n := splitACL(o)
		if k != kind || n == name {
			continue
		}
		away := typo.Distance(name, n)
		if strings.HasPrefix(n, name) || strings.HasPrefix(name, n) {
			away = min(away, 1)
		}
		if away < least {
			best, least = o, away
		}
	}
	return best
}

// splitACL returns what kind of thing an ACL names, and its name.
func splitACL(acl string) (kind, name string) {
	at := strings.LastIndex(acl, ":") + 1
	if rest, ok := strings.CutPrefix(acl, "api-key:model:"); ok { // a model's name may have a colon
		return "model", rest
	}
	return acl[:at], acl[at:]
}

// checkACLs compares what the policies of a team name with the models and endpoints that xAI names.
func (v view) checkACLs(ctx context.Context, team, id string, m *xai.Management) (rows []api.CheckRow) {
	offered, err := m.Offered(ctx, id)
	if err != nil {
		return []api.CheckRow{warned("models and endpoints of team "+team, err.Error(), "")}
	}
	for _, s := range v.Specs() {
		policy := v.Policies[s.Name]
		if policy.Team != team {
			continue
		}
		subject := "key of " + policy.Name
		var lacking []string
		for _, acl := range offered.Lacks(rightsOf(policy)) {
			if !slices.Contains(policy.Key.ACLs, acl) {
				acl = "the model " + policy.Verify.Model + " that verify names"
			} else if near := nearest(acl, offered.ACLs()); near != "" {
				acl += " (did you mean " + near + "?)"
			}
			lacking = append(lacking, acl)
		}
		if len(lacking) > 0 {
			rows = append(rows, checked(subject, fmt.Errorf("xAI does not offer team %s %s", team, strings.Join(lacking, ", ")),
				"Edit key.acls and verify, or have xAI give the team what they name. `rotator acls --team "+team+"` lists what there is."))
			continue
		}
		rows = append(rows, checked(subject, nil, ""))
	}
	return rows
}
