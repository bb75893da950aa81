//go:build deploy

package helm

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestFirstRotationValues: the chart takes the values of docs/first-rotation.md.
func TestFirstRotationValues(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "first-rotation.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?ms)```yaml\n( *# rotator-values.yaml\n.*?)^ *```$").FindSubmatch(page)
	if found == nil {
		t.Fatal("the page has no values")
	}
	file := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(file, found[1], 0o600); err != nil {
		t.Fatal(err)
	}
	helm(t, "lint", "--strict", chart, "-f", file)
	var kinds []string
	for _, o := range render(t, "rotator", "-f", file) {
		kinds = append(kinds, o.text("kind"))
	}
	if all := strings.Join(kinds, " "); !strings.Contains(all, "Deployment") || strings.Contains(all, "Role ") {
		t.Errorf("it makes %s", all) // no target is in the cluster, so that there are no rights in it
	}
}
