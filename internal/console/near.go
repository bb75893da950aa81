package console

import (
	"slices"
	"strings"
)

// maxNear is how many names are proposed at most.
const maxNear = 3

// nearest returns the names that a mistyped one may have meant, nearest first: those a few letters away, else those that
// contain it.
func nearest(typed string, names []string) []string {
	typed = strings.ToLower(typed)
	within := min(3, len(typed)/3)
	near := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return distance(typed, n) > within })
	if len(near) == 0 && len(typed) >= 3 {
		near = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !strings.Contains(n, typed) })
	}
	slices.SortStableFunc(near, func(a, b string) int { return distance(typed, a) - distance(typed, b) })
	return near[:min(len(near), maxNear)]
}

// distance is the Levenshtein distance over bytes. Names have at most 63 of them; what is longer is far from all.
func distance(a, b string) int {
	if len(a) > 63 || len(b) > 63 {
		return 63
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substitute := diagonal
			if a[i] != b[j] {
				substitute++
			}
			diagonal = row[j+1]
			row[j+1] = min(substitute, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
