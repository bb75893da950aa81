package config

import "strings"

// meant is a hint at the known word nearest to a mistyped one, "" when none is near.
func meant(typed string, known []string) string {
	best, nearest := "", 3
	for _, k := range known {
		if n := edits(strings.ToLower(typed), k); n < nearest && n <= max(1, len(k)/3) {
			best, nearest = k, n
		}
	}
	if best == "" {
		return ""
	}
	return " (did you mean " + best + "?)"
}

// edits is the Levenshtein distance of two short words; those too long for a typing error are far.
func edits(a, b string) int {
	if len(a) > 40 || len(b) > 40 {
		return 40
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
