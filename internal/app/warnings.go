package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"rotator/internal/api"
	"rotator/policies"
	"rotator/stores"
)

// danger is a warning of a store about targets, of one policy or of several.
type danger struct {
	stores.Warning
	store string
}

// isAbout reports whether the danger is one of the target.
func (d danger) isAbout(t policies.Target) bool {
	at := storeTarget(t)
	return d.store == t.Store && slices.ContainsFunc(d.Targets, func(w stores.Target) bool { return w.Path == at.Path && w.Field == at.Field })
}

// dangers asks the stores for warnings about the targets: store → its targets. unknown has the errors of stores that could
// not look at all of them.
func (v view) dangers(ctx context.Context, targets map[string][]stores.Target) (all []danger, unknown map[string]error) {
	unknown = map[string]error{}
	for _, store := range slices.Sorted(maps.Keys(targets)) {
		s, ok := v.environment.Store(store)
		if !ok {
			unknown[store] = errors.New(missingStore(store))
			continue
		}
		within, cancel := context.WithTimeout(ctx, time.Minute*time.Duration(len(targets[store])))
		warnings, err := s.(stores.Warner).Warnings(within, targets[store])
		cancel()
		for _, w := range warnings {
			all = append(all, danger{w, store})
		}
		if err != nil {
			unknown[store] = err
		}
	}
	return all, unknown
}

// checkDangers is dangers as rows of a check.
func (v view) checkDangers(ctx context.Context, targets map[string][]stores.Target) (rows []api.CheckRow) {
	all, unknown := v.dangers(ctx, targets)
	for _, d := range all {
		rows = append(rows, warned(v.subject(d), d.Text, d.Do))
	}
	for _, store := range slices.Sorted(maps.Keys(unknown)) {
		rows = append(rows, warned("warnings of store "+store, brief(unknown[store]), ""))
	}
	return rows
}

// brief is the first of several errors, and how many more there are.
func brief(err error) string {
	first, rest, several := strings.Cut(err.Error(), "\n")
	if several {
		first += fmt.Sprintf("; and %d more", 1+strings.Count(rest, "\n"))
	}
	return first
}

// subject names the targets of a danger, and how many more there are than fit a line.
func (v view) subject(d danger) string {
	const shown = 2
	var names []string
	for _, s := range v.Specs() {
		for _, t := range v.Policies[s.Name].Targets {
			if d.isAbout(t) {
				names = append(names, fmt.Sprintf("%s of %s", t, s.Name))
			}
		}
	}
	subject := "target " + strings.Join(names[:min(shown, len(names))], ", ")
	if more := len(names) - shown; more > 0 {
		subject += fmt.Sprintf(" and %d more", more)
	}
	return subject
}

// neighbors are the targets of the wanted policies, and those of other policies in the same secrets: store → targets.
func (v view) neighbors(wanted func(policy string) bool) map[string][]stores.Target {
	type path struct{ store, path string }
	asked := map[path]bool{}
	for _, s := range v.Specs() {
		for _, t := range v.Policies[s.Name].Targets {
			if wanted(s.Name) {
				asked[path{t.Store, t.Path}] = true
			}
		}
	}
	targets := map[string][]stores.Target{}
	for _, s := range v.Specs() {
		for _, t := range v.Policies[s.Name].Targets {
			if asked[path{t.Store, t.Path}] {
				targets[t.Store] = append(targets[t.Store], storeTarget(t))
			}
		}
	}
	return targets
}
