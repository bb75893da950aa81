package xai

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"rotator/internal/secret"
	"rotator/internal/testenv/blackhole"
)

// A connection that died without a word is given up within a minute, though every call keeps it busy.
func TestDeadConnection(t *testing.T) {
	t.Parallel()
	if after := blackhole.Escaped(t, newTransport()); after > time.Minute {
		t.Errorf("it took %v", after)
	}
}

// A create that no proxy let through was not sent, whatever the proxy says.
func TestProxyRefuses(t *testing.T) {
	t.Parallel()
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusProxyAuthRequired)
	}))
	defer proxy.Close()
	at, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	tr := newTransport()
	tr.Proxy = http.ProxyURL(at)
	m, err := NewManagement(ManagementOptions{URL: "https://management-api.x.ai", HTTP: &http.Client{Transport: tr},
		Key: func(context.Context) (secret.Text, error) { return secret.New("xai-token-x"), nil }})
	if err != nil {
		t.Fatal(err)
	}
	_, err = m.CreateKey(t.Context(), "team", CreateRequest{Name: "x", ACLs: []string{"api-key:model:*"}})
	if ClassOf(err) != ClassNetwork || OutcomeUnknown(err) {
		t.Errorf("got %v", err)
	}
}
