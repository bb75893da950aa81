// Package machine boots small Debian systems for tests: a tree made by debootstrap once, copied for each test, and
// started with its own systemd in a container without a network. It needs root, and Debian's packages for what is missing.
package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rotator/internal/testenv/debian"
	"rotator/internal/testenv/testcache"
)

const (
	suite = "bookworm"
	// include is what the smallest tree lacks: an init, names for its users, what a service that speaks TLS needs, and the
	// package manager of others.
	include   = "systemd,systemd-sysv,libnss-systemd,ca-certificates,rpm"
	bootLimit = 5 * time.Minute
	runLimit  = 10 * time.Minute
)

// New returns a copy of the tree, not booted, which goes with the test.
func New(t *testing.T) *Machine {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("only root can boot a machine")
	}
	if err := debian.Need(t.Context(), map[string]string{"debootstrap": "debootstrap", "systemd-nspawn": "systemd-container"}); err != nil {
		t.Fatal(err)
	}
	tree, err := tree(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// Not t.TempDir: a path that the services' private /tmp hides could not be bound into them.
	dir, err := os.MkdirTemp("/var/tmp", "rotator-machine-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	root := filepath.Join(dir, "root") // beside it lies the lock of systemd-nspawn
	if out, err := exec.Command("cp", "-a", "--reflink=auto", tree, root).CombinedOutput(); err != nil {
		t.Fatalf("copy the tree: %v\n%s", err, out)
	}
	// Kernel variables are the host's: whether a machine may set them says nothing of what is tested.
	if err := os.Symlink("/dev/null", filepath.Join(root, "etc/systemd/system/systemd-sysctl.service")); err != nil {
		t.Fatal(err)
	}
	return &Machine{Root: root}
}

// tree returns what debootstrap made, once.
func tree(ctx context.Context) (string, error) {
	return testcache.Keep(fmt.Sprintf("debian-%s-%08x", suite, crc32.ChecksumIEEE([]byte(include))), func(path string) error {
		if err := testcache.Fetch(ctx, func() error { return debootstrap(path) }); err != nil {
			return err
		}
		for _, heavy := range []string{"var/cache/apt/archives", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale"} {
			if err := os.RemoveAll(filepath.Join(path, heavy)); err != nil {
				return err
			}
		}
		return nil
	})
}

// debootstrap makes a tree at path, in place of one that it did not finish.
func debootstrap(path string) error {
	if err := os.RemoveAll(path); err != nil {
		return err
	}
	if out, err := exec.Command("debootstrap", "--variant=minbase", "--include="+include, suite, path).CombinedOutput(); err != nil {
		return fmt.Errorf("debootstrap: %w\n%s", err, tail(out, 20))
	}
	return nil
}

// Machine is a Debian system of a test.
type Machine struct {
	Root string // its files

	leader int // its first process as seen from here; 0 until it is booted
}

// Write puts a file into the machine, with the folders above it.
func (m *Machine) Write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	path = filepath.Join(m.Root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// Boot starts the machine and waits until its systemd has started all that it should. It is stopped with the test.
func (m *Machine) Boot(t *testing.T) {
	t.Helper()
	var console lockedBuffer
	nspawn := exec.Command("systemd-nspawn", "--quiet", "-D", m.Root, "--private-network", "--register=no", "--keep-unit", "--console=pipe", "-b")
	nspawn.Stdout, nspawn.Stderr = &console, &console
	if err := nspawn.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = nspawn.Wait() // what it said says why
	}()
	t.Cleanup(func() {
		if m.leader != 0 {
			_ = unix.Kill(m.leader, unix.SIGKILL) // with which all its processes go; systemd-nspawn killed alone leaves them behind
		} else {
			_ = nspawn.Process.Kill()
		}
		<-ended
	})
	for end := time.Now().Add(bootLimit); ; time.Sleep(100 * time.Millisecond) {
		if m.leader = childOf(nspawn.Process.Pid); m.leader != 0 {
			if state, _ := m.Try("systemctl", "is-system-running"); strings.TrimSpace(state) == "running" {
				return
			}
		}
		select {
		case <-ended:
			t.Fatalf("this system cannot boot a machine:\n%s", console.String())
		default:
		}
		if time.Now().After(end) {
			failed, _ := m.Try("systemctl", "--failed", "--no-pager")
			t.Fatalf("the machine does not come up:\n%s\n%s", failed, console.String())
		}
	}
}

// Try runs a command in the booted machine and returns its standard output; the error holds what it said else.
func (m *Machine) Try(command ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), runLimit)
	defer cancel()
	c := exec.CommandContext(ctx, "nsenter", append([]string{"--target", fmt.Sprint(m.leader), "--all", "--"}, command...)...)
	c.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"}
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	err := c.Run()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, stderr.String())
	}
	return stdout.String(), err
}

// Run runs a command in the booted machine, which must succeed, and returns its standard output.
func (m *Machine) Run(t *testing.T, command ...string) string {
	t.Helper()
	out, err := m.Try(command...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, out)
	}
	return out
}

// Until waits until a command in the machine prints want, or fails the test with what it printed last.
func (m *Machine) Until(t *testing.T, within time.Duration, want string, command ...string) string {
	t.Helper()
	for end := time.Now().Add(within); ; time.Sleep(100 * time.Millisecond) {
		out, err := m.Try(command...) // it may fail until then
		if strings.Contains(out, want) {
			return out
		}
		if time.Now().After(end) {
			log, _ := m.Try("journalctl", "--no-pager", "-n", "30")
			t.Fatalf("%s: no %q within %s, but:\n%s%v\n\njournal:\n%s", strings.Join(command, " "), want, within, out, err, log)
		}
	}
}

// childOf is the one child of a process, 0 when it has none.
func childOf(pid int) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0
	}
	child := 0
	_, _ = fmt.Sscan(string(b), &child) // nothing there is none
	return child
}

func tail(b []byte, n int) []byte {
	lines := bytes.Split(bytes.TrimSpace(b), []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-n):], []byte("\n"))
}

// lockedBuffer is written by one goroutine and read by another.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
