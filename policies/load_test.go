package policies

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.yaml.in/yaml/v4"

	"rotator/internal/trust"
)

func TestDefaults(t *testing.T) {
	t.Parallel()
	list, problems := Parse("p.yaml", []byte("# a comment\n"+good+"---\n\n---\n"+strings.NewReplacer(
		"name: chat-prod", "name: at-once", "path: llm", "path: x", "team:", "retire: {overlap: 0s, soak: 0s}\nteam:").Replace(good)), options)
	if problems != nil {
		t.Fatal(problems)
	}
	p, q := list[0], list[1]
	if p.Timezone != "UTC" || p.Verify != (Verify{MethodChat, "grok-4"}) || p.Retire != (Retire{Overlap: Duration(day), Soak: Duration(day)}) || p.Adopt.On || p.Jitter != 0 {
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
		Key:    KeySpec{ACLs: []string{"api-key:model:grok-4", "api-key:endpoint:chat"}, QPS: &five, QPM: &hundred, TPM: &tokens},
		Verify: Verify{MethodChat, "grok-4"},
		Targets: []Target{
			{Store: "vault", Path: "llm/chat-prod", Field: "api_key"}, {Store: "aws", Path: "prod/grok", Field: "XAI_API_KEY"}, {Store: "local", Path: "chat-prod"},
		},
		Adopt: Adopt{On: true}, Retire: Retire{Overlap: Duration(day), Soak: Duration(day)},
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
		"ACLs":             {strings.Replace(more, `chat"]`, `chat", "api-key:endpoint:embed"]`, 1), true}, // the key is updated
		"limits":           {strings.Replace(more, acls, acls+"\n  qps: 5", 1), true},
		"expiry":           {strings.Replace(more, acls, acls+"\n  expires_after: 60d", 1), true},
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
	if all := Load(dir, options); all.Err() != nil || len(all.Policies) != 0 || all.Partial {
		t.Fatalf("an empty folder: %+v", all)
	}
	write("a.yaml", good)
	write("b.yml", other("b")+"---\n"+other("c"))
	write("notes.txt", "no policy")
	write(".hidden.yaml", "no policy")
	if err := os.MkdirAll(filepath.Join(dir, "below.yaml", "deeper"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, ".hidden"), 0o700); err != nil {
		t.Fatal(err)
	}
	write("below.yaml/deeper/d.yaml", other("d"))
	write(".hidden/no.yaml", "no policy")
	all := Load(dir, options)
	if all.Err() != nil || len(all.Policies) != 4 || all.Policies["c"].Line != 9 || all.Policies["c"].File != filepath.Join(dir, "b.yml") ||
		all.Policies["d"].File != filepath.Join(dir, "below.yaml/deeper/d.yaml") {
		t.Fatalf("four policies: %+v", all)
	}
	if want := []string{dir, filepath.Join(dir, "below.yaml"), filepath.Join(dir, "below.yaml/deeper")}; !slices.Equal(all.Folders, want) {
		t.Errorf("folders %v, want %v", all.Folders, want)
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
	if err := os.Symlink("..", filepath.Join(dir, "below.yaml", "loop")); err != nil {
		t.Fatal(err)
	}
	all = Load(dir, options)
	want := []string{
		"below.yaml/loop: it is a link, and links are not followed",
		"e.yaml:7: this target is written by " + filepath.Join(dir, "b.yml") + ":7 too", "f.yaml: this is not YAML", "g.yaml: the file is larger than 1 MiB",
		"h.yaml: it is a link, and links are not followed", "i.yaml: it is not a file",
	}
	if names := slices.Sorted(maps.Keys(all.Policies)); !slices.Equal(names, []string{"c", "chat-prod", "d"}) || !all.Partial {
		t.Errorf("beside problems, %v are in force; partial %t", names, all.Partial)
	}
	got := strings.Split(all.Err().Error(), "\n")
	for i, w := range want {
		if len(got) != len(want) || !strings.HasPrefix(got[i], filepath.Join(dir, w)) {
			t.Fatalf("problems\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	if all := Load(filepath.Join(dir, "none"), options); !all.Partial || all.Err() == nil || !strings.Contains(all.Err().Error(), "the folder cannot be read: no such file") {
		t.Errorf("a folder that is not there: %+v", all)
	}
}

// TestLoadConfigMap lays a folder out as the kubelet does and replaces its content halfway: names that the listing
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
		listed := list(&Folder{Dir: dir}, trust.Guard{})
		defer listed.close()
		if len(listed.problems) > 0 || len(listed.files) != 1 {
			t.Fatalf("files %+v", listed)
		}
		link("..second", "..data")
		if want := filepath.Join(generation, "p.yaml"); listed.files[0].path != want {
			t.Errorf("read from %s, want %s", listed.files[0].path, want)
		}
		link(generation, "..data")
		all := Load(dir, options)
		if p := all.Policies["chat-prod"]; all.Err() != nil || p.Owner != strings.Trim(generation, ".") || p.File != filepath.Join(dir, "p.yaml") {
			t.Errorf("generation %s: %+v", generation, all)
		}
	}
}

// TestBounded: files that are made to take forever or to fill the log.
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
		if len(problems) > MaxProblems+1 {
			t.Errorf("%s: %d problems", what, len(problems))
		}
		t.Logf("%s: %s", what, time.Since(begin))
		if d := time.Since(begin); d > 10*time.Minute {
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
			if at := p.NextRun(now); !at.After(now) {
				t.Errorf("%s runs at %s, from the start", p.Name, at)
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
	var all Loaded
	for b.Loop() {
		if all = Load(dir, options); all.Err() != nil || len(all.Policies) != count {
			b.Fatal(len(all.Policies), all.Err())
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
