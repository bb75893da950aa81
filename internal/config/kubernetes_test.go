package config

import (
	"strings"
	"testing"
)

func TestKubernetes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, store, want string }{
		{"in its own cluster", "{type: kubernetes}", ""},
		{"another cluster", "{type: kubernetes, server: 'https://k:6443', token: 'file:/t', ca_cert: ca.crt, server_name: k, timeout: 5s}", ""},
		{"no token", "{type: kubernetes, server: 'https://k:6443'}", "token is missing beside server"},
		{"no server", "{type: kubernetes, token: 'file:/t'}", "server is missing beside token"},
		{"in clear", "{type: kubernetes, server: 'http://k:6443', token: 'file:/t'}", "stores.k.server"},
		{"a token inline", "{type: kubernetes, server: 'https://k', token: abcdefgh}", "token is no reference"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			parsed, err := Parse("/etc/rotator/rotator.yaml", []byte("teams: {t: {}}\nstores: {k: "+c.store+"}\n"), Env{})
			switch {
			case c.want == "" && err != nil:
				t.Fatal(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Fatalf("the problems are %v, want %q", err, c.want)
			case err != nil && strings.Contains(err.Error(), "abcdefgh"):
				t.Fatalf("the problem shows the token: %v", err)
			case err == nil && parsed.Stores["k"].Kubernetes.CACert == "ca.crt":
				t.Fatal("ca_cert is not taken from the folder of the file")
			}
		})
	}
}
