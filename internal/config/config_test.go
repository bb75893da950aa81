package config

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rotator/policies"
)

// env is an environment of a test's own.
func env(vars map[string]string) Env {
	return Env{Lookup: func(name string) (string, bool) { v, ok := vars[name]; return v, ok }}
}

const whole = `
mode: observe
state: sqlite:rotator.db
policies: policies
listen: 127.0.0.1:8420
socket: /run/rotator/rotator.sock
socket_group: ops
xai: {management_url: "http://127.0.0.1:1", inference_url: "http://localhost:2", tls: {cert: x.pem, key: /k/x.key, ca: x-ca.pem}}
teams:
  research: {management_key: "env:XAI_MANAGEMENT_KEY", id: team-1}
  prod: {}
stores:
  vault:
    type: vault
    address: https://vault.example:8200
    redirects: [https://vault-0.example:8200]
    namespace: a
    mount: kv
    kv_version: 2
    staging_prefix: staging
    timeout: 10s
    auth: {method: approle, mount: ar, role_id: "file:role", secret_id: "credential:vault"}
    tls: {ca_cert: ca.pem, client_cert: c.pem, client_key: k.pem, server_name: v}
  aws:
    type: aws
    region: eu-west-1
    endpoint: http://127.0.0.1:4566
    profile: p
    tags: [{key: Owner, value: a b}, {key: rotated}]
    assume_role: {arn: "arn:aws:iam::1:role/r", external_id: e, session_name: s}
    kms_key_id: alias/k
  cluster: {type: kubernetes, server: "https://k:6443", token: "file:/t", ca_cert: k.pem, server_name: k, timeout: 5s, labels: {example.com/team: a}, annotations: {note: ""}}
  local: {type: file, dir: secrets, recipients: [age1x], identity: "file:/id", shared: true}
freezes:
  - {from: 2026-12-18, to: "2027-01-04", why: holidays, labels: {tier: prod}, hard: true}
  - {from: 2026-11-26T17:00:00Z, to: 2026-11-30, why: launch}
limits: {min_interval: 1s, quarantine: 2s, concurrency: 4, watch: 1d, lease: 2s}
notify:
  - {name: hook, type: webhook, url: "env:HOOK", secret: "file:hook"}
  - {name: chat, type: slack, url: "file:slack", text: "{{.Summary}}", match: {severity: [critical], kind: [promoted], team: [research], owner: [ann], labels: {tier: prod}}}
  - {name: oncall, type: pagerduty, key: "env:PD", repeat: 12h}
  - {name: mail, type: email, smtp: "file:smtp", from: r@example.com, to: "{owner}", every: 5m}
  - {name: own, type: exec, command: "A=b /usr/bin/notify x"}
traces: {endpoint: "https://collector.example:4318", headers: {authorization: "file:collector"}}
`

func TestEveryKey(t *testing.T) {
	c, err := Parse("/etc/rotator/rotator.yaml", []byte(whole), env(nil))
	if err != nil {
		t.Fatal(err)
	}
	got := []any{c.Mode, c.State.String(), c.Policies.String(), c.Listen, c.Socket, c.SocketGroup, c.XAI, c.Limits, c.Teams["research"].ID,
		c.Teams["prod"].ManagementKey.String(), c.Traces.Endpoint, c.Traces.Headers["authorization"].String(), c.Notify[0].Secret.String(), c.Stores["local"].File.Dir,
		c.Stores["vault"].Vault.Auth.RoleID.ref.String(), c.Stores["vault"].Vault.TLS, c.Stores["vault"].Vault.Redirects, c.Stores["aws"].AWS.AssumeRole, c.Stores["aws"].AWS.Tags,
		c.Stores["cluster"].Kubernetes.Labels, c.Stores["cluster"].Kubernetes.Annotations}
	want := []any{Observe, "sqlite:/etc/rotator/rotator.db", "/etc/rotator/policies", "127.0.0.1:8420", "/run/rotator/rotator.sock", "ops",
		XAI{"http://127.0.0.1:1", "http://localhost:2", XAITLS{"/etc/rotator/x.pem", "/k/x.key", "/etc/rotator/x-ca.pem"}},
		Limits{policies.Duration(time.Second), policies.Duration(2 * time.Second), policies.Duration(24 * time.Hour), 4, policies.Duration(2 * time.Second)}, "team-1",
		"env:XAI_MANAGEMENT_KEY", "https://collector.example:4318", "file:/etc/rotator/collector", "file:/etc/rotator/hook", "/etc/rotator/secrets",
		"file:/etc/rotator/role", VaultTLS{"/etc/rotator/ca.pem", "/etc/rotator/c.pem", "/etc/rotator/k.pem", "v"}, []string{"https://vault-0.example:8200"},
		AssumeRole{"arn:aws:iam::1:role/r", "e", "s"}, []AWSTag{{"Owner", "a b"}, {"rotated", ""}},
		Pairs{"example.com/team": "a"}, Pairs{"note": ""}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if len(c.Freezes) != 2 || !c.Freezes[0].Hard || c.Freezes[0].Why != "holidays" || c.Freezes[0].Labels["tier"] != "prod" {
		t.Errorf("freezes are %+v", c.Freezes)
	}
	from, to := c.Frozen()[0].Span(&policies.Policy{Timezone: "Europe/Berlin"})
	if from.Format(time.RFC3339) != "2026-12-17T23:00:00Z" || to.Format(time.RFC3339) != "2027-01-04T23:00:00Z" {
		t.Errorf("in Berlin a freeze is from %s to %s", from, to)
	}
	o := c.PolicyOptions()
	if d := cmp.Diff(map[string]string{"vault": "vault", "aws": "aws", "local": "file", "cluster": "kubernetes"}, o.Stores); d != "" {
		t.Error(d)
	}
}

func TestDefaults(t *testing.T) {
	c, err := Parse("/x/rotator.yaml", []byte("teams: {t: {id: a}}\nstores: {s: {type: file, dir: /s}}"), env(nil))
	if err != nil {
		t.Fatal(err)
	}
	got := []any{c.Mode, c.State.String(), c.Policies.String(), c.Listen, c.Socket, c.XAI, c.Limits}
	want := []any{Rotate, "sqlite:/var/lib/rotator/rotator.db", "/etc/rotator/policies", "", "/var/lib/rotator/rotator.db.sock",
		XAI{"https://management-api.x.ai", "https://api.x.ai", XAITLS{}}, Limits{minInterval, quarantine, watch, 16, lease}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// TestPathsHaveOneForm: what reports a changed file names it so.
func TestPathsHaveOneForm(t *testing.T) {
	c, err := Parse("/x/rotator.yaml", []byte("policies: /p//q/\nsocket: ../s/\nteams: {t: {}}\nstores: {s: {type: file, dir: /s/./}}"), env(nil))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"/p/q", "/s", "/s"}, []string{c.Policies.String(), c.Socket, c.Stores["s"].File.Dir}); d != "" {
		t.Error(d)
	}
}

func TestProblems(t *testing.T) {
	const token = "xai-token-abcdefghijklmnopqrstuvwxyz0123456789"
	const base = "teams: {t: {}}\nstores: {s: {type: file, dir: /s}}\n"
	for _, tc := range []struct {
		name, text string
		want       []string // each "line: part of the problem"
	}{
		{"empty", "", []string{"0: the file is empty"}},
		{"no YAML", "teams: [", []string{"2: this is not YAML"}},
		{"two documents", base + "---\nteams: {}\n", []string{"there is a second document"}},
		{"nothing required", "state: sqlite:a", []string{"1: teams is missing", "1: stores is missing"}},
		{"not a mapping", "- a", []string{"1: the file is a list"}},
		{"unknown keys", base + "stat: sqlite:a\nnotify: [{nam: 1, name: a, type: slack, url: \"https://h\"}]", []string{"3: unknown key stat in the file; want one of", "did you mean state?", "4: unknown key nam in notify[0]", "did you mean name?"}},
		{"twice", base + "teams: {t: {}}", []string{"3: teams is given twice, first on line 1"}},
		{"inline secret", "teams:\n  t: {management_key: " + token + "}\nstores: {s: {type: file, dir: /s}}", []string{"2: teams.t.management_key is no reference; want a reference, env:NAME, file:PATH or credential:NAME"}},
		{"secret as a key", base + token + ": 1", []string{"3: unknown key in the file"}},
		{"secret as a text", "teams: {t: {id: " + token + "}}\nstores: {s: {type: file, dir: /s}}", []string{"1: teams.t.id holds a key of xAI's; want no secret in this file"}},
		{"secret as a name", "teams: {" + token + token + ": {}}\nstores: {s: {type: file, dir: /s}}", []string{"1: a name in teams is not valid"}},
		{"secret as a store's type", "teams: {t: {}}\nstores: {s: {type: " + token + "}}", []string{"2: stores.s.type is not known; want vault, aws, file or kubernetes"}},
		{"inline token of Vault", "teams: {t: {}}\nstores:\n  v: {type: vault, address: https://v, auth: {method: token, token: hvs.CAESIabc}}", []string{"3: stores.v.auth.token is no reference"}},
		{"two teams of one id", "teams:\n  a: {id: x}\n  b: {id: x}\nstores: {s: {type: file, dir: /s}}", []string{"3: teams.b has the same id as teams.a"}},
		{"plain http", base + "xai: {management_url: \"http://management-api.x.ai\"}", []string{"3: xai.management_url is not https"}},
		{"client certificate without its key", base + "xai:\n  tls: {cert: a.pem}", []string{"4: xai.tls has a client certificate or its key without the other; want cert and key"}},
		{"key of no client certificate", base + "xai:\n  tls: {key: a.key, ca: ca.pem}", []string{"4: xai.tls has a client certificate or its key without the other"}},
		{"password in a URL", base + "xai: {inference_url: \"https://u:p@h\"}", []string{"3: xai.inference_url holds a user or a password"}},
		{"key in a URL", base + "xai: {inference_url: \"https://u:" + token + "@h\"}", []string{"3: xai.inference_url holds a key of xAI's"}},
		{"short limits", base + "limits:\n  min_interval: 1s\n  quarantine: 1s\n  watch: 1s\n  concurrency: 5000\n  lease: 1s", []string{"4: limits.min_interval is shorter than 1h", "5: limits.quarantine is shorter than 10m", "6: limits.watch is shorter than 15m", "7: limits.concurrency is above", "8: limits.lease is shorter than 5s"}},
		{"short limits with one API elsewhere", base + "xai: {management_url: \"http://127.0.0.1:1\"}\nlimits: {watch: 1s}", []string{"4: limits.watch is shorter"}},
		{"durations", base + "limits: {watch: 20, quarantine: 0s, min_interval: soon}", []string{"limits.watch is a number", "limits.quarantine is no duration", "limits.min_interval is no duration"}},
		{"state with another password", base + "state: postgres://h/d?password=file:/p&password=" + token, []string{"3: state holds a password"}},
		{"state with a key's password", base + "state: postgres://h/d?sslpassword=" + token, []string{"3: state holds a password"}},
		{"state with a password", base + "state: postgres://u:" + token + "@h/d", []string{"3: state holds a password"}},
		{"mode unknown", base + "mode: watch", []string{"3: mode is neither rotate nor observe; want mode: rotate or mode: observe"}},
		{"state unknown", base + "state: mysql://h", []string{"3: state is of no known kind"}},
		{"files and replicas", base + "state: postgres://u@h/d", []string{"2: stores.s.dir is a folder of one machine"}},
		{"no type", "teams: {t: {}}\nstores: {s: {dir: /s}}", []string{"2: stores.s.type is missing"}},
		{"near type", "teams: {t: {}}\nstores: {s: {type: valt}}", []string{"did you mean vault?"}},
		{"identity alone", "teams: {t: {}}\nstores: {s: {type: file, dir: /s, identity: \"file:x\"}}", []string{"2: stores.s.recipients and identity belong together"}},
		{"logins", "teams: {t: {}}\nstores:\n  a: {type: vault, address: https://v, auth: {method: approle, token: \"env:T\"}}\n  b: {type: vault, address: https://v, auth: {method: ldap}}\n  c: {type: vault, address: https://v}",
			[]string{"3: stores.a.auth.role_id is missing", "3: stores.a.auth.token is not used by method approle", "4: stores.b.auth.method is not known", "5: stores.c.auth is missing"}},
		{"redirects", "teams: {t: {}}\nstores: {v: {type: vault, address: https://v, redirects: [https://a, http://b], auth: {method: token, token: \"env:T\"}}}",
			[]string{"stores.v.redirects has an address that is not https"}},
		{"tags", "teams: {t: {}}\nstores: {s: {type: aws, tags: [{key: a}, {key: a}, {key: \"AWS:b\"}, {value: c}, {key: d, value: " + strings.Repeat("x", 257) + "}]}}",
			[]string{"stores.s.tags has a key twice", "stores.s.tags has a key that begins with aws:", "stores.s.tags[3].key is missing", "stores.s.tags has a key or a value that is too long"}},
		{"half a certificate", "teams: {t: {}}\nstores: {v: {type: vault, address: http://v, kv_version: 3, auth: {method: token, token: \"env:T\"}, tls: {client_cert: c}}}",
			[]string{"stores.v.address is not https", "stores.v.kv_version is neither", "stores.v.tls has a client certificate"}},
		{"listen", base + "listen: here", []string{"3: listen is no address"}},
		{"a long socket", base + "socket: /" + strings.Repeat("s", 110), []string{"3: the path of the socket"}},
		{"webhook", base + "notify: [{name: a, type: webhook, url: \"https://u:p@h\"}]", []string{"3: notify a: secret is missing", "3: notify a: url holds a user"}},
		{"channel without a type", base + "notify: [{name: a}]", []string{"3: notify[0].type is missing"}},
		{"one channel, not a list", base + "notify: {name: a}", []string{"3: notify is a mapping, not a list"}},
		{"channel twice", base + "notify: [{name: a, type: slack, url: \"https://h\"}, {name: a, type: teams, url: \"https://h\"}]", []string{"3: notify a: the name is given twice"}},
		{"the log as a channel", base + "notify: [{name: log, type: slack, url: \"https://h\"}]", []string{"3: notify log: log is the daemon's own log"}},
		{"unknown type", base + "notify: [{name: a, type: slak, url: \"https://h\"}]", []string{"3: notify a: the type is not known", "did you mean slack?"}},
		{"what a type does not take", base + "notify: [{name: a, type: slack, url: \"https://h\", key: \"env:K\"}]", []string{"3: notify a: key is nothing for type slack"}},
		{"mail without recipients", base + "notify: [{name: a, type: email, smtp: \"env:S\"}]", []string{"3: notify a: to is missing"}},
		{"mail to nowhere", base + "notify: [{name: a, type: email, smtp: \"env:S\", to: [nowhere, \"{owner}\"]}]", []string{"3: notify a: an address is no mail address"}},
		{"mail to two in one address", base + "notify: [{name: a, type: email, smtp: \"env:S\", to: ['\"x@h,y\"@h']}]", []string{"3: notify a: an address is no mail address"}},
		{"a pause between single events", base + "notify: [{name: a, type: exec, command: /bin/true, every: 1h}]", []string{"3: notify a: every is nothing for type exec"}},
		{"password in the file", base + "notify: [{name: a, type: email, smtp: \"smtps://u:p@h\", to: a@b}]", []string{"3: notify[0].smtp is no reference"}},
		{"severity", base + "notify: [{name: a, type: slack, url: \"https://h\", match: {severity: [high]}}]", []string{"3: notify a: a severity is not known"}},
		{"kind", base + "notify: [{name: a, type: slack, url: \"https://h\", match: {kind: [promote]}}]", []string{"3: notify a: the kind promote is not sent", "did you mean promoted?"}},
		{"template", base + "notify: [{name: a, type: slack, url: \"https://h\", text: \"{{.Polcy}}\"}]", []string{"3: notify a: text is no template"}},
		{"program", base + "notify: [{name: a, type: exec, command: notify}]", []string{"3: notify a: command is no program"}},
		{"traces", base + "traces:\n  endpoint: http://collector.example\n  headers: {authorization: Bearer " + token + "}", []string{"4: traces.endpoint is not https; want https://HOST:4318", "5: traces.headers.authorization is no reference"}},
		{"traces to nowhere", base + "traces: {headers: {}}", []string{"3: traces.headers is a mapping", "3: traces.endpoint is missing"}},
		{"null", base + "listen:", []string{"3: listen has no value"}},
		{"types", base + "policies: [a]\nsocket: 5\nsocket_group: true", []string{"3: policies[0] is text, not a mapping", "4: socket is a number", "5: socket_group is true or false"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := Parse("r.yaml", []byte(tc.text), env(nil))
			var ps policies.Problems
			if !errors.As(err, &ps) || c != nil {
				t.Fatalf("got %v, %v; want problems alone", c, err)
			}
			got := ""
			for _, p := range ps {
				got += fmt.Sprintf("%d: %s; want %s\n", p.Line, p.What, p.Want)
			}
			for _, want := range tc.want {
				if !strings.Contains(got, want) {
					t.Errorf("no %q in:\n%s", want, got)
				}
			}
			if n := len(tc.want); len(ps) > n {
				t.Errorf("%d problems, want at most %d:\n%s", len(ps), n, got)
			}
			if strings.Contains(err.Error(), "xai-token") || strings.Contains(err.Error(), "hvs.") {
				t.Errorf("a secret is quoted: %v", err)
			}
		})
	}
}

func TestReferences(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	write("plain", "s3cret", 0o600)
	write("newline", "s3cret\n", 0o600)
	write("newlines", "s3cret\n\n", 0o600)
	write("crlf", "s3cret\r\n", 0o600)
	write("inner", "s3c\nret", 0o600)
	write("readable", "s3cret\n", 0o644)
	write("group", "s3cret\n", 0o640)
	write("writable", "s3cret\n", 0o620)
	write("empty", "\n", 0o600)
	write("large", strings.Repeat("a", maxSecret+1), 0o600)
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	e := env(map[string]string{"A": "s3cret", "EMPTY": "", "CRLF": "s3cret\r", "MARK": "\ufeffs3cret", "INNER": "s3c\nret", "CREDENTIALS_DIRECTORY": dir, "XAI_MANAGEMENT_API_KEY": "s3cret"})
	for _, tc := range []struct{ ref, want, warn, err string }{
		{ref: "env:A", want: "s3cret"},
		{ref: "env:XAI_MANAGEMENT_KEY", want: "s3cret"},
		{ref: "env:NONE", err: "read secret env:NONE: the variable is not set"},
		{ref: "env:EMPTY", err: "it is empty"},
		{ref: "file:plain", want: "s3cret"},
		{ref: "file:newline", want: "s3cret"},
		{ref: "file:newlines", want: "s3cret"},
		{ref: "file:inner", err: "read secret file:" + dir + "/inner: it has a line break at byte 4; want a single line"},
		{ref: "env:CRLF", want: "s3cret"},
		{ref: "env:MARK", want: "s3cret"},
		{ref: "env:INNER", err: "read secret env:INNER: it has a line break at byte 4"},
		{ref: "credential:inner", err: "read secret credential:inner: it has a line break at byte 4"},
		{ref: "file:crlf", want: "s3cret"},
		{ref: "file:readable", want: "s3cret", warn: "everyone"},
		{ref: "file:group", want: "s3cret"},
		{ref: "file:writable", err: "lets others write it"},
		{ref: "file:empty", err: "nothing but white space"},
		{ref: "file:large", err: "larger than 64 KiB"},
		{ref: "file:missing", err: "no such file"},
		{ref: "file:.", err: "not a file"},
		{ref: "file:pipe", err: "not a file"}, // that nothing writes to: to wait for it could last forever
		{ref: "credential:newline", want: "s3cret"},
		{ref: "credential:missing", err: "no such file"},
	} {
		t.Run(tc.ref, func(t *testing.T) {
			r, ok := parseReference(tc.ref, dir, e)
			if !ok {
				t.Fatal("not taken as a reference")
			}
			v, err := r.Read(context.Background())
			warn, _ := r.Check()
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Fatalf("error %v, want %q", err, tc.err)
				}
				return
			}
			if err != nil || v.Reveal() != tc.want || (warn != "") != (tc.warn != "") || !strings.Contains(warn, tc.warn) {
				t.Errorf("got %d bytes, warning %q, %v", len(v.Reveal()), warn, err)
			}
		})
	}
	for _, text := range []string{"", "env:", "env:A B", "file:", "credential:../x", "credential:..", "http://x", "xai-token-a", "vault:x"} {
		if _, ok := parseReference(text, dir, e); ok {
			t.Errorf("%q was taken as a reference", text)
		}
	}
}

func TestReferenceIsReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	r, _ := parseReference("file:"+path, "/", Env{})
	for _, text := range []string{"first", "second"} {
		if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if v, err := r.Read(context.Background()); err != nil || v.Reveal() != text {
			t.Errorf("%v, want what the file holds now", err)
		}
	}
}

func TestFind(t *testing.T) {
	t.Chdir(t.TempDir())
	e := env(map[string]string{"ROTATOR_CONFIG": "/env.yaml"})
	if got := Find("/flag.yaml", e); got != "/flag.yaml" {
		t.Error(got)
	}
	if got := Find("", e); got != "/env.yaml" {
		t.Error(got)
	}
	if got := Find("", env(nil)); got != "/etc/rotator/rotator.yaml" {
		t.Error(got)
	}
	if err := os.WriteFile("rotator.yaml", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := Find("", env(nil)); got != "/etc/rotator/rotator.yaml" {
		t.Errorf("a file of the working directory is used: %s", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(whole)
	f.Add("a: &a [*a]")
	f.Add("teams: &t {t: *t}")
	f.Fuzz(func(t *testing.T, text string) {
		if c, err := Parse("r.yaml", []byte(text), env(nil)); (c == nil) == (err == nil) {
			t.Errorf("got %v and %v", c, err)
		}
	})
}

// TestValueAsItStands: what may be a text or a reference is read either way.
func TestValueAsItStands(t *testing.T) {
	t.Parallel()
	const url = "https://hooks.example.com/x"
	c, err := Parse("rotator.yaml", []byte(`
teams: {a: {management_key: "env:KEY"}}
stores: {local: {type: file, dir: /tmp}}
notify: [{name: hook, type: webhook, url: "`+url+`", secret: "env:SECRET"}]
`), Env{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Notify[0].URL.Read(t.Context()); err != nil || got.Reveal() != url {
		t.Errorf("a URL as it is: %v", err)
	}
}
