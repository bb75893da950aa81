package kubernetes

import (
	"testing"

	"rotator/stores"
)

// TestReadPermissionsText: the Role for observe mode lets its Secrets be got, and no more.
func TestReadPermissionsText(t *testing.T) {
	t.Parallel()
	made, err := Options{}.ReadPermissions([]stores.Target{{Path: "chat/b"}, {Path: "chat/a"}, {Path: "chat/b", Field: "x"}})
	if err != nil {
		t.Fatal(err)
	}
	const want = `apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: rotator, namespace: "chat"}
rules:
  # It reads and compares these.
  - apiGroups: [""]
    resources: [secrets]
    resourceNames: ["a", "b"]
    verbs: [get]
`
	if made[0].Text != want {
		t.Errorf("it is\n%s", made[0].Text)
	}
}
