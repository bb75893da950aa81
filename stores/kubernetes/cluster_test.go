//go:build deploy

package kubernetes

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"rotator/internal/secret"
	"rotator/internal/testenv/kubetest"
	"rotator/stores"
)

const (
	attempt = "0190f4a2-0000-7000-8000-000000000001"
	another = "0190f4a2-0000-7000-8000-000000000002"
)

// key returns a value of an API key's form.
func key(tail string) secret.Text { return secret.New("xai-" + strings.Repeat("k", 79) + tail) }

func chat(c *kubetest.Cluster, namespace string) stores.Target {
	return stores.Target{Path: namespace + "/" + c.Name("chat"), Field: "api_key"}
}

// TestRefused: what is written would not stay, or cannot be written. Reading goes on, and nothing changes.
func TestRefused(t *testing.T) {
	c := kubetest.Shared(t)
	s, namespace := administrator(t, c), c.Namespace(t, nil)
	owner := map[string]any{"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "name": "chat", "uid": "1"}
	controlled := map[string]any{"controller": true}
	for name, value := range owner {
		controlled[name] = value
	}
	for _, tc := range []struct {
		name string
		more map[string]any
		want string // "" for what is taken
	}{
		{"controlled", map[string]any{"ownerReferences": []any{controlled}}, "controlled by ExternalSecret chat"},
		{"owned, which only says when it goes", map[string]any{"ownerReferences": []any{owner}}, ""},
		{"immutable", map[string]any{"immutable": true}, "immutable"},
		{"a service account's token", map[string]any{"type": "kubernetes.io/service-account-token"}, "service account"},
		{"being deleted", map[string]any{"finalizers": []any{"example.com/wait"}}, "being deleted"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			target := chat(c, namespace)
			_, name, _ := strings.Cut(target.Path, "/")
			metadata := map[string]any{"name": name, "annotations": map[string]any{"kubernetes.io/service-account.name": "chat"}}
			object := map[string]any{"metadata": metadata, "data": map[string][]byte{"api_key": []byte(key("1").Reveal())}}
			for member, value := range tc.more {
				if member == "ownerReferences" || member == "finalizers" {
					metadata[member] = value
				} else {
					object[member] = value
				}
			}
			c.Do(t, http.MethodPost, "api/v1/namespaces/"+namespace+"/secrets", object, nil)
			if tc.name == "being deleted" {
				c.Do(t, http.MethodDelete, secretPath(target, ""), nil, nil)
			}
			if now, err := s.Current(t.Context(), target); err != nil || !now.Equal(key("1")) {
				t.Errorf("Current: %v", err)
			}
			for doing, err := range map[string]error{
				"check":   s.Check(t.Context(), target),
				"promote": s.Promote(t.Context(), target, attempt, key("2"), key("1").Fingerprint()),
			} {
				switch {
				case tc.want == "" && err != nil:
					t.Errorf("%s: %v", doing, err)
				case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
					t.Errorf("%s: %v, want %q", doing, err, tc.want)
				case tc.want != "" && errors.Is(err, stores.ErrInvalid) == (tc.name == "being deleted"): // that passes by itself
					t.Errorf("%s: %v means the wrong thing", doing, err)
				}
			}
			if held, _ := look(t, c, target, ""); tc.want != "" && string(held.Data["api_key"]) != key("1").Reveal() {
				t.Error("the key changed")
			}
		})
	}
}

// TestWhatItTells: annotations of the target name each field's key, and leave others' alone.
func TestWhatItTells(t *testing.T) {
	c := kubetest.Shared(t)
	s := administrator(t, c)
	target := chat(c, c.Namespace(t, nil))
	second := target
	second.Field = "other"
	human(t, c, target, map[string][]byte{"api_key": []byte(key("1").Reveal())}, nil)
	c.Do(t, http.MethodPatch, secretPath(target, ""), map[string]any{"metadata": map[string]any{
		"annotations": map[string]any{"example.com/team": "chat", keysAnnotation: "scribble"}, "labels": map[string]any{"app": "chat"},
	}}, nil)
	if err := errors.Join(
		s.Promote(t.Context(), target, attempt, key("2"), key("1").Fingerprint()),
		s.Promote(t.Context(), second, another, key("3"), ""),
	); err != nil {
		t.Fatal(err)
	}
	var held struct {
		Metadata struct{ Annotations, Labels map[string]string }
	}
	c.Do(t, http.MethodGet, secretPath(target, ""), nil, &held)
	want := `{"api_key":{"fingerprint":"` + string(key("2").Fingerprint()) + `","rotation":"` + attempt + `"},` +
		`"other":{"fingerprint":"` + string(key("3").Fingerprint()) + `","rotation":"` + another + `"}}`
	if got := held.Metadata.Annotations[keysAnnotation]; got != want {
		t.Errorf("the annotation is %s, want %s", got, want)
	}
	if held.Metadata.Annotations["example.com/team"] != "chat" || held.Metadata.Labels["app"] != "chat" {
		t.Errorf("others' annotations and labels changed: %+v", held.Metadata)
	}
	beside, _ := look(t, c, target, suffix)
	if len(beside.Metadata.Annotations) > 0 {
		t.Errorf("the Secret beside tells %v", beside.Metadata.Annotations)
	}
}

// TestRestart: a promote that is done has told every workload, once for each key, however often it is called.
func TestRestart(t *testing.T) {
	c := kubetest.Shared(t)
	s, namespace := administrator(t, c), c.Namespace(t, nil)
	target := chat(c, namespace)
	label := map[string]any{"app": "chat"}
	workload := "apis/apps/v1/namespaces/" + namespace + "/deployments/chat"
	generation := func() int64 {
		t.Helper()
		var d struct{ Metadata struct{ Generation int64 } }
		c.Do(t, http.MethodGet, workload, nil, &d)
		return d.Metadata.Generation
	}
	names := func(text string) {
		t.Helper()
		c.Do(t, http.MethodPatch, secretPath(target, ""), map[string]any{"metadata": map[string]any{"annotations": map[string]any{restartAnnotation: text}}}, nil)
	}
	human(t, c, target, map[string][]byte{"api_key": []byte(key("1").Reveal())}, nil)

	names("deployment/chat")
	if err := s.Check(t.Context(), target); !errors.Is(err, stores.ErrInvalid) || !strings.Contains(err.Error(), "deployments chat") {
		t.Fatalf("check of a workload that is not there: %v", err)
	}
	if err := s.Promote(t.Context(), target, attempt, key("2"), key("1").Fingerprint()); !errors.Is(err, stores.ErrInvalid) {
		t.Fatalf("a workload that is not there: %v", err)
	}
	if now, err := s.Current(t.Context(), target); err != nil || !now.Equal(key("2")) {
		t.Fatalf("the key is not promoted: %v", err)
	}
	c.Apply(t, workload, map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": "chat"},
		"spec": map[string]any{"selector": map[string]any{"matchLabels": label}, "template": map[string]any{
			"metadata": map[string]any{"labels": label},
			"spec":     map[string]any{"containers": []any{map[string]any{"name": "chat", "image": "chat"}}},
		}},
	})
	if err := s.Check(t.Context(), target); err != nil || generation() != 1 {
		t.Fatalf("check of a workload that is there: %v, generation %d", err, generation())
	}
	for range 3 { // the call after a crash, which finds the value there, restarts; the next ones do not
		if err := s.Promote(t.Context(), target, attempt, key("2"), key("1").Fingerprint()); err != nil {
			t.Fatal(err)
		}
		if g := generation(); g != 2 {
			t.Fatalf("the workload's generation is %d, want 2", g)
		}
	}
	if err := s.Promote(t.Context(), target, another, key("3"), key("2").Fingerprint()); err != nil || generation() != 3 {
		t.Fatalf("the next key: %v, generation %d", err, generation())
	}
	for _, wrong := range []string{"pod/chat", "chat", "deployment/../x", "deployment/chat;x"} {
		names(wrong)
		if err := s.Check(t.Context(), target); !errors.Is(err, stores.ErrInvalid) || !strings.Contains(err.Error(), restartAnnotation) {
			t.Errorf("%q: %v", wrong, err)
		}
	}
}

// TestLostAnswers: the caller cannot know, comes back, and finds it done.
func TestLostAnswers(t *testing.T) {
	c := kubetest.Shared(t)
	between, namespace := newInterposer(t, c), c.Namespace(t, nil)
	s := store(t, Options{Server: between.address, Token: text(c.Token)})
	for _, beside := range []string{"", suffix} {
		target := chat(c, namespace)
		human(t, c, target, map[string][]byte{"api_key": []byte(key("1").Reveal())}, nil)
		between.instead(http.MethodPatch, "/"+secretPath(target, beside), func(_ http.ResponseWriter, r *http.Request, forward http.Handler) {
			forward.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		})
		err := s.Promote(t.Context(), target, attempt, key("2"), key("1").Fingerprint())
		if err == nil || errors.Is(err, stores.ErrConflict) || errors.Is(err, stores.ErrInvalid) || errors.Is(err, stores.ErrDenied) {
			t.Fatalf("the answer is lost, and the error is %v", err)
		}
		if err := s.Promote(t.Context(), target, attempt, key("2"), key("1").Fingerprint()); err != nil {
			t.Fatal(err)
		}
		if was, err := s.Previous(t.Context(), target, key("1").Fingerprint()); err != nil || !was.Equal(key("1")) {
			t.Fatalf("the former value: %v", err)
		}
	}
}

// TestNoNamespace is told apart from a Secret that is not there yet.
func TestNoNamespace(t *testing.T) {
	c := kubetest.Shared(t)
	s, target := administrator(t, c), stores.Target{Path: "nowhere/chat"}
	for doing, err := range map[string]error{
		"check": s.Check(t.Context(), target), "stage": s.Stage(t.Context(), target, attempt, key("1")),
		"promote": s.Promote(t.Context(), target, attempt, key("1"), ""),
	} {
		if !errors.Is(err, stores.ErrInvalid) || !strings.Contains(err.Error(), "no such namespace") {
			t.Errorf("%s: %v", doing, err)
		}
	}
	if _, err := s.Current(t.Context(), target); !errors.Is(err, stores.ErrNotFound) {
		t.Errorf("current: %v", err)
	}
}

// TestLoggedOut: a token that the server does not know is denied, by name.
func TestLoggedOut(t *testing.T) {
	c := kubetest.Shared(t)
	s := store(t, Options{Server: c.Address, CACert: c.CAFile(t), Token: text("none")})
	if _, err := s.Current(t.Context(), stores.Target{Path: "default/chat"}); !errors.Is(err, stores.ErrDenied) {
		t.Errorf("%v", err)
	}
}
