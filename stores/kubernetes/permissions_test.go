//go:build deploy

package kubernetes

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"rotator/internal/testenv/kubetest"
	"rotator/stores"
)

// bound makes a service account with a binding to the Role rotator, and returns its token.
func bound(t *testing.T, c *kubetest.Cluster, namespace string) string {
	t.Helper()
	c.ServiceAccount(t, namespace, "rotator")
	c.Apply(t, "apis/rbac.authorization.k8s.io/v1/namespaces/"+namespace+"/rolebindings/rotator", map[string]any{
		"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": map[string]any{"name": "rotator"},
		"roleRef":  map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "rotator"},
		"subjects": []any{map[string]any{"kind": "ServiceAccount", "name": "rotator", "namespace": namespace}},
	})
	return c.ServiceAccountToken(t, namespace, "rotator")
}

// entitlement is a Role that grows with its targets, which are all in one namespace.
type entitlement struct {
	c *kubetest.Cluster

	mu      sync.Mutex
	targets []stores.Target // guarded by mu
}

// add writes the Role again and waits until the API server goes by it.
func (e *entitlement) add(t *testing.T, s *Store, target stores.Target) {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.targets = append(e.targets, target)
	made, err := Options{}.Permissions(e.targets)
	if err != nil {
		t.Fatal(err)
	}
	apply(t, e.c, made[0].Text)
	await(t, s, target)
}

// await waits until the API server goes by a Role that was just written: it comes to know it after a moment.
func await(t *testing.T, s *Store, target stores.Target) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); errors.Is(s.Check(t.Context(), target), stores.ErrDenied); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the rights do not come to be")
		}
	}
}

// apply makes the Roles of a document, as kubectl would.
func apply(t *testing.T, c *kubetest.Cluster, document string) {
	t.Helper()
	for text := range strings.SplitSeq(document, "---\n") {
		var role struct {
			Metadata struct{ Name, Namespace string }
		}
		var object map[string]any
		if err := errors.Join(yaml.Unmarshal([]byte(text), &role), yaml.Unmarshal([]byte(text), &object)); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		c.Apply(t, "apis/rbac.authorization.k8s.io/v1/namespaces/"+role.Metadata.Namespace+"/roles/"+role.Metadata.Name, object)
	}
}

// TestPermissionsOfSeveral: a Role for each namespace, with names that YAML would read otherwise, and rights to nothing beside.
func TestPermissionsOfSeveral(t *testing.T) {
	c := kubetest.Shared(t)
	home, other := c.Namespace(t, nil), c.Namespace(t, nil)
	token := bound(t, c, home)
	s := store(t, Options{Server: c.Address, CACert: c.CAFile(t), Token: text(token)})
	targets := []stores.Target{{Path: home + "/true"}, {Path: home + "/1e3"}, {Path: home + "/true", Field: "x"}, {Path: other + "/null"}}
	made, err := Options{}.Permissions(targets)
	if err != nil || strings.Count(made[0].Text, "kind: Role\n") != 2 || strings.Count(made[0].Text, `"true"`) != 1 {
		t.Fatalf("%v\n%v", err, made)
	}
	apply(t, c, made[0].Text)
	for _, target := range targets[:3] {
		await(t, s, target)
		if err := errors.Join(s.Promote(t.Context(), target, attempt, key("1"), ""), s.Discard(t.Context(), target, attempt)); err != nil {
			t.Error(err)
		}
	}
	for _, path := range []string{home + "/other", home + "/true2", other + "/null"} { // nothing is bound to the last one's Role
		if err := s.Check(t.Context(), stores.Target{Path: path}); !errors.Is(err, stores.ErrDenied) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := (Options{}).Permissions([]stores.Target{{Path: "no-namespace"}}); !errors.Is(err, stores.ErrInvalid) {
		t.Errorf("a path without a namespace: %v", err)
	}
}

// TestReadPermissions: with the Role for observe mode a target is read, and nothing can be changed.
func TestReadPermissions(t *testing.T) {
	c := kubetest.Shared(t)
	home := c.Namespace(t, nil)
	s := store(t, Options{Server: c.Address, CACert: c.CAFile(t), Token: text(bound(t, c, home))})
	target := stores.Target{Path: home + "/chat"}
	made, err := Options{}.ReadPermissions([]stores.Target{target})
	if err != nil {
		t.Fatal(err)
	}
	apply(t, c, made[0].Text)
	for deadline := time.Now().Add(5 * time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if _, err := s.Current(t.Context(), target); errors.Is(err, stores.ErrNotFound) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the rights do not come to be")
		}
	}
	if _, err := s.Warnings(t.Context(), []stores.Target{target}); err != nil {
		t.Error(err)
	}
	for _, err := range []error{s.Promote(t.Context(), target, attempt, key("1"), ""), s.Stage(t.Context(), target, attempt, key("1"))} {
		if !errors.Is(err, stores.ErrDenied) {
			t.Errorf("it may write: %v", err)
		}
	}
}
