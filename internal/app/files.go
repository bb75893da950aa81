package app

import (
	"maps"
	"slices"

	"rotator/internal/config"
	"rotator/policies"
	"rotator/rotation/journal"
)

// Files is what the configuration and the policies say: all that is read from files, and nothing that needs a call.
type Files struct {
	Config   *config.Config
	Policies map[string]*policies.Policy
}

// Specs are the policies as the journal records them.
func (f Files) Specs() []journal.Spec {
	specs := make([]journal.Spec, 0, len(f.Policies))
	for _, name := range slices.Sorted(maps.Keys(f.Policies)) {
		p := f.Policies[name]
		spec := journal.Spec{Name: p.Name, Team: p.Team, Owner: p.Owner, RenamedFrom: p.Former(), File: p.File, Canonical: string(p.Canonical())}
		for _, t := range p.Targets {
			spec.Targets = append(spec.Targets, journal.TargetID{Store: t.Store, Path: t.Path, Field: t.Field})
		}
		specs = append(specs, spec)
	}
	return specs
}
