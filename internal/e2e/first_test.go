package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rotator/internal/testenv/porttest"
	"rotator/xai"
	"rotator/xai/xaisim"
)

// stubAddress is the variable by which this test binary, called by another name, knows that it stands in for the
// program of that name. It asks the test what to do.
const stubAddress = "ROTATOR_E2E_STUB"

// call is what a program was called with, and its standard input where that is a pipe or an argument names it.
type call struct {
	Args  []string
	Stdin string
}

// outcome is what it does.
type outcome struct {
	Stdout, Stderr string
	Code           int
}

// runStub has the test do a program's work.
func runStub(address string) int {
	c := call{Args: append([]string{filepath.Base(os.Args[0])}, os.Args[1:]...)}
	info, err := os.Stdin.Stat()
	if err == nil && info.Mode()&os.ModeNamedPipe != 0 || slices.Contains(os.Args, "/dev/stdin") {
		content, _ := io.ReadAll(os.Stdin)
		c.Stdin = string(content)
	}
	body, _ := json.Marshal(c)
	answer, err := http.Post(address, "application/json", bytes.NewReader(body))
	var o outcome
	if err == nil {
		err = json.NewDecoder(answer.Body).Decode(&o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Fprint(os.Stdout, o.Stdout)
	fmt.Fprint(os.Stderr, o.Stderr)
	return o.Code
}

// block is a fenced block of a page.
type block struct{ language, text string }

var fence = regexp.MustCompile("(?ms)^( *)(?:[0-9]+\\. )?```(sh|yaml)\n(.*?)^ *```$")

// blocks are those of a page, without the indentation of the list that they are in.
func blocks(t *testing.T, page string) (all []block) {
	t.Helper()
	content, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range fence.FindAllStringSubmatch(string(content), -1) {
		lines := strings.SplitAfter(m[3], "\n")
		indent := len(lines[0]) - len(strings.TrimLeft(lines[0], " "))
		for i, line := range lines {
			lines[i] = line[min(indent, len(line)):]
		}
		all = append(all, block{m[2], strings.Join(lines, "")})
	}
	return all
}

// reader is someone who follows the page on a machine of his own, of which dir is the root.
type reader struct {
	*parts
	t      *testing.T
	env    []string
	daemon *process

	mu  sync.Mutex
	did []string // guarded by mu: what he called that is not ours
}

// TestFirstRotation follows docs/first-rotation.md from top to bottom: each file is written, each command run, in a
// machine's place with the real binary, Vault's own server with exactly the rights that are printed, an AWS that
// evaluates the printed policy, and a simulated xAI.
func TestFirstRotation(t *testing.T) {
	t.Parallel()
	r := newReader(t)
	old := r.seed()
	for _, b := range blocks(t, filepath.Join("..", "..", "docs", "first-rotation.md")) {
		if b.language == "sh" {
			r.run(b.text)
		} else {
			r.save(b.text)
		}
	}
	doc, _ := r.vault.Read(t, "secret", "llm/chat-prod")
	text, _ := r.aws.Region(region).Value("prod/grok", "AWSCURRENT")
	key, same := fields(t, doc)["api_key"], fields(t, text)["XAI_API_KEY"]
	if key == old || key != same || !strings.HasPrefix(fmt.Sprint(key), "xai-") || fields(t, doc)["other"] != "kept" {
		t.Error("the targets do not hold one new key")
	}
	if !strings.Contains(r.read(t, "log"), "the journal was restored from a backup") {
		t.Error("the daemon did not begin with the backup")
	}
	observing, _, acted := strings.Cut(r.read(t, "log"), "mode is rotate;")
	if trouble := regexp.MustCompile(`.*(WARN|ERROR).*`).FindAllString(observing, -1); !acted || len(trouble) > 0 {
		t.Errorf("with rights to read alone it acts %t, and says %q", acted, trouble)
	}
	did := strings.Join(r.did, "\n")
	for _, step := range []string{"vault policy", "aws iam", "systemd-run", "systemctl stop", "systemctl start", "kubectl -n", "helm test"} {
		if !strings.Contains(did, step) {
			t.Errorf("the page never said %s: it was not read to its end", step)
		}
	}
}

func newReader(t *testing.T) *reader {
	t.Helper()
	r := &reader{t: t, parts: newParts(t, xaisim.Options{Seed: 1, Propagation: func(*rand.Rand) time.Duration { return 20 * time.Millisecond }})}
	for _, d := range []string{"bin", "etc/rotator/policies", "etc/rotator/credentials", "var/lib/rotator", "var/backups", "run/rotator", "credentials"} {
		if err := os.MkdirAll(r.path(d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	ours, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(ours, r.path("bin/rotator")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"apt-get", "vault", "aws", "systemctl", "systemd-run", "kubectl", "helm", "install"} {
		if err := os.Symlink(self, r.path("bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	// To the daemon the keys of AWS are what the machine's role is to a real one.
	r.env = []string{
		"PATH=" + r.path("bin") + ":" + os.Getenv("PATH"), "HOME=" + r.dir, "ROTATOR_CONFIG=" + r.path("etc/rotator/rotator.yaml"),
		"AWS_ACCESS_KEY_ID=AKIDMACHINE", "AWS_SECRET_ACCESS_KEY=secret", stubAddress + "=" + serve(t, http.HandlerFunc(r.answer)),
	}
	if err := r.aws.Attach("AKIDMACHINE"); err != nil { // it may do nothing yet
		t.Fatal(err)
	}
	return r
}

// seed makes the key of today, and puts it where consumers read it.
func (r *reader) seed() (key string) {
	r.t.Helper()
	m := management(r.t, r.xaiURL, r.key)
	made, err := m.CreateKey(r.t.Context(), team, xai.CreateRequest{Name: "by hand", ACLs: []string{"api-key:model:grok-4", "api-key:endpoint:chat"}})
	if err != nil {
		r.t.Fatal(err)
	}
	key = made.Secret.Reveal()
	r.vault.Write(r.t, "secret", "llm/chat-prod", fmt.Sprintf(`{"api_key":%q,"other":"kept"}`, key))
	r.aws.Region(region).Put("prod/grok", fmt.Sprintf(`{"XAI_API_KEY":%q}`, key))
	return key
}

// here is text with the machine's folders, and with the servers, in their places.
func (r *reader) here(text string) string {
	return strings.NewReplacer(
		"/etc/rotator", r.path("etc/rotator"), "/var/lib/rotator", r.path("var/lib/rotator"), "/run/rotator", r.path("run/rotator"),
		"/var/backups", r.path("var/backups"), "/usr/bin/rotator", "rotator", "127.0.0.1:8420", porttest.Free(r.t),
		"https://vault.example:8200", r.vault.Address, "region: eu-west-1}", fmt.Sprintf("region: eu-west-1, endpoint: %q}", r.awsURL),
	).Replace(text)
}

// save writes the file that the block's first line names.
func (r *reader) save(text string) {
	r.t.Helper()
	first, _, _ := strings.Cut(text, "\n")
	path, named := strings.CutPrefix(first, "# ")
	if !named {
		r.t.Fatalf("no file is named above\n%s", text)
	}
	if path == "/etc/rotator/rotator.yaml" { // the rehearsal's lines, as `rotator sandbox` prints them
		text += fmt.Sprintf("xai: {management_url: %q, inference_url: %q}\nlimits: {min_interval: 1s, quarantine: 1s, watch: 1s}\n", r.xaiURL, r.xaiURL)
	}
	if path = r.here(path); !filepath.IsAbs(path) {
		path = r.path(path)
	}
	if err := os.WriteFile(path, []byte(r.here(text)), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

// run runs a block of commands, with the management key to be pasted where one asks.
func (r *reader) run(text string) {
	r.t.Helper()
	command := exec.CommandContext(r.t.Context(), "bash", "-euo", "pipefail", "-c", r.here(text))
	command.Dir, command.Env = r.dir, r.env
	key, err := os.CreateTemp(r.t.TempDir(), "pasted")
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = key.Close() }()
	if _, err = key.WriteString(r.key.Reveal() + "\n"); err == nil {
		_, err = key.Seek(0, io.SeekStart)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	command.Stdin = key
	out, err := command.CombinedOutput()
	r.t.Logf("$ %s\n%s", text, out)
	if err != nil {
		r.t.Fatalf("%v\n%s\n%s", err, text, out)
	}
	if strings.Contains(string(out), r.key.Reveal()) {
		r.t.Error("the management key is shown")
	}
}
