package stores

import (
	"cmp"
	"slices"
)

// Permissions is a store's configuration that can say which rights a login needs, before there is one: it makes no call
// and reads no secret.
type Permissions interface {
	// Permissions returns the least rights with which targets can be checked and rotated, the same for the same targets in
	// any order. An error is about a target for which the store has no such rights to give.
	Permissions(targets []Target) ([]Document, error)
	// ReadPermissions is Permissions for a login that only reads the targets: for observe mode.
	ReadPermissions(targets []Target) ([]Document, error)
}

// Document is rights in the store's own language, to be given by who may give them.
type Document struct {
	Format string   // hcl, json, yaml, tmpfiles.d or text
	About  []string // what it is, and what there is to know before it is used: sentences
	Text   string   // ready to be a file; ends in a newline
}

// Paths returns the paths of the targets, each once, sorted.
func Paths(targets []Target) []string {
	paths := make([]string, len(targets))
	for i, t := range targets {
		paths[i] = t.Path
	}
	slices.SortFunc(paths, cmp.Compare)
	return slices.Compact(paths)
}
