package vaulttest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
)

// through returns a client that reaches the server by the proxy and tries everything once.
func through(t *testing.T, p *Proxy, token string) *api.Client {
	t.Helper()
	config := api.DefaultConfig()
	config.Address, config.MaxRetries = p.Address, 0
	client, err := api.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	client.SetToken(token)
	return client
}

func TestProxyFaults(t *testing.T) {
	t.Parallel()
	s := Shared(t)
	for name, tc := range map[string]struct {
		fault   Fault
		status  int  // of the error; 0: none came
		fails   bool // the caller sees an error
		effects bool // the server did what was asked
	}{
		"none":   {Before(func() {}), 0, false, true},
		"drop":   {Drop(), 0, true, false},
		"lose":   {Lose(), 0, true, true},
		"delay":  {Delay(time.Hour), 0, true, false},
		"answer": {Answer(500, "<html>"), 500, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mount, p := s.Mount(t, 1), s.Proxy(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			p.Inject(1, Calls(http.MethodPut, mount), func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
				if name == "delay" {
					cancel() // the caller's patience ends while the call is held back
				}
				tc.fault(w, r, forward)
			})
			client := through(t, p, s.RootToken)
			_, err := client.Logical().WriteWithContext(ctx, mount+"/a", map[string]any{"k": "v"})
			var answered *api.ResponseError
			status := 0
			if errors.As(err, &answered) {
				status = answered.StatusCode
			}
			if (err != nil) != tc.fails || status != tc.status {
				t.Errorf("the caller sees %v", err)
			}
			if _, found := s.Read(t, mount, "a"); found != tc.effects {
				t.Errorf("the server did it: %v", found)
			}
			if _, err := client.Logical().Write(mount+"/a", map[string]any{"k": "v"}); err != nil {
				t.Errorf("the second call meets the fault: %v", err)
			}
			if seen := p.Seen(); len(seen) != 2 || seen[0].Path != "/v1/"+mount+"/a" || seen[0].Header.Get("X-Vault-Token") != s.RootToken {
				t.Errorf("seen: %v", seen)
			}
		})
	}
}

func TestProxyTLS(t *testing.T) {
	t.Parallel()
	s := Shared(t)
	p, files := s.TLS(t, true)
	authority, err := os.ReadFile(files.CA)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(files.ClientCert, files.ClientKey)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	for name, certificates := range map[string][]tls.Certificate{"with": {pair}, "without": nil} {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: certificates}}
		answer, err := (&http.Client{Transport: transport}).Get(p.Address + "/v1/sys/health")
		if (err == nil) != (name == "with") {
			t.Errorf("%s a client's certificate: %v", name, err)
		}
		if err == nil {
			_ = answer.Body.Close()
		}
		transport.CloseIdleConnections()
	}
}
