//go:build deploy

package kubernetes

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"rotator/internal/secret"
	"rotator/internal/testenv/kubetest"
	"rotator/stores"
)

// forbid has the API server refuse what a CEL expression says no to, in the namespace, and waits until it does.
func forbid(t *testing.T, c *kubetest.Cluster, namespace, operation, expression, message string) {
	t.Helper()
	govern(t, c, namespace, "", "secrets", operation, expression, message)
	probe := stores.Target{Path: namespace + "/" + c.Name("probe"), Field: "api_key"}
	if operation == "UPDATE" {
		human(t, c, probe, map[string][]byte{"api_key": []byte("x")}, nil)
	}
	s := administrator(t, c)
	until(t, message, func() error {
		p, err := find(probe)
		if err == nil {
			err = s.rehearseTarget(t.Context(), p, keyLength)
		}
		return err
	})
}

// until waits until do is refused with this message.
func until(t *testing.T, message string, do func() error) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		err := do()
		if err != nil && strings.Contains(err.Error(), message) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the policy does not come into force: %v", err)
		}
	}
}

// govern has the API server hold a CEL expression against what is done to a resource in the namespace.
func govern(t *testing.T, c *kubetest.Cluster, namespace, group, resource, operation, expression, message string) {
	t.Helper()
	name := c.Name("policy")
	const path = "apis/admissionregistration.k8s.io/v1/validatingadmissionpolic"
	c.Do(t, http.MethodPost, path+"ies", map[string]any{
		"metadata": map[string]any{"name": name},
		"spec": map[string]any{
			"failurePolicy": "Fail",
			"matchConstraints": map[string]any{"resourceRules": []any{map[string]any{
				"apiGroups": []string{group}, "apiVersions": []string{"v1"}, "operations": []string{operation}, "resources": []string{resource},
			}}},
			"validations": []any{map[string]any{"expression": expression, "message": message}},
		},
	}, nil)
	c.Do(t, http.MethodPost, path+"ybindings", map[string]any{
		"metadata": map[string]any{"name": name},
		"spec": map[string]any{"policyName": name, "validationActions": []string{"Deny"}, "matchResources": map[string]any{
			"namespaceSelector": map[string]any{"matchLabels": map[string]any{"kubernetes.io/metadata.name": namespace}},
		}},
	}, nil)
}

// refuses checks that both what comes before a key and what comes before its promotion say no, and that nothing was staged.
func refuses(t *testing.T, c *kubetest.Cluster, s *Store, target stores.Target, says string) {
	t.Helper()
	for doing, err := range map[string]error{
		"check": s.Check(t.Context(), target), "stage": s.Stage(t.Context(), target, attempt, key("2")),
	} {
		if !errors.Is(err, stores.ErrInvalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", doing, err, says)
		}
	}
	if held, _ := look(t, c, target, suffix); len(held.Data) > 0 {
		t.Errorf("%d values are staged", len(held.Data))
	}
}

// TestRehearsePolicy: a policy that speaks only when a Secret is changed is met before.
func TestRehearsePolicy(t *testing.T) {
	c := kubetest.Shared(t)
	s, namespace := administrator(t, c), c.Namespace(t, nil)
	target := chat(c, namespace)
	human(t, c, target, map[string][]byte{"api_key": []byte(key("1").Reveal())}, nil)
	if err := s.Check(t.Context(), target); err != nil {
		t.Fatal(err)
	}
	forbid(t, c, namespace, "UPDATE", `object.metadata.name.endsWith(".rotator")`, "frozen until Monday")
	refuses(t, c, s, target, "frozen until Monday")
}

// TestRehearseCreation: a rule about what a created Secret must have is met, for the target and the one beside it.
func TestRehearseCreation(t *testing.T) {
	c := kubetest.Shared(t)
	namespace := c.Namespace(t, nil)
	target := chat(c, namespace)
	const rule = `has(object.metadata.labels) && "example.com/team" in object.metadata.labels && has(object.metadata.annotations) && "owner" in object.metadata.annotations`
	forbid(t, c, namespace, "CREATE", rule, "Secrets need a team")
	refuses(t, c, administrator(t, c), target, "Secrets need a team")

	s := store(t, Options{Server: c.Address, CACert: c.CAFile(t), Token: text(c.Token),
		Labels: map[string]string{"example.com/team": "chat"}, Annotations: map[string]string{"owner": "chat@example.com"}})
	if err := errors.Join(
		s.Check(t.Context(), target), s.Stage(t.Context(), target, attempt, key("1")),
		s.Promote(t.Context(), target, attempt, key("1"), ""),
	); err != nil {
		t.Fatal(err)
	}
	for _, beside := range []string{"", suffix} {
		held, found := look(t, c, target, beside)
		if !found || held.Metadata.Labels["example.com/team"] != "chat" || held.Metadata.Annotations["owner"] != "chat@example.com" {
			t.Errorf("%q%s has %v %v", target.Path, beside, held.Metadata.Labels, held.Metadata.Annotations)
		}
	}
	if err := s.Discard(t.Context(), target, attempt); err != nil {
		t.Error(err)
	}
}

// TestMarksOfThoseBefore: a Secret of someone else's keeps its labels; the one beside it, made before there were any,
// gets them.
func TestMarksOfThoseBefore(t *testing.T) {
	c := kubetest.Shared(t)
	target := chat(c, c.Namespace(t, nil))
	human(t, c, target, map[string][]byte{"api_key": []byte(key("1").Reveal())}, nil)
	if err := administrator(t, c).Stage(t.Context(), target, attempt, key("2")); err != nil {
		t.Fatal(err)
	}
	s := store(t, Options{Server: c.Address, CACert: c.CAFile(t), Token: text(c.Token), Labels: map[string]string{"team": "chat"}})
	if err := errors.Join(s.Check(t.Context(), target), s.Promote(t.Context(), target, attempt, key("2"), key("1").Fingerprint())); err != nil {
		t.Fatal(err)
	}
	for beside, want := range map[string]string{"": "", suffix: "chat"} {
		if held, _ := look(t, c, target, beside); held.Metadata.Labels["team"] != want {
			t.Errorf("%q%s has %v", target.Path, beside, held.Metadata.Labels)
		}
	}
}

// TestRehearseRestart: a policy about a workload's pods is met before, too.
func TestRehearseRestart(t *testing.T) {
	c := kubetest.Shared(t)
	s, namespace := administrator(t, c), c.Namespace(t, nil)
	target := chat(c, namespace)
	human(t, c, target, map[string][]byte{"api_key": []byte(key("1").Reveal())}, nil)
	c.Do(t, http.MethodPatch, secretPath(target, ""), map[string]any{"metadata": map[string]any{"annotations": map[string]any{restartAnnotation: "deployment/chat"}}}, nil)
	label := map[string]any{"app": "chat"}
	c.Apply(t, "apis/apps/v1/namespaces/"+namespace+"/deployments/chat", map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": "chat"},
		"spec": map[string]any{"selector": map[string]any{"matchLabels": label}, "template": map[string]any{
			"metadata": map[string]any{"labels": label},
			"spec":     map[string]any{"containers": []any{map[string]any{"name": "chat", "image": "chat"}}},
		}},
	})
	if err := s.Check(t.Context(), target); err != nil {
		t.Fatal(err)
	}
	govern(t, c, namespace, "apps", "deployments", "UPDATE", "object.spec.template == oldObject.spec.template", "no rollouts today")
	until(t, "no rollouts today", func() error { return s.Check(t.Context(), target) })
}

// TestRehearseSize: a Secret in which a key has no more room is refused, and so is one beside it.
func TestRehearseSize(t *testing.T) {
	c := kubetest.Shared(t)
	s, namespace := administrator(t, c), c.Namespace(t, nil)
	full := []byte(strings.Repeat("x", 1<<20-keyLength/2))
	target := chat(c, namespace)
	human(t, c, target, map[string][]byte{"ca.pem": full}, nil)
	refuses(t, c, s, target, "1048576")

	target = chat(c, namespace)
	human(t, c, target, map[string][]byte{"api_key": []byte(key("1").Reveal())}, nil)
	human(t, c, stores.Target{Path: target.Path + suffix}, map[string][]byte{"previous-1.other": full}, nil)
	if err := s.Check(t.Context(), target); !errors.Is(err, stores.ErrInvalid) || !strings.Contains(err.Error(), suffix) {
		t.Errorf("%v", err)
	}
}

// limit has the API server allow so many Secrets in the namespace, of which there are so many.
func limit(t *testing.T, c *kubetest.Cluster, namespace, most, used string) {
	t.Helper()
	quota := "api/v1/namespaces/" + namespace + "/resourcequotas"
	hard := map[string]any{"count/secrets": most}
	c.Do(t, http.MethodPost, quota, map[string]any{"metadata": map[string]any{"name": "few"}, "spec": map[string]any{"hard": hard}}, nil)
	// What a controller would write.
	c.Do(t, http.MethodPatch, quota+"/few/status", map[string]any{"status": map[string]any{"hard": hard, "used": map[string]any{"count/secrets": used}}}, nil)
}

// TestRehearseQuota: a quota on Secrets is named before there is a key.
func TestRehearseQuota(t *testing.T) {
	c := kubetest.Shared(t)
	s, namespace := administrator(t, c), c.Namespace(t, nil)
	target := chat(c, namespace)
	human(t, c, target, map[string][]byte{"api_key": []byte(key("1").Reveal())}, nil)
	limit(t, c, namespace, "1", "1")
	until(t, "exceeded quota: few", func() error { return s.Check(t.Context(), target) })
	refuses(t, c, s, target, "exceeded quota: few")
}

// TestRehearseQuotaForBoth: a quota with room for the Secret beside but not for the target as well is met when the key is
// staged.
func TestRehearseQuotaForBoth(t *testing.T) {
	c := kubetest.Shared(t)
	s, namespace := administrator(t, c), c.Namespace(t, nil)
	target := chat(c, namespace)
	limit(t, c, namespace, "0", "0")
	until(t, "exceeded quota: few", func() error { return s.Check(t.Context(), target) })
	hard := map[string]any{"hard": map[string]any{"count/secrets": "1"}}
	quota := "api/v1/namespaces/" + namespace + "/resourcequotas/few"
	c.Do(t, http.MethodPatch, quota, map[string]any{"spec": hard}, nil)
	c.Do(t, http.MethodPatch, quota+"/status", map[string]any{"status": hard}, nil)
	for deadline := time.Now().Add(2 * time.Minute); s.Check(t.Context(), target) != nil; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the quota does not come into force")
		}
	}
	err := s.Stage(t.Context(), target, attempt, key("1"))
	if !errors.Is(err, stores.ErrInvalid) || !strings.Contains(err.Error(), "exceeded quota: few") {
		t.Errorf("%v", err)
	}
	if err := s.Discard(t.Context(), target, attempt); err != nil {
		t.Error(err)
	}
	if _, found := look(t, c, target, suffix); found {
		t.Error("the Secret beside is left")
	}
}

// TestRehearseUnwritable: what cannot be promoted is not staged.
func TestRehearseUnwritable(t *testing.T) {
	c := kubetest.Shared(t)
	target := chat(c, c.Namespace(t, nil))
	human(t, c, target, map[string][]byte{"api_key": []byte(key("1").Reveal())}, map[string]any{"immutable": true})
	refuses(t, c, administrator(t, c), target, "immutable")
}

// TestRehearsalLeavesNothing: the stand-in is nowhere, and managers and versions are as before.
func TestRehearsalLeavesNothing(t *testing.T) {
	c := kubetest.Shared(t)
	s := administrator(t, c)
	target := chat(c, c.Namespace(t, nil))
	human(t, c, target, map[string][]byte{"api_key": []byte(key("1").Reveal())}, nil)
	before, _ := look(t, c, target, "")
	if err := s.Check(t.Context(), target); err != nil {
		t.Fatal(err)
	}
	after, _ := look(t, c, target, "")
	if after.Metadata.ResourceVersion != before.Metadata.ResourceVersion || secret.New(string(after.Data["api_key"])).Fingerprint() != key("1").Fingerprint() {
		t.Error("the check changed the Secret")
	}
	if _, found := look(t, c, target, suffix); found {
		t.Error("the check made the Secret beside")
	}
}

// TestManagersOfCluster: a field's manager is known from what the API server itself records.
func TestManagersOfCluster(t *testing.T) {
	c := kubetest.Shared(t)
	s := administrator(t, c)
	target := chat(c, c.Namespace(t, nil))
	if err := s.Promote(t.Context(), target, attempt, key("1"), ""); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Warnings(t.Context(), []stores.Target{target}); err != nil || len(got) > 0 {
		t.Fatalf("%+v, %v", got, err)
	}
	_, name, _ := strings.Cut(target.Path, "/")
	c.Apply(t, secretPath(target, ""), map[string]any{
		"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": name},
		"stringData": map[string]any{"api_key": key("2").Reveal()},
	})
	got, err := s.Warnings(t.Context(), []stores.Target{target})
	if err != nil || len(got) != 1 || !strings.Contains(got[0].Text, `"test" applies data.api_key`) {
		t.Errorf("%+v, %v", got, err)
	}
}
