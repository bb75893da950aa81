package api_test

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"rotator/internal/api"
	"rotator/internal/pages"
	"rotator/rotation/journal"
)

//go:generate go test . -run ^TestMetricsPage$ -update

const metricsPage = "../../docs/metrics.md"

// TestMetricsPage: the table of docs/metrics.md is what the code exports, metric by metric, and every word that a label may
// have is below it.
func TestMetricsPage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(metricsPage)
	if err != nil {
		t.Fatal(err)
	}
	pages.Part(t, metricsPage, "go generate ./internal/api", metricsTable(t), *update)
	_, below, _ := strings.Cut(string(page), "<!-- To here. -->")
	for file, form := range map[string]string{
		"../../xai/errors.go":              `(?m)^\s+(?:Op|Class)\w+\s.*= "(\w+)"`,
		"../app/stores.go":                 `(?:\{(?:stores|context)\.\w+, |\btell\(ctx, )"(\w+)"`,
		"../../rotation/journal/states.go": `(?m)^\s+\w+\s+State = "(\w+)"`,
	} {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		words := regexp.MustCompile(form).FindAllStringSubmatch(string(source), -1)
		if len(words) < 8 {
			t.Errorf("%s: only %q", file, words)
		}
		for _, w := range words {
			if !strings.Contains(below, "`"+w[1]+"`") {
				t.Errorf("%s does not name %q of %s", metricsPage, w[1], file)
			}
		}
	}
}

// metricsTable is a line for each metric of ours, from what the collectors say of themselves.
func metricsTable(t *testing.T) string {
	t.Helper()
	d := newDesk(t)
	d.office()
	d.observe()
	d.beat("alpha/1/x")
	types := make(map[string]string) // metric → its type
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (\w+) (\w+)$`).FindAllStringSubmatch(d.get("/metrics").Body.String(), -1) {
		types[m[1]] = m[2]
	}
	all := make(chan *prometheus.Desc)
	go func() {
		defer close(all)
		d.server.Describe(all)
	}()
	form := regexp.MustCompile(`^Desc\{fqName: "(rotator_\w+)", help: "([^"]*)",.* constLabels: \{\}, variableLabels: \{(.*)\}\}$`)
	var lines []string
	for desc := range all {
		m := form.FindStringSubmatch(desc.String())
		if m == nil {
			continue // of the Go runtime and the process
		}
		if types[m[1]] == "" {
			t.Errorf("%s is told of nothing: let the test observe one", m[1])
		}
		labels := "none"
		if m[3] != "" {
			labels = "`" + strings.ReplaceAll(m[3], ",", "`, `") + "`"
		}
		lines = append(lines, fmt.Sprintf("| `%s` | %s | %s | %s |\n", m[1], types[m[1]], labels, m[2]))
	}
	slices.Sort(lines)
	return "| metric | type | labels | meaning |\n|---|---|---|---|\n" + strings.Join(lines, "")
}

// crowd is a journal of many policies, each as talkative as one can be.
type crowd struct {
	api.Journal
	n int
}

func (c crowd) Summaries(context.Context, ...string) ([]journal.Summary, error) {
	all := make([]journal.Summary, c.n)
	for i := range all {
		all[i] = journal.Summary{Drifted: 1, Policy: journal.Policy{
			Name: fmt.Sprintf("policy-number-%05d", i), Team: "research", Spec: spec, OldestKey: noon.Add(-time.Hour),
			LastSuccess: noon.Add(-time.Hour), DueAt: noon.Add(time.Hour), Reason: "drift", Failures: 9,
		}}
	}
	return all, nil
}

const spec = `{"name":"chat","team":"research","schedule":"0 3 1 * *","max_age":"45d","key":{"acls":["api-key:model:grok-4","api-key:endpoint:chat"]},"targets":[{"store":"local","path":"chat"}]}`

// perPolicy bounds the series that one policy can add.
const perPolicy = 13

// TestCardinality: what a scrape holds grows by at most thirteen series with each policy. It logs what 10,000 make.
func TestCardinality(t *testing.T) {
	t.Parallel()
	count := func(n int) (series, bytes int, took time.Duration) {
		d := newDesk(t, func(o *api.Options) { o.Journal = crowd{o.Journal, n} })
		d.observe()
		begun := time.Now()
		body := d.get("/metrics").Body
		took, bytes = time.Since(begun), body.Len()
		for line := range strings.Lines(body.String()) {
			if !strings.HasPrefix(line, "#") {
				series++
			}
		}
		return series, bytes, took
	}
	none, _, _ := count(0)
	few, _, _ := count(10)
	if got := few - none; got != 10*perPolicy {
		t.Errorf("10 policies make %d series, want %d", got, 10*perPolicy)
	}
	const many = 10_000
	series, bytes, took := count(many)
	if series-none != many*perPolicy || bytes > 12<<20 {
		t.Errorf("%d policies make %d series in %d bytes", many, series-none, bytes)
	}
	t.Logf("%d policies: %d series, %d without any, %.1f MB, %s", many, series, none, float64(bytes)/1e6, took)
}
