package kubernetes

import (
	"context"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"rotator/internal/secret"
	"rotator/stores"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// text returns a reference to a fixed secret.
func text(s string) func(context.Context) (secret.Text, error) {
	return func(context.Context) (secret.Text, error) { return secret.New(s), nil }
}

const missing = `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","details":{"kind":"secrets"},"code":404}`

// TestInPod: a pod speaks to its own cluster with the token that lies there at the moment.
func TestInPod(t *testing.T) {
	t.Parallel()
	var asked []string
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Header.Get("Authorization")+" "+r.URL.Path)
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, missing)
	}))
	t.Cleanup(server.Close)
	at, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	here := pod{host: at.Hostname(), port: at.Port(), folder: t.TempDir()}
	write := func(name string, content []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(here.folder, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("ca.crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	s, err := open(Options{}, here)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.connections.CloseIdleConnections)
	for _, token := range []string{"one", "two\n"} {
		write("token", []byte(token))
		if _, err := s.Current(t.Context(), stores.Target{Path: "app/chat"}); !errors.Is(err, stores.ErrNotFound) {
			t.Fatal(err)
		}
	}
	const path = " /api/v1/namespaces/app/secrets/chat"
	if got := strings.Join(asked, ","); got != "Bearer one"+path+",Bearer two"+path {
		t.Errorf("the server was asked %s", got)
	}
	if _, err := open(Options{}, pod{}); err == nil || !strings.Contains(err.Error(), "no pod") {
		t.Errorf("outside of a pod: %v", err)
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		o    Options
		want string
	}{
		{"no token", Options{Server: "https://k"}, "token"},
		{"in clear", Options{Server: "http://k", Token: text("a")}, "https://"},
		{"a password", Options{Server: "https://user:hunter2@k", Token: text("a")}, "password"},
		{"no URL", Options{Server: "://hunter2", Token: text("a")}, "URL"},
		{"no authority", Options{Server: "https://k", Token: text("a"), CACert: "/none"}, "/none"},
		{"a negative timeout", Options{Server: "https://k", Token: text("a"), Timeout: -1}, "timeout"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := New(c.o)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// TestTargets: what is no namespace, name or field is refused before anyone is asked.
func TestTargets(t *testing.T) {
	t.Parallel()
	s, err := New(Options{Server: "https://127.0.0.1:1", Token: func(context.Context) (secret.Text, error) {
		t.Error("the cluster is asked")
		return secret.Text{}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range []stores.Target{
		{Path: "chat"}, {Path: "app/"}, {Path: "/chat"}, {Path: "app/chat/x"}, {Path: "../chat"}, {Path: "app/.."}, {Path: "App/chat"},
		{Path: "app/chat?x"}, {Path: "app/chat.rotator"}, {Path: "app/" + strings.Repeat("a", 250)}, {Path: "app/chat", Field: "a/b"},
		{Path: "app/chat", Field: ".."}, {Path: "app/chat", Field: strings.Repeat("a", 250)}, {Path: "app/chat", Options: map[string]string{"mode": "0600"}},
	} {
		if _, err := s.Current(t.Context(), target); !errors.Is(err, stores.ErrInvalid) {
			t.Errorf("%+v: %v", target, err)
		}
	}
	for _, attempt := range []string{"", "../x", "a/b", strings.Repeat("a", 129)} {
		if err := s.Discard(t.Context(), stores.Target{Path: "app/chat"}, attempt); !errors.Is(err, stores.ErrInvalid) {
			t.Errorf("attempt %q: %v", attempt, err)
		}
	}
}

// TestAnswers: what is not the API server's own means "not known", whatever its status, and no answer's text is shown.
func TestAnswers(t *testing.T) {
	t.Parallel()
	const leak = "xai-0123456789"
	status := func(kind string) string {
		return `{"kind":"Status","message":"` + leak + `","details":{"kind":"` + kind + `"}}`
	}
	for _, c := range []struct {
		name   string
		status int
		body   string
		want   error // nil: not known
	}{
		{"a proxy's 404", 404, "<html>" + leak, nil},
		{"a proxy's 403", 403, `{"error":"` + leak + `"}`, nil},
		{"a redirect", 302, leak, nil},
		{"half an answer", 200, `{"metadata":{"resourceVersion":"1"},"data":{"value":"` + leak, nil},
		{"another's answer", 200, `{}`, nil},
		{"busy", 429, status(""), nil},
		{"broken", 500, status("secrets"), nil},
		{"logged out", 401, status(""), stores.ErrDenied},
		{"denied", 403, status("secrets"), stores.ErrDenied},
		{"not there", 404, status("secrets"), stores.ErrNotFound},
		{"no namespace", 404, status("namespaces"), stores.ErrInvalid},
		{"refused", 422, status("secrets"), stores.ErrInvalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
			}))
			t.Cleanup(server.Close)
			s, err := New(Options{Server: server.URL, Token: text("token")})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(s.connections.CloseIdleConnections)
			_, err = s.Current(t.Context(), stores.Target{Path: "app/chat"})
			for _, sentinel := range []error{stores.ErrDenied, stores.ErrNotFound, stores.ErrInvalid} {
				if errors.Is(err, sentinel) != errors.Is(c.want, sentinel) {
					t.Errorf("%v means %v", err, sentinel)
				}
			}
			if err == nil || strings.Contains(err.Error(), leak) {
				t.Errorf("the error is %v", err)
			}
		})
	}
	t.Run("nobody answers", func(t *testing.T) {
		t.Parallel()
		s, err := New(Options{Server: "http://127.0.0.1:1", Token: text("token")})
		if err != nil {
			t.Fatal(err)
		}
		var network *net.OpError
		if _, err := s.Current(t.Context(), stores.Target{Path: "app/chat"}); !errors.As(err, &network) {
			t.Errorf("%v", err)
		}
	})
}

// TestWrites: a write is done when the API server shows what it wrote, not when someone answers 200.
func TestWrites(t *testing.T) {
	t.Parallel()
	const (
		target   = `{"kind":"Secret","metadata":{"resourceVersion":"1","annotations":{"rotator/restart":"deployment/chat"}},"data":{}}`
		beside   = `{"kind":"Secret","metadata":{"resourceVersion":"1"},"data":{"staged.a":"eA=="}}`
		workload = `{"kind":"Deployment","metadata":{"resourceVersion":"1"}}`
	)
	for what, page := range map[string]string{"an empty object": `{}`, "a login page": `<html>`, "another's object": `{"error":"later"}`, "nothing": ``} {
		for _, c := range []struct {
			name  string
			spoil string // "method name" whose answer it is
			do    func(s *Store, at stores.Target) error
		}{
			{"stage", "PATCH chat.rotator", func(s *Store, at stores.Target) error { return s.Stage(t.Context(), at, "b", secret.New("v")) }},
			{"discard the last", "DELETE chat.rotator", func(s *Store, at stores.Target) error { return s.Discard(t.Context(), at, "a") }},
			{"promote", "PATCH chat", func(s *Store, at stores.Target) error { return s.Promote(t.Context(), at, "a", secret.New("x"), "") }},
			{"restart", "PATCH deployment", func(s *Store, at stores.Target) error { return s.Promote(t.Context(), at, "a", secret.New("x"), "") }},
		} {
			t.Run(c.name+"/"+what, func(t *testing.T) {
				t.Parallel()
				server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					name, answer := "chat", target
					switch {
					case strings.Contains(r.URL.Path, "/deployments/"):
						name, answer = "deployment", workload
					case strings.HasSuffix(r.URL.Path, ".rotator"):
						name, answer = "chat.rotator", beside
					}
					if r.Method+" "+name == c.spoil {
						answer = page
					}
					_, _ = io.WriteString(w, answer)
				}))
				t.Cleanup(server.Close)
				s, err := New(Options{Server: server.URL, Token: text("token")})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(s.connections.CloseIdleConnections)
				if err := c.do(s, stores.Target{Path: "app/chat"}); !errors.Is(err, errUnreadable) {
					t.Errorf("got %v", err)
				}
			})
		}
	}
}
