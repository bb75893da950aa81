package main

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"rotator/xai/xaisim"
)

// TestSystemdHears runs a daemon whose service manager is this test.
func TestSystemdHears(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = manager.Close() }()
	hear := func(want ...string) {
		t.Helper()
		if err := manager.SetReadDeadline(time.Now().Add(wait)); err != nil {
			t.Fatal(err)
		}
		var heard []string
		for buffer := make([]byte, 4096); ; {
			n, err := manager.Read(buffer)
			if err != nil {
				t.Fatalf("after %q: %v; want %q", heard, err, want)
			}
			message := string(buffer[:n])
			heard = append(heard, message)
			missing := false
			for _, w := range want {
				missing = missing || !strings.Contains(message, w)
			}
			if !missing {
				return
			}
		}
	}
	daemon := systemdDaemon(t, dir)
	hear("READY=1\n", "STATUS=0 policies: 0 in rotation")
	hear("WATCHDOG=1\n")
	hangup := func() {
		if err := daemon.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	hangup()
	hear("RELOADING=1\nMONOTONIC_USEC=")
	hear("READY=1\nSTATUS=configuration and policies read")
	if err := os.WriteFile(filepath.Join(dir, "rotator.yaml"), []byte("state: nowhere\nteems: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	hear("READY=1\nSTATUS=configuration refused, what it names stays as it was: ", "rotator.yaml:1", "; ")
	if err := daemon.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	hear("STOPPING=1")
	if err := daemon.Wait(); err != nil {
		t.Error(err)
	}
}

// systemdDaemon starts a daemon in dir as a service manager with a watchdog of four seconds does.
func systemdDaemon(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	sim := xaisim.New(xaisim.Options{Seed: 1, Propagation: func(*rand.Rand) time.Duration { return 0 }})
	server := httptest.NewServer(sim)
	t.Cleanup(server.Close)
	if err := os.Mkdir(filepath.Join(dir, "policies"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"management.key": sim.NewManagementKey(simTeam).Reveal(),
		"rotator.yaml":   fmt.Sprintf(base, server.URL),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	daemon := exec.Command("rotator", "run", "--config", filepath.Join(dir, "rotator.yaml"))
	daemon.Env = append(os.Environ(), "NOTIFY_SOCKET="+filepath.Join(dir, "notify"), "WATCHDOG_USEC=4000000")
	daemon.Stdout, daemon.Stderr = t.Output(), t.Output()
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = daemon.Process.Kill() })
	return daemon
}
