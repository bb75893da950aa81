package vault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rotator/internal/secret"
	"rotator/internal/testenv/vaulttest"
	"rotator/stores"
)

func TestTLS(t *testing.T) {
	t.Parallel()
	server := vaulttest.Shared(t)
	mount := server.Mount(t, 2)
	plain, files := server.TLS(t, false)
	mutual, mutualFiles := server.TLS(t, true)
	for name, tc := range map[string]struct {
		o    Options
		good bool
	}{
		"authority":           {Options{Address: plain.Address, CACert: files.CA}, true},
		"server name":         {Options{Address: plain.Address, CACert: files.CA, ServerName: "vault.example"}, true},
		"wrong server name":   {Options{Address: plain.Address, CACert: files.CA, ServerName: "vault.test"}, false},
		"wrong authority":     {Options{Address: plain.Address, CACert: mutualFiles.CA}, false},
		"system's":            {Options{Address: plain.Address}, false},
		"http spoken to TLS":  {Options{Address: strings.Replace(plain.Address, "https", "http", 1), Transport: &http.Transport{DisableKeepAlives: true}}, false},
		"TLS spoken to http":  {Options{Address: strings.Replace(server.Address, "http", "https", 1)}, false},
		"client's":            {Options{Address: mutual.Address, CACert: mutualFiles.CA, ClientCert: mutualFiles.ClientCert, ClientKey: mutualFiles.ClientKey}, true},
		"none of the client":  {Options{Address: mutual.Address, CACert: mutualFiles.CA}, false},
		"another's authority": {Options{Address: mutual.Address, CACert: mutualFiles.CA, ClientCert: files.ClientCert, ClientKey: files.ClientKey}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.o.Mount = mount
			_, err := open(t, server, tc.o).Current(t.Context(), stores.Target{Path: "a"})
			if tc.good {
				is(t, err, stores.ErrNotFound)
				return
			}
			notKnown(t, err)
		})
	}
}

func TestNamespace(t *testing.T) {
	t.Parallel()
	for _, namespace := range []string{"", "team/a"} {
		r := newRig(t, 2, Options{Namespace: namespace})
		_, _ = r.store.Current(t.Context(), r.target)
		seen := r.proxy.Seen()
		if len(seen) == 0 {
			t.Error("nothing was asked")
		}
		for _, q := range seen {
			if got := q.Header.Get("X-Vault-Namespace"); got != namespace {
				t.Errorf("%s %s goes to namespace %q, want %q", q.Method, q.Path, got, namespace)
			}
		}
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	empty := filepath.Join(folder, "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	good := Options{Address: "https://vault.example:8200", Auth: Auth{Method: "token", Secret: text("t")}}
	if _, err := New(good); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*Options){
		"no address":                func(o *Options) { o.Address = "" },
		"no scheme":                 func(o *Options) { o.Address = "vault.example:8200" },
		"http over a network":       func(o *Options) { o.Address = "http://vault.example:8200" },
		"unix socket":               func(o *Options) { o.Address = "unix:///run/vault.sock" },
		"password":                  func(o *Options) { o.Address = "https://user:hunter2@vault.example" },
		"query":                     func(o *Options) { o.Address += "?token=hunter2" },
		"unreadable":                func(o *Options) { o.Address = "https://hunter2\x7f" },
		"mount up":                  func(o *Options) { o.Mount = "secret/../sys" },
		"mount absolute":            func(o *Options) { o.Mount = "/secret" },
		"staging prefix":            func(o *Options) { o.StagingPrefix = "a//b" },
		"KV version":                func(o *Options) { o.KVVersion = 3 },
		"timeout":                   func(o *Options) { o.Timeout = -1 },
		"no login":                  func(o *Options) { o.Auth = Auth{} },
		"unknown login":             func(o *Options) { o.Auth.Method = "userpass" },
		"token without a secret":    func(o *Options) { o.Auth.Secret = nil },
		"token with a role":         func(o *Options) { o.Auth.Role = "r" },
		"approle without a role":    func(o *Options) { o.Auth.Method = "approle" },
		"jwt without a secret":      func(o *Options) { o.Auth = Auth{Method: "jwt", Role: "r"} },
		"auth mount":                func(o *Options) { o.Auth = Auth{Method: "kubernetes", Role: "r", Mount: "../x"} },
		"no CA file":                func(o *Options) { o.CACert = filepath.Join(folder, "none.pem") },
		"empty CA file":             func(o *Options) { o.CACert = empty },
		"certificate without a key": func(o *Options) { o.ClientCert = empty },
		"key without a certificate": func(o *Options) { o.ClientKey = empty },
		"empty certificate":         func(o *Options) { o.ClientCert, o.ClientKey = empty, empty },
		"TLS beside a transport":    func(o *Options) { o.Transport, o.ServerName = http.DefaultTransport, "x" },
	} {
		t.Run(name, func(t *testing.T) {
			o := good
			change(&o)
			_, err := New(o)
			if err == nil {
				t.Fatal("accepted")
			}
			silent(t, err, secret.New("hunter2"))
		})
	}
}

// TestEnvironmentIsNotRead sets what Vault's own client would follow.
func TestEnvironmentIsNotRead(t *testing.T) {
	server := vaulttest.Shared(t)
	mount, proxy := server.Mount(t, 2), server.Proxy(t)
	t.Setenv("VAULT_ADDR", "http://127.0.0.1:1")
	t.Setenv("VAULT_TOKEN", "wrong\nand broken")
	t.Setenv("VAULT_NAMESPACE", "wrong")
	t.Setenv("VAULT_WRAP_TTL", "5m")
	t.Setenv("VAULT_HEADERS", `{"X-Wrong":"yes"}`)
	s := open(t, server, Options{Address: proxy.Address, Mount: mount})
	is(t, s.Promote(t.Context(), stores.Target{Path: "a"}, attempt, newKey, ""), nil)
	for _, q := range proxy.Seen() {
		for _, name := range []string{"X-Wrong", "X-Vault-Namespace", "X-Vault-Wrap-Ttl"} {
			if got := q.Header.Get(name); got != "" {
				t.Errorf("%s: %s", name, got)
			}
		}
		if q.Header.Get("X-Vault-Token") != server.RootToken || q.Header.Get("X-Vault-Request") != "true" {
			t.Error("the headers are not the store's")
		}
	}
}

// TestGarbage answers for Vault, in the place of reads and of writes. Only Vault's own words decide anything.
func TestGarbage(t *testing.T) {
	t.Parallel()
	leak := newKey.Reveal()
	for name, tc := range map[string]struct {
		status int
		body   string
		want   error // nil: not known
	}{
		"200 of nothing":           {200, ``, nil},
		"200 of HTML":              {200, `<html>` + leak, nil},
		"200 of no object":         {200, `"` + leak + `"`, nil},
		"200 without data":         {200, `{}`, nil},
		"200 with null":            {200, `{"data":null}`, nil},
		"200 of an empty version":  {200, `{"data":{"data":null,"metadata":{"version":1}}}`, nil},
		"200 without metadata":     {200, `{"data":{"data":{"api_key":"` + leak + `"}}}`, nil},
		"200 of a list":            {200, `{"data":{"data":["` + leak + `"],"metadata":{"version":1}}}`, nil},
		"200 cut":                  {200, `{"data":{"data":{"api_key":"` + leak, nil},
		"302":                      {302, `{"errors":[]}`, nil},
		"404 of HTML":              {404, `<html>` + leak, nil},
		"404 of nothing":           {404, ``, nil},
		"404 of an empty object":   {404, `{}`, nil},
		"404 with null":            {404, `{"data":null}`, nil},
		"404 with a warning":       {404, `{"data":{},"warnings":["` + leak + `"]}`, nil},
		"404 with data":            {404, `{"data":{"data":{"api_key":"` + leak + `"},"metadata":{"version":1}}}`, nil},
		"404 without a mount":      {404, `{"errors":["no handler for ` + leak + `"]}`, stores.ErrInvalid},
		"404 of Vault":             {404, `{"errors":[]}`, stores.ErrNotFound},
		"404 of a deleted version": {404, `{"data":{"data":null,"metadata":{"version":1}}}`, stores.ErrNotFound},
		"400":                      {400, `{"errors":["` + leak + `"]}`, stores.ErrInvalid},
		"403 of HTML":              {403, `<html>` + leak, nil},
		"403":                      {403, `{"errors":["` + leak + `"]}`, stores.ErrDenied},
		"412":                      {412, `{"errors":["` + leak + `"]}`, nil},
		"413":                      {413, `{"errors":["` + leak + `"]}`, stores.ErrInvalid},
		"429":                      {429, `{"errors":["` + leak + `"]}`, nil},
		"500":                      {500, `{"errors":["` + leak + `"]}`, nil},
		"503 sealed":               {503, `{"errors":["` + leak + `"]}`, nil},
		"huge":                     {200, `{"data":"` + strings.Repeat(leak, maxAnswer/len(leak)+1) + `"}`, nil},
		"huge error":               {500, `{"errors":["` + strings.Repeat(leak, maxAnswer/len(leak)+1) + `"]}`, nil},
	} {
		means := func(t *testing.T, err, want error) {
			t.Helper()
			if want == nil {
				notKnown(t, err)
				return
			}
			is(t, err, want)
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// A store that saw a version of the target takes no answer for it that shows none: see TestFalseNotFound.
			r := newRig(t, 2, Options{})
			r.seed(t, doc(oldKey))
			_, err := r.store.Current(t.Context(), stores.Target{Path: "elsewhere"}) // so that the mount is known
			is(t, err, stores.ErrNotFound)
			r.proxy.Inject(1, vaulttest.Calls(http.MethodGet, r.mount+"/data"), vaulttest.Answer(tc.status, tc.body))
			_, err = r.store.Current(t.Context(), r.target)
			means(t, err, tc.want)
			r.proxy.Inject(1, vaulttest.Calls(http.MethodGet, r.mount+"/data"), vaulttest.Answer(tc.status, tc.body))
			err = r.store.Promote(t.Context(), r.target, attempt, newKey, oldKey.Fingerprint())
			if errors.Is(tc.want, stores.ErrNotFound) {
				is(t, err, stores.ErrConflict) // nothing there, by Vault's word, where something was expected
			} else {
				means(t, err, tc.want)
			}
			if tc.status >= 400 && tc.status != 404 {
				r.proxy.Inject(1, vaulttest.Calls(http.MethodPut, r.mount), vaulttest.Answer(tc.status, tc.body))
				means(t, r.store.Promote(t.Context(), r.target, attempt, newKey, oldKey.Fingerprint()), tc.want)
			}
			r.holds(t, doc(oldKey))
		})
	}
}

// TestGarbageForWrites: a write is done when Vault says so, and not when someone answers 200.
func TestGarbageForWrites(t *testing.T) {
	t.Parallel()
	for _, version := range []int{1, 2} {
		r := newRig(t, version, Options{})
		r.seed(t, doc(oldKey))
		ctx := t.Context()
		is(t, r.store.Check(ctx, r.target), nil) // so that session and mount are known
		is(t, r.store.Stage(ctx, r.target, attempt, oldKey), nil)
		for name, tc := range map[string]struct {
			status int
			body   string
			want   error // nil: not known
		}{
			"200 of nothing":       {200, ``, nil},
			"200 of HTML":          {200, `<html>`, nil},
			"200 of an object":     {200, `{}`, nil},
			"200 of another error": {200, `{"error":"log in"}`, nil},
			"200 of errors":        {200, `{"request_id":"1","errors":["later"]}`, nil},
			"200, wrapped":         {200, `{"request_id":"1","data":null,"wrap_info":{"token":"s.x"}}`, stores.ErrInvalid},
			"202":                  {202, `{"accepted":true}`, nil},
			"404 with null":        {404, `{"request_id":"1","data":null,"warnings":["Invalid path"]}`, nil},
			"404 with data":        {404, `{"request_id":"1","data":{}}`, nil},
		} {
			for doing, do := range map[string]func() error{
				"stage":   func() error { return r.store.Stage(ctx, r.target, "another", newKey) },
				"promote": func() error { return r.store.Promote(ctx, r.target, attempt, newKey, oldKey.Fingerprint()) },
				"discard": func() error { return r.store.Discard(ctx, r.target, attempt) },
			} {
				t.Run(fmt.Sprintf("KV %d/%s/%s", version, name, doing), func(t *testing.T) {
					r.proxy.Inject(1, func(q *http.Request) bool { return q.Method != http.MethodGet }, vaulttest.Answer(tc.status, tc.body))
					if err := do(); tc.want != nil {
						is(t, err, tc.want)
					} else {
						notKnown(t, err)
					}
					r.holds(t, doc(oldKey))
				})
			}
		}
	}
}

// TestGarbageForTheMount: what is mounted is not guessed.
func TestGarbageForTheMount(t *testing.T) {
	t.Parallel()
	for _, body := range []string{``, `<html>`, `{}`, `{"data":null}`, `{"data":{}}`, `{"data":{"type":"kv"}}`, `{"data":{"path":"secret/"}}`} {
		s := open(t, nil, Options{
			Address: "https://vault.example", Auth: Auth{Method: "token", Secret: text("t")}, Transport: fixed{200, body},
		})
		s.sessions.held = session{token: secret.New("t")}
		_, err := s.Current(t.Context(), stores.Target{Path: "a"})
		notKnown(t, err)
	}
}

// TestMalformedAnswer: net/http quotes what it cannot read.
func TestMalformedAnswer(t *testing.T) {
	t.Parallel()
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		connection, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(connection, newKey.Reveal()+"\r\n\r\n")
		_ = connection.Close()
	}))
	t.Cleanup(front.Close)
	s := open(t, nil, Options{Address: front.URL, Auth: Auth{Method: "token", Secret: text(newKey.Reveal())}})
	_, err := s.Current(t.Context(), stores.Target{Path: "a"})
	notKnown(t, err)
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	s := open(t, nil, Options{Address: "http://127.0.0.1:1", Auth: Auth{Method: "approle", Role: "r", Secret: text("s")}})
	_, err := s.Current(t.Context(), stores.Target{Path: "a"})
	notKnown(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.Current(ctx, stores.Target{Path: "a"})
	is(t, err, context.Canceled)
}

// fixed answers every call alike.
type fixed struct {
	status int
	body   string
}

func (f fixed) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: f.status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(f.body)), Request: r,
	}, nil
}

// endless answers without end.
type endless struct{}

func (endless) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 500, Header: http.Header{}, Body: io.NopCloser(endless{}), Request: r}, nil
}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestEndlessAnswer(t *testing.T) {
	t.Parallel()
	s := open(t, nil, Options{Address: "https://vault.example", Auth: Auth{Method: "token", Secret: text("t")}, Transport: endless{}})
	_, err := s.Current(t.Context(), stores.Target{Path: "a"})
	notKnown(t, err)
	is(t, err, errTooLarge)
}

// FuzzVaultAnswer gives any answer to any call: nothing panics, ErrNotFound comes only from Vault's own 404, or from a
// success in which the field is missing, and no error shows what the answer held.
func FuzzVaultAnswer(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `null`, `<html>`, `{"errors":[]}`, `{"errors":["x"]}`, `{"data":null}`, `{"errors":null,"data":{}}`,
		`{"data":{"data":{"api_key":"CANARY-CANARY"},"metadata":{"version":3}}}`,
		`{"data":{"data":{"api_key":7},"metadata":{"version":3}}}`, `{"data":{"data":null,"metadata":{"version":3,"destroyed":true}}}`,
		`{"data":{"api_key":"CANARY-CANARY"}}`, `{"auth":{"client_token":"CANARY-CANARY","lease_duration":-1,"renewable":true}}`,
		`{"data":{"type":"kv","path":"secret/","options":{"version":"2"}}}`, `{"warnings":["CANARY-CANARY"],"data":{}}`,
		`{"data":{"ttl":1e9,"renewable":"CANARY-CANARY"}}`, `{"data":{"secret/data/a":["root"]}}`,
	} {
		for _, status := range []int{200, 204, 302, 400, 403, 404, 503} {
			f.Add(status, seed)
		}
	}
	f.Fuzz(func(t *testing.T, status int, body string) {
		if status < 200 || status > 599 {
			t.Skip("no final status of HTTP")
		}
		ctx, target := t.Context(), stores.Target{Path: "a", Field: "api_key"}
		for _, auth := range []Auth{{Method: "token", Secret: text("t")}, {Method: "jwt", Role: "r", Secret: text("j")}} {
			s := open(t, nil, Options{Address: "https://vault.example", Auth: auth, Transport: fixed{status, body}})
			_, _ = s.Renew(ctx)
			_ = s.Check(ctx, target)
			for _, e := range []engine{nil, kv1{s.call, "secret"}, kv2{s.call, "secret", nil}} {
				s.engine = e
				s.sessions.held = session{token: secret.New("t")}
				_, current := s.Current(ctx, target)
				_, staged := s.Staged(ctx, target, attempt)
				_, former := s.Previous(ctx, target, "sha256:0")
				errs := []error{
					current, staged, former, s.Stage(ctx, target, attempt, newKey), s.Discard(ctx, target, attempt),
					s.Promote(ctx, target, attempt, newKey, oldKey.Fingerprint()),
				}
				for _, err := range errs {
					silent(t, err, secret.New("CANARY"))
				}
				if errors.Is(current, stores.ErrNotFound) && status != 404 && status > 299 {
					t.Errorf("status %d is taken for %v", status, current)
				}
			}
		}
	})
}
