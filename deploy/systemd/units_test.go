// Package systemd holds the units to what they promise. It has no code of its own.
package systemd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"rotator/internal/config"
	"rotator/internal/testenv/debian"
)

var units = []string{"rotator.service", "rotator-once.service", "rotator-once.timer"}

// maxExposure is what `systemd-analyze security` may find, in tenths. What is left is what the daemon is for: it talks to
// the network, gives files to a group, and reads the time of day.
const maxExposure = 12

func analyze(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	if err := debian.Need(t.Context(), map[string]string{"systemd-analyze": "systemd"}); err != nil {
		t.Fatal(err)
	}
	return exec.Command("systemd-analyze", args...)
}

// root is a system that holds the units, what they start, and the units that they name.
func root(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write := func(path, text string, mode os.FileMode) {
		t.Helper()
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, unit := range units {
		write("etc/systemd/system/"+unit, read(t, unit), 0o644)
	}
	for _, target := range []string{"basic", "multi-user", "network-online", "nss-lookup", "shutdown", "sysinit", "time-set", "time-sync", "timers"} {
		write("etc/systemd/system/"+target+".target", "[Unit]\n", 0o644)
	}
	write("usr/bin/rotator", "#!/bin/sh\n", 0o755)
	write("bin/sh", "#!/bin/sh\n", 0o755)
	return dir
}

func TestUnitsAreValid(t *testing.T) {
	t.Parallel()
	dir := root(t)
	for _, unit := range units {
		out, err := analyze(t, "verify", "--man=no", "--root="+dir, filepath.Join(dir, "etc/systemd/system", unit)).CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", unit, err, out)
		}
	}
}

func TestExposure(t *testing.T) {
	t.Parallel()
	dir := root(t)
	for _, unit := range units[:2] {
		out, err := analyze(t, "security", "--offline=true", "--no-pager", "--root="+dir, fmt.Sprintf("--threshold=%d", maxExposure), unit).CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("Overall exposure level for "+unit)) {
			t.Errorf("%s is exposed more than %d tenths: %v\n%s", unit, maxExposure, err, out)
		}
	}
}

// TestOneSandbox: both services run the same program over the same secrets.
func TestOneSandbox(t *testing.T) {
	t.Parallel()
	sandbox := func(unit string) string {
		_, rest, ok := strings.Cut(read(t, unit), "\n# sandbox\n")
		if !ok {
			t.Fatalf("%s has no sandbox", unit)
		}
		rest, _, _ = strings.Cut(rest, "\n[Install]")
		return strings.TrimSpace(rest)
	}
	if a, b := sandbox(units[0]), sandbox(units[1]); a != b {
		t.Errorf("the sandboxes differ:\n%s\n\n%s", a, b)
	}
}

// TestConfiguration: the example is one that the daemon takes, and agrees with the service's folders.
func TestConfiguration(t *testing.T) {
	t.Parallel()
	c, err := config.Parse("/etc/rotator/rotator.yaml", []byte(read(t, "rotator.yaml")), config.Env{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal([]string{c.State.String(), c.Policies.String(), c.Socket, c.SocketGroup, c.Teams["main"].ManagementKey.String(), c.Stores["local"].File.Dir})
	if err != nil {
		t.Fatal(err)
	}
	want := `["sqlite:/var/lib/rotator/rotator.db","/etc/rotator/policies","/run/rotator/rotator.sock","rotator","credential:rotator_management-key","/var/lib/rotator/secrets"]`
	if string(got) != want {
		t.Errorf("got %s", got)
	}
	service := read(t, "rotator.service")
	for _, line := range []string{"StateDirectory=rotator rotator/secrets", "RuntimeDirectory=rotator", "User=rotator", "LoadCredential=rotator:/etc/rotator/credentials", "Type=notify"} {
		if !strings.Contains(service, "\n"+line+"\n") {
			t.Errorf("rotator.service lacks %s", line)
		}
	}
}

// TestNoSwap: a key is in memory from its creation until it is staged, and never written to a disk from there.
func TestNoSwap(t *testing.T) {
	t.Parallel()
	for _, unit := range units[:2] {
		for _, line := range []string{"MemorySwapMax=0", "LimitCORE=0"} {
			if !strings.Contains(read(t, unit), "\n"+line+"\n") {
				t.Errorf("%s lacks %s", unit, line)
			}
		}
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
