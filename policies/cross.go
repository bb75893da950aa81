package policies

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// cross checks what only all policies together show: names and targets used twice, and renamed policies that still exist.
func (l *loader) cross(docs []document) Problems {
	var problems Problems
	slices.SortStableFunc(docs, func(a, b document) int {
		return cmp.Or(strings.Compare(a.policy.File, b.policy.File), cmp.Compare(a.policy.Line, b.policy.Line))
	})
	fail := func(d document, at mark, what, want string) {
		problems = append(problems, Problem{d.policy.File, at.line, at.column, what, want})
	}
	names := make(map[string]*Policy, len(docs))
	for _, d := range docs {
		p := d.policy
		if p.Name == "" {
			continue
		}
		if first := names[p.Name]; first != nil {
			fail(d, d.name, "the name"+quote(p.Name)+" is taken by the policy in "+place(first), "another name")
			continue
		}
		names[p.Name] = p
	}
	renamed := map[string]*Policy{}
	for _, d := range docs {
		p := d.policy
		if p.RenamedFrom == "" {
			continue
		}
		if old := names[p.RenamedFrom]; old != nil && old != p {
			fail(d, d.renamed, "renamed_from names the policy in "+place(old)+", which still exists", "a name that no policy has any more")
		}
		if first := renamed[p.RenamedFrom]; first != nil {
			fail(d, d.renamed, "renamed_from is claimed by the policy in "+place(first)+" too", "one heir")
			continue
		}
		renamed[p.RenamedFrom] = p
	}
	return append(problems, l.crossTargets(docs)...)
}

func place(p *Policy) string { return fmt.Sprintf("%s:%d", p.File, p.Line) }

// crossTargets refuses two targets that are one place, in one policy or in two.
func (l *loader) crossTargets(docs []document) Problems {
	type use struct{ field, at string } // field "" is the whole value
	var problems Problems
	uses := map[[2]string][]use{} // store and path → fields
	for _, d := range docs {
		for i, t := range d.policy.Targets {
			if t.Store == "" || t.Path == "" {
				continue
			}
			kind := l.options.Stores[t.Store]
			name := t.Field
			if name == "" && (kind == "vault" || kind == "kubernetes") {
				name = defaultField
			}
			where := [2]string{t.Store, t.Path}
			at := fmt.Sprintf("%s:%d", d.policy.File, d.targets[i].line)
			for _, u := range uses[where] {
				problem := Problem{File: d.policy.File, Line: d.targets[i].line, Column: d.targets[i].column}
				switch {
				case u.field == name:
					problem.What, problem.Want = "this target is written by "+u.at+" too", "every store, path and field once, over all policies"
				case kind != "" && (u.field == "" || name == ""):
					problem.What, problem.Want = "of this target and the one at "+u.at+" one is the whole secret, the other a field of it", "a field in both, or another path"
				default:
					continue
				}
				problems = append(problems, problem)
				break
			}
			uses[where] = append(uses[where], use{name, at})
		}
	}
	return problems
}
