//go:build deploy

package helm

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestValuesInDocs: the chart takes the values that the pages show, and grants rights in the cluster only where a target is.
func TestValuesInDocs(t *testing.T) {
	t.Parallel()
	for page, rights := range map[string]bool{"../../docs/first-rotation.md": false, "../../docs/kubernetes.md": true, "rotator/README.md": true} {
		t.Run(filepath.Base(page), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(page)
			if err != nil {
				t.Fatal(err)
			}
			found := regexp.MustCompile("(?ms)```yaml\n( *# rotator-values.yaml\n.*?)^ *```$").FindSubmatch(text)
			if found == nil {
				t.Fatal("the page has no values")
			}
			file := filepath.Join(t.TempDir(), "values.yaml")
			if err := os.WriteFile(file, found[1], 0o600); err != nil {
				t.Fatal(err)
			}
			helm(t, "lint", "--strict", chart, "-f", file)
			kinds := " "
			for _, o := range render(t, "rotator", "-f", file) {
				kinds += o.text("kind") + " "
			}
			if !strings.Contains(kinds, " Deployment ") || strings.Contains(kinds, " Role ") != rights {
				t.Errorf("it makes%s", kinds)
			}
		})
	}
}
