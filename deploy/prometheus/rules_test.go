// Package prometheus holds the alerts and the dashboard to the program. It has no code of its own.
package prometheus

import (
	"encoding/json"
	"flag"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"rotator/rotation/reason"
)

//go:generate go test . -run ^TestRunbooks$ -update
var update = flag.Bool("update", false, "rewrite the reasons in docs/runbooks.md")

const runbooks = "https://example.com/rotator/docs/runbooks.md#"

type rule struct {
	Alert, Expr         string
	Labels, Annotations map[string]string
}

func rules(t *testing.T) []rule {
	t.Helper()
	var file struct{ Groups []struct{ Rules []rule } }
	if err := yaml.Unmarshal(read(t, "alerts.yaml"), &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Groups) != 1 || len(file.Groups[0].Rules) == 0 {
		t.Fatalf("got %+v", file)
	}
	return file.Groups[0].Rules
}

// TestRunbooks: every alert and every reason that waits for a human leads to what to do.
func TestRunbooks(t *testing.T) {
	t.Parallel()
	const page = "../../docs/runbooks.md"
	book := string(read(t, page))
	if *update {
		book = freshReasons(t, book)
		if err := os.WriteFile(page, []byte(book), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	has := func(heading string) bool { return strings.Contains(book, "\n### "+heading+"\n") }
	for _, r := range rules(t) {
		anchor, ok := strings.CutPrefix(r.Annotations["runbook_url"], runbooks)
		if !ok || r.Annotations["summary"] == "" || r.Labels["severity"] == "" {
			t.Errorf("%s: annotations %v, labels %v", r.Alert, r.Annotations, r.Labels)
		}
		if !has(r.Alert) || anchor != strings.ToLower(r.Alert) && anchor != "{{ $labels.reason }}" {
			t.Errorf("%s has no runbook at #%s", r.Alert, anchor)
		}
	}
	for _, r := range reason.All {
		if want := runbook(r); r.Human && !strings.Contains(book, want) {
			t.Errorf("docs/runbooks.md lacks the following; run `go generate ./deploy/prometheus`:\n%s", want)
		}
	}
	for _, link := range regexp.MustCompile(`\]\(#([a-z_]+)\)`).FindAllStringSubmatch(book, -1) {
		if !strings.Contains(strings.ToLower(book), "\n### "+link[1]+"\n") {
			t.Errorf("docs/runbooks.md points to #%s, which is not there", link[1])
		}
	}
}

// runbook is the part of the page that reports one reason.
func runbook(r reason.Info) string {
	return "\n### " + string(r.Reason) + "\n\n" + r.Means + "\n\n**Do**: " + r.Do + "\n"
}

// freshReasons is the page with its last part, the reasons, as the program has them.
func freshReasons(t *testing.T, book string) string {
	t.Helper()
	reasons := strings.Index(book, "\n## Reasons\n")
	first := strings.Index(book[max(reasons, 0):], "\n### ")
	if reasons < 0 || first < 0 {
		t.Fatal("the page has no part for reasons")
	}
	book = book[:reasons+first]
	for _, r := range reason.All {
		if r.Human {
			book += runbook(r)
		}
	}
	return book
}

// TestMetricsExist: rules and dashboard ask only for what the program exports.
func TestMetricsExist(t *testing.T) {
	t.Parallel()
	source := read(t, "../../internal/api/metrics.go")
	var told []string
	for _, m := range regexp.MustCompile(`(desc|counter|histogram)\("(\w+)"|"rotator_(\w+)"`).FindAllSubmatch(source, -1) {
		name := "rotator_" + string(m[2]) + string(m[3])
		told = append(told, name)
		if string(m[1]) == "histogram" {
			told = append(told, name+"_bucket")
		}
	}
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(read(t, "dashboard.json"), &board); err != nil {
		t.Fatal(err)
	}
	asked := make(map[string]string) // expression → where it is
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			asked[target.Expr] = p.Title
		}
	}
	for _, r := range rules(t) {
		asked[r.Expr] = r.Alert
	}
	if len(asked) < 20 {
		t.Errorf("only %d expressions", len(asked))
	}
	for expr, where := range asked {
		names := regexp.MustCompile(`rotator_\w+`).FindAllString(expr, -1)
		if len(names) == 0 {
			t.Errorf("%s asks for nothing of ours: %s", where, expr)
		}
		for _, name := range names {
			if !slices.Contains(told, name) {
				t.Errorf("%s asks for %s, which is not told", where, name)
			}
		}
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
