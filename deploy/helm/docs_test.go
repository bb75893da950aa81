//go:build deploy

package helm

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"rotator/internal/testenv/kubetest"
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

// TestPodsInDocs: the API server takes the pods that the page makes for a moment, also where only restricted ones may run.
func TestPodsInDocs(t *testing.T) {
	c := kubetest.Shared(t)
	namespace := c.Namespace(t, map[string]string{"pod-security.kubernetes.io/enforce": "restricted"})
	c.ServiceAccount(t, namespace, "default")
	text, err := os.ReadFile("../../docs/kubernetes.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?s) run ([a-z]+) --image=(\S+) --restart=Never --overrides='(.*?)'\n`).FindAllSubmatch(text, -1)
	if len(found) < 2 {
		t.Fatalf("the page makes %d pods", len(found))
	}
	for _, m := range found {
		pod := object{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": string(m[1])}}
		if err := json.Unmarshal(m[3], &pod); err != nil {
			t.Fatalf("%s: %v", m[1], err)
		}
		if status, answer := strict(t, c, pod, namespace); status > 299 {
			t.Errorf("%s: status %d: %s", m[1], status, answer)
		}
		if !strings.Contains(string(m[3]), `"image": "`+string(m[2])+`"`) {
			t.Errorf("%s runs another image than %s", m[1], m[2])
		}
	}
}
