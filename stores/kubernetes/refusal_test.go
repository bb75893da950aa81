package kubernetes

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"rotator/internal/secret"
	"rotator/stores"
)

// refusing answers every write with a Status, and every read with the Secret.
func refusing(t *testing.T, held string, status int, answer any) *Store {
	t.Helper()
	content, err := json.Marshal(answer)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			_, _ = fmt.Fprint(w, held)
			return
		}
		w.WriteHeader(status)
		_, _ = w.Write(content)
	}))
	t.Cleanup(server.Close)
	s, err := New(Options{Server: server.URL, Token: text("token")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.connections.CloseIdleConnections)
	return s
}

// status is a refusal as the API server writes it.
func status(reason, message string, fields ...string) map[string]any {
	var causes []map[string]string
	for _, f := range fields {
		causes = append(causes, map[string]string{"field": f, "message": "no", "reason": "FieldValueInvalid"})
	}
	return map[string]any{"kind": "Status", "reason": reason, "message": message, "details": map[string]any{"kind": "secrets", "causes": causes}}
}

// TestRefusalsSayWhy: what the API says of a refusal is shown, with the fields that it is about.
func TestRefusalsSayWhy(t *testing.T) {
	t.Parallel()
	const held = `{"kind":"Secret","metadata":{"resourceVersion":"1"},"data":{}}`
	for _, c := range []struct {
		name   string
		status int
		answer any
		want   error
		says   []string
	}{
		{"a policy", 422, status("Invalid", "ValidatingAdmissionPolicy 'labels' with binding 'all' denied request: team is missing"), stores.ErrInvalid,
			[]string{"status 422 Invalid", "team is missing"}},
		{"a webhook's 403", 403, status("Forbidden", `admission webhook "secrets.example" denied the request: no`), stores.ErrInvalid,
			[]string{"status 403 Forbidden", "denied the request: no"}},
		{"a quota", 403, status("Forbidden", `secrets "chat" is forbidden: exceeded quota: few, requested: count/secrets=1`), stores.ErrInvalid,
			[]string{"exceeded quota: few"}},
		{"a missing right", 403, status("Forbidden", `secrets "chat" is forbidden: User "x" cannot patch resource "secrets" in API group ""`), stores.ErrDenied,
			[]string{`cannot patch resource "secrets"`}},
		{"a field", 422, status("Invalid", "Secret is invalid", "data", "data", "metadata.labels"), stores.ErrInvalid,
			[]string{"(field data, metadata.labels)"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := refusing(t, held, c.status, c.answer)
			err := s.Promote(t.Context(), stores.Target{Path: "app/chat"}, "a", secret.New("v"), "")
			if !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
			for _, says := range c.says {
				if !strings.Contains(err.Error(), says) {
					t.Errorf("%v does not say %q", err, says)
				}
			}
		})
	}
}

// TestRefusalsHide: an answer may quote what was sent and what the Secret holds beside it; no piece of it is shown, and
// nothing that a terminal would obey.
func TestRefusalsHide(t *testing.T) {
	t.Parallel()
	const other, next = "correct-horse", "xai-ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	encode := func(v string) string { return base64.StdEncoding.EncodeToString([]byte(v)) }
	held := `{"kind":"Secret","metadata":{"resourceVersion":"1"},"data":{"password":"` + encode(other) + `"}}`
	for name, message := range map[string]string{
		"the value":             "bad value " + next,
		"its base64":            "bad value " + encode(next),
		"a piece of it":         "bad value " + next[5:20] + "...",
		"a piece of its base64": "bad " + encode(next)[3:25],
		"another field's":       "bad object {password: " + other + "}",
		"another's base64":      "bad object " + encode(other),
		"a key nobody sent":     "bad xai-zzzzyyyyxxxx",
		"a token nobody sent":   "bad eyJhbGciOiJSUzI1NiIsImtpZCI6IjEyMzQ1Njc4OTAifQ",
		"a long text":           "bad " + strings.Repeat("na ", 4000) + next,
		"cut at the value":      "bad " + strings.Repeat("é", 1580) + next,
		"for a terminal":        "bad \x1b[31mred\x1b[0m\r\nline\u202e",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := refusing(t, held, 422, status("Invalid", message, "data["+next+"]"))
			err := s.Promote(t.Context(), stores.Target{Path: "app/chat"}, "a", secret.New(next), "")
			if err == nil || !strings.Contains(err.Error(), "status 422 Invalid: bad") {
				t.Fatalf("the error is %v", err)
			}
			said := err.Error()
			for _, hidden := range []string{next, encode(next), other, encode(other), "xai-zzzzyyyyxxxx", "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEyMzQ1Njc4OTAifQ"} {
				for i := 0; i+8 <= len(hidden); i++ {
					if strings.Contains(said, hidden[i:i+8]) {
						t.Fatalf("%q shows %q", said, hidden[i:i+8])
					}
				}
			}
			if strings.ContainsAny(said, "\x1b\r\n\u202e") || len([]rune(said)) > 800 {
				t.Errorf("%q", said)
			}
		})
	}
}

// TestShownKeepsWords: what is hidden does not take the sentence with it.
func TestShownKeepsWords(t *testing.T) {
	t.Parallel()
	const said = `ValidatingAdmissionPolicyBinding "require-labels" at https://kyverno-svc.kyverno.svc:443/validate/fail: Too long: must have at most 1048576 bytes`
	if got := shown(said, maxMessage, []string{"abc", "some-password"}); got != said {
		t.Errorf("%q became %q", said, got)
	}
}
