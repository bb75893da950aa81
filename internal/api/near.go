package api

import (
	"slices"
	"strings"

	"rotator/internal/typo"
)

// maxNear is how many names are proposed at most.
const maxNear = 3

// longName is how many bytes a name has at most that is taken for a mistyped one.
const longName = 200

// nearest returns the names that a mistyped one may have meant, nearest first: those a few letters away, else those that
// contain it.
func nearest(typed string, names []string) []string {
	if len(typed) > longName { // comparing it takes long, and it is no typing error
		return nil
	}
	typed = strings.ToLower(typed)
	within := min(3, len(typed)/3)
	near := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return typo.Distance(typed, n) > within })
	if len(near) == 0 && len(typed) >= 3 {
		near = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !strings.Contains(n, typed) })
	}
	slices.SortStableFunc(near, func(a, b string) int { return typo.Distance(typed, a) - typo.Distance(typed, b) })
	return near[:min(len(near), maxNear)]
}
