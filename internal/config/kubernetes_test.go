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
		{"labels and annotations", `{type: kubernetes, labels: {example.com/team: chat, tier: "", app.kubernetes.io/part-of: Chat_1.x}, annotations: {owner: "chat@example.com, or who is on call"}}`, ""},
		{"no labels", "{type: kubernetes, labels: {}}", "stores.k.labels is a mapping, not names and their texts"},
		{"a list", "{type: kubernetes, labels: [team]}", "stores.k.labels is a list"},
		{"a label that is no text", "{type: kubernetes, labels: {team: true}}", "a value in stores.k.labels is true or false"},
		{"a label's name", "{type: kubernetes, labels: {-team: x}}", "stores.k.labels has a name"},
		{"a label's prefix", "{type: kubernetes, labels: {Example.com/team: x}}", "stores.k.labels has a name"},
		{"a label with two prefixes", "{type: kubernetes, labels: {a/b/c: x}}", "stores.k.labels has a name"},
		{"a label's text", "{type: kubernetes, labels: {team: 'a b'}}", "stores.k.labels has a text"},
		{"a long label", "{type: kubernetes, labels: {team: " + strings.Repeat("a", 64) + "}}", "stores.k.labels has a text"},
		{"a label twice", "{type: kubernetes, labels: {team: a, team: b}}", "a name in stores.k.labels is given twice"},
		{"our annotation", "{type: kubernetes, annotations: {rotator/restart: deployment/chat}}", "the store's own"},
		{"too much", "{type: kubernetes, annotations: {a: " + strings.Repeat("a", 256<<10) + "}}", "stores.k.annotations is longer"},
		{"a key of xAI", "{type: kubernetes, annotations: {a: xai-" + strings.Repeat("abcdefgh", 10) + "}}", "stores.k.annotations"},
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
