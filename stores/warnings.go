package stores

import "context"

// Warner is a store that can report dangers that are no errors: a second writer of a field, a quota that all targets in one
// secret share, a former value that will not be kept. What makes a rotation fail for certain is an error of [Checker].
//
// Warnings gets the targets of one store, of all policies, because some dangers come from several targets together. It changes nothing that a consumer can see and leaves nothing behind. A target that does not exist is no
// error. An error says for which targets nothing is known; the warnings about the others come with it.
type Warner interface {
	Warnings(ctx context.Context, targets []Target) ([]Warning, error)
}

// Warning is one danger. Its texts contain no value of any secret.
type Warning struct {
	// Targets are the affected ones among those that were asked about: at least one.
	Targets []Target
	// Text says what will happen and which facts show it.
	Text string
	// Do says what to do about it, as a sentence; may be empty.
	Do string
}

// Together groups targets by key. Groups are in the order of their first targets.
func Together(targets []Target, key func(Target) string) [][]Target {
	var groups [][]Target
	at := map[string]int{}
	for _, t := range targets {
		k := key(t)
		i, known := at[k]
		if !known {
			i = len(groups)
			at[k], groups = i, append(groups, nil)
		}
		groups[i] = append(groups[i], t)
	}
	return groups
}

// ByPath is a key for [Together]: targets with one path are fields of one secret.
func ByPath(t Target) string { return t.Path }
