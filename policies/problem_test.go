package policies

import (
	"strings"
	"testing"
	"time"
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

// two is good with another target.
const two = good + "  - {store: local, path: chat}\n"

var options = Options{
	Stores: map[string]string{"vault": "vault", "aws": "aws", "local": "file", "cluster": "kubernetes"},
	Teams:  map[string]string{"research": "", "support": ""},
}

// with is good with one text replaced by another.
func with(old, replacement string) string {
	if strings.Count(good, old) != 1 {
		panic("not once in good: " + old)
	}
	return strings.Replace(good, old, replacement, 1)
}

const acls = `acls: ["api-key:model:grok-4", "api-key:endpoint:chat"]`

func badCases() []badCase {
	return []badCase{
		// Structure: the JSON Schema refuses these too.
		bad("unknown key", good+"teem: x\n", true, `p.yaml:8: unknown key "teem"; want team (did you mean that?)`),
		bad("unknown key, nothing near", good+"frequency: x\n", true, `p.yaml:8: unknown key "frequency"; want one of name, team, owner, labels, schedule, timezone, jitter, windows, max_age, key, verify, targets, canary, adopt, allow_narrowing, retire, renamed_from`),
		bad("a window without times", good+"windows: [\"Mon-Fri\"]\n", true, `p.yaml:8: windows[0] "Mon-Fri" is no part of a week; want days and times such as`),
		bad("a label of a wrong form", good+"labels: {tier: \"a b\"}\n", false, `p.yaml:8: labels.tier "a b" is no value of a label`),
		bad("a label twice", good+"labels: {tier: a, tier: b}\n", true, `p.yaml:8:`),
		bad("labels that are a list", good+"labels: [a]\n", true, "p.yaml:8: labels is a list, not a mapping; want names and values"),
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
		bad("adopt as a list", good+"adopt: [a]\n", true, "p.yaml:8: adopt is a list, not true or false; want true, false, or {key_id: ID}"),
		bad("adopt with another key", good+"adopt: {id: a}\n", true, "p.yaml:8: adopt is a mapping with other keys than key_id"),
		bad("adopt of no key", good+"adopt: {key_id: \"\"}\n", true, "p.yaml:8: adopt.key_id is empty"),
		bad("adopt of no id", good+"adopt: {key_id: a/b}\n", true, `p.yaml:8: adopt.key_id "a/b" is no id of a key`),
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
		bad("unknown store", with("store: vault", "store: consul"), false, `p.yaml:7: unknown store "consul"; want one of aws, cluster, local, vault`),
		bad("mistyped endpoint", with("endpoint:chat", "endpoint:chta"), false, `p.yaml:5: key.acls[1] "api-key:endpoint:chta" is no known endpoint; want api-key:endpoint:chat`),
		bad("day of week 7", with(`"0 3 1 * *"`, `"0 3 * * 7"`), false, `p.yaml:3: schedule: day of week "7" is not valid; want 0 or sun for Sunday`),
		bad("zone in front", with(`"0 3 1 * *"`, `"TZ=Europe/Berlin 0 3 1 * *"`), false, "p.yaml:3: schedule has a time zone in front; want the zone in timezone: instead"),
		bad("no such date", with(`"0 3 1 * *"`, `"0 0 31 2 *"`), false, `p.yaml:3: schedule "0 0 31 2 *" names a date that never comes`),
		bad("no such zone", good+"timezone: Berlin\n", false, `p.yaml:8: timezone "Berlin" is not known; want a name of the tz database such as Europe/Berlin`),
		bad("too often", with(`"0 3 1 * *"`, `"*/30 * * * *"`), false, `p.yaml:3: schedule "*/30 * * * *" runs every 30m at times, the limit min_interval is 1h`),
		bad("shorter than overlap and soak", with(`"0 3 1 * *"`, `"0 3 * * *"`), false, `p.yaml:3: schedule "0 3 * * *" runs every 24h at times, but an old key stays for 2d (retire.overlap 24h + soak 24h); want at least 2d between two runs`),
		bad("shorter in spring", with(`"0 3 1 * *"`, `"0 3 * * *"`)+"timezone: Europe/Berlin\nretire: {overlap: 24h, soak: 0s}\n", false, `p.yaml:3: schedule "0 3 * * *" runs every 23h at times, but an old key stays for 24h`),
		bad("jitter as long as the interval", with(`"0 3 1 * *"`, `"@every 3d"`)+"jitter: 3d\n", false, "p.yaml:8: jitter 3d is not shorter than the 3d between two runs"),
		bad("no time before max_age", good+"max_age: 25h\n", false, "p.yaml:8: max_age 25h leaves no time: a rotation begins 25h before it (overlap 24h + 1h) and at most every 1h; want at least 26h (overlap 24h + 1h + 1h)"),
		bad("no time before max_age for the jitter", good+"max_age: 26h\njitter: 10m\n", false, "p.yaml:8: max_age 26h leaves no time: a rotation begins 25h10m before it (overlap 24h + 1h + jitter 10m) and at most every 1h; want at least 26h10m (overlap 24h + 1h + jitter 10m + 1h)"),
		bad("no time before max_age until the old key is idle", good+"max_age: 49h\nretire: {require_idle: 2d}\n", false, "p.yaml:8: max_age 49h leaves no time: a rotation begins 49h before it (require_idle 2d + 1h) and at most every 1h; want at least 50h (require_idle 2d + 1h + 1h)"),
		bad("no time before max_age for the canary", two+"canary: {target: local:chat, for: 2h}\nmax_age: 27h\n", false, "p.yaml:10: max_age 27h leaves no time: a rotation begins 27h before it (overlap 24h + 1h + canary 2h) and at most every 1h; want at least 28h (overlap 24h + 1h + canary 2h + 1h)"),
		bad("a canary that is no target", two+"canary: {target: local:chta, for: 1h}\n", false, `p.yaml:9: canary.target "local:chta" is no target of this policy; want one of vault:llm/chat-prod#api_key, local:chat (did you mean local:chat?)`),
		bad("a canary without its field", two+"canary: {target: vault:llm/chat-prod, for: 1h}\n", false, `p.yaml:9: canary.target "vault:llm/chat-prod" is no target of this policy`),
		bad("a canary that is alone", good+"canary: {target: \"vault:llm/chat-prod#api_key\", for: 1h}\n", false, "p.yaml:8: canary: the policy has one target"),
		bad("a canary for a moment", two+"canary: {target: local:chat, for: 10s}\n", false, "p.yaml:9: canary.for 10s is out of bounds; want 1m to 7d"),
		bad("a canary forever", two+"canary: {target: local:chat, for: 8d}\n", false, "p.yaml:9: canary.for 8d is out of bounds; want 1m to 7d"),
		bad("a canary without a time", two+"canary: {target: local:chat}\n", true, "p.yaml:9: canary.for is missing"),
		bad("an interval that the canary eats up", strings.Replace(two, `"0 3 1 * *"`, `"@every 2d"`, 1)+"canary: {target: local:chat, for: 1h}\n", false, "old key stays for 49h (retire.overlap 24h + soak 24h + canary.for 1h)"),
		bad("expiry before the old key is off", expiring("33d"), false, "key.expires_after 33d is shorter than a key is needed (31d between two runs + overlap 24h + soak 24h + 1h); want at least 793h"),
		bad("expiry before max_age", expiring("46d")+"max_age: 45d\n", false, "key.expires_after 46d is shorter than a key is needed (max_age 45d + soak 24h + 1h); want at least 1105h"),
		bad("expiry before the old key is idle", expiring("792h")+"retire: {require_idle: 3d}\n", false, "(31d between two runs + require_idle 3d + soak 24h + 1h)"),
		bad("expiry of nothing", expiring("0s"), false, "key.expires_after 0s is shorter"),
		bad("max_age of nothing", good+"max_age: 0s\n", false, "p.yaml:8: max_age 0s leaves no time"),
		bad("key of xAI's as an owner", good+"owner: xai-"+strings.Repeat("aB3dE5gH", 10)+"\n", false, "p.yaml:8: owner holds a key of xAI's; want no secret in this file"),
		bad("key of xAI's in a path", with("llm/chat-prod", "llm/xai-token-"+strings.Repeat("Zy9", 26)), false, "p.yaml:7: targets[0].path holds a key of xAI's; want no secret in this file"),
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
		bad("whole and field", with("store: vault", "store: aws")+"  - {store: aws, path: llm/chat-prod}\n", false, "p.yaml:8: of this target and the one at p.yaml:7 one is the whole secret"),
		bad("absolute file", with("{store: vault, path: ", "{store: local, path: /"), false, `p.yaml:7: targets[0].path "/llm/chat-prod" is absolute; want a path below the store's folder`),
		bad("file outside", with("{store: vault, path: ", "{store: local, path: ../"), false, `p.yaml:7: targets[0].path "../llm/chat-prod" has '..'`),
		bad("file outside, hidden", with("{store: vault, path: ", "{store: local, path: a/../../"), false, "p.yaml:7: targets[0].path"),
		bad("file where staging lies", with("{store: vault, path: ", "{store: local, path: .rotator/"), false, "p.yaml:7: targets[0].path"),
		bad("file where staging lies, deeper", with("{store: vault, path: llm", "{store: local, path: llm/.rotator"), false, `p.yaml:7: targets[0].path "llm/.rotator/chat-prod" has a part that begins with .rotator`),
		bad("file beside its temporary file", with("{store: vault, path: llm/", "{store: local, path: .rotator-"), false, `p.yaml:7: targets[0].path ".rotator-chat-prod" has a part that begins with .rotator`),
		bad("Vault path with two dots", with("path: llm/", "path: llm/v1..2/"), false, `p.yaml:7: targets[0].path "llm/v1..2/chat-prod" has '..'`),
		bad("AWS name with a space", with("{store: vault, path: llm/", "{store: aws, path: llm /"), false, `p.yaml:7: targets[0].path "llm /chat-prod" is no name of a secret; want letters, digits`),
		bad("Vault path with a slash in front", with("path: ", "path: /"), false, `p.yaml:7: targets[0].path "/llm/chat-prod" has '..', '.', or a slash`),
		bad("a Secret without its namespace", with("{store: vault, path: llm/", "{store: cluster, path: "), false, `p.yaml:7: targets[0].path "chat-prod" is no Secret; want NAMESPACE/NAME`),
		bad("a Secret below a Secret", with("{store: vault, path: ", "{store: cluster, path: a/"), false, `p.yaml:7: targets[0].path "a/llm/chat-prod" is no Secret`),
		bad("a Secret in upper case", with("{store: vault, path: llm", "{store: cluster, path: LLM"), false, `p.yaml:7: targets[0].path "LLM/chat-prod" is no Secret`),
		bad("a Secret where staging lies", with("{store: vault, path: llm/chat-prod", "{store: cluster, path: llm/chat-prod.rotator"), false, `p.yaml:7: targets[0].path "llm/chat-prod.rotator" is where the store stages`),
		bad("a Secret's default field twice", with("{store: vault, path: llm/chat-prod, field: api_key}", "{store: cluster, path: llm/chat-prod}")+"  - {store: cluster, path: llm/chat-prod, field: value}\n", false, "p.yaml:8: this target is written by p.yaml:7 too"),
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

// TestAccepted is the other side of the limits.
func TestAccepted(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		text string
		o    Options
	}{
		"interval of just overlap and soak":  {with(`"0 3 1 * *"`, `"@every 2d"`), options},
		"max_age of just enough":             {good + "max_age: 26h\n", options},
		"expiry of just enough":              {expiring("793h"), options},
		"expiry of just enough for max_age":  {expiring("1105h") + "max_age: 45d\n", options},
		"max_age of just enough, jitter too": {good + "max_age: 26h10m\njitter: 10m\n", options},
		"a canary":                           {two + "canary: {target: \"vault:llm/chat-prod#api_key\", for: 90m}\n", options},
		"AWS names of every character":       {with("store: vault, path: llm/chat-prod", `store: aws, path: "llm/_+=.@-Ab9"`), options},
		"min_interval of just an hour":       {with(`"0 3 1 * *"`, `"@hourly"`) + "retire: {overlap: 0s, soak: 0s}\n", options},
		"a shorter min_interval":             {with(`"0 3 1 * *"`, `"@every 5s"`) + "retire: {overlap: 2s, soak: 0s}\n", Options{Limits: Limits{MinInterval: time.Second}}},
		"jitter just below the interval":     {with(`"0 3 1 * *"`, `"@every 3d"`) + "jitter: 71h\n", options},
		"nothing known of stores and teams":  {with("store: vault", "store: consul, mode: '0640'"), Options{}},
		"an endpoint that is new":            {with(`chat"]`, `chat", "api-key:endpoint:video"]`), options},
		"whoami needs no rights":             {with("endpoint:chat", "endpoint:embed") + "verify: {method: whoami}\n", options},
		"models of a star":                   {with("endpoint:chat", "endpoint:*") + "verify: {method: models}\n", options},
		"any model":                          {with("model:grok-4", "model:*") + "verify: {model: grok-3}\n", options},
		"an alias":                           {with("name: chat-prod", "name: &n chat-prod") + "owner: *n\n", options},
		"AWS names with a slash and ARNs":    {with("store: vault, path: llm/chat-prod", `store: aws, path: "arn:aws:secretsmanager:eu-west-1:111122223333:secret:/prod/grok-AbCdEf"`), options},
		"two fields of one secret":           {good + "  - {store: vault, path: llm/chat-prod, field: other}\n", options},
		"one path in two stores":             {good + "  - {store: aws, path: llm/chat-prod}\n", options},
	} {
		if list, problems := Parse("p.yaml", []byte(c.text), c.o); problems != nil || len(list) != 1 {
			t.Errorf("%s: %v", what, problems)
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

// expiring is good with keys that expire.
func expiring(after string) string {
	return strings.Replace(good, acls, acls+"\n  expires_after: "+after, 1)
}
