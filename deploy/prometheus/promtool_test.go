//go:build deploy

package prometheus

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rotator/internal/testenv/debian"
	"rotator/internal/testenv/porttest"
)

// promtool is the tool of Debian's package prometheus, which is unpacked rather than installed: it would start a server.
func promtool(t *testing.T) string {
	t.Helper()
	if path, err := exec.LookPath("promtool"); err == nil {
		return path
	}
	tool, err := debian.Program(t.Context(), "prometheus", "usr/bin/promtool")
	if err != nil {
		t.Fatal(err)
	}
	return tool
}

func run(t *testing.T, dir string, stdin io.Reader, args ...string) {
	t.Helper()
	c := exec.Command(args[0], args[1:]...)
	c.Dir, c.Stdin = dir, stdin
	if said, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, said)
	}
}

func TestPromtool(t *testing.T) {
	t.Parallel()
	tool := promtool(t)
	run(t, ".", nil, tool, "check", "rules", "alerts.yaml")
	run(t, ".", nil, tool, "test", "rules", "alerts_test.yaml")
	run(t, ".", strings.NewReader(metrics(t)), tool, "check", "metrics")
}

// metrics is what a daemon reports that has one policy and whose xAI does not answer.
func metrics(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	address := porttest.Free(t)
	files := map[string]string{
		"rotator.yaml": fmt.Sprintf(`state: sqlite:rotator.db
policies: policies
listen: %s
xai: {management_url: "http://127.0.0.1:1", inference_url: "http://127.0.0.1:1"}
teams: {main: {management_key: "file:management.key"}}
stores: {local: {type: file, dir: secrets}}
`, address),
		"management.key": "xai-token-of-nobody",
		"policies/chat.yaml": `name: chat
team: main
schedule: "@every 720h"
max_age: 40d
key: {acls: ["api-key:model:grok-4", "api-key:endpoint:chat"]}
targets: [{store: local, path: chat}]
`,
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	binary := filepath.Join(dir, "rotator")
	run(t, ".", nil, "go", "build", "-trimpath", "-o", binary, "rotator/cmd/rotator")
	ctx, cancel := context.WithCancel(t.Context())
	daemon := exec.CommandContext(ctx, binary, "run", "--config", filepath.Join(dir, "rotator.yaml"))
	daemon.Stderr = t.Output()
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cancel()
		_ = daemon.Wait() // it was killed
	}()
	for end := time.Now().Add(5 * time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		answer, err := http.Get("http://" + address + "/metrics")
		if err != nil {
			continue // not yet
		}
		text, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close() // it was read
		if err == nil && strings.Contains(string(text), `rotator_policy_waiting{`) {
			return string(text)
		}
	}
	t.Fatal("the daemon reports no metrics of its policy")
	return ""
}
