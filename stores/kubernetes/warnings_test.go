package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"rotator/stores"
)

// warnings returns what the store warns of at the fields of app/chat, which holds this metadata.
func warnings(t *testing.T, metadata map[string]any, fields ...string) []stores.Warning {
	t.Helper()
	metadata["resourceVersion"] = "1"
	content, err := json.Marshal(map[string]any{"kind": "Secret", "metadata": metadata, "data": map[string]any{"api_key": "eHl6"}})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			t.Errorf("%s %s", r.Method, r.URL)
		}
		_, _ = w.Write(content)
	}))
	t.Cleanup(server.Close)
	s, err := New(Options{Server: server.URL, Token: text("token")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.connections.CloseIdleConnections)
	var targets []stores.Target
	for _, f := range fields {
		targets = append(targets, stores.Target{Path: "app/chat", Field: f})
	}
	all, err := s.Warnings(t.Context(), targets)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func managed(by, operation string, fields ...string) map[string]any {
	data := map[string]any{".": map[string]any{}}
	for _, f := range fields {
		data["f:"+f] = map[string]any{}
	}
	return map[string]any{"manager": by, "operation": operation, "fieldsType": "FieldsV1", "fieldsV1": map[string]any{"f:data": data, "f:type": map[string]any{}}}
}

// TestSecondWriters: whoever else writes the Secret or the field is named, by the sign that shows it.
func TestSecondWriters(t *testing.T) {
	t.Parallel()
	owner := func(controller bool) map[string]any {
		return map[string]any{"ownerReferences": []any{map[string]any{"kind": "ExternalSecret", "name": "chat", "controller": controller}}}
	}
	label := func(key, value string) map[string]any { return map[string]any{"labels": map[string]any{key: value}} }
	annotation := func(key, value string) map[string]any {
		return map[string]any{"annotations": map[string]any{key: value}}
	}
	managers := func(all ...any) map[string]any { return map[string]any{"managedFields": all} }
	const applied = `{"apiVersion":"v1","kind":"Secret","data":{"api_key":"bGVha2VkbGVha2Vk"},"stringData":{"more":"leakedleaked"}}`
	for _, c := range []struct {
		name     string
		metadata map[string]any
		want     string // "": no warning
	}{
		{"nobody", map[string]any{}, ""},
		{"an owner", owner(false), "ExternalSecret chat owns"},
		{"External Secrets, Orphan or Merge", label("reconcile.external-secrets.io/managed", "true"), "External Secrets writes"},
		{"External Secrets' hash", annotation("reconcile.external-secrets.io/data-hash", "1"), "External Secrets writes"},
		{"Sealed Secrets, patch", annotation("sealedsecrets.bitnami.com/patch", "true"), "Sealed Secrets writes"},
		{"Sealed Secrets, not", annotation("sealedsecrets.bitnami.com/patch", "false"), ""},
		{"Argo CD", annotation("argocd.argoproj.io/tracking-id", "x:/Secret:app/chat"), "Argo CD writes"},
		{"Argo CD's label", label("argocd.argoproj.io/instance", "x"), "Argo CD writes"},
		{"Flux", label("kustomize.toolkit.fluxcd.io/name", "x"), "Flux writes"},
		{"Reflector", annotation("reflector.v1.k8s.emberstack.com/reflects", "a/b"), "Reflector writes"},
		{"Reflector's source", annotation("reflector.v1.k8s.emberstack.com/reflection-allowed", "true"), ""},
		{"1Password", annotation("operator.1password.io/item-path", "vaults/a/items/b"), "1Password"},
		{"a manager that applies", managers(managed("argocd-controller", "Apply", "api_key")), `"argocd-controller" applies data.api_key`},
		{"a manager that updates", managers(managed("manager", "Update", "api_key")), `"manager" wrote data.api_key`},
		{"a manager of another field", managers(managed("argocd-controller", "Apply", "other")), ""},
		{"ourselves", managers(managed("rotator", "Update", "api_key"), managed("rotator", "Apply")), ""},
		{"a person", managers(managed("kubectl-create", "Update", "api_key")), ""},
		{"a person who will apply again", managers(managed("kubectl-client-side-apply", "Update", "api_key")), "kubectl-client-side-apply"},
		{"what was applied", annotation(appliedAnnotation, applied), appliedAnnotation},
		{"what was applied is no JSON", annotation(appliedAnnotation, "{"), ""},
		{"no fields", managers(map[string]any{"manager": "x", "operation": "Update"}), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := warnings(t, c.metadata, "api_key")
			switch {
			case c.want == "" && len(got) > 0:
				t.Errorf("%+v", got)
			case c.want != "" && (len(got) != 1 || !strings.Contains(got[0].Text, c.want) || got[0].Do == "" || len(got[0].Targets) != 1):
				t.Errorf("%+v, want %q", got, c.want)
			case strings.Contains(c.name+" ", "applied") && len(got) > 0 && strings.Contains(got[0].Text, "leak"):
				t.Errorf("%+v shows a value", got)
			}
		})
	}
}

// TestSecondWriterOfSeveral: a mark is reported once for all fields of a Secret, a manager for its own.
func TestSecondWriterOfSeveral(t *testing.T) {
	t.Parallel()
	got := warnings(t, map[string]any{
		"labels":        map[string]any{"reconcile.external-secrets.io/managed": "true", "reconcile.external-secrets.io/created-by": "x"},
		"annotations":   map[string]any{"reconcile.external-secrets.io/data-hash": "1"},
		"managedFields": []any{managed("eso", "Apply", "b")},
	}, "a", "b")
	if len(got) != 2 || len(got[0].Targets) != 2 || len(got[1].Targets) != 1 || got[1].Targets[0].Field != "b" {
		t.Errorf("%+v", got)
	}
}

// TestWarningsUnknown: what cannot be looked at is an error beside the other warnings.
func TestWarningsUnknown(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/down") {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		_, _ = w.Write([]byte(`{"kind":"Secret","metadata":{"resourceVersion":"1","labels":{"argocd.argoproj.io/instance":"x"}}}`))
	}))
	t.Cleanup(server.Close)
	s, err := New(Options{Server: server.URL, Token: text("token")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.connections.CloseIdleConnections)
	got, err := s.Warnings(t.Context(), []stores.Target{{Path: "app/down"}, {Path: "app/chat"}})
	if err == nil || !strings.Contains(err.Error(), "app/down") || len(got) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Warnings(ended, []stores.Target{{Path: "app/chat"}}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
