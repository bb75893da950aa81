package transport

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// TestProxyRefuses: a proxy that lets nothing through reads like one that cannot be reached, and its own words are not shown.
func TestProxyRefuses(t *testing.T) {
	t.Parallel()
	for status, says := range map[int]string{407: "407 Proxy Authentication Required", 502: "502 Bad Gateway", 599: "599"} {
		proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodConnect {
				t.Errorf("the proxy is asked to %s", r.Method)
			}
			w.WriteHeader(status)
			_, _ = w.Write([]byte("hunter2"))
		}))
		defer proxy.Close()
		at, err := url.Parse(proxy.URL)
		if err != nil {
			t.Fatal(err)
		}
		tr := New()
		tr.Proxy = http.ProxyURL(at)
		_, err = (&http.Client{Transport: tr}).Get("https://vault.example")
		var refused *net.OpError
		if !errors.As(err, &refused) || refused.Op != "proxyconnect" || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%d: %v", status, err)
		}
	}
}
