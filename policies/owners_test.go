package policies

import (
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// decisions say of every field of a policy what its author can reach with it, and so which rule limits it, by "rule: why", or why none
// has to. A field that is added to Policy needs a line here, and with a rule a row in attempts too.
var decisions = map[string]string{
	"name":                "owners: a name that a policy of another folder has, or had and is not forgotten, is refused; it goes into keys' names, of which the rotator makes the rest",
	"team":                "teams: whose keys are made",
	"owner":               "free: a text that people are shown; no key goes there",
	"labels":              "labels: freezes and notifications go by them",
	"schedule":            "free: min_interval of rotator.yaml bounds how often, max_age_at_most how seldom",
	"timezone":            "free: moves the schedule",
	"jitter":              "free: shorter than the schedule's interval, and counted in max_age",
	"windows":             "free: max_age wins over them",
	"max_age":             "max_age_at_most: how old a key may get",
	"key.acls":            "acls: what a key may do",
	"key.qps":             "free: a limit of its own key, within the team's",
	"key.qpm":             "free: as qps",
	"key.tpm":             "free: as qps",
	"key.expires_after":   "free: ends its own keys, never while they are needed",
	"key.enforce":         "free: sets its own keys to what the policy says, which is within acls",
	"verify.method":       "verify: how much a new key has to prove",
	"verify.model":        "free: one that key.acls allows",
	"targets.store":       "stores: where a key is written",
	"targets.path":        "stores: where a key is written",
	"targets.field":       "stores: PATH#FIELD; and a value that is no key of its own is never replaced without a human",
	"targets.owner":       "file_owners: who may read the file",
	"targets.group":       "file_groups: who may read the file",
	"targets.mode":        "file_modes: who may read the file",
	"targets.format":      "free: how the field of an allowed file is written",
	"canary.target":       "free: one of its own targets",
	"canary.for":          "free: at most a week, counted in the schedule and in max_age",
	"adopt.On":            "adopt: takes over a key that others made",
	"adopt.KeyID":         "adopt: takes over a key that others made",
	"allow_narrowing":     "free: takes rights from its own keys, or from one that adopt allows it to take over",
	"retire.overlap":      "min_overlap: how long an old key works; max_age bounds how long at most",
	"retire.soak":         "min_soak: how long an old key can be had back",
	"retire.require_idle": "free: only makes an old key wait longer",
	"retire.max_wait":     "free: ends a wait that require_idle began, after min_overlap",
	"renamed_from":        "owners: one that is not of another folder",
}

// TestEveryFieldHasADecision: nothing is added to policies that their authors could reach farther with than their folder allows.
func TestEveryFieldHasADecision(t *testing.T) {
	t.Parallel()
	var fields []string
	var walk func(prefix string, of reflect.Type)
	walk = func(prefix string, of reflect.Type) {
		for i := range of.NumField() {
			f := of.Field(i)
			key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if key == "-" || !f.IsExported() {
				continue
			}
			if key == "" {
				key = f.Name
			}
			inner := f.Type
			for inner.Kind() == reflect.Slice || inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			if inner.Kind() == reflect.Struct {
				walk(prefix+key+".", inner)
				continue
			}
			fields = append(fields, prefix+key)
		}
	}
	walk("", reflect.TypeFor[Policy]())
	for _, f := range fields {
		if decisions[f] == "" {
			t.Errorf("%s: say which rule of a folder limits it, or why none has to", f)
		}
	}
	rules := []string{"free", "owners"}
	for i := range reflect.TypeFor[Allow]().NumField() {
		rules = append(rules, strings.ToLower(reflect.TypeFor[Allow]().Field(i).Name))
	}
	for f, why := range decisions {
		rule, _, _ := strings.Cut(why, ":")
		if !slices.Contains(fields, f) {
			t.Errorf("%s is no field of a policy any more", f)
		}
		if !slices.Contains(rules, strings.ReplaceAll(rule, "_", "")) {
			t.Errorf("%s: there is no rule %s", f, rule)
		}
	}
}

// policyOf is a policy that keeps to limited, with a target of its own.
func policyOf(name, also string) string {
	return fmt.Sprintf("name: %s\nteam: search\nschedule: \"@every 720h\"\nmax_age: 60d\nkey: {acls: [\"api-key:model:grok-4\", \"api-key:endpoint:chat\"]}\ntargets: [{store: vault, path: llm/search/%s}]\n%s",
		name, name, also)
}

// wide is a policy outside of limited.
func wide(name, also string) string {
	return strings.NewReplacer("team: search", "team: prod", "llm/search", "llm/prod").Replace(policyOf(name, also))
}

// TestPoliciesBelongToTheirFolder: nobody takes a policy of another folder, or keeps its owners from anything. Folder 0 has no
// limits, 1 and 2 have.
func TestPoliciesBelongToTheirFolder(t *testing.T) {
	t.Parallel()
	type state = map[string]string // policy → the file that is in force, from the top folder
	for _, tc := range []struct {
		name    string
		files   map[string]string // before
		then    map[string]string // then, which goes well
		edit    map[string]string // then; "" removes
		limits  func(p *policyFiles)
		want    state
		refused []string // policies that are as they were accepted
		problem []string // parts of problems
	}{
		{name: "a name of a policy that is there", files: map[string]string{"1/a.yaml": policyOf("a", "")}, edit: map[string]string{"2/x.yaml": policyOf("a", "owner: thief\n")},
			want: state{"a": "1/a.yaml"}, problem: []string{`2/x.yaml:1: the name "a" is taken by the policy in`}},
		{name: "a name of a policy that is there, first in order", files: map[string]string{"2/a.yaml": policyOf("a", "")}, edit: map[string]string{"1/x.yaml": policyOf("a", "")},
			want: state{"a": "2/a.yaml"}, problem: []string{`1/x.yaml:1: the name "a" is taken`}},
		{name: "a name of a policy that was removed", files: map[string]string{"1/a.yaml": policyOf("a", "")}, edit: map[string]string{"1/a.yaml": "", "2/x.yaml": policyOf("a", "")},
			want: state{}, problem: []string{`2/x.yaml:1: policies[2].allow: the name "a" is that of a policy of another folder`}},
		{name: "the same word for word", files: map[string]string{"0/a.yaml": policyOf("a", "")}, edit: map[string]string{"0/a.yaml": "", "2/x.yaml": policyOf("a", "")},
			want: state{}, problem: []string{`policies[2].allow: the name "a"`}},
		{name: "a name of a policy whose file is broken", files: map[string]string{"1/a.yaml": policyOf("a", "")}, edit: map[string]string{"1/a.yaml": "{", "2/x.yaml": policyOf("a", "")},
			want: state{"a": "1/a.yaml"}, refused: []string{"a"}, problem: []string{`2/x.yaml:1: policies[2].allow: the name "a"`}},
		{name: "a former name of another folder", files: map[string]string{"1/a.yaml": policyOf("a", "")}, edit: map[string]string{"1/a.yaml": "", "2/x.yaml": policyOf("x", "renamed_from: a\n")},
			want: state{}, problem: []string{"2/x.yaml:7: policies[2].allow: renamed_from names a policy of another folder"}},
		{name: "a former name of another folder that is there", files: map[string]string{"1/a.yaml": policyOf("a", "")}, edit: map[string]string{"2/x.yaml": policyOf("x", "renamed_from: a\n")},
			want: state{"a": "1/a.yaml"}, problem: []string{"2/x.yaml:7: policies[2].allow: renamed_from"}},
		{name: "a former name of a folder without limits", files: map[string]string{"0/a.yaml": wide("a", "")}, edit: map[string]string{"0/a.yaml": "", "1/x.yaml": policyOf("x", "renamed_from: a\n")},
			want: state{}, problem: []string{"policies[1].allow: renamed_from"}},
		{name: "an edit that adds a former name of another folder", files: map[string]string{"1/a.yaml": policyOf("a", ""), "2/x.yaml": policyOf("x", "")}, edit: map[string]string{"2/x.yaml": policyOf("x", "renamed_from: a\nowner: o\n")},
			want: state{"a": "1/a.yaml", "x": "2/x.yaml"}, refused: []string{"x"}, problem: []string{"policies[2].allow: renamed_from"}},
		{name: "a former name that nobody knows, in wait for a newcomer", edit: map[string]string{"2/x.yaml": policyOf("x", "renamed_from: a\n"), "1/a.yaml": policyOf("a", "")},
			want: state{"a": "1/a.yaml"}, problem: []string{"2/x.yaml:7: policies[2].allow: renamed_from names"}},
		{name: "a former name that nobody knows", edit: map[string]string{"2/x.yaml": policyOf("x", "renamed_from: a\n")},
			want: state{}, problem: []string{"2/x.yaml:7: policies[2].allow: renamed_from names no policy of this folder"}},
		{name: "a former name that nobody knows, in a folder without limits", edit: map[string]string{"0/x.yaml": policyOf("x", "renamed_from: a\n")}, want: state{"x": "0/x.yaml"}},
		{name: "a line that stayed after the renaming, and a newcomer of that name", files: map[string]string{"1/a.yaml": policyOf("a", "")}, then: map[string]string{"1/a.yaml": "", "1/b.yaml": policyOf("b", "renamed_from: a\n")},
			edit: map[string]string{"2/a.yaml": policyOf("a", ""), "1/b.yaml": policyOf("b", "renamed_from: a\nowner: o\n")}, want: state{"a": "2/a.yaml", "b": "1/b.yaml"}},
		{name: "a line that stayed after the renaming, and a newcomer of that name in the same folder", files: map[string]string{"1/a.yaml": policyOf("a", "")},
			then: map[string]string{"1/a.yaml": "", "1/b.yaml": policyOf("b", "renamed_from: a\n")}, edit: map[string]string{"1/a.yaml": policyOf("a", "")}, want: state{"b": "1/b.yaml"}, problem: []string{"1/b.yaml:7: renamed_from names the policy"}},
		{name: "a removal that a broken document holds up", files: map[string]string{"1/a.yaml": policyOf("a", ""), "1/b.yaml": policyOf("b", "")},
			edit: map[string]string{"1/a.yaml": "", "2/x.yaml": policyOf("x", "renamed_from: a\nbroken: 1\n")}, want: state{"b": "1/b.yaml"}, problem: []string{"unknown key"}},
		{name: "a removal that a broken file holds up", files: map[string]string{"1/a.yaml": policyOf("a", ""), "1/b.yaml": policyOf("b", "")},
			edit: map[string]string{"1/a.yaml": "", "2/x.yaml": "{"}, want: state{"b": "1/b.yaml"}, problem: []string{"2/x.yaml"}},
		{name: "a broken file of its own folder", files: map[string]string{"1/a.yaml": policyOf("a", ""), "1/b.yaml": policyOf("b", "")},
			edit: map[string]string{"1/a.yaml": "{"}, want: state{"a": "1/a.yaml", "b": "1/b.yaml"}, refused: []string{"a"}, problem: []string{"1/a.yaml"}},
		{name: "a broken file of a folder without limits", files: map[string]string{"1/a.yaml": policyOf("a", "")},
			edit: map[string]string{"1/a.yaml": "", "0/x.yaml": "{"}, want: state{"a": "1/a.yaml"}, refused: []string{"a"}, problem: []string{"0/x.yaml"}},
		{name: "a newcomer's name, in a document that is refused", edit: map[string]string{"1/a.yaml": policyOf("a", ""), "2/x.yaml": wide("a", "")},
			want: state{"a": "1/a.yaml"}, problem: []string{"2/x.yaml:2: policies[2].allow.teams", "2/x.yaml:1: the name"}},
		{name: "a newcomer's name", edit: map[string]string{"1/a.yaml": policyOf("a", ""), "2/x.yaml": policyOf("a", "")}, want: state{}, problem: []string{`the name "a" is taken`}},
		{name: "another folder's target", files: map[string]string{"1/a.yaml": policyOf("a", "")}, edit: map[string]string{"2/x.yaml": strings.Replace(policyOf("x", ""), "llm/search/x", "llm/search/a", 1)},
			want: state{"a": "1/a.yaml"}, problem: []string{"this target is written by"}},
		{name: "a renaming within the folder", files: map[string]string{"1/a.yaml": policyOf("a", "")}, edit: map[string]string{"1/a.yaml": "", "1/b.yaml": strings.Replace(policyOf("b", "renamed_from: a\n"), "llm/search/b", "llm/search/a", 1)},
			want: state{"b": "1/b.yaml"}},
		{name: "a move within the folder", files: map[string]string{"1/a.yaml": policyOf("a", "")}, edit: map[string]string{"1/a.yaml": "", "1/deep/b.yaml": policyOf("a", "")}, want: state{"a": "1/deep/b.yaml"}},
		{name: "a move to a folder without limits", files: map[string]string{"1/a.yaml": policyOf("a", "")}, edit: map[string]string{"1/a.yaml": "", "0/a.yaml": wide("a", "")}, want: state{"a": "0/a.yaml"}},
		{name: "a renaming to a folder without limits", files: map[string]string{"1/a.yaml": policyOf("a", "")}, edit: map[string]string{"1/a.yaml": "", "0/b.yaml": wide("b", "renamed_from: a\n")}, want: state{"b": "0/b.yaml"}},
		{name: "a copy in a folder without limits", files: map[string]string{"1/a.yaml": policyOf("a", "")}, edit: map[string]string{"0/a.yaml": policyOf("a", "")}, want: state{"a": "1/a.yaml"}, problem: []string{"0/a.yaml:1: the name"}},
		{name: "a folder that was moved", files: map[string]string{"old/a.yaml": policyOf("a", "")}, limits: func(p *policyFiles) { p.folders = p.folders[:3] },
			edit: map[string]string{"old/a.yaml": "", "1/a.yaml": policyOf("a", "owner: o\n")}, want: state{"a": "1/a.yaml"}},
		{name: "a folder that was moved, and a policy outside of the limits", files: map[string]string{"old/a.yaml": wide("a", "")}, limits: func(p *policyFiles) { p.folders = p.folders[:3] },
			edit: map[string]string{"old/a.yaml": "", "1/a.yaml": policyOf("a", "")}, want: state{}, problem: []string{`policies[1].allow: the name "a"`}},
		{name: "limits that are narrowed", files: map[string]string{"1/a.yaml": policyOf("a", "")}, limits: func(p *policyFiles) { p.folders[1].Allow.Teams = []string{"prod"} },
			want: state{"a": "1/a.yaml"}, refused: []string{"a"}, problem: []string{"1/a.yaml:2: policies[1].allow.teams allows prod"}},
		{name: "limits that are narrowed, and an edit", files: map[string]string{"1/a.yaml": policyOf("a", "")}, limits: func(p *policyFiles) { p.folders[1].Allow.Teams = []string{"prod"} },
			edit: map[string]string{"1/a.yaml": policyOf("a", "owner: o\n")}, want: state{"a": "1/a.yaml"}, refused: []string{"a"}, problem: []string{"policies[1].allow.teams allows prod"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := newPolicyFiles(t)
			if _, old := tc.files["old/a.yaml"]; old {
				p.folders = append(p.folders, Folder{Dir: p.path("old"), Name: "policies[3]"})
			}
			write := func(files map[string]string) {
				for _, name := range slices.Sorted(maps.Keys(files)) {
					p.write(name, files[name])
				}
			}
			write(tc.files)
			if first := p.load(); first.Err() != nil {
				t.Fatal(first.Err())
			}
			write(tc.then)
			if second := p.load(); second.Err() != nil {
				t.Fatal(second.Err())
			}
			before := maps.Clone(p.options.Accepted)
			if tc.limits != nil {
				tc.limits(p)
			}
			write(tc.edit)
			for range 2 { // and it stays so when the same is read again
				loaded := p.load()
				got := state{}
				for name, policy := range loaded.Policies {
					got[name] = strings.TrimPrefix(policy.File, p.dir+"/")
					if _, refused := loaded.Refused[name]; refused && string(policy.Canonical()) != before[name].Canonical {
						t.Errorf("%s is refused, and is not as it was accepted", name)
					}
				}
				if !maps.Equal(got, tc.want) {
					t.Errorf("in force is %v, want %v; problems: %v", got, tc.want, loaded.Problems)
				}
				var refused []string
				for _, name := range slices.Sorted(maps.Keys(loaded.Refused)) {
					if loaded.Policies[name] != nil {
						refused = append(refused, name)
					}
				}
				if !slices.Equal(refused, tc.refused) {
					t.Errorf("refused is %v, want %v", refused, tc.refused)
				}
				if len(tc.problem) == 0 && loaded.Err() != nil {
					t.Error(loaded.Err())
				}
				for _, part := range tc.problem {
					if loaded.Err() == nil || !strings.Contains(strings.ReplaceAll(loaded.Err().Error(), p.dir+"/", ""), part) {
						t.Errorf("got %v, want %s", loaded.Err(), part)
					}
				}
			}
		})
	}
}

// TestFoldersInOneAnother: where it is not clear which limits hold, nothing is read, and what was accepted stays.
func TestFoldersInOneAnother(t *testing.T) {
	t.Parallel()
	p := newPolicyFiles(t)
	p.write("1/a.yaml", policyOf("a", ""))
	p.write("2/b.yaml", policyOf("b", ""))
	if first := p.load(); first.Err() != nil || len(first.Policies) != 2 {
		t.Fatal(first.Err())
	}
	p.folders[2].Dir = p.path("1/deep")
	p.write("1/deep/c.yaml", policyOf("c", ""))
	loaded := p.load()
	if err := loaded.Err(); err == nil || !strings.Contains(err.Error(), "the folder lies in that of policies[1], or is the same") {
		t.Errorf("got %v", err)
	}
	if len(loaded.Policies) != 2 || loaded.Policies["c"] != nil {
		t.Errorf("in force: %v", loaded.Policies)
	}
}

// TestEditorsMayWrite: a folder that names its editors is read though they may write it; another one is not.
func TestEditorsMayWrite(t *testing.T) {
	t.Parallel()
	p := newPolicyFiles(t)
	p.write("1/deep/a.yaml", policyOf("a", ""))
	for _, path := range []string{"1", "1/deep", "1/deep/a.yaml"} {
		if err := os.Chmod(p.path(path), 0o770); err != nil {
			t.Fatal(err)
		}
	}
	p.folders[1].Editors = strconv.Itoa(os.Getegid())
	if loaded := p.load(); loaded.Err() != nil || loaded.Policies["a"] == nil {
		t.Errorf("with editors: %v", loaded.Err())
	}
	if err := os.Chmod(p.path("1/deep/a.yaml"), 0o666); err != nil {
		t.Fatal(err)
	}
	if loaded := p.load(); loaded.Err() == nil || !strings.Contains(loaded.Err().Error(), "may be written by everyone") || loaded.Policies["a"] == nil {
		t.Errorf("everyone may write: %v", loaded.Err())
	}
	p.folders[1].Editors = "no-such-group"
	if loaded := p.load(); loaded.Err() == nil || !strings.Contains(loaded.Err().Error(), "the group of its editors is not known") || loaded.Policies["a"] == nil {
		t.Errorf("an unknown group: %v", loaded.Err())
	}
}

// TestProblemsOfOneFolderHideNoOther: however many mistakes one folder makes, those of the others are told.
func TestProblemsOfOneFolderHideNoOther(t *testing.T) {
	t.Parallel()
	p := newPolicyFiles(t)
	for i := range 200 {
		p.write(fmt.Sprintf("1/%03d.yaml", i), wide(fmt.Sprintf("p%d", i), ""))
	}
	p.write("2/a.yaml", wide("a", ""))
	p.write("0/a.yaml", policyOf("b", "ovrelap: 1h\n"))
	loaded := p.load()
	if len(loaded.Problems) != MaxProblems || loaded.More != 200*2+2+1-MaxProblems {
		t.Errorf("%d problems and %d more", len(loaded.Problems), loaded.More)
	}
	for _, want := range []string{"2/a.yaml:2: policies[2].allow.teams", "2/a.yaml:6: policies[2].allow.stores", "0/a.yaml:7: unknown key", "1/000.yaml:2:"} {
		if !strings.Contains(loaded.Err().Error(), p.path(want)) {
			t.Errorf("not told: %s", want)
		}
	}
}
