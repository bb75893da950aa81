// Package typo says how far a word that someone typed is from one that exists, for "did you mean".
package typo

// longest is the length in bytes of the longest name there is; what is longer is no typing error of one.
const longest = 63

// Distance is the Levenshtein distance of two names, over bytes. A word that is longer than any name is far from all.
func Distance(a, b string) int {
	if len(a) > longest || len(b) > longest {
		return longest
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
