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

// among returns those of the policies that are meant.
func (s Selection) among(all []journal.Summary) ([]journal.Summary, error) {
	criteria, err := s.criteria()
	if err != nil || len(criteria) == 0 {
		return all, err
	}
	meant := slices.Clone(all)
	for _, c := range criteria {
		have := make(map[string][]string, len(all)) // policy name → its values
		for _, p := range all {
			have[p.Policy.Name] = c.of(p, specOf(p.Policy))
		}
		for _, value := range c.values { // one that no policy has is probably a typing error
			if !slices.ContainsFunc(all, func(p journal.Summary) bool { return slices.Contains(have[p.Policy.Name], value) }) {
				return nil, c.unmet(value, have)
			}
		}
		meant = slices.DeleteFunc(meant, func(p journal.Summary) bool { return !c.met(have[p.Policy.Name]) })
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
	all    bool // a policy must have every value, not just one
	of     func(p journal.Summary, spec *policies.Policy) []string
}

func (s Selection) criteria() (list []criterion, err error) {
	for _, c := range []criterion{
		{"team", s.Teams, false, func(p journal.Summary, _ *policies.Policy) []string { return []string{p.Policy.Team} }},
		{"owner", s.Owners, false, func(p journal.Summary, _ *policies.Policy) []string { return []string{p.Policy.Owner} }},
		{"label", s.Labels, true, func(_ journal.Summary, spec *policies.Policy) (all []string) {
			for key, value := range spec.Labels {
				all = append(all, key+"="+value)
			}
			return all
		}},
		{"store", s.Stores, false, func(_ journal.Summary, spec *policies.Policy) (all []string) {
			for _, t := range spec.Targets {
				all = append(all, t.Store)
			}
			return all
		}},
		{"key", s.KeyIDs, false, func(p journal.Summary, _ *policies.Policy) (all []string) {
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
			list = append(list, c)
		}
	}
	return list, nil
}

// met reports whether a policy with these values is meant.
func (c criterion) met(have []string) bool {
	has := func(value string) bool { return slices.Contains(have, value) }
	if c.all {
		return !slices.ContainsFunc(c.values, func(value string) bool { return !has(value) })
	}
	return slices.ContainsFunc(c.values, has)
}

// unmet is the error for a value that no policy has. have is what policies have.
func (c criterion) unmet(value string, have map[string][]string) error {
	message := fmt.Sprintf("no policy has the %s %q", c.kind, value)
	known := slices.Sorted(slices.Values(slices.Concat(slices.Collect(maps.Values(have))...)))
	if near := nearest(value, slices.Compact(known)); len(near) > 0 {
		message += "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return usage(message)
}
