//go:build deploy

// Package packages installs the packages where they belong, and takes them away again. It has no code of its own.
package packages

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"rotator/deploy/machine"
	"rotator/internal/debian"
)

// build makes the packages of one version for this architecture, and returns the paths of the .deb and the .rpm.
func build(t *testing.T, version string) (deb, rpm string) {
	t.Helper()
	out := filepath.Join(t.TempDir(), version)
	c := exec.Command("go", "run", ".", "-version", version, "-arch", runtime.GOARCH, "-out", out)
	c.Dir = "../release"
	if said, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	return one(t, out, "*.deb"), one(t, out, "*.rpm")
}

func one(t *testing.T, dir, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %q, %v", pattern, found, err)
	}
	return found[0]
}

// put copies a package into the machine.
func put(t *testing.T, m *machine.Machine, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m.Write(t, "root/"+filepath.Base(path), string(b), 0o644)
	return "/root/" + filepath.Base(path)
}

// changed is what an administrator did to the configuration: xAI is the sandbox.
const changed = `
xai: {management_url: "http://127.0.0.1:8421", inference_url: "http://127.0.0.1:8421"}
limits: {min_interval: 1s, quarantine: 1s, watch: 1s}
`

const policy = `name: chat
team: main
schedule: "@every 720h"
key: {acls: ["api-key:model:grok-4", "api-key:endpoint:chat"]}
targets: [{store: local, path: chat}]
`

// TestPackages leads both packages through install, upgrade, remove and what comes after.
func TestPackages(t *testing.T) {
	t.Parallel()
	if err := debian.Need(t.Context(), map[string]string{"lintian": "lintian", "rpm": "rpm"}); err != nil {
		t.Fatal(err)
	}
	oldDeb, oldRPM := build(t, "1.0.0")
	newDeb, newRPM := build(t, "1.1.0")
	t.Run("lintian", func(t *testing.T) {
		t.Parallel()
		if said, err := exec.Command("lintian", "--fail-on=error", newDeb).CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, said)
		}
	})
	t.Run("deb", func(t *testing.T) {
		t.Parallel()
		deb(t, oldDeb, newDeb)
	})
	t.Run("rpm", func(t *testing.T) {
		t.Parallel()
		rpm(t, oldRPM, newRPM)
	})
}

func deb(t *testing.T, oldDeb, newDeb string) {
	m := machine.New(t)
	m.Boot(t)
	m.Run(t, "dpkg", "-i", put(t, m, oldDeb))
	if said := m.Run(t, "systemctl", "show", "--value", "-p", "ActiveState", "-p", "UnitFileState", "rotator"); said != "inactive\ndisabled\n" {
		t.Errorf("after the installation the service is %q", said)
	}
	config := filepath.Join(m.Root, "etc/rotator/rotator.yaml")
	example, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	m.Write(t, "etc/rotator/rotator.yaml", string(example)+changed, 0o644)
	m.Write(t, "etc/rotator/policies/chat.yaml", policy, 0o644)
	m.Run(t, "systemd-run", "--unit=sandbox", "rotator", "sandbox", "--team", "main", "--propagation", "100ms", "--key-file", "/etc/rotator/credentials/management-key")
	m.Until(t, time.Minute, "management-key", "ls", "/etc/rotator/credentials")
	m.Run(t, "systemctl", "enable", "--now", "rotator")
	m.Until(t, time.Minute, `"state": "idle"`, "rotator", "status", "-o", "json")

	m.Run(t, "dpkg", "-i", put(t, m, newDeb))
	if said := m.Run(t, "rotator", "version"); !strings.HasPrefix(said, "rotator 1.1.0 ") {
		t.Errorf("after the upgrade: %s", said)
	}
	m.Until(t, time.Minute, "rotating version=1.1.0", "journalctl", "--no-pager", "-u", "rotator")
	if said := m.Run(t, "systemctl", "show", "--value", "-p", "ActiveState", "-p", "UnitFileState", "rotator"); said != "active\nenabled\n" {
		t.Errorf("after the upgrade the service is %q", said)
	}
	if now, err := os.ReadFile(config); err != nil || string(now) != string(example)+changed {
		t.Errorf("the upgrade changed the configuration: %v", err)
	}

	m.Run(t, "dpkg", "-r", "rotator")
	exist(t, m, true, "etc/rotator/rotator.yaml", "etc/rotator/policies/chat.yaml", "etc/rotator/credentials/management-key", "var/lib/rotator/rotator.db", "var/lib/rotator/secrets/chat")
	exist(t, m, false, "usr/bin/rotator", "lib/systemd/system/rotator.service", "etc/systemd/system/multi-user.target.wants/rotator.service")
	m.Run(t, "dpkg", "--purge", "rotator")
	exist(t, m, false, "etc/rotator", "var/lib/rotator")
	if said, _ := m.Try("systemctl", "is-system-running"); strings.TrimSpace(said) != "running" { // it fails when degraded
		t.Errorf("in the end the machine is %s", said)
	}
}

// rpm goes by rpm --root: the files and what becomes of them, without scripts, for which there is no system here.
func rpm(t *testing.T, oldRPM, newRPM string) {
	m := &machine.Machine{Root: t.TempDir()}
	rpm := func(args ...string) string {
		t.Helper()
		said, err := exec.Command("rpm", append([]string{"--root=" + m.Root}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("rpm %s: %v\n%s", strings.Join(args, " "), err, said)
		}
		return string(said)
	}
	rpm("--install", "--noscripts", "--nodeps", oldRPM)
	m.Write(t, "etc/rotator/rotator.yaml", "changed: true\n", 0o644)
	m.Write(t, "var/lib/rotator/rotator.db", "journal", 0o600)
	rpm("--upgrade", "--noscripts", "--nodeps", newRPM)
	if said := rpm("--query", "rotator"); !strings.HasPrefix(said, "rotator-1.1.0-") {
		t.Errorf("after the upgrade: %s", said)
	}
	if now, err := os.ReadFile(filepath.Join(m.Root, "etc/rotator/rotator.yaml")); err != nil || string(now) != "changed: true\n" {
		t.Errorf("the upgrade changed the configuration: %s, %v", now, err)
	}
	exist(t, m, true, "usr/bin/rotator", "usr/lib/systemd/system/rotator.service", "usr/share/man/man1/rotator.1.gz", "usr/share/rotator/policy.schema.json")
	rpm("--erase", "--noscripts", "rotator")
	exist(t, m, true, "etc/rotator/rotator.yaml.rpmsave", "var/lib/rotator/rotator.db")
	exist(t, m, false, "usr/bin/rotator", "usr/lib/systemd/system/rotator.service")
	scripts, err := exec.Command("rpm", "--query", "--scripts", "--package", newRPM).CombinedOutput()
	if err != nil || !strings.Contains(string(scripts), "systemd-sysusers rotator.conf") {
		t.Errorf("the scripts are missing: %v\n%s", err, scripts)
	}
	check := exec.Command("sh", "-n")
	check.Stdin = strings.NewReader(strings.Join([]string{read(t, "rpm/post"), read(t, "rpm/preun"), read(t, "rpm/postun")}, "\n"))
	if said, err := check.CombinedOutput(); err != nil {
		t.Errorf("a script is no shell script: %v\n%s", err, said)
	}
}

func exist(t *testing.T, m *machine.Machine, want bool, paths ...string) {
	t.Helper()
	for _, path := range paths {
		if _, err := os.Lstat(filepath.Join(m.Root, path)); (err == nil) != want {
			t.Errorf("%s: there is %v, want %v (%v)", path, err == nil, want, err)
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
