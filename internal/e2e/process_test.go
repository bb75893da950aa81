package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"rotator/internal/api"
	"rotator/internal/secret"
	"rotator/internal/testenv/porttest"
	"rotator/rotation/journal/sqldb"
)

// binary builds the product once for all tests of this run. ROTATOR_BINARY names one to try in its place.
var binary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("ROTATOR_BINARY"); path != "" {
		return path, nil
	}
	dir, err := os.MkdirTemp("", "rotator-e2e-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "rotator")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, "rotator/cmd/rotator")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return dir, fmt.Errorf("build rotator: %w\n%s", err, out)
	}
	built = dir
	return path, nil
})

// built is the folder that binary made, for TestMain to remove.
var built string

func removeBinary() {
	if built != "" {
		_ = os.RemoveAll(built)
	}
}

// process is one run of the binary. What it writes goes to a file, as under a service manager: no pipe keeps it waiting.
type process struct {
	*exec.Cmd
	ended chan struct{} // closed when it was waited for
}

// launch starts the binary with its output appended to the file log. It is killed when the test ends.
func launch(t testing.TB, log string, env []string, args ...string) *process {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.OpenFile(log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close() }() // the child has its own
	p := &process{Cmd: exec.Command(path, args...), ended: make(chan struct{})}
	p.Stdout, p.Stderr = out, out
	p.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Dir(log), "TMPDIR=" + filepath.Dir(log)}, env...)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.Wait() // how it ended is in ProcessState
		close(p.ended)
	}()
	t.Cleanup(p.kill)
	return p
}

// kill ends it as a power cut does.
func (p *process) kill() {
	_ = p.Process.Kill() // it may have ended already
	<-p.ended
}

// stopLimit is more than the 30 seconds in which the daemon promises to stop: the machine may stall meanwhile. A stop
// that waits for a call that hangs takes minutes.
const stopLimit = time.Minute

// terminate asks it to stop, as a service manager does, and returns how long that took.
func (p *process) terminate(t testing.TB) time.Duration {
	t.Helper()
	began := time.Now()
	if err := p.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	<-p.ended
	if code := p.ProcessState.ExitCode(); code != 0 {
		t.Errorf("after SIGTERM it exited with %d (%s)", code, p.ProcessState)
	}
	took := time.Since(began)
	if took > stopLimit {
		t.Errorf("SIGTERM took %s", took)
	}
	return took
}

// daemon is the binary with a folder of configuration: p.dir/rotator.yaml. It can be started again and again.
type daemon struct {
	*parts
	args []string
	env  []string
	web  string // host:port
}

// daemonConfig leaves stores and further limits to the test.
const daemonConfig = `state: "sqlite:rotator.db"
policies: policies
listen: %q
socket: rotator.sock
xai: {management_url: %q, inference_url: %q}
teams: {research: {management_key: "file:management.key"}}
limits: {min_interval: 1s, %s}
stores:
%s`

// newDaemon writes the configuration. stores are lines of YAML, limits the inside of a map.
func newDaemon(t testing.TB, p *parts, limits, stores string) *daemon {
	t.Helper()
	d := &daemon{parts: p, web: porttest.Free(t), args: []string{"run", "--log-format", "json"}}
	p.write(t, "management.key", p.key.Reveal()+"\n")
	p.write(t, "rotator.yaml", fmt.Sprintf(daemonConfig, d.web, p.xaiURL, p.xaiURL, limits, stores))
	return d
}

// vaultStore and fileStore are the usual two.
func (p *parts) vaultStore(t testing.TB, address, timeout string, paths ...string) string {
	p.write(t, "vault.token", p.vaultToken(t, paths...))
	return fmt.Sprintf("  vault: {type: vault, address: %q, mount: %q, timeout: %s, auth: {method: token, token: \"file:vault.token\"}}\n", address, p.mount, timeout)
}

func (p *parts) fileStore() string { return "  local: {type: file, dir: secrets}\n" }

func (d *daemon) start(t testing.TB) *process {
	t.Helper()
	return launch(t, d.path("log"), d.env, append(d.args, "--config", d.path("rotator.yaml"))...)
}

// client asks the daemon over its socket.
func (d *daemon) client() *api.Client { return api.Dial(d.path("rotator.sock")) }

// look opens the journal beside the daemon, to read.
func (d *daemon) look(t testing.TB) *sqldb.DB {
	t.Helper()
	j, err := sqldb.Open(t.Context(), "sqlite:"+d.path("rotator.db"), sqldb.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// complain prints the end of the daemon's log when the test failed.
func (d *daemon) complain(t testing.TB) {
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		lines := strings.Split(d.read(t, "log"), "\n")
		t.Logf("the end of the daemon's log:\n%s", strings.Join(lines[max(0, len(lines)-40):], "\n"))
	})
}

// sandbox is a simulated xAI in a process of its own, as `rotator sandbox` serves it.
func sandbox(t testing.TB, dir string, latency time.Duration, flags ...string) (url string, key secret.Text) {
	t.Helper()
	log, keyFile := filepath.Join(dir, "sandbox.log"), filepath.Join(dir, "sandbox.key")
	launch(t, log, nil, append([]string{"sandbox", "--listen", "127.0.0.1:0", "--key-file", keyFile, "--team", team, "--latency", latency.String()}, flags...)...)
	address := regexp.MustCompile(`http://[0-9.:]+`)
	eventually(t, "the sandbox answers", func() bool {
		f, err := os.Open(log)
		if err != nil {
			return false
		}
		defer func() { _ = f.Close() }()
		line, err := bufio.NewReader(f).ReadString('\n')
		url = address.FindString(line)
		return err == nil && url != ""
	})
	b, err := os.ReadFile(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	return url, secret.New(strings.TrimSpace(string(b)))
}
