package api

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"rotator/policies"
	"rotator/rotation/journal"
)

// Selection says which policies are meant. Different kinds narrow, and values of one kind widen, except labels: a policy has to
// have all of them. The empty Selection means every policy.
type Selection struct {
	Policies []string // by name; each must exist
	Teams    []string
	Owners   []string
	Labels   []string // KEY=VALUE
	Stores   []string // by name in the configuration: the policy names a target there
	KeyIDs   []string // of keys that are not gone, in use or old
}

// selectors are the query parameters of a Selection. The "*" says that each may be given several times.
var selectors = []string{"policy*", "team*", "owner*", "label*", "store*", "key_id*"}

// Empty reports whether every policy is meant.
func (s Selection) Empty() bool { return len(s.values()) == 0 }

func (s Selection) values() url.Values {
	v := url.Values{}
	for name, given := range map[string][]string{"policy": s.Policies, "team": s.Teams, "owner": s.Owners, "label": s.Labels, "store": s.Stores, "key_id": s.KeyIDs} {
		if len(given) > 0 {
			v[name] = given
		}
	}
	return v
}

func selectionOf(q url.Values) Selection {
	return Selection{Policies: q["policy"], Teams: q["team"], Owners: q["owner"], Labels: q["label"], Stores: q["store"], KeyIDs: q["key_id"]}
}

// selected returns the policies that are meant, by name. That none is meant is an error: silence would look like success.
func (c *Server) selected(ctx context.Context, s Selection) ([]journal.Summary, error) {
	found, err := c.summaries(ctx, s.Policies)
	if err != nil {
		return nil, err
	}
	return s.among(found)
}

// named returns the policies with these names, every policy where there are none.
func named(names []string, all []journal.Summary) (found []journal.Summary, err error) {
	if len(names) == 0 {
		return all, nil
	}
	missing := make(map[string]bool)
	for _, name := range names {
		missing[name] = true
	}
	for _, s := range all {
		if missing[s.Policy.Name] {
			found = append(found, s)
			delete(missing, s.Policy.Name)
		}
	}
	for _, name := range names {
		if missing[name] {
			return nil, unknownAmong(name, all)
		}
	}
	return found, nil
}

// among returns those of the policies that are meant.
func (s Selection) among(all []journal.Summary) ([]journal.Summary, error) {
	criteria, err := s.criteria()
	if err != nil || len(criteria) == 0 {
		return all, err
	}
	specs := make([]*policies.Policy, len(all))
	for i, p := range all {
		specs[i] = specOf(p.Policy)
	}
	left := make([]bool, len(all)) // out, by one of the criteria
	for _, c := range criteria {
		known := make(map[string]bool) // values of any policy
		for i, p := range all {
			have := c.of(p, specs[i])
			for _, value := range have {
				known[value] = true
			}
			left[i] = left[i] || !c.met(have)
		}
		for _, value := range c.values { // one that no policy has is probably a typing error
			if !known[value] {
				return nil, c.unmet(value, known)
			}
		}
	}
	var meant []journal.Summary
	for i, p := range all {
		if !left[i] {
			meant = append(meant, p)
		}
	}
	if len(meant) == 0 {
		var words []string
		for _, c := range criteria {
			words = append(words, c.kind+" "+strings.Join(c.values, ", "))
		}
		return nil, usage("no policy matches all of: " + strings.Join(words, "; "))
	}
	return meant, nil
}

// criterion is one kind of selector.
type criterion struct {
	kind   string
	values []string
	all    bool            // a policy must have every value, not just one
	wanted map[string]bool // the values
	of     func(p journal.Summary, spec *policies.Policy) []string
}

func (s Selection) criteria() (list []criterion, err error) {
	for _, c := range []criterion{
		{kind: "team", values: s.Teams, of: func(p journal.Summary, _ *policies.Policy) []string { return []string{p.Policy.Team} }},
		{kind: "owner", values: s.Owners, of: func(p journal.Summary, _ *policies.Policy) []string { return []string{p.Policy.Owner} }},
		{kind: "label", values: s.Labels, all: true, of: func(_ journal.Summary, spec *policies.Policy) (all []string) {
			for key, value := range spec.Labels {
				all = append(all, key+"="+value)
			}
			return all
		}},
		{kind: "store", values: s.Stores, of: func(_ journal.Summary, spec *policies.Policy) (all []string) {
			for _, t := range spec.Targets {
				all = append(all, t.Store)
			}
			return all
		}},
		{kind: "key", values: s.KeyIDs, of: func(p journal.Summary, _ *policies.Policy) (all []string) {
			for _, k := range p.Keys {
				all = append(all, k.ID)
			}
			return all
		}},
	} {
		for _, value := range c.values {
			if value == "" {
				return nil, usage("an empty " + c.kind + " selects nothing")
			}
			if key, _, ok := strings.Cut(value, "="); c.kind == "label" && (!ok || key == "") {
				return nil, usage(fmt.Sprintf("a label is given as KEY=VALUE, not as %q", value))
			}
		}
		if len(c.values) > 0 {
			c.wanted = make(map[string]bool)
			for _, value := range c.values {
				c.wanted[value] = true
			}
			list = append(list, c)
		}
	}
	return list, nil
}

// met reports whether a policy with these values is meant.
func (c criterion) met(have []string) bool {
	met := make(map[string]bool)
	for _, value := range have {
		if c.wanted[value] {
			met[value] = true
		}
	}
	return len(met) == len(c.wanted) || !c.all && len(met) > 0
}

// unmet is the error for a value that no policy has. known are those that policies have.
func (c criterion) unmet(value string, known map[string]bool) error {
	message := fmt.Sprintf("no policy has the %s %q", c.kind, value)
	if near := nearest(value, slices.Sorted(maps.Keys(known))); len(near) > 0 {
		message += "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return usage(message)
}
