//go:build deploy

package helm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"rotator/internal/secret"
	"rotator/internal/testenv/kubetest"
	"rotator/stores"
	"rotator/stores/kubernetes"
)

// await waits for what the cluster does by itself: there is nothing to wait on.
func await(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the cluster does not get there")
		}
	}
}

// permission is one verb of one rule of a Role.
type permission struct {
	rule int
	verb string
}

// TestRights takes a target through a whole rotation with the rights that the chart grants, and with each of them taken
// away in turn, which must fail: they are enough, and none is too many.
func TestRights(t *testing.T) {
	c := kubetest.Shared(t)
	role := roleOf(t)
	var all []permission
	for i, rule := range role["rules"].([]any) {
		for _, verb := range rule.(map[string]any)["verbs"].([]any) {
			all = append(all, permission{i, verb.(string)})
		}
	}
	t.Run("all", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, c, role, permission{rule: -1})
		if err := errors.Join(b.check(), b.rotate()); err != nil {
			t.Fatal(err)
		}
	})
	for _, p := range all {
		t.Run(fmt.Sprintf("without %s of rule %d", p.verb, p.rule), func(t *testing.T) {
			t.Parallel()
			b := newBench(t, c, role, p)
			check := b.check()
			if !errors.Is(check, stores.ErrDenied) || !strings.Contains(check.Error(), fmt.Sprintf("%q", p.verb)) {
				t.Errorf("check does not name what is missing: %v", check)
			}
			if err := b.rotate(); !errors.Is(err, stores.ErrDenied) {
				t.Errorf("a rotation ends with %v: the right is not needed", err)
			}
		})
	}
}

// roleOf returns the Role that the chart renders for a Secret chat, which restarts a Deployment.
func roleOf(t *testing.T, flags ...string) object {
	t.Helper()
	for _, o := range render(t, "default", append([]string{"-f", values("sqlite")}, flags...)...) {
		if o.text("kind") == "Role" {
			return o
		}
	}
	t.Fatal("no Role is rendered")
	return nil
}

// bench is a namespace in which a service account has the rights of a Role, but for one.
type bench struct {
	t      *testing.T
	c      *kubetest.Cluster
	store  *kubernetes.Store
	target stores.Target
}

func newBench(t *testing.T, c *kubetest.Cluster, role object, without permission) bench {
	t.Helper()
	namespace := c.Namespace(t, nil)
	c.ServiceAccount(t, namespace, "rotator")
	c.Apply(t, "apis/rbac.authorization.k8s.io/v1/namespaces/"+namespace+"/roles/rotator", map[string]any{
		"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": map[string]any{"name": "rotator"},
		"rules": rulesWithout(t, role, without),
	})
	c.Apply(t, "apis/rbac.authorization.k8s.io/v1/namespaces/"+namespace+"/rolebindings/rotator", map[string]any{
		"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": map[string]any{"name": "rotator"},
		"roleRef":  map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "rotator"},
		"subjects": []any{map[string]any{"kind": "ServiceAccount", "name": "rotator", "namespace": namespace}},
	})
	label := map[string]any{"app": "chat"}
	c.Apply(t, "apis/apps/v1/namespaces/"+namespace+"/deployments/chat-api", map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": "chat-api"},
		"spec": map[string]any{"selector": map[string]any{"matchLabels": label}, "template": map[string]any{
			"metadata": map[string]any{"labels": label},
			"spec":     map[string]any{"containers": []any{map[string]any{"name": "chat", "image": "chat"}}},
		}},
	})
	token := c.ServiceAccountToken(t, namespace, "rotator")
	store, err := kubernetes.New(kubernetes.Options{
		Server: c.Address, CACert: c.CAFile(t), Timeout: 5 * time.Minute,
		Token: func(context.Context) (secret.Text, error) { return secret.New(token), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	b := bench{t, c, store, stores.Target{Path: namespace + "/chat", Field: "api_key"}}
	// RBAC comes to be known in the server after a moment, as a whole: one of two permissions shows it.
	await(t, func() bool {
		_, target := store.Current(t.Context(), b.target)
		_, beside := store.Staged(t.Context(), b.target, "none")
		return !errors.Is(target, stores.ErrDenied) || !errors.Is(beside, stores.ErrDenied)
	})
	return b
}

// rulesWithout returns the Role's rules without one permission.
func rulesWithout(t *testing.T, role object, without permission) []any {
	t.Helper()
	content, err := json.Marshal(role["rules"])
	if err != nil {
		t.Fatal(err)
	}
	var rules []any
	if err := json.Unmarshal(content, &rules); err != nil {
		t.Fatal(err)
	}
	var left []any
	for i, r := range rules {
		rule := r.(map[string]any)
		var verbs []any
		for _, verb := range rule["verbs"].([]any) {
			if (permission{i, verb.(string)}) != without {
				verbs = append(verbs, verb)
			}
		}
		if rule["verbs"] = verbs; len(verbs) > 0 {
			left = append(left, rule)
		}
	}
	return left
}

// restart has the Secret, which must be there, name the Deployment that is to roll.
func (b bench) restart() {
	b.t.Helper()
	namespace, _, _ := strings.Cut(b.target.Path, "/")
	b.c.Do(b.t, http.MethodPatch, "api/v1/namespaces/"+namespace+"/secrets/chat", map[string]any{
		"metadata": map[string]any{"annotations": map[string]any{"rotator/restart": "deployment/chat-api"}},
	}, nil)
}

// check asks for the rights twice: before the Secret is there, and afterwards, when it names what restarts.
func (b bench) check() error {
	b.t.Helper()
	before := b.store.Check(b.t.Context(), b.target)
	namespace, _, _ := strings.Cut(b.target.Path, "/")
	at := "api/v1/namespaces/" + namespace + "/secrets"
	b.c.Do(b.t, http.MethodPost, at, map[string]any{"metadata": map[string]any{"name": "chat"}}, nil)
	b.restart()
	after := b.store.Check(b.t.Context(), b.target)
	b.c.Do(b.t, http.MethodDelete, at+"/chat", nil, nil)
	return errors.Join(before, after)
}

// rotate makes the target, then takes it to its next value and back.
func (b bench) rotate() error {
	b.t.Helper()
	ctx := b.t.Context()
	first, second := key("1"), key("2")
	a, z := uuid.Must(uuid.NewV7()).String(), uuid.Must(uuid.NewV7()).String()
	for _, step := range []func() error{
		func() error { return b.store.Stage(ctx, b.target, a, first) },
		func() error { return b.store.Promote(ctx, b.target, a, first, "") },
		func() error { return b.store.Discard(ctx, b.target, a) }, // the last thing there: the Secret beside goes
		func() error { b.restart(); return nil },
		func() error { return b.store.Stage(ctx, b.target, z, second) },
		func() error { _, err := b.store.Staged(ctx, b.target, z); return err },
		func() error { return b.store.Promote(ctx, b.target, z, second, first.Fingerprint()) },
		func() error { _, err := b.store.Current(ctx, b.target); return err },
		func() error { return b.store.Discard(ctx, b.target, z) },
		func() error { _, err := b.store.Previous(ctx, b.target, first.Fingerprint()); return err },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func key(tail string) secret.Text { return secret.New("xai-" + strings.Repeat("0", 79) + tail) }
