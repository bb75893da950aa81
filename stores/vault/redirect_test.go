package vault

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"rotator/internal/testenv/vaulttest"
	"rotator/stores"
)

// standby answers every request with a redirect to the same path below the address.
func standby(t *testing.T, status int, to string) string {
	t.Helper()
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, to+r.URL.RequestURI(), status)
	}))
	t.Cleanup(front.Close)
	return front.URL
}

// TestRedirectToConfigured: a standby node redirects to the active one.
func TestRedirectToConfigured(t *testing.T) {
	t.Parallel()
	server := vaulttest.Shared(t)
	mount := server.Mount(t, 2)
	s := open(t, server, Options{Address: standby(t, http.StatusTemporaryRedirect, server.Address), Mount: mount, Redirects: []string{server.Address + "/"}})
	is(t, s.Promote(t.Context(), stores.Target{Path: "a"}, attempt, newKey, ""), nil)
}

// TestRedirectElsewhere: nothing travels to an address that is not configured, whatever is sent: a token, a login, a value.
func TestRedirectElsewhere(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect} {
		var arrived atomic.Int32
		foreign := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			arrived.Add(1)
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusForbidden)
		}))
		t.Cleanup(foreign.Close)
		for _, auth := range []Auth{{Method: "token", Secret: text("t")}, {Method: "approle", Role: "r", Secret: text("s")}} {
			s := open(t, nil, Options{Address: standby(t, status, foreign.URL), Auth: auth})
			target := stores.Target{Path: "a"}
			_, err := s.Current(t.Context(), target)
			notKnown(t, err)
			notKnown(t, s.Stage(t.Context(), target, attempt, newKey))
			notKnown(t, s.Promote(t.Context(), target, attempt, newKey, ""))
			notKnown(t, s.Check(t.Context(), target))
			s.engine = kv2{call: s.call, mount: "secret"} // known from before, with a session
			s.sessions.held = session{token: newKey}
			notKnown(t, s.Stage(t.Context(), target, attempt, newKey))
			if followed := status != http.StatusPermanentRedirect; followed && !errors.Is(err, errElsewhere) {
				t.Errorf("status %d: the error %v does not say what to do", status, err)
			}
		}
		if n := arrived.Load(); n > 0 {
			t.Errorf("status %d: %d requests arrived elsewhere", status, n)
		}
	}
}

func TestAllowedAddresses(t *testing.T) {
	t.Parallel()
	g, err := newGuard(nil, "https://Vault.example/gate/", []string{"https://10.0.0.1:8200"})
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]error{
		"https://vault.example/gate/v1/secret/data/a":  nil,
		"https://vault.example:443/gate/v1/sys/x":      nil,
		"https://10.0.0.1:8200/v1/secret/data/a":       nil,
		"http://vault.example/gate/v1/secret/data/a":   errUnsafe,
		"https://vault.example/v1/secret/data/a":       errElsewhere,
		"https://vault.example/other/v1/secret/data/a": errElsewhere,
		"https://vault.example/gate/v1/../../other":    errElsewhere,
		"https://vault.example:8200/gate/v1/a":         errElsewhere,
		"https://vault.example.evil.example/gate/v1/a": errElsewhere,
		"https://vault.example@evil.example/gate/v1/a": errElsewhere,
		"https://10.0.0.2:8200/v1/secret/data/a":       errElsewhere,
		"http://127.0.0.1:8200/v1/secret/data/a":       errElsewhere,
	} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if got := g.check(u); !errors.Is(got, want) {
			t.Errorf("%s: %v, want %v", address, got, want)
		}
	}
}

func TestRedirectsAreAddresses(t *testing.T) {
	t.Parallel()
	_, err := New(Options{Address: "https://v", Auth: Auth{Method: "token", Secret: text("t")}, Redirects: []string{"https://a", "http://vault.example", "https://u:p@b"}})
	if err == nil || strings.Contains(err.Error(), "redirects[0]") || !strings.Contains(err.Error(), "redirects[1]") || !strings.Contains(err.Error(), "redirects[2]") {
		t.Errorf("the error is %v", err)
	}
}
