package stores

import "context"

// Warner is a store that can say beforehand what will work and still end badly: another writer that owns a field, a quota
// that all targets of one secret share, a former value that will not be kept. What makes a rotation fail is an error of
// [Checker] and no warning.
//
// Warnings is given the targets of one store, of all policies, because some dangers are those of several targets
// together. It changes nothing that a consumer can see and leaves nothing behind. A target that does not exist is no
// error. An error says for which targets nothing is known; the warnings about the others come with it.
type Warner interface {
	Warnings(ctx context.Context, targets []Target) ([]Warning, error)
}

// Warning is one danger. Its texts hold no value of any secret.
type Warning struct {
	// Targets are those that it is about, of the ones that were asked about: at least one.
	Targets []Target
	// Text says what will happen, and by which facts that is known.
	Text string
	// Do says what helps, as a sentence. Empty: nothing is known that would.
	Do string
}

// Together puts targets with the same key side by side, in the order in which the keys come first.
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
