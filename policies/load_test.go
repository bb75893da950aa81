package policies

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.yaml.in/yaml/v4"
)

// good is a policy to which the cases add, or from which they take. Its targets are the last lines.
const good = `name: chat-prod
team: research
schedule: "0 3 1 * *"
key:
  acls: ["api-key:model:grok-4", "api-key:endpoint:chat"]
targets:
  - {store: vault, path: llm/chat-prod, field: api_key}
`

var options = Options{
	Stores: map[string]string{"vault": "vault", "aws": "aws", "local": "file"},
	Teams:  map[string]string{"research": "", "support": ""},
}

// with is good with one text replaced by another.
func with(old, new string) string {
	if strings.Count(good, old) != 1 {
		panic("not once in good: " + old)
	}
	return strings.Replace(good, old, new, 1)
}

const acls = `acls: ["api-key:model:grok-4", "api-key:endpoint:chat"]`

func badCases() []badCase {
	return []badCase{
		// Structure: the JSON Schema refuses these too.
		bad("unknown key", good+"teem: x\n", true, `p.yaml:8: unknown key "teem"; want team (did you mean that?)`),
		bad("unknown key, nothing near", good+"frequency: x\n", true, `p.yaml:8: unknown key "frequency"; want one of name, team, owner, schedule, timezone, jitter, max_age, key, verify, targets, adopt, retire, renamed_from`),
		bad("unknown key inside", good+"retire: {overlapp: 1h}\n", true, `p.yaml:8: unknown key in retire "overlapp"; want overlap (did you mean that?)`),
		bad("File is no key", good+"File: x\n", true, `p.yaml:8: unknown key "File"`),
		bad("all required", "owner: me\n", true, "p.yaml:1: name is missing", "p.yaml:1: team is missing", "p.yaml:1: schedule is missing", "p.yaml:1: key is missing", "p.yaml:1: targets is missing"),
		bad("required inside", with(acls, "qps: 5"), true, "p.yaml:5: key.acls is missing"),
		bad("required in a target", with("path: llm/chat-prod, ", ""), true, "p.yaml:7: targets[0].path is missing"),
		bad("name of a wrong form", with("name: chat-prod", "name: Chat Prod"), true, `p.yaml:1: name "Chat Prod" is no valid name; want 1 to 63 of`),
		bad("name that leaves its folder", with("name: chat-prod", "name: ../x"), true, `p.yaml:1: name "../x" is no valid name`),
		bad("number for a name", with("name: chat-prod", "name: 7"), true, `p.yaml:1: name "7" is a number, not text; want text, in quotes`),
		bad("date for a name", with("name: chat-prod", "name: 2026-01-01"), true, `p.yaml:1: name "2026-01-01" is a date, not text`),
		bad("no value", with("name: chat-prod", "name:"), true, "p.yaml:1: name has no value"),
		bad("empty value", with("name: chat-prod", `name: ""`), true, "p.yaml:1: name is empty"),
		bad("list for a name", with("name: chat-prod", "name: [a]"), true, "p.yaml:1: name is a list, not text"),
		bad("team of a wrong form", with("research", "Research"), true, `p.yaml:2: team "Research" is no valid name`),
		bad("list for a mapping", with("\n  "+acls, " [a]"), true, "p.yaml:4: key is a list, not a mapping; want keys and values: acls, qps, qpm, tpm"),
		bad("text for a list", with(acls, "acls: api-key:model:*"), true, "p.yaml:5: key.acls is text, not a list"),
		bad("empty list", with(acls, "acls: []"), true, "p.yaml:5: key.acls is empty"),
		bad("no ACL", with("api-key:endpoint:chat", "chat"), true, `p.yaml:5: key.acls[1] "chat" is no ACL; want api-key:model:NAME`),
		bad("the same ACL twice", with("api-key:endpoint:chat", "api-key:model:grok-4"), true, `p.yaml:5: key.acls[1] "api-key:model:grok-4" is the same as key.acls[0]`),
		bad("fraction", with(acls, acls+"\n  qps: 1.5"), true, `p.yaml:6: key.qps "1.5" is no whole number`),
		bad("number in quotes", with(acls, acls+"\n  qpm: '5'"), true, `p.yaml:6: key.qpm "5" is no whole number from 1 on; want a number such as 5, without quotes`),
		bad("zero", with(acls, acls+"\n  qpm: 0"), true, `p.yaml:6: key.qpm "0" is no whole number`),
		bad("tpm without quotes", with(acls, acls+"\n  tpm: 200000"), true, `p.yaml:6: key.tpm "200000" is a number, not text; want text, in quotes`),
		bad("tpm of words", with(acls, acls+"\n  tpm: many"), true, `p.yaml:6: key.tpm "many" is no whole number`),
		bad("yes", good+"adopt: yes\n", true, `p.yaml:8: adopt "yes" is neither true nor false`),
		bad("bad duration", good+"max_age: 45 days\n", true, `p.yaml:8: max_age "45 days" is no duration`),
		bad("duration without a unit", good+"jitter: 10\n", true, `p.yaml:8: jitter "10" is no duration`),
		bad("negative duration", good+"retire: {overlap: -1h}\n", true, `p.yaml:8: retire.overlap "-1h" is no duration`),
		bad("unknown method", good+"verify: {method: ping}\n", true, `p.yaml:8: verify.method "ping" is not known; want chat, models or whoami`),
		bad("mode without quotes", with("store: vault", "store: local, mode: 0640"), true, `p.yaml:7: targets[0].mode "0640" is a number, not text`),
		bad("mode of letters", with("store: vault", "store: local, mode: rw-r--r--"), true, `p.yaml:7: targets[0].mode "rw-r--r--" is not valid; want three octal digits`),
		bad("the document is a list", "- a\n", true, "p.yaml:1: the document is a list, not a mapping"),
		bad("the document is text", "chat-prod\n", true, "p.yaml:1: the document is text, not a mapping"),
		bad("null for a mapping", good+"retire:\n", true, "p.yaml:8: retire is empty, not a mapping"),

		// Given twice, merged: YAML itself.
		bad("twice", good+"name: chat-test\n", true, "p.yaml:8: name is given twice, first on line 1"),
		bad("merge key", good+"<<: {adopt: true}\n", false, "p.yaml:8: a key is no plain word; want keys written out, without merging (<<)"),
		bad("no YAML", good+"verify: [\n", true, "p.yaml:9: this is not YAML: did not find expected node content"),
		bad("tab", good+"retire:\n\toverlap: 1h\n", true, "p.yaml:9: this is not YAML: found character that cannot start any token"),
		bad("no such anchor", good+"retire: *usual\n", true, "p.yaml:8: this is not YAML"),
		bad("binary", "\x7fELF\x02\x01\x00\x00", true, "p.yaml: this is not YAML: control characters are not allowed; want"),
		bad("not UTF-8", "name: \xff\xfe\xfd", true, "this is not YAML"),
		bad("empty file", "", false, "p.yaml: the file holds no policy"),
		bad("nothing but comments", "# later\n---\n", false, "p.yaml: the file holds no policy"),

		// Sense: only the code can tell.
		bad("unknown team", with("research", "reserch"), false, `p.yaml:2: unknown team "reserch"; want one of research, support (did you mean research?)`),
		bad("unknown store", with("store: vault", "store: consul"), false, `p.yaml:7: unknown store "consul"; want one of aws, local, vault`),
		bad("mistyped endpoint", with("endpoint:chat", "endpoint:chta"), false, `p.yaml:5: key.acls[1] "api-key:endpoint:chta" is no known endpoint; want api-key:endpoint:chat`),
		bad("day of week 7", with(`"0 3 1 * *"`, `"0 3 * * 7"`), false, `p.yaml:3: schedule: day of week "7" is not valid; want 0 or sun for Sunday`),
		bad("zone in front", with(`"0 3 1 * *"`, `"TZ=Europe/Berlin 0 3 1 * *"`), false, "p.yaml:3: schedule has a time zone in front; want the zone in timezone: instead"),
		bad("no such date", with(`"0 3 1 * *"`, `"0 0 31 2 *"`), false, `p.yaml:3: schedule "0 0 31 2 *" names a date that never comes`),
		bad("no such zone", good+"timezone: Berlin\n", false, `p.yaml:8: timezone "Berlin" is not known; want a name of the tz database such as Europe/Berlin`),
		bad("too often", with(`"0 3 1 * *"`, `"*/30 * * * *"`), false, `p.yaml:3: schedule "*/30 * * * *" runs every 30m at times, the limit min_interval is 1h`),
		bad("shorter than overlap and soak", with(`"0 3 1 * *"`, `"0 3 * * *"`), false, `p.yaml:3: schedule "0 3 * * *" runs every 24h at times, but an old key stays for 2d (retire.overlap 24h + soak 24h); want at least 2d between two runs`),
		bad("shorter in spring", with(`"0 3 1 * *"`, `"0 3 * * *"`)+"timezone: Europe/Berlin\nretire: {overlap: 24h, soak: 0s}\n", false, `p.yaml:3: schedule "0 3 * * *" runs every 23h at times, but an old key stays for 24h`),
		bad("jitter as long as the interval", with(`"0 3 1 * *"`, `"@every 3d"`)+"jitter: 3d\n", false, "p.yaml:8: jitter 3d is not shorter than the 3d between two runs"),
		bad("no time before max_age", good+"max_age: 49h\n", false, "p.yaml:8: max_age 49h leaves no time: a rotation begins 49h before it (overlap 24h + soak 24h + 1h) and at most every 1h; want at least 50h"),
		bad("max_age of nothing", good+"max_age: 0s\n", false, "p.yaml:8: max_age 0s leaves no time"),
		bad("max_wait alone", good+"retire: {max_wait: 7d}\n", false, "p.yaml:8: retire.max_wait is given without require_idle"),
		bad("max_wait too short", good+"retire: {require_idle: 7d, max_wait: 6h}\n", false, "p.yaml:8: retire.max_wait 6h is shorter than require_idle 7d"),
		bad("chat without the right", with("endpoint:chat", "endpoint:embed"), false, "p.yaml:1: verify: the ACLs do not allow chat; want api-key:endpoint:chat in key.acls, or verify: {method: whoami}"),
		bad("model without the right", good+"verify: {model: grok-3}\n", false, `p.yaml:8: verify: the ACLs do not allow the model "grok-3"; want api-key:model:NAME`),
		bad("which model", with("model:grok-4", "model:*"), false, "p.yaml:1: verify.model is missing, and the ACLs name no model; want verify: {method: chat, model: NAME}"),
		bad("no model at all", with(`"api-key:model:grok-4", `, ""), false, "p.yaml:1: verify: the ACLs do not allow the model; want"),
		bad("models without the right", good+"verify: {method: models}\n", false, "p.yaml:8: verify: the ACLs do not allow to list models"),
		bad("a model that nobody asks", good+"verify: {method: whoami, model: grok-4}\n", false, "p.yaml:8: verify.model is given, but whoami talks to no model"),
		bad("the same target twice", good+"  - {field: api_key, store: vault, path: llm/chat-prod}\n", false, "p.yaml:8: this target is written by p.yaml:7 too"),
		bad("Vault's default field twice", with(", field: api_key", "")+"  - {store: vault, path: llm/chat-prod, field: value}\n", false, "p.yaml:8: this target is written by p.yaml:7 too"),
		bad("whole and field", with("store: vault", "store: aws")+"  - {store: aws, path: llm/chat-prod}\n", false, "p.yaml:8: this secret is the whole value here and one field of it at p.yaml:7"),
		bad("absolute file", with("{store: vault, path: ", "{store: local, path: /"), false, `p.yaml:7: targets[0].path "/llm/chat-prod" is absolute; want a path below the store's folder`),
		bad("file outside", with("{store: vault, path: ", "{store: local, path: ../"), false, `p.yaml:7: targets[0].path "../llm/chat-prod" has '..'`),
		bad("file outside, hidden", with("{store: vault, path: ", "{store: local, path: a/../../"), false, "p.yaml:7: targets[0].path"),
		bad("file where staging lies", with("{store: vault, path: ", "{store: local, path: .rotator/"), false, "p.yaml:7: targets[0].path"),
		bad("Vault path with a slash in front", with("path: ", "path: /"), false, `p.yaml:7: targets[0].path "/llm/chat-prod" has '..', '.', or a slash`),
		bad("owner in Vault", with("store: vault", "store: vault, owner: root"), false, "p.yaml:7: targets[0].owner is given, but a store of type vault has no files"),
		bad("renamed from itself", good+"renamed_from: chat-prod\n", false, "p.yaml:8: renamed_from is the policy's own name"),
		bad("the same name twice", good+"---\n"+strings.Replace(good, "path: llm", "path: other", 1), false, `p.yaml:9: the name "chat-prod" is taken by the policy in p.yaml:1`),
		bad("one target, two policies", good+"---\n"+strings.Replace(good, "name: chat-prod", "name: chat-test", 1), false, "p.yaml:15: this target is written by p.yaml:7 too"),
		bad("renamed from one that exists", good+"---\n"+strings.NewReplacer("name: chat-prod", "name: chat-test\nrenamed_from: chat-prod", "path: llm", "path: other").Replace(good), false, "p.yaml:10: renamed_from names the policy in p.yaml:1, which still exists"),
		bad("everything at once", "name: X\nteam: nobody\nschedule: 0 3 * * 7\nkey: {acls: [chat], qps: x}\nmax_age: long\ntargets:\n  - {store: vault}\n", true,
			"p.yaml:1: name", "p.yaml:2: unknown team", "p.yaml:3: schedule", "p.yaml:4: key.acls[0]", "p.yaml:4: key.qps", "p.yaml:5: max_age", "p.yaml:7: targets[0].path is missing"),
	}
}

type badCase struct {
	what, text string
	structural bool // the schema refuses it too
	want       []string
}

func bad(what, text string, structural bool, want ...string) badCase {
	return badCase{what, text, structural, want}
}

func TestProblems(t *testing.T) {
	t.Parallel()
	if _, problems := Parse("p.yaml", []byte(good), options); problems != nil {
		t.Fatalf("the good one: %v", problems)
	}
	refused := validator(t)
	for _, c := range badCases() {
		list, problems := Parse("p.yaml", []byte(c.text), options)
		if len(list) > 0 || len(problems) == 0 {
			t.Errorf("%s: accepted", c.what)
			continue
		}
		got := strings.Split(problems.Error(), "\n")
		for i, w := range c.want {
			if len(got) != len(c.want) || !strings.Contains(got[i], w) {
				t.Errorf("%s: problems\n\t%s\nwant\n\t%s", c.what, strings.Join(got, "\n\t"), strings.Join(c.want, "\n\t"))
				break
			}
		}
		if err := refused([]byte(c.text)); (err != nil) != c.structural {
			t.Errorf("%s: structural %v, but the schema says: %v", c.what, c.structural, err)
		}
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	list, problems := Parse("p.yaml", []byte("# a comment\n"+good+"---\n\n---\n"+strings.NewReplacer(
		"name: chat-prod", "name: at-once", "path: llm", "path: x", "team:", "retire: {overlap: 0s, soak: 0s}\nteam:").Replace(good)), options)
	if problems != nil {
		t.Fatal(problems)
	}
	p, q := list[0], list[1]
	if p.Timezone != "UTC" || p.Verify != (Verify{MethodChat, "grok-4"}) || p.Retire != (Retire{Overlap: Duration(day), Soak: Duration(day)}) || p.Adopt || p.Jitter != 0 {
		t.Errorf("defaults: %+v", p)
	}
	if p.File != "p.yaml" || p.Line != 2 || q.Line != 12 {
		t.Errorf("places: %s:%d and :%d", p.File, p.Line, q.Line)
	}
	if q.Retire != (Retire{}) {
		t.Errorf("0s is not a default: %+v", q.Retire)
	}
	if got := p.Targets[0].String(); got != "vault:llm/chat-prod#api_key" {
		t.Errorf("target %s", got)
	}
}

func TestEveryFieldIsDecoded(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("examples/chat-prod.yaml")
	if err != nil {
		t.Fatal(err)
	}
	list, problems := Parse("p.yaml", data, options)
	if problems != nil {
		t.Fatal(problems)
	}
	five, hundred, tokens := 5, 100, "200000"
	want := &Policy{
		Name: "chat-prod", Team: "research", Owner: "ml-platform@example.com", Schedule: "0 3 1 * *", Timezone: "Europe/Berlin",
		Jitter: Duration(10 * time.Minute), MaxAge: Duration(45 * day),
		Key:    KeySpec{[]string{"api-key:model:grok-4", "api-key:endpoint:chat"}, &five, &hundred, &tokens},
		Verify: Verify{MethodChat, "grok-4"},
		Targets: []Target{
			{Store: "vault", Path: "llm/chat-prod", Field: "api_key"}, {Store: "aws", Path: "prod/grok", Field: "XAI_API_KEY"}, {Store: "local", Path: "chat-prod"},
		},
		Adopt: true, Retire: Retire{Overlap: Duration(day), Soak: Duration(day)},
	}
	if diff := cmp.Diff(want, list[0], cmpopts.IgnoreUnexported(Policy{}), cmpopts.IgnoreFields(Policy{}, "File", "Line")); diff != "" {
		t.Error(diff)
	}
	decoded, err := Decode(list[0].Canonical())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, decoded, cmpopts.IgnoreUnexported(Policy{})); diff != "" {
		t.Errorf("as recorded: %s", diff)
	}
	if again := string(decoded.Canonical()); again != string(list[0].Canonical()) {
		t.Errorf("recorded again: %s", again)
	}
	written, err := yaml.Dump(list[0])
	if err != nil {
		t.Fatal(err)
	}
	if back, problems := Parse("p.yaml", written, options); problems != nil || string(back[0].Canonical()) != string(list[0].Canonical()) {
		t.Errorf("written as YAML: %v\n%s", problems, written)
	}
	if _, err := Decode([]byte("{")); err == nil {
		t.Error("half a record is decoded")
	}
}

func TestSameRotation(t *testing.T) {
	t.Parallel()
	parse := func(text string) *Policy {
		list, problems := Parse("p.yaml", []byte(text), options)
		if problems != nil {
			t.Fatal(problems)
		}
		return list[0]
	}
	more := good + "  - {store: aws, path: x}\n"
	p := parse(more)
	for what, c := range map[string]struct {
		text string
		same bool
	}{
		"itself":           {more, true},
		"verify written":   {more + "verify: {method: chat, model: grok-4}\n", true},
		"order of targets": {strings.Replace(more, "targets:\n", "targets:\n  - {store: aws, path: x}\n", 1)[:len(more)], true},
		"order of ACLs":    {strings.Replace(more, acls, `acls: ["api-key:endpoint:chat", "api-key:model:grok-4"]`, 1), true},
		"schedule, retire": {strings.Replace(more, "0 3 1", "0 3 2", 1) + "retire: {soak: 0s}\nowner: me\n", true},
		"team":             {strings.Replace(more, "research", "support", 1), false},
		"ACLs":             {strings.Replace(more, `chat"]`, `chat", "api-key:endpoint:embed"]`, 1), false},
		"limits":           {strings.Replace(more, acls, acls+"\n  qps: 5", 1), false},
		"verification":     {more + "verify: {method: whoami}\n", false},
		"a target more":    {more + "  - {store: local, path: x}\n", false},
		"a target less":    {good, false},
		"another field":    {strings.Replace(more, "field: api_key", "field: key", 1), false},
	} {
		if q := parse(c.text); p.SameRotation(q) != c.same || q.SameRotation(p) != c.same {
			t.Errorf("%s: same rotation %v, want %v", what, !c.same, c.same)
		}
	}
}

// TestNoSecretIsQuoted puts credentials wherever a policy takes a value or a key, and looks for them in the problems.
func TestNoSecretIsQuoted(t *testing.T) {
	t.Parallel()
	for _, secret := range []string{
		"xai-" + strings.Repeat("aB3dE5gH", 10), "xai-token-" + strings.Repeat("Zy9", 26), "hvs.CAESIJxyzAbCdEf0123456789", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
		"8d3fd7f4-4a2c-9e1b-77aa-0c1d2e3f4a5b", "glpat-0123456789abcdefABCD",
	} {
		for _, text := range []string{
			secret, secret + ": x\n", good + secret + ": x\n", good + "retire: {" + secret + ": 1h}\n", good + "retire: " + secret + "\n",
			with("name: chat-prod", "name: "+secret+"!"), with("team: research", "team: "+secret), with(`"0 3 1 * *"`, secret), with(`"0 3 1 * *"`, `"`+secret+` 3 1 * *"`),
			with(`"0 3 1 * *"`, `"@every `+secret+`"`), with(acls, "acls: "+secret), with("api-key:endpoint:chat", secret),
			with(acls, acls+"\n  qps: "+secret), with(acls, acls+"\n  tpm: "+secret), with("store: vault", "store: "+secret),
			with("llm/chat-prod", "/"+secret), with("store: vault", "store: local, mode: "+secret), with("store: vault", "store: local, owner: '"+secret+"!'"),
			good + "timezone: " + secret + "\n", good + "jitter: " + secret + "\n", good + "max_age: " + secret + "\n", good + "adopt: " + secret + "\n",
			good + "renamed_from: " + secret + "!\n", good + "verify: {method: " + secret + "}\n", good + "verify: {model: " + secret + "}\n",
			good + "retire: *" + secret + "\n", good + "owner: !!int " + secret + "\n", good + "owner: !" + secret + " x\n", good + "owner: '" + secret + "\n",
			good + "%" + secret + "\n---\n", good + "owner: &" + secret + " [" + secret + "\n", "%TAG " + secret + "\n---\n", good + secret + "\n", good + "- " + secret,
		} {
			_, problems := Parse("p.yaml", []byte(text), options)
			if len(problems) == 0 {
				t.Errorf("accepted: %s", text)
			}
			for start := 0; start+7 <= len(secret); start++ {
				if part := secret[start : start+7]; strings.Contains(problems.Error(), part) {
					t.Errorf("%q is quoted from:\n%s\nin: %v", part, text, problems)
					break
				}
			}
		}
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	other := func(name string) string {
		return strings.NewReplacer("name: chat-prod", "name: "+name, "llm/chat-prod", "llm/"+name).Replace(good)
	}
	if all, err := Load(dir, options); err != nil || len(all) != 0 {
		t.Fatalf("an empty folder: %v, %v", all, err)
	}
	write("a.yaml", good)
	write("b.yml", other("b")+"---\n"+other("c"))
	write("notes.txt", "no policy")
	write(".hidden.yaml", "no policy")
	if err := os.MkdirAll(filepath.Join(dir, "below.yaml"), 0o700); err != nil {
		t.Fatal(err)
	}
	write("below.yaml/d.yaml", "no policy")
	all, err := Load(dir, options)
	if err != nil || len(all) != 3 || all["c"].Line != 9 || all["c"].File != filepath.Join(dir, "b.yml") {
		t.Fatalf("three policies: %v, %v", all, err)
	}

	write("e.yaml", strings.Replace(other("e"), "llm/e", "llm/b", 1))
	write("f.yaml", "\x00")
	write("g.yaml", strings.Repeat("# large\n", maxFile/8+1))
	if err := os.Symlink("nowhere", filepath.Join(dir, "h.yaml")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "i.yaml"), 0o600); err != nil {
		t.Fatal(err)
	}
	all, err = Load(dir, options)
	want := []string{
		"e.yaml:7: this target is written by " + filepath.Join(dir, "b.yml") + ":7 too", "f.yaml: this is not YAML", "g.yaml: the file is larger than 1 MiB",
		"h.yaml: the file cannot be read: no such file or directory", "i.yaml: it is not a file",
	}
	if all != nil || err == nil {
		t.Fatalf("loaded %v beside problems", all)
	}
	got := strings.Split(err.Error(), "\n")
	for i, w := range want {
		if len(got) != len(want) || !strings.HasPrefix(got[i], filepath.Join(dir, w)) {
			t.Fatalf("problems\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	if _, err := Load(filepath.Join(dir, "none"), options); err == nil || !strings.Contains(err.Error(), "the folder cannot be read: no such file") {
		t.Errorf("a folder that is not there: %v", err)
	}
}

// TestLoadConfigMap lays a folder out as the kubelet does and replaces its content half-way: names that the listing
// still shows, and a link that leads to the new generation.
func TestLoadConfigMap(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, generation := range []string{"..first", "..second"} {
		if err := os.Mkdir(filepath.Join(dir, generation), 0o700); err != nil {
			t.Fatal(err)
		}
		text := strings.Replace(good, "team:", "owner: "+strings.Trim(generation, ".")+"\nteam:", 1)
		if err := os.WriteFile(filepath.Join(dir, generation, "p.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := func(to, name string) {
		t.Helper()
		if err := os.Symlink(to, filepath.Join(dir, "..tmp")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	link("..data/p.yaml", "p.yaml")
	for _, generation := range []string{"..first", "..second"} {
		link(generation, "..data")
		files, err := list(dir)
		if err != nil || len(files) != 1 {
			t.Fatalf("files %v, %v", files, err)
		}
		link("..second", "..data")
		if want := filepath.Join(dir, generation, "p.yaml"); files[0].path != want {
			t.Errorf("read from %s, want %s", files[0].path, want)
		}
		link(generation, "..data")
		all, err := Load(dir, options)
		if err != nil || all["chat-prod"].Owner != strings.Trim(generation, ".") || all["chat-prod"].File != filepath.Join(dir, "p.yaml") {
			t.Errorf("generation %s: %v, %v", generation, all, err)
		}
	}
}

// TestBounded: files that are made to take for ever or to fill the log.
func TestBounded(t *testing.T) {
	t.Parallel()
	bomb := "a: &a [x, x, x, x, x, x, x, x, x]\n"
	for c := 'b'; c <= 'k'; c++ {
		bomb += fmt.Sprintf("%c: &%c [%s*%c]\n", c, c, strings.Repeat(fmt.Sprintf("*%c, ", c-1), 8), c-1)
	}
	for what, text := range map[string]string{
		"aliases of aliases":  bomb + "targets: *k\n",
		"a list in itself":    good + "retire: &r {overlap: *r}\n",
		"targets of aliases":  with("  - {", "  - &t {") + strings.Repeat("  - *t\n", 50_000),
		"deep":                "targets: " + strings.Repeat("[", 200_000),
		"many unknown keys":   good + strings.Repeat("x: y\n", 100_000),
		"many empty policies": strings.Repeat("--- {}\n", 100_000),
	} {
		begin := time.Now()
		list, problems := Parse("p.yaml", []byte(text), options)
		if len(list) > 0 || len(problems) == 0 {
			t.Errorf("%s: accepted", what)
		}
		if len(problems) > maxFileProblem+1 {
			t.Errorf("%s: %d problems", what, len(problems))
		}
		t.Logf("%s: %s", what, time.Since(begin))
		if d := time.Since(begin); d > 10*time.Second {
			t.Errorf("%s: took %s", what, d)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, c := range badCases() {
		f.Add([]byte(c.text))
	}
	f.Add([]byte(good))
	check := validator(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		list, problems := Parse("p.yaml", data, Options{})
		if (len(list) > 0) == (len(problems) > 0) {
			t.Fatalf("%d policies and %d problems", len(list), len(problems))
		}
		if len(list) == 0 {
			return
		}
		if err := check(data); err != nil {
			t.Errorf("accepted, but the schema refuses it: %v", err)
		}
		now := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
		for _, p := range list {
			if at, _ := p.NextDue(History{FirstSeen: now}, now); !at.After(now) {
				t.Errorf("%s is due at %s, from the start", p.Name, at)
			}
			if q, err := Decode(p.Canonical()); err != nil || string(q.Canonical()) != string(p.Canonical()) || !q.SameRotation(p) {
				t.Errorf("%s changes when it is recorded: %v", p.Name, err)
			}
		}
	})
}

// BenchmarkLoad reads a folder of 100,000 policies with many different schedules.
func BenchmarkLoad(b *testing.B) {
	const count = 100_000
	dir := b.TempDir()
	zones := []string{"UTC", "Europe/Berlin", "America/New_York", "Asia/Tokyo"}
	for i := range count {
		text := strings.NewReplacer("chat-prod", fmt.Sprintf("chat-%06d", i), "0 3 1 * *", fmt.Sprintf("%d %d %d * *", i%60, i/60%24, i/1440%28+1),
			"team:", "timezone: "+zones[i%4]+"\nteam:").Replace(good)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%06d.yaml", i)), []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	cpu := cpuSeconds(b)
	var all map[string]*Policy
	for b.Loop() {
		var err error
		if all, err = Load(dir, options); err != nil || len(all) != count {
			b.Fatal(len(all), err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/load")
	b.ReportMetric((cpuSeconds(b)-cpu)/float64(b.N), "cpu-s/load")
	b.ReportMetric(float64(b.N)*count/b.Elapsed().Seconds(), "policies/s")
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/count, "heap-B/policy")
	runtime.KeepAlive(all)
}

func cpuSeconds(b *testing.B) float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
}
