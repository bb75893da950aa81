package policies

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"rotator/internal/typo"
)

// Problem is one thing that is wrong in a policy file, and what would be right.
type Problem struct {
	File         string
	Line, Column int // from 1; 0 where the problem is the whole file
	What, Want   string
}

// String is "file:line: what; want ...".
func (p Problem) String() string {
	s := p.File
	if p.Line > 0 {
		s += fmt.Sprintf(":%d", p.Line)
	}
	s += ": " + p.What
	if p.Want != "" {
		s += "; want " + p.Want
	}
	return s
}

// Problems is everything that is wrong, sorted by file and line. As an error it prints one problem a line.
type Problems []Problem

// Error implements error.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

func (ps Problems) sort() {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}

var (
	// plain is all that a problem ever quotes.
	plain = regexp.MustCompile(`^[A-Za-z0-9 ._:/*@,?+-]{1,64}$`)
	// run is a stretch of letters and digits. Long ones that mix kinds look like credentials.
	run = regexp.MustCompile(`[A-Za-z0-9]{12,}`)
)

// pasted is a key of xAI's, of either kind.
var pasted = regexp.MustCompile(`xai-(token-)?[A-Za-z0-9]{32,}`)

// KeyPasted is what is wrong with a value that holds a key of xAI's, and what would be right. Such a value is refused
// wherever it is: what is read from these files is shown, and kept in the journal.
const (
	KeyPasted     = " holds a key of xAI's"
	KeyPastedWant = "no secret in this file, and that key replaced: others may have read it"
)

// HoldsKey reports whether a value holds a key of xAI's.
func HoldsKey(value string) bool { return pasted.MatchString(value) }

// quote returns ` "value"`, with a space in front, or nothing where the value could be a secret that was pasted into
// the wrong place.
func quote(value string) string {
	if !plain.MatchString(value) || strings.Contains(strings.ToLower(value), "xai-") {
		return ""
	}
	for _, r := range run.FindAllString(value, -1) {
		lower := strings.ContainsFunc(r, unicode.IsLower)
		upper := strings.ContainsFunc(r, unicode.IsUpper)
		digit := strings.ContainsFunc(r, unicode.IsDigit)
		if len(r) >= 24 || lower && upper || lower && digit || upper && digit {
			return ""
		}
	}
	return ` "` + value + `"`
}

// suggest returns the word among known that is nearest to a mistyped one, "" when none is near.
func suggest(typed string, known []string) string {
	best, nearest := "", 3
	for _, k := range known {
		limit := 2
		if len(k) < 4 {
			limit = 1
		}
		if d := typo.Distance(strings.ToLower(typed), k); d <= limit && d < nearest {
			best, nearest = k, d
		}
	}
	return best
}
