package policies

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// named is good with another name, and the target of that name.
func named(name string) string {
	return strings.NewReplacer("name: chat-prod", "name: "+name, "llm/chat-prod", "llm/"+name).Replace(good)
}

// folder writes files and loads them against what an earlier load accepted.
func folder(t testing.TB, files map[string]string, accepted map[string]Accepted) (string, Loaded) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o := options
	o.Accepted = make(map[string]Accepted)
	for name, a := range accepted {
		o.Accepted[name] = Accepted{File: filepath.Join(dir, a.File), Canonical: a.Canonical}
	}
	return dir, Load(dir, o)
}

// accepted is what a load of files, which must be sound, leaves for the next one.
func accepted(t testing.TB, files map[string]string) map[string]Accepted {
	t.Helper()
	dir, loaded := folder(t, files, nil)
	if err := loaded.Err(); err != nil {
		t.Fatal(err)
	}
	all := make(map[string]Accepted)
	for name, p := range loaded.Policies {
		file, err := filepath.Rel(dir, p.File)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = Accepted{File: file, Canonical: string(p.Canonical())}
	}
	return all
}

// TestAMistakeCostsOnlyItself: two files were accepted; then one of them, or a third one, is wrong.
func TestAMistakeCostsOnlyItself(t *testing.T) {
	t.Parallel()
	before := map[string]string{"a.yaml": named("a"), "b.yaml": named("b") + "---\n" + named("c")}
	edited := func(text string) string { return text + "owner: edited\n" }
	for _, tc := range []struct {
		what    string
		files   map[string]string // in the place of those before; "": the file is gone
		edited  string            // policies in force as they are in the files, edited
		kept    string            // policies in force as they were before
		refused string            // policies whose word in the files does not count
		partial bool
		problem string
	}{
		{"nothing", nil, "", "a b c", "", false, ""},
		{"a field", map[string]string{"a.yaml": edited(named("a")) + "teem: x\n", "b.yaml": edited(named("b")) + "---\n" + named("c")},
			"b", "a c", "a", false, `a.yaml:9: unknown key "teem"`},
		{"one of two documents", map[string]string{"b.yaml": edited(named("b")) + "---\n" + strings.Replace(named("c"), "schedule", "shedule", 1)},
			"b", "a c", "c", false, `b.yaml:12: unknown key "shedule"`},
		{"the name", map[string]string{"b.yaml": edited(named("b")) + "---\n" + strings.Replace(named("c"), "name", "nmae", 1)},
			"b", "a c", "c", true, `b.yaml:10: unknown key "nmae"`},
		{"no YAML", map[string]string{"b.yaml": edited(named("b")) + "---\n{", "a.yaml": edited(named("a"))},
			"a", "b c", "b c", true, `b.yaml:11: this is not YAML`},
		{"cut to nothing", map[string]string{"b.yaml": ""}, "", "a b c", "b c", true, "b.yaml: the file holds no policy"},
		{"too many documents", map[string]string{"b.yaml": strings.Repeat("---\na: 1\n", maxDocuments+1)}, "", "a b c", "b c", true, "b.yaml:10002: the file has more than 5000 documents"},
		{"a file moved into a broken one", map[string]string{"b.yaml": "gone", "d.yaml": "{" + named("b")}, "", "a b c", "b c", true, "b.yaml:1: the document is text"},
		{"a policy removed beside a broken one", map[string]string{"b.yaml": named("b"), "a.yaml": named("a") + "x: y\n"}, "", "a b", "a", false, `a.yaml:8: unknown key "x"`},
		{"a policy removed beside a broken file", map[string]string{"b.yaml": named("b"), "a.yaml": "{"}, "", "a b c", "a c", true, "a.yaml:2: this is not YAML"},
		{"an unknown store", map[string]string{"a.yaml": strings.Replace(named("a"), "store: vault", "store: volt", 1)}, "", "a b c", "a", false, `a.yaml:7: unknown store "volt"`},
		{"an unknown team", map[string]string{"d.yaml": strings.Replace(named("d"), "research", "lab", 1)}, "", "a b c", "d", false, `d.yaml:2: unknown team "lab"`},
		{"a newcomer of the same name", map[string]string{"0.yaml": edited(named("a"))}, "", "a b c", "", false, `0.yaml:1: the name "a" is taken by the policy in`},
		{"a broken newcomer of the same name", map[string]string{"0.yaml": named("a") + "x: y\n", "a.yaml": edited(named("a"))}, "a", "b c", "", false, `0.yaml:1: the name "a" is taken`},
		{"two newcomers of one name", map[string]string{"0.yaml": named("d"), "1.yaml": named("d")}, "", "a b c", "d", false, `1.yaml:1: the name "d" is taken by the policy in`},
		{"moved and copied", map[string]string{"a.yaml": "", "0.yaml": edited(named("a")), "1.yaml": named("a")}, "", "a b c", "", true, `0.yaml:1: the name "a" is taken`},
		{"a newcomer at the same place", map[string]string{"0.yaml": strings.Replace(named("d"), "llm/d", "llm/a", 1)}, "", "a b c", "d", false, `0.yaml:7: this target is written by`},
		{"an edit to the same place", map[string]string{"a.yaml": edited(strings.Replace(named("a"), "llm/a", "llm/b", 1))}, "", "a b c", "a", false, `a.yaml:7: this target is written by`},
		{"an edit to the place of a newcomer", map[string]string{"d.yaml": named("d"), "a.yaml": edited(strings.Replace(named("a"), "llm/a", "llm/d", 1))},
			"a", "b c", "d", false, `d.yaml:7: this target is written by`},
		{"an edit to the place of a broken one", map[string]string{"b.yaml": "{", "a.yaml": strings.Replace(named("a"), "llm/a", "llm/b", 1)}, "", "a b c", "a b c", true, ``},
		{"two swap their places", map[string]string{"a.yaml": edited(strings.Replace(named("a"), "llm/a", "llm/b", 1)),
			"b.yaml": edited(strings.Replace(named("b"), "llm/b", "llm/a", 1)) + "---\n" + named("c")}, "a b", "c", "", false, ""},
		{"two swap their places, and one is broken", map[string]string{"a.yaml": edited(strings.Replace(named("a"), "llm/a", "llm/b", 1)),
			"b.yaml": edited(strings.Replace(named("b"), "llm/b", "llm/a", 1)) + "x: y\n---\n" + named("c")}, "", "a b c", "a b", false, ``},
		{"three newcomers at one place", map[string]string{"1.yaml": strings.Replace(named("d"), "llm/d", "llm/x", 1), "2.yaml": strings.Replace(named("e"), "llm/e", "llm/x", 1),
			"3.yaml": strings.Replace(named("f"), "llm/f", "llm/x", 1)}, "", "a b c", "d e f", false, `2.yaml:7: this target is written by`},
		{"a rename from one that exists", map[string]string{"d.yaml": named("d") + "renamed_from: a\n"}, "", "a b c", "d", false, `d.yaml:8: renamed_from names the policy in`},
		{"a broken rename", map[string]string{"a.yaml": strings.Replace(named("d"), "llm/d", "llm/a", 1) + "renamed_from: a\nx: y\n"}, "", "a b c", "a d", false, `a.yaml:9: unknown key "x"`},
		{"a rename to a place that is taken", map[string]string{"a.yaml": strings.Replace(named("d"), "llm/d", "llm/b", 1) + "renamed_from: a\n"}, "", "a b c", "a d", false, `a.yaml:7: this target is written by`},
		{"two heirs", map[string]string{"a.yaml": named("d") + "renamed_from: a\n", "d.yaml": named("e") + "renamed_from: a\n"}, "", "a b c", "a d e", false, `d.yaml:8: renamed_from is claimed by`},
		{"a rename beside a broken file", map[string]string{"a.yaml": edited(strings.Replace(named("d"), "llm/d", "llm/a", 1)) + "renamed_from: a\n", "b.yaml": "{"}, "d", "b c", "b c", true, ``},
	} {
		files := maps.Clone(before)
		for name, text := range tc.files {
			if files[name] = text; text == "gone" {
				files[name] = "just text"
			}
		}
		_, got := folder(t, files, accepted(t, before))
		var edited, kept []string
		for name, p := range got.Policies {
			if p.Owner == "edited" {
				edited = append(edited, name)
			} else {
				kept = append(kept, name)
			}
		}
		slices.Sort(edited)
		slices.Sort(kept)
		refused := slices.Sorted(maps.Keys(got.Refused))
		if e, k, r := strings.Join(edited, " "), strings.Join(kept, " "), strings.Join(refused, " "); e != tc.edited || k != tc.kept || r != tc.refused || got.Partial != tc.partial {
			t.Errorf("%s: edited %q, kept %q, refused %q, partial %t\n%v", tc.what, e, k, r, got.Partial, got.Refused)
		}
		if problems := fmt.Sprint(got.Err()); !strings.Contains(problems, tc.problem) || (tc.problem == "" && len(tc.refused) == 0) != (got.Err() == nil) {
			t.Errorf("%s: problems %s", tc.what, problems)
		}
		for _, why := range got.Refused {
			if why == "" {
				t.Errorf("%s: no reason: %v", tc.what, got.Refused)
			}
		}
	}
}

// TestRefusedIsStable: what one load accepted, the next one of the same files accepts too, and refuses what it refused.
func TestRefusedIsStable(t *testing.T) {
	t.Parallel()
	files := map[string]string{"1.yaml": named("d"), "2.yaml": strings.Replace(named("e"), "llm/e", "llm/d", 1), "3.yaml": named("f"), "4.yaml": named("f"), "5.yaml": named("g")}
	_, first := folder(t, files, nil)
	if names := slices.Sorted(maps.Keys(first.Policies)); !slices.Equal(names, []string{"g"}) {
		t.Fatalf("in force: %v", names)
	}
	_, second := folder(t, files, map[string]Accepted{"g": {File: "5.yaml", Canonical: string(first.Policies["g"].Canonical())}})
	if names := slices.Sorted(maps.Keys(second.Policies)); !slices.Equal(names, []string{"g"}) || len(second.Refused) != len(first.Refused) {
		t.Errorf("in force: %v, refused %v", names, second.Refused)
	}
	// With one of two gone, the other is welcome.
	delete(files, "4.yaml")
	delete(files, "1.yaml")
	if _, third := folder(t, files, nil); third.Err() != nil || len(third.Policies) != 3 {
		t.Errorf("in force: %v, %v", third.Policies, third.Err())
	}
}

// TestManyProblems: files that are made to fill memory and to take forever are refused at once; what is kept of their problems is bounded.
func TestManyProblems(t *testing.T) {
	t.Parallel()
	files := make(map[string]string)
	for i := range 6 {
		files[fmt.Sprintf("%d.yaml", i)] = strings.Repeat("---\na: 1\n", maxFile/9)
		files[fmt.Sprintf("%d-fewer.yaml", i)] = strings.Repeat("---\na: 1\n", maxDocuments)
	}
	for i := range 2 {
		files[fmt.Sprintf("%d-keys.yaml", i)] = named("a") + strings.Repeat("x: y\n", 200_000)
	}
	for i := range 300 {
		files[fmt.Sprintf("many/%d.yaml", i)] = "a: 1\n"
	}
	begin := time.Now()
	_, got := folder(t, files, nil)
	if len(got.Problems) != MaxProblems || got.More < 6*maxDocuments || !got.Partial || len(got.Policies) != 0 {
		t.Errorf("%d problems and %d more, partial %t, %d policies", len(got.Problems), got.More, got.Partial, len(got.Policies))
	}
	if !slices.IsSortedFunc(got.Problems, func(a, b Problem) int { return strings.Compare(a.File, b.File) }) {
		t.Error("the problems are not in the order of the files")
	}
	all := strings.Split(got.Err().Error(), "\n")
	if last := all[len(all)-1]; len(all) != MaxProblems+1 || !strings.Contains(last, fmt.Sprintf("and %d more problems", got.More)) {
		t.Errorf("%d lines; the last is %s", len(all), last)
	}
	var after runtime.MemStats
	runtime.ReadMemStats(&after)
	t.Logf("%s, %d MB from the system", time.Since(begin), after.Sys>>20)
}

// TestRefusedRenaming: a renaming that loses its name leaves the policy that it was to rename as it was.
func TestRefusedRenaming(t *testing.T) {
	t.Parallel()
	renamed := strings.Replace(named("a"), "name: a\n", "name: b\nrenamed_from: a\n", 1)
	for what, c := range map[string]struct{ before, files map[string]string }{
		"two newcomers have the new name": {
			map[string]string{"a.yaml": named("a")},
			map[string]string{"a.yaml": renamed, "copy.yaml": strings.Replace(named("c"), "name: c", "name: b", 1)},
		},
		"the new name is another policy's": {
			map[string]string{"a.yaml": named("a"), "b.yaml": named("b")},
			map[string]string{"a.yaml": renamed, "b.yaml": named("b")},
		},
	} {
		_, loaded := folder(t, c.files, accepted(t, c.before))
		if p := loaded.Policies["a"]; p == nil || loaded.Refused["a"] == "" || len(loaded.Problems) == 0 {
			t.Errorf("%s: a is %v, refused for %q; problems %v", what, p, loaded.Refused["a"], loaded.Problems)
		}
	}
}

// TestLinkThatLeadsNowhere: it may be a folder that is not mounted, so that no policy counts as removed.
func TestLinkThatLeadsNowhere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(dir, "gone"), filepath.Join(dir, "search")); err != nil {
		t.Fatal(err)
	}
	loaded := Load(dir, options)
	if !loaded.Partial || len(loaded.Problems) != 1 || !strings.Contains(loaded.Problems[0].What, "it is a link") {
		t.Errorf("partial %t, problems %v", loaded.Partial, loaded.Problems)
	}
}

// TestLabelsAreToldInOrder: the same files have the same problems each time, and no credential in them.
func TestLabelsAreToldInOrder(t *testing.T) {
	t.Parallel()
	const token = "hvs.CAESIJ3fakefakefakefakefake7Q"
	text := good + "labels: {\"z z\": a, \"a a\": b, \"m m\": c, " + token + ": 5}\n"
	first := ""
	for range 20 {
		_, problems := Parse("p.yaml", []byte(text), options)
		if first == "" {
			first = problems.Error()
		}
		if problems.Error() != first || strings.Contains(first, token) {
			t.Fatalf("problems\n%s\nand at first\n%s", problems, first)
		}
	}
}
