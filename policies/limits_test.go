package policies

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// within1 is a policy that keeps to limited, line by line.
const within1 = `name: search
team: search
labels: {tier: dev}
schedule: "@every 720h"
max_age: 60d
key: {acls: ["api-key:model:grok-4", "api-key:endpoint:chat"]}
verify: {method: chat}
targets:
- {store: vault, path: llm/search/key, field: api_key}
- {store: k8s, path: search/xai, field: key}
- {store: files, path: search/app.env, mode: "0640", group: search}
- {store: aws, path: llm/search/key}
adopt: false
retire: {overlap: 2h, soak: 2h}
`

func limited() *Allow {
	hour, quarter := Duration(time.Hour), Duration(90*24*time.Hour)
	return &Allow{
		Teams: []string{"search"},
		Stores: map[string][]string{"vault": {"llm/search/*"}, "k8s": {"search/*"}, "files": {"search/*"},
			"aws": {"llm/search/*", "arn:aws:secretsmanager:eu-west-1:123456789012:secret:llm/search/*"}},
		ACLs:       []string{"api-key:model:grok-4*", "api-key:endpoint:chat", "api-key:endpoint:models"},
		Labels:     map[string][]string{"tier": {"dev", "prod*"}},
		MinOverlap: &hour, MinSoak: &hour, MaxAgeAtMost: &quarter,
		FileModes: []string{"0640"}, FileGroups: []string{"search"},
	}
}

type attempt struct {
	rule, try string
	edit      [2]string            // text of within1, and what stands in its place
	allow     func(a *Allow)       // changes the limits first
	want      string               // part of the problem; "" for none
	also      func(p *policyFiles) // more files
}

// attempts are tries to get more than a folder allows, and what is allowed beside them: a rule, a change of the policy, and what the
// rule says to it; "" where it passes. Each row edits one line.
var attempts = []attempt{
	{rule: "teams", try: "its own", edit: [2]string{"team: search", "team: search"}},
	{rule: "teams", try: "another team", edit: [2]string{"team: search", "team: prod"}, want: "1.yaml:2: policies[1].allow.teams allows search; team is prod here; want one that is allowed; or ask whoever edits rotator.yaml"},
	{rule: "teams", try: "one that begins alike", edit: [2]string{"team: search", "team: search2"}, want: "policies[1].allow.teams"},
	{rule: "teams", try: "no teams are given", allow: func(a *Allow) { a.Teams = nil }, want: "policies[1].allow.teams is not given and so allows none; team is search here"},
	{rule: "teams", try: "all teams", edit: [2]string{"team: search", "team: prod"}, allow: func(a *Allow) { a.Teams = []string{"*"} }},

	{rule: "stores", try: "a store that is not named", edit: [2]string{"store: vault", "store: vault2"}, want: "1.yaml:9: policies[1].allow.stores names aws, files, k8s, vault; this target is in vault2"},
	{rule: "stores", try: "another path", edit: [2]string{"path: llm/search/key", "path: llm/prod/key"}, want: "1.yaml:9: policies[1].allow.stores allows vault: llm/search/*; this target is vault llm/prod/key, field api_key; want a path that is allowed; or ask whoever edits rotator.yaml"},
	{rule: "stores", try: "a path that climbs out", edit: [2]string{"path: llm/search/key", "path: llm/search/../prod/key"}, want: `1.yaml:9: targets[0].path`},
	{rule: "stores", try: "a path that climbs out of AWS's name", edit: [2]string{"aws, path: llm/search/key", "aws, path: llm/search/../prod/key"}, want: "policies[1].allow.stores is matched on the place itself"},
	{rule: "stores", try: "a path with a dot", edit: [2]string{"path: llm/search/key", "path: llm/search/./key"}, want: "targets[0].path"},
	{rule: "stores", try: "a path with two slashes", edit: [2]string{"path: llm/search/key", "path: llm//search/key"}, want: "targets[0].path"},
	{rule: "stores", try: "two slashes in AWS's name", edit: [2]string{"aws, path: llm/search/key", "aws, path: llm/search//key"}, want: "policies[1].allow.stores is matched on the place itself"},
	{rule: "stores", try: "a slash in front", edit: [2]string{"path: llm/search/key", "path: /llm/search/key"}, want: "targets[0].path"},
	{rule: "stores", try: "a slash at the end", edit: [2]string{"path: llm/search/key", "path: llm/search/key/"}, want: "targets[0].path"},
	{rule: "stores", try: "a space at the end", edit: [2]string{"path: llm/search/key", `path: "llm/search/key "`}, want: "targets[0].path"},
	{rule: "stores", try: "the mount in front", edit: [2]string{"path: llm/search/key", "path: secret/data/llm/search/key"}, want: "policies[1].allow.stores allows vault"},
	{rule: "stores", try: "a namespace in front", edit: [2]string{"path: llm/search/key", "path: admin/llm/search/key"}, want: "policies[1].allow.stores allows vault"},
	{rule: "stores", try: "a path that begins alike", edit: [2]string{"path: llm/search/key", "path: llm/search2/key"}, want: "policies[1].allow.stores allows vault"},
	{rule: "stores", try: "the folder itself", edit: [2]string{"path: llm/search/key", "path: llm/search"}, want: "policies[1].allow.stores allows vault"},
	{rule: "stores", try: "letters of another case", edit: [2]string{"path: llm/search/key", "path: LLM/search/key"}, want: "policies[1].allow.stores allows vault"},
	{rule: "stores", try: "escaped slashes and dots", edit: [2]string{"path: llm/search/key", `path: "llm/search%2f..%2fprod/key"`}, want: "targets[0].path"},
	{rule: "stores", try: "where another's key is staged", edit: [2]string{"path: llm/search/key", "path: llm/search/other.rotator/0193"}, want: "policies[1].allow.stores is matched on the place itself; this path has a part"},
	{rule: "stores", try: "a path that is a pattern", edit: [2]string{"path: llm/search/key", `path: "llm/*/key"`}, want: "policies[1].allow.stores allows vault"},
	{rule: "stores", try: "a deeper path", edit: [2]string{"path: llm/search/key", "path: llm/search/a/b/key"}},
	{rule: "stores", try: "a deeper path where one part is named", edit: [2]string{"path: llm/search/key", "path: llm/search/prod/key"}, allow: func(a *Allow) { a.Stores["vault"] = []string{"llm/*/key"} }, want: "policies[1].allow.stores allows vault: llm/*/key"},
	{rule: "stores", try: "one part", allow: func(a *Allow) { a.Stores["vault"] = []string{"llm/*/key"} }},
	{rule: "stores", try: "a store without paths", allow: func(a *Allow) { a.Stores["vault"] = nil }, want: "policies[1].allow.stores allows vault: none"},
	{rule: "stores", try: "no stores are given", allow: func(a *Allow) { a.Stores = nil }, want: "policies[1].allow.stores names none; this target is in vault"},
	{rule: "stores", try: "everything in a store", edit: [2]string{"path: llm/search/key", "path: a/b/c"}, allow: func(a *Allow) { a.Stores["vault"] = []string{"*"} }},
	{rule: "stores", try: "the field that is named", allow: func(a *Allow) { a.Stores["vault"] = []string{"llm/search/*#api_key"} }},
	{rule: "stores", try: "another field", edit: [2]string{"field: api_key", "field: db_password"}, allow: func(a *Allow) { a.Stores["vault"] = []string{"llm/search/*#api_key"} }, want: "this target is vault llm/search/key, field db_password"},
	{rule: "stores", try: "the default's field", edit: [2]string{", field: api_key", ""}, allow: func(a *Allow) { a.Stores["vault"] = []string{"llm/search/*#value"} }},
	{rule: "stores", try: "the whole secret where a field is named", allow: func(a *Allow) { a.Stores["aws"] = []string{"llm/search/*#key"} }, want: "this target is aws llm/search/key"},
	{rule: "stores", try: "a field in the path", edit: [2]string{"path: llm/search/key, field: api_key", `path: "llm/search/key#api_key"`}, allow: func(a *Allow) { a.Stores["vault"] = []string{"llm/search/key#api_key"} }, want: "policies[1].allow.stores allows vault"},
	{rule: "stores", try: "another namespace", edit: [2]string{"path: search/xai", "path: kube-system/xai"}, want: "1.yaml:10: policies[1].allow.stores allows k8s"},
	{rule: "stores", try: "another folder", edit: [2]string{"path: search/app.env", "path: prod/app.env"}, want: "1.yaml:11: policies[1].allow.stores allows files"},
	{rule: "stores", try: "a folder that climbs out", edit: [2]string{"path: search/app.env", "path: search/../prod/app.env"}, want: "targets[2].path"},
	{rule: "stores", try: "an absolute file", edit: [2]string{"path: search/app.env", "path: /etc/shadow"}, want: "targets[2].path"},
	{rule: "stores", try: "the store's own files", edit: [2]string{"path: search/app.env", "path: search/.rotator/x"}, want: "targets[2].path"},
	{rule: "stores", try: "an ARN of the account", edit: [2]string{"aws, path: llm/search/key", "aws, path: arn:aws:secretsmanager:eu-west-1:123456789012:secret:llm/search/key-AbCdEf"}},
	{rule: "stores", try: "an ARN of another account", edit: [2]string{"aws, path: llm/search/key", "aws, path: arn:aws:secretsmanager:eu-west-1:999999999999:secret:llm/search/key-AbCdEf"}, want: "policies[1].allow.stores allows aws"},
	{rule: "stores", try: "an ARN of another secret", edit: [2]string{"aws, path: llm/search/key", "aws, path: arn:aws:secretsmanager:eu-west-1:123456789012:secret:llm/prod/key-AbCdEf"}, want: "policies[1].allow.stores allows aws"},
	{rule: "stores", try: "an ARN that holds an allowed one", edit: [2]string{"aws, path: llm/search/key", "aws, path: arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod:secret:llm/search/key"}, want: "policies[1].allow.stores allows aws"},
	{rule: "stores", try: "an ARN where a name is allowed", edit: [2]string{"aws, path: llm/search/key", "aws, path: arn:aws:secretsmanager:eu-west-1:123456789012:secret:llm/search/key-AbCdEf"}, allow: func(a *Allow) { a.Stores["aws"] = []string{"*"} }, want: "and the secret's name unless its ARN is allowed"},
	{rule: "stores", try: "an ARN with more parts in front", edit: [2]string{"aws, path: llm/search/key", "aws, path: arn:aws:secretsmanager:eu-west-1:1:123456789012:secret:llm/search/key"}, allow: func(a *Allow) {
		a.Stores["aws"] = []string{"arn:aws:secretsmanager:*:123456789012:secret:llm/search/*"}
	}, want: "policies[1].allow.stores allows aws"},
	{rule: "stores", try: "one good target and one that is not", edit: [2]string{"adopt: false", "- {store: vault, path: llm/prod/key}"}, want: "1.yaml:13: policies[1].allow.stores allows vault"},

	{rule: "acls", try: "another model", edit: [2]string{"api-key:model:grok-4\"", "api-key:model:imagine\""}, want: "1.yaml:6: policies[1].allow.acls allows api-key:model:grok-4*, api-key:endpoint:chat, api-key:endpoint:models; key.acls[0] is api-key:model:imagine here"},
	{rule: "acls", try: "a model of the family", edit: [2]string{"api-key:model:grok-4\"", "api-key:model:grok-4-fast\""}},
	{rule: "acls", try: "all models", edit: [2]string{"api-key:model:grok-4\"", "api-key:model:*\", \"api-key:model:grok-4\""}, want: "policies[1].allow.acls"},
	{rule: "acls", try: "all models, beside what is allowed", edit: [2]string{"api-key:endpoint:chat\"", "api-key:endpoint:chat\", \"api-key:model:*\""}, want: "key.acls[2] is api-key:model:* here"},
	{rule: "acls", try: "all endpoints", edit: [2]string{"api-key:endpoint:chat", "api-key:endpoint:*"}, want: "key.acls[1] is api-key:endpoint:* here"},
	{rule: "acls", try: "all models where a pattern is one character short", edit: [2]string{"api-key:model:grok-4\"", "api-key:model:*\", \"api-key:model:grok-4\""}, allow: func(a *Allow) { a.ACLs[0] = "api-key:model:g*" }, want: "key.acls[0] is api-key:model:* here"},
	{rule: "acls", try: "all models where all are allowed", edit: [2]string{"api-key:model:grok-4\"", "api-key:model:*\", \"api-key:model:grok-4\""}, allow: func(a *Allow) { a.ACLs = []string{"*"} }},
	{rule: "acls", try: "another endpoint", edit: [2]string{"api-key:endpoint:chat\"", "api-key:endpoint:chat\", \"api-key:endpoint:image\""}, want: "key.acls[2]"},
	{rule: "acls", try: "no rights named", edit: [2]string{`["api-key:model:grok-4", "api-key:endpoint:chat"]`, "[]"}, want: "key.acls is empty"},
	{rule: "acls", try: "no acls are given", allow: func(a *Allow) { a.ACLs = nil }, want: "policies[1].allow.acls is not given and so allows none; key.acls[0]"},

	{rule: "labels", try: "another value", edit: [2]string{"tier: dev", "tier: test"}, want: "1.yaml:3: policies[1].allow.labels.tier allows dev, prod*; the label is test here"},
	{rule: "labels", try: "a value of a pattern", edit: [2]string{"tier: dev", "tier: prod-eu"}},
	{rule: "labels", try: "another label", edit: [2]string{"tier: dev", "team: dev"}, want: "policies[1].allow.labels names tier; this policy has the label team"},
	{rule: "labels", try: "a label of another case", edit: [2]string{"tier: dev", "Tier: dev"}, want: "the label Tier"},
	{rule: "labels", try: "no label", edit: [2]string{"labels: {tier: dev}", "owner: nobody"}},
	{rule: "labels", try: "no labels are given", allow: func(a *Allow) { a.Labels = nil }, want: "policies[1].allow.labels names none"},

	{rule: "adopt", try: "adopt", edit: [2]string{"adopt: false", "adopt: true"}, want: "1.yaml:13: policies[1].allow.adopt is not true"},
	{rule: "adopt", try: "adopt one key", edit: [2]string{"adopt: false", "adopt: {key_id: abc}"}, want: "policies[1].allow.adopt"},
	{rule: "adopt", try: "adopt where that is allowed", edit: [2]string{"adopt: false", "adopt: true"}, allow: func(a *Allow) { a.Adopt = true }},

	{rule: "min_overlap", try: "a shorter overlap", edit: [2]string{"overlap: 2h", "overlap: 59m"}, want: "1.yaml:14: policies[1].allow.min_overlap is 1h; retire.overlap is 59m here; want at least 1h"},
	{rule: "min_overlap", try: "none", edit: [2]string{"overlap: 2h", "overlap: 0s"}, want: "policies[1].allow.min_overlap"},
	{rule: "min_overlap", try: "the default, which is shorter", edit: [2]string{"overlap: 2h, ", ""}, allow: func(a *Allow) { a.MinOverlap = days(2) }, want: "retire.overlap is 24h here"},
	{rule: "min_overlap", try: "the default, which is longer", edit: [2]string{"overlap: 2h, ", ""}},
	{rule: "min_soak", try: "a shorter soak", edit: [2]string{"soak: 2h", "soak: 0s"}, want: "policies[1].allow.min_soak is 1h; retire.soak is 0s here"},
	{rule: "min_soak", try: "the default, which is shorter", edit: [2]string{"retire: {overlap: 2h, soak: 2h}", "retire: {overlap: 2h}"}, allow: func(a *Allow) { a.MinSoak = days(2) }, want: "retire.soak is 24h here"},
	{rule: "max_age_at_most", try: "an older key", edit: [2]string{"max_age: 60d", "max_age: 91d"}, want: "1.yaml:5: policies[1].allow.max_age_at_most is 90d; max_age is 91d here"},
	{rule: "max_age_at_most", try: "any age", edit: [2]string{"max_age: 60d", "owner: nobody"}, want: "policies[1].allow.max_age_at_most is 90d; max_age is not given here; want max_age: 90d or less"},
	{rule: "max_age_at_most", try: "any age where any is allowed", edit: [2]string{"max_age: 60d", "owner: nobody"}, allow: func(a *Allow) { a.MaxAgeAtMost = nil }},

	{rule: "file_modes", try: "everyone may read", edit: [2]string{`"0640"`, `"0644"`}, want: `1.yaml:11: policies[1].allow.file_modes allows 0640; targets[2].mode is 0644 here`},
	{rule: "file_modes", try: "the same mode, written otherwise", edit: [2]string{`"0640"`, `"640"`}},
	{rule: "file_modes", try: "no modes are given", allow: func(a *Allow) { a.FileModes = nil }, want: "policies[1].allow.file_modes is not given and so allows none"},
	{rule: "file_modes", try: "no mode", edit: [2]string{`mode: "0640", `, ""}, allow: func(a *Allow) { a.FileModes = nil }},
	{rule: "file_owners", try: "another owner", edit: [2]string{"group: search", "owner: root"}, want: "policies[1].allow.file_owners is not given and so allows none; targets[2].owner is root here"},
	{rule: "file_groups", try: "another group", edit: [2]string{"group: search", "group: users"}, want: "policies[1].allow.file_groups allows search; targets[2].group is users here"},
	{rule: "file_groups", try: "a group's number", edit: [2]string{"group: search", `group: "0"`}, want: "policies[1].allow.file_groups"},

	{rule: "verify", try: "a weaker proof", edit: [2]string{"method: chat", "method: whoami"}, want: "1.yaml:7: policies[1].allow.verify is not given and so allows chat, the default; verify.method is whoami here"},
	{rule: "verify", try: "a weaker proof where a list allows it", edit: [2]string{"method: chat", "method: whoami"}, allow: func(a *Allow) { a.Verify = []string{"whoami"} }},
	{rule: "verify", try: "the default where the list has it not", edit: [2]string{"verify: {method: chat}", "owner: nobody"}, allow: func(a *Allow) { a.Verify = []string{"whoami"} }, want: "policies[1].allow.verify allows whoami; verify.method is chat here"},

	{rule: "everything", try: "limits without a word", allow: func(a *Allow) { *a = Allow{} }, want: "policies[1].allow.teams"},
	{rule: "everything", try: "an alias for its own team", edit: [2]string{"team: search", "owner: &t search\nteam: *t"}},
	{rule: "everything", try: "an alias that brings another team", edit: [2]string{"team: search\nlabels: {tier: dev}", "owner: &t prod\nteam: *t"}, want: "policies[1].allow.teams"},
	{rule: "everything", try: "a key given twice", edit: [2]string{"team: search", "team: search\nteam: prod"}, want: "team is given twice"},
	{rule: "everything", try: "a second document", also: func(p *policyFiles) {
		p.write("1/1.yaml", within1+"---\n"+strings.NewReplacer("name: search", "name: second", "team: search", "team: prod", "/search/", "/search/second-").Replace(within1))
	}, want: "1.yaml:17: policies[1].allow.teams"},
	{rule: "everything", try: "a folder below", also: func(p *policyFiles) {
		p.write("1/deep/2.yaml", strings.NewReplacer("name: search", "name: second", "team: search", "team: prod").Replace(within1))
	}, want: "2.yaml:2: policies[1].allow.teams"},
}

func days(n int) *Duration {
	d := Duration(time.Duration(n) * 24 * time.Hour)
	return &d
}

// policyFiles are two folders: 0 has no limits, 1 has.
type policyFiles struct {
	*testing.T
	dir     string
	folders []Folder
	options Options
}

func newPolicyFiles(t *testing.T) *policyFiles {
	p := &policyFiles{T: t, dir: t.TempDir()}
	for i := range 3 {
		if err := os.MkdirAll(p.path(fmt.Sprint(i)), 0o700); err != nil {
			t.Fatal(err)
		}
		p.folders = append(p.folders, Folder{Dir: p.path(fmt.Sprint(i)), Name: fmt.Sprintf("policies[%d]", i)})
	}
	p.folders[1].Allow, p.folders[2].Allow = limited(), limited()
	p.options = Options{
		Accepted: map[string]Accepted{},
		Teams:    map[string]string{"search": "", "search2": "", "prod": ""},
		Stores:   map[string]string{"vault": "vault", "vault2": "vault", "k8s": "kubernetes", "files": "file", "aws": "aws"},
	}
	return p
}

func (p *policyFiles) path(name string) string { return filepath.Join(p.dir, name) }

func (p *policyFiles) write(name, text string) {
	p.Helper()
	if text == "" {
		if err := os.Remove(p.path(name)); err != nil {
			p.Fatal(err)
		}
		return
	}
	if err := os.MkdirAll(filepath.Dir(p.path(name)), 0o700); err != nil {
		p.Fatal(err)
	}
	if err := os.WriteFile(p.path(name), []byte(text), 0o600); err != nil {
		p.Fatal(err)
	}
}

// load loads the folders, and accepts what they say, as a journal does.
func (p *policyFiles) load() Loaded {
	loaded := LoadFolders(p.folders, p.options)
	before := p.options.Accepted
	p.options.Accepted = make(map[string]Accepted)
	if p.options.Removed == nil {
		p.options.Removed = make(map[string]Accepted)
	}
	for name, policy := range loaded.Policies {
		if _, refused := loaded.Refused[name]; refused {
			p.options.Accepted[name] = before[name]
			continue
		}
		p.options.Accepted[name] = Accepted{File: policy.File, Canonical: string(policy.Canonical())}
	}
	for _, policy := range loaded.Policies { // as the journal renames
		if from := policy.Former(); from != "" && before[policy.Name] == (Accepted{}) {
			delete(before, from)
			delete(p.options.Removed, from)
		}
	}
	for name, a := range before {
		if loaded.Policies[name] == nil {
			p.options.Removed[name] = a
			if loaded.Partial {
				p.Errorf("%s was removed, though not all could be read", name)
			}
		}
	}
	return loaded
}

// TestAttempts: no edit gets a folder more than its limits allow. What is refused names the rule, file and line, and leaves what was
// accepted before in force.
func TestAttempts(t *testing.T) {
	t.Parallel()
	if len(attempts) < 40 {
		t.Errorf("only %d attempts", len(attempts))
	}
	for _, a := range attempts {
		t.Run(a.rule+"/"+a.try, func(t *testing.T) {
			t.Parallel()
			p := newPolicyFiles(t)
			p.write("1/1.yaml", within1)
			if first := p.load(); first.Err() != nil {
				t.Fatal(first.Err())
			}
			if a.allow != nil {
				a.allow(p.folders[1].Allow)
			}
			text := within1
			if a.edit[0] != "" {
				if text = strings.Replace(within1, a.edit[0], a.edit[1], 1); !strings.Contains(within1, a.edit[0]) {
					t.Fatalf("the policy has no %q", a.edit[0])
				}
			}
			p.write("1/1.yaml", text)
			if a.also != nil {
				a.also(p)
			}
			was := p.options.Accepted["search"]
			loaded := p.load()
			if a.want == "" {
				if loaded.Err() != nil {
					t.Errorf("refused: %v", loaded.Err())
				}
				return
			}
			if loaded.Err() == nil || !strings.Contains(loaded.Err().Error(), a.want) {
				t.Errorf("got %v, want %s", loaded.Err(), a.want)
			}
			if now := loaded.Policies["search"]; now == nil || string(now.Canonical()) != was.Canonical {
				t.Errorf("what was accepted is not in force any more: %v", now)
			}
			if loaded.Policies["second"] != nil {
				t.Error("a policy that is refused is in force")
			}
			if a.also == nil && loaded.Refused["search"] == "" {
				t.Error("the policy does not say that it is refused")
			}
			// Without what was accepted before, the same gets nothing.
			p.options.Accepted, p.options.Removed = nil, nil
			if fresh := p.load(); a.also == nil && fresh.Policies["search"] != nil {
				t.Errorf("a newcomer that is refused is in force")
			}
			// And in a folder without limits it is allowed, but for what no policy may say.
			if strings.Contains(a.want, ".allow.") && a.also == nil {
				p.folders[1].Allow, p.options.Accepted = nil, nil
				if free := p.load(); free.Err() != nil {
					t.Errorf("without limits: %v", free.Err())
				}
			}
		})
	}
}

// TestPatternsStandForWhatTheySay compares patterns with texts.
func TestPatternsStandForWhatTheySay(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		pattern  string
		yes, not []string
	}{
		{"a", []string{"a"}, []string{"", "aa", "*"}},
		{"*", []string{"", "a", "a/b", "*"}, nil},
		{"a*", []string{"a", "ab", "a*"}, []string{"", "ba", "*"}},
		{"*a", []string{"a", "ba", "*a"}, []string{"ab", "*"}},
		{"a*a", []string{"aa", "aba", "aaa"}, []string{"a", "ab"}},
		{"a*b*c", []string{"abc", "axbxc", "abcbc"}, []string{"acb", "ab", "abcx"}},
		{"a?c", []string{"a?c"}, []string{"abc"}},
	} {
		for _, text := range tc.yes {
			if !covers(tc.pattern, text) {
				t.Errorf("%s does not cover %q", tc.pattern, text)
			}
		}
		for _, text := range tc.not {
			if covers(tc.pattern, text) {
				t.Errorf("%s covers %q", tc.pattern, text)
			}
		}
	}
	for _, tc := range []struct {
		pattern  string
		yes, not []string
	}{
		{"a/*", []string{"a/b", "a/b/c"}, []string{"a", "b/a", "ab/c"}},
		{"a/b*", []string{"a/b", "a/bc"}, []string{"a/bc/d", "a/c"}},
		{"a/*/c", []string{"a/b/c"}, []string{"a/c", "a/b/b/c", "a/b/c/d"}},
		{"*", []string{"a", "a/b"}, []string{"arn:aws:secretsmanager:r:1:secret:a"}},
		{"*/key", []string{"a/key"}, []string{"a/b/key", "key"}},
		{"arn:*", []string{"arn:aws:secretsmanager:r:1:secret:a/b"}, []string{"a", "arn:aws:s3:::a"}},
		{"arn:aws:secretsmanager:r:1:secret:*", []string{"arn:aws:secretsmanager:r:1:secret:a/b"}, []string{"arn:aws:secretsmanager:r:2:secret:a", "arn:aws:secretsmanager:s:1:secret:a"}},
		{"arn:aws:secretsmanager:*:1:secret:a/*", []string{"arn:aws:secretsmanager:r:1:secret:a/b"}, []string{"arn:aws:secretsmanager:r:2:1:secret:a/b", "arn:aws:secretsmanager:r:2:secret:x:1:secret:a/b"}},
	} {
		for _, text := range tc.yes {
			if !coversPath(tc.pattern, text) {
				t.Errorf("%s does not cover the path %q", tc.pattern, text)
			}
		}
		for _, text := range tc.not {
			if coversPath(tc.pattern, text) {
				t.Errorf("%s covers the path %q", tc.pattern, text)
			}
		}
	}
}

// TestRefusalsNameEachRule: the table has a refusal of every rule that a folder can have.
func TestRefusalsNameEachRule(t *testing.T) {
	t.Parallel()
	for _, rule := range []string{"teams", "stores", "acls", "labels", "adopt", "min_overlap", "min_soak", "max_age_at_most", "file_modes", "file_owners", "file_groups", "verify"} {
		if !slices.ContainsFunc(attempts, func(a attempt) bool {
			return a.rule == rule && strings.Contains(a.want, ".allow."+rule)
		}) {
			t.Errorf("no attempt is refused by %s", rule)
		}
	}
}
