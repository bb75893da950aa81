package helm

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestNames: alerts and dashboard ask for metrics that the program has, and the dashboard is JSON.
func TestNames(t *testing.T) {
	t.Parallel()
	told, err := os.ReadFile("../../internal/console/metrics.go")
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`\brotator_[a-z_]+`)
	for _, file := range []string{"alerts.yaml", "dashboard.json"} {
		content, err := os.ReadFile(filepath.Join("rotator/files", file))
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(file, ".json") && !json.Valid(content) {
			t.Errorf("%s is no JSON", file)
		}
		asked := name.FindAllString(string(content), -1)
		if len(asked) < 8 {
			t.Errorf("%s asks for %d metrics only", file, len(asked))
		}
		for _, metric := range asked {
			known := strings.TrimSuffix(strings.TrimPrefix(metric, "rotator_"), "_bucket")
			if !strings.Contains(string(told), `"`+known+`"`) {
				t.Errorf("%s asks for %s, which is not told", file, metric)
			}
		}
	}
}
