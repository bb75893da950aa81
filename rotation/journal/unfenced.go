//go:build unfenced

package journal

// Fenced is false: see the file that every other build has instead.
const Fenced = false
