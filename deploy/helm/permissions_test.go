//go:build deploy

package helm

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"

	"rotator/stores"
	"rotator/stores/kubernetes"
)

// TestSameAsPermissions: the Role that `rotator check --permissions` prints grants what the chart's does, of which
// TestRights shows that it is enough and that none is too many.
func TestSameAsPermissions(t *testing.T) {
	t.Parallel()
	made, err := kubernetes.Options{Restarts: []string{"rotator-consumers/deployment/chat-api"}}.Permissions([]stores.Target{{Path: "rotator-consumers/chat", Field: "api_key"}})
	if err != nil || len(made) != 1 {
		t.Fatal(made, err)
	}
	var printed map[string]any
	if err := yaml.Unmarshal([]byte(made[0].Text), &printed); err != nil {
		t.Fatalf("%v\n%s", err, made[0].Text)
	}
	chart := roleOf(t)
	if diff := cmp.Diff(grants(chart), grants(printed)); diff != "" {
		t.Errorf("the chart grants other than what is printed (-chart +printed):\n%s", diff)
	}
	namespace := func(o object) any { return o["metadata"].(map[string]any)["namespace"] }
	if namespace(chart) != namespace(printed) || len(grants(printed)) != 8 {
		t.Errorf("it is\n%s", made[0].Text)
	}
}

// TestSameAsReadPermissions: in observe mode the chart's Role lets the targets be read and no more, as the printed one does.
func TestSameAsReadPermissions(t *testing.T) {
	t.Parallel()
	made, err := kubernetes.Options{}.ReadPermissions([]stores.Target{{Path: "rotator-consumers/chat", Field: "api_key"}})
	if err != nil || len(made) != 1 {
		t.Fatal(made, err)
	}
	var printed map[string]any
	if err := yaml.Unmarshal([]byte(made[0].Text), &printed); err != nil {
		t.Fatalf("%v\n%s", err, made[0].Text)
	}
	want := map[string]bool{"get /secrets chat": true}
	for name, role := range map[string]object{"chart": roleOf(t, "--set", "config.mode=observe"), "printed": printed} {
		if diff := cmp.Diff(want, grants(role)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// grants spells out a Role: one entry for each verb on each object.
func grants(role object) map[string]bool {
	all := map[string]bool{}
	for _, r := range role["rules"].([]any) {
		rule := r.(map[string]any)
		each := func(member string) []any { list, _ := rule[member].([]any); return list }
		for _, group := range each("apiGroups") {
			for _, resource := range each("resources") {
				for _, name := range each("resourceNames") {
					for _, verb := range each("verbs") {
						all[fmt.Sprintf("%v %v/%v %v", verb, group, resource, name)] = true
					}
				}
			}
		}
	}
	return all
}
