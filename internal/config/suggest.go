package config

import (
	"strings"

	"rotator/internal/typo"
)

// meant is a hint at the known word nearest to a mistyped one, "" when none is near.
func meant(typed string, known []string) string {
	best, nearest := "", 3
	for _, k := range known {
		if n := typo.Distance(strings.ToLower(typed), k); n < nearest && n <= max(1, len(k)/3) {
			best, nearest = k, n
		}
	}
	if best == "" {
		return ""
	}
	return " (did you mean " + best + "?)"
}
