// Package layout holds the project to its own plan: who may import whom, what the top level holds, and what is never
// written. It has no code of its own.
package layout

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A rule says what a package, and every package below it that no longer rule names, never imports.
type rule struct {
	of string
	// never: neither the package nor its own imports name it. A trailing /... covers what is below.
	never []string
	// nowhere: nothing that it reaches, through others too, names it.
	nowhere []string
	why     string
}

var concrete = []string{"rotator/stores/vault/...", "rotator/stores/aws/...", "rotator/stores/file/...", "rotator/stores/kubernetes/..."}

var sdks = []string{
	"database/sql", "net/http", "github.com/aws/...", "github.com/hashicorp/...", "github.com/jackc/...", "modernc.org/...",
	"k8s.io/...", "github.com/spf13/...", "github.com/prometheus/...", "go.opentelemetry.io/...",
}

// machine is what acts for policies. What it records, and the words for why a policy waits, are for all who print them.
var machine = []string{
	"rotator/rotation", "rotator/rotation/schedule/...", "rotator/rotation/effect/...", "rotator/rotation/target/...", "rotator/rotation/turn/...",
	"rotator/rotation/inventory/...", "rotator/rotation/health/...", "rotator/rotation/plan/...", "rotator/rotation/grant/...",
}

var rules = []rule{
	{of: "rotator/policies", never: []string{"rotator/rotation/...", "rotator/stores/...", "rotator/xai/..."}, nowhere: []string{"rotator/internal/secret"},
		why: "a policy says what is wanted; it knows nobody who does it"},
	{of: "rotator/rotation", never: slices.Concat(sdks, concrete, []string{"rotator/rotation/journal/sqldb/..."}), nowhere: []string{"rotator/rotation/schedule/..."},
		why: "the machine takes steps; it knows contracts, not implementations, and not who hands out its turns"},
	{of: "rotator/rotation/turn", never: slices.Concat(sdks, []string{"rotator/xai/...", "rotator/stores/...", "rotator/rotation/journal/sqldb/..."}), nowhere: []string{"rotator/internal/secret"},
		why: "what passes between the scheduler and the engine is a claim and questions"},
	{of: "rotator/rotation/schedule", never: slices.Concat(sdks, []string{"rotator/rotation", "rotator/rotation/journal/sqldb/..."}),
		nowhere: []string{"rotator/internal/secret", "rotator/xai/...", "rotator/stores/...", "rotator/rotation/target/...", "rotator/rotation/effect/..."},
		why:     "the scheduler hands out turns; it knows nothing of what they do"},
	{of: "rotator/rotation/effect", never: slices.Concat(sdks, concrete), nowhere: []string{"rotator/rotation/target/...", "rotator/rotation/schedule/...", "rotator/rotation/journal/sqldb/..."},
		why: "the runner sends one change and records what became of it; it decides nothing"},
	{of: "rotator/rotation/target", never: slices.Concat(sdks, concrete), nowhere: []string{"rotator/rotation/effect/...", "rotator/rotation/schedule/...", "rotator/rotation/journal/sqldb/..."},
		why: "the reader says what a target holds; it changes nothing"},
	{of: "rotator/rotation/inventory", never: slices.Concat(sdks, concrete), nowhere: []string{"rotator/rotation/effect/...", "rotator/rotation/schedule/...", "rotator/rotation/target/...", "rotator/rotation/journal/sqldb/..."},
		why: "the inventory reports what xAI lists; it deletes nothing"},
	{of: "rotator/rotation/plan", never: sdks, nowhere: []string{"rotator/rotation", "rotator/rotation/effect/...", "rotator/rotation/schedule/...", "rotator/rotation/journal/sqldb/...", "rotator/internal/secret"},
		why: "a plan is predicted from facts; it can do nothing"},
	{of: "rotator/rotation/reason", never: slices.Concat(sdks, concrete), nowhere: []string{"rotator/rotation/effect/...", "rotator/rotation/target/...", "rotator/rotation/schedule/..."},
		why: "reasons are words, which every package of the machine uses"},
	{of: "rotator/rotation/due", never: sdks,
		nowhere: []string{"rotator/rotation", "rotator/rotation/effect/...", "rotator/rotation/target/...", "rotator/rotation/schedule/...", "rotator/rotation/journal/sqldb/...",
			"rotator/xai/...", "rotator/stores/...", "rotator/internal/secret"},
		why: "when a policy is due is said by facts alone, to all who ask"},
	{of: "rotator/rotation/grant", never: sdks,
		nowhere: []string{"rotator/rotation", "rotator/rotation/effect/...", "rotator/rotation/target/...", "rotator/rotation/schedule/...", "rotator/rotation/journal/sqldb/...",
			"rotator/xai/...", "rotator/stores/...", "rotator/internal/secret"},
		why: "what a key is to be is said by facts alone, to all who ask"},
	{of: "rotator/rotation/health", never: sdks,
		nowhere: []string{"rotator/rotation", "rotator/rotation/effect/...", "rotator/rotation/target/...", "rotator/rotation/schedule/...", "rotator/rotation/journal/sqldb/...",
			"rotator/xai/...", "rotator/stores/...", "rotator/internal/secret"},
		why: "how a policy is, is said by facts alone, to all who ask"},
	{of: "rotator/rotation/journal", never: []string{"rotator/stores/...", "rotator/xai/..."}, nowhere: []string{"rotator/internal/secret"},
		why: "the journal cannot hold a secret, because it cannot see one"},
	{of: "rotator/rotation/journal/sqldb", never: []string{"rotator/rotation"}, nowhere: []string{"rotator/internal/secret", "rotator/stores/...", "rotator/xai/..."},
		why: "a database stores rows; it cannot see a secret"},
	{of: "rotator/stores", never: []string{"rotator/xai/...", "rotator/rotation/...", "rotator/policies/..."},
		why: "a store never decides anything"},
	{of: "rotator/xai", never: []string{"rotator/stores/...", "rotator/rotation/...", "rotator/policies/..."},
		why: "the client of an API knows nothing of rotation"},
	{of: "rotator/internal/secret", never: []string{"rotator/..."}, why: "everything else depends on it"},
	{of: "rotator/internal/api", never: concrete, nowhere: slices.Concat([]string{"rotator/internal/secret"}, concrete),
		why: "a page cannot show a secret, because it cannot see one"},
	{of: "rotator/internal/app", nowhere: []string{"rotator/cmd/..."}, why: "what runs knows nothing of the commands that run it"},
	{of: "rotator/cmd/rotator", never: slices.Concat(concrete, machine, []string{"rotator/stores"}),
		why: "a command has flags and prints; what acts is put together in internal/app"},
	{of: "rotator/internal/traces", never: []string{"rotator/stores/...", "rotator/policies/..."},
		nowhere: slices.Concat([]string{"rotator/internal/secret", "rotator/xai", "rotator/rotation"}, concrete),
		why:     "a span cannot hold a secret, because nothing here can see one"},
	{of: "rotator/internal/notify", never: slices.Concat(concrete, []string{"rotator/xai/..."}), nowhere: concrete,
		why: "notifications tell of events alone"},
}

type pkg struct {
	path          string
	imports, deps []string
}

func TestWhoImportsWhom(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for _, p := range packages(t) {
		r := ruleOf(p.path)
		if r == nil {
			continue
		}
		seen[r.of] = true
		for _, i := range p.imports {
			if matches(i, r.never) && !sameStore(p.path, i) && !matches(i, []string{r.of + "/..."}) || matches(i, r.nowhere) {
				t.Errorf("%s imports %s: %s", p.path, i, r.why)
			}
		}
		for _, d := range p.deps {
			if matches(d, r.nowhere) {
				t.Errorf("%s reaches %s: %s", p.path, d, r.why)
			}
		}
		t.Run(p.path, func(t *testing.T) { storesApart(t, p) })
	}
	for _, r := range rules {
		if !seen[r.of] {
			t.Errorf("there is no package %s any more: fix the rules", r.of)
		}
	}
}

// TestOnlyTestsImportTestServers: a test server is not in the product. deploy/machine runs installed packages for tests,
// and is imported by tests only.
func TestOnlyTestsImportTestServers(t *testing.T) {
	t.Parallel()
	const servers = "rotator/internal/testenv/..."
	found := 0
	for _, p := range packages(t) {
		if matches(p.path, []string{servers}) {
			found++
			continue
		}
		if matches(p.path, []string{"rotator/deploy/machine"}) {
			continue
		}
		for _, d := range p.deps {
			if matches(d, []string{servers, "rotator/deploy/machine"}) {
				t.Errorf("%s reaches %s, which is for tests only", p.path, d)
			}
		}
	}
	if found < 8 {
		t.Errorf("only %d packages of test servers were found", found)
	}
}

// storesApart: no store imports another.
func storesApart(t *testing.T, p pkg) {
	for _, i := range p.imports {
		if strings.HasPrefix(p.path, "rotator/stores/") && matches(i, concrete) && !sameStore(p.path, i) {
			t.Errorf("%s imports the store %s", p.path, i)
		}
	}
}

// sameStore reports whether both packages belong to one store.
func sameStore(a, b string) bool {
	name := func(p string) string {
		rest, ok := strings.CutPrefix(p, "rotator/stores/")
		if !ok {
			return ""
		}
		name, _, _ := strings.Cut(rest, "/")
		return name
	}
	return name(a) != "" && name(a) == name(b)
}

func ruleOf(path string) *rule {
	var best *rule
	for i := range rules {
		if r := &rules[i]; matches(path, []string{r.of + "/..."}) && (best == nil || len(r.of) > len(best.of)) {
			best = r
		}
	}
	return best
}

func matches(path string, patterns []string) bool {
	for _, p := range patterns {
		base, below := strings.CutSuffix(p, "/...")
		if path == base || below && strings.HasPrefix(path, base+"/") {
			return true
		}
	}
	return false
}

func packages(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-f", "{{.ImportPath}}|{{join .Imports \" \"}}|{{join .Deps \" \"}}", "rotator/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []pkg
	for line := range strings.Lines(string(out)) {
		f := strings.Split(strings.TrimSpace(line), "|")
		all = append(all, pkg{f[0], strings.Fields(f[1]), strings.Fields(f[2])})
	}
	return all
}

// TestOneGate shows that nothing in the product disables or deletes a key but the machine, in the file whose functions ask
// the gate first: the calls of the Management API that do are named there, and nowhere else outside package xai.
func TestOneGate(t *testing.T) {
	t.Parallel()
	const behindTheGate, ofNobodysKey = "rotation/destroy.go", "rotation/rehearse.go"
	// calls.go passes them on, engine.go declares them, switches.go turns keys on, update.go changes what they may do, and nothing
	// uses the key of rehearse.go.
	const neverOff = "rotation/update.go"
	allowed := []string{behindTheGate, ofNobodysKey, neverOff, "rotation/calls.go", "rotation/engine.go", "rotation/switches.go"}
	for _, file := range sources(t) {
		if strings.HasPrefix(file, "xai/") {
			continue
		}
		b, err := os.ReadFile(filepath.Join(root(t), file))
		if err != nil {
			t.Fatal(err)
		}
		for _, update := range regexp.MustCompile(`KeyUpdate\{Disabled: (\S+)\}`).FindAllStringSubmatch(string(b), -1) {
			if file != behindTheGate && file != ofNobodysKey && (update[1] != "&on" || file != "rotation/switches.go") {
				t.Errorf("%s disables keys beside the gate", file)
			}
		}
		if file == neverOff && strings.Contains(string(b), "Disabled") {
			t.Errorf("%s may disable keys beside the gate", file)
		}
		for _, call := range []string{".DeleteKey(", ".UpdateKey(", ".RotateKey("} {
			if !slices.Contains(allowed, file) && strings.Contains(string(b), call) {
				t.Errorf("%s calls %s) beside the gate", file, call)
			}
		}
		if strings.Contains(string(b), ".DeleteKey(") && file != behindTheGate && file != "rotation/calls.go" && strings.HasPrefix(file, "rotation/") {
			t.Errorf("%s deletes keys beside the gate", file)
		}
	}
}

// TestReleasesTakeNoFlags shows that a release takes no flags from the environment of who makes it.
func TestReleasesTakeNoFlags(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(filepath.Join(root(t), "deploy/release/main.go"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), `"GOFLAGS=-mod=readonly"`) {
		t.Error("a release may take flags from the environment")
	}
}

// TestTopLevel keeps the first impression: a new folder needs a reason.
func TestTopLevel(t *testing.T) {
	t.Parallel()
	want := []string{".ci", ".editorconfig", ".git", ".github", ".gitignore", ".golangci.yml", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md", "SECURITY.md", "cmd", "deploy",
		"docs", "go.mod", "go.sum", "internal", "policies", "rotation", "stores", "xai"}
	out, err := exec.Command("git", "-C", root(t), "ls-files").Output()
	if err != nil {
		return // a source archive has nothing to compare with
	}
	for line := range strings.Lines(string(out)) {
		top, _, _ := strings.Cut(strings.TrimSpace(line), "/")
		if !slices.Contains(want, top) {
			t.Errorf("%s is at the top level", top)
		}
	}
}

func sources(t *testing.T) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(root(t), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
			rel, _ := filepath.Rel(root(t), path)
			files = append(files, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil || len(files) < 20 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	return files
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestLinks: what a page points to is there, the heading too where it names one.
func TestLinks(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("git", "-C", root(t), "ls-files", "*.md").Output()
	if err != nil {
		return // a source archive has nothing to compare with
	}
	text := make(map[string]string) // page → what it says
	for page := range strings.FieldsSeq(string(out)) {
		b, err := os.ReadFile(filepath.Join(root(t), page))
		if err != nil {
			t.Fatal(err)
		}
		text[page] = string(b)
	}
	n := 0
	for page, says := range text {
		for _, link := range link.FindAllStringSubmatch(says, -1) {
			to, heading, _ := strings.Cut(link[1], "#")
			at := page
			if to != "" {
				at = filepath.Join(filepath.Dir(page), to)
			}
			if _, err := os.Stat(filepath.Join(root(t), at)); err != nil || heading != "" && !slices.Contains(headings(text[at]), heading) {
				t.Errorf("%s points to %s, which is not there", page, link[1])
			}
			n++
		}
	}
	if n < 50 {
		t.Errorf("only %d links were found", n)
	}
}

// link is one to a place in the project.
var link = regexp.MustCompile(`\]\(([^):\s]+)\)`)

// headings are those of a page, as a link names them.
func headings(page string) []string {
	var all []string
	for _, h := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(page, -1) {
		name := regexp.MustCompile(`[^\w\- ]`).ReplaceAllString(strings.ToLower(h[1]), "")
		all = append(all, strings.ReplaceAll(name, " ", "-"))
	}
	return all
}
