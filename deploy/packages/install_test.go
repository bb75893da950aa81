//go:build deploy

// Package packages installs the packages where they belong, and takes them away again. It has no code of its own.
package packages

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"rotator/deploy/machine"
	"rotator/internal/testenv/debian"
	"rotator/internal/testenv/kubetest"
)

// build makes the release of one version for some architectures, and returns its folder.
func build(t *testing.T, version, arches string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), version)
	c := exec.Command("go", "run", ".", "-version", version, "-arch", arches, "-out", out, "-image", "registry.example/rotator", "-vulndb", "none")
	c.Dir = "../release"
	if said, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	return out
}

func one(t *testing.T, dir, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %q, %v", pattern, found, err)
	}
	return found[0]
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
retire: {overlap: 1s, soak: 1s}
`

const soon = 5 * time.Minute

// TestPackages leads both kinds of packages through install, upgrade, downgrade, removal and what comes after.
func TestPackages(t *testing.T) {
	t.Parallel()
	if err := debian.Need(t.Context(), map[string]string{"lintian": "lintian"}); err != nil {
		t.Fatal(err)
	}
	older, newer := build(t, "1.0.0", runtime.GOARCH), build(t, "1.1.0", "amd64,arm64")
	native := func(dir string) (deb, rpm string) {
		return one(t, dir, "*_"+runtime.GOARCH+".deb"), one(t, dir, "*."+map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]+".rpm")
	}
	olderDeb, olderRPM := native(older)
	newerDeb, newerRPM := native(newer)
	t.Run("lintian", func(t *testing.T) {
		t.Parallel()
		if said, err := exec.Command("lintian", "--fail-on=error,warning", newerDeb).CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, said)
		}
	})
	t.Run("arm64", func(t *testing.T) {
		t.Parallel()
		emulated(t, one(t, newer, "*_arm64.deb"))
	})
	t.Run("chart", func(t *testing.T) {
		t.Parallel()
		packed(t, one(t, newer, "*.tgz"))
	})
	t.Run("deb", func(t *testing.T) {
		t.Parallel()
		m := machine.New(t)
		put := func(path string) { m.Run(t, "dpkg", "--install", copied(t, m, path)) }
		lead(t, m, put, olderDeb, newerDeb)
		t.Run("where services are not to be restarted", func(t *testing.T) {
			m.Write(t, "usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755)
			running := func() string { return m.Run(t, "systemctl", "show", "--value", "-p", "MainPID", "rotator") }
			before := running()
			put(newerDeb)
			if after := running(); after != before {
				t.Errorf("the process %s became %s", before, after)
			}
			m.Run(t, "rm", "/usr/sbin/policy-rc.d")
		})
		m.Run(t, "dpkg", "--remove", "rotator")
		exist(t, m, true, "etc/rotator/rotator.yaml")
		removed(t, m)
		m.Run(t, "dpkg", "--purge", "rotator")
		exist(t, m, false, "etc/rotator", "var/lib/rotator")
		healthy(t, m)
	})
	t.Run("rpm", func(t *testing.T) {
		t.Parallel()
		m := machine.New(t)
		rpm := func(args ...string) {
			t.Helper()
			m.Run(t, append([]string{"rpm"}, args...)...)
		}
		// What Debian has as packages is no dependency that an rpm could find.
		put := func(path string) { rpm("--upgrade", "--oldpackage", "--nodeps", copied(t, m, path)) }
		lead(t, m, put, olderRPM, newerRPM)
		for _, file := range []string{"/usr/share/man/man1/rotator.1.gz", "/usr/share/doc/rotator/docs/systemd.md"} {
			if said := m.Run(t, "rpm", "-q", "--docfiles", "rotator"); !strings.Contains(said, file+"\n") {
				t.Errorf("%s is not marked as documentation:\n%s", file, said)
			}
		}
		rpm("--erase", "rotator")
		exist(t, m, true, "etc/rotator/rotator.yaml.rpmsave")
		removed(t, m)
		healthy(t, m)
	})
}

// lead installs one version, has it rotate, goes up to another and back down.
func lead(t *testing.T, m *machine.Machine, put func(path string), older, newer string) {
	t.Helper()
	m.Boot(t)
	put(older)
	service(t, m, "inactive", "disabled")
	config := filepath.Join(m.Root, "etc/rotator/rotator.yaml")
	example, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	m.Write(t, "etc/rotator/rotator.yaml", string(example)+changed, 0o644)
	m.Write(t, "etc/rotator/policies/chat.yaml", policy, 0o644)
	m.Run(t, "systemd-run", "--unit=sandbox", "rotator", "sandbox", "--team", "main", "--propagation", "100ms", "--key-file", "/etc/rotator/credentials/management-key")
	m.Until(t, soon, "management-key", "ls", "/etc/rotator/credentials")
	m.Run(t, "systemctl", "enable", "--now", "rotator")
	first := key(t, m)

	put(newer)
	exist(t, m, true, "usr/share/man/man1/rotator.1.gz", "usr/share/man/man5/rotator.yaml.5.gz", "usr/share/man/man5/rotator-policy.5.gz",
		"usr/share/bash-completion/completions/rotator", "usr/share/rotator/policy.schema.json", "usr/share/rotator/rotator.schema.json")
	runs(t, m, "1.1.0")
	if got := key(t, m); got != first {
		t.Errorf("after the upgrade the journal knows the key %s, not %s", got, first)
	}
	m.Run(t, "rotator", "rotate", "chat", "--wait", "retired")
	second := key(t, m)
	if second == first {
		t.Error("the new version did not rotate")
	}
	exist(t, m, true, "usr/share/doc/rotator/README.md", "usr/share/doc/rotator/docs/systemd.md", "usr/share/doc/rotator/examples/chat-prod.yaml")
	put(older)
	runs(t, m, "1.0.0")
	if got := key(t, m); got != second {
		t.Errorf("after the downgrade the journal knows the key %s, not %s", got, second)
	}
	if now, err := os.ReadFile(config); err != nil || string(now) != string(example)+changed {
		t.Errorf("the configuration was changed: %v", err)
	}
}

// key is the id of the policy's key once nothing is left to do for it.
func key(t *testing.T, m *machine.Machine) string {
	t.Helper()
	m.Until(t, soon, `"key_id": "`, "rotator", "status", "-o", "json") // a policy that has not begun yet is idle too
	out := m.Until(t, soon, `"state": "idle"`, "rotator", "status", "-o", "json")
	var rows []struct {
		KeyID string `json:"key_id"`
	}
	if err := json.Unmarshal([]byte(out), &rows); err != nil || len(rows) != 1 || rows[0].KeyID == "" {
		t.Fatalf("%v\n%s", err, out)
	}
	return rows[0].KeyID
}

// runs: the service was restarted with this version.
func runs(t *testing.T, m *machine.Machine, version string) {
	t.Helper()
	if said := m.Run(t, "rotator", "version"); !strings.HasPrefix(said, "rotator "+version+" (commit ") {
		t.Errorf("installed is %s", said)
	}
	m.Until(t, soon, "rotating version="+version, "journalctl", "--no-pager", "-u", "rotator", "-n", "20")
	service(t, m, "active", "enabled")
}

func service(t *testing.T, m *machine.Machine, active, enabled string) {
	t.Helper()
	if said := m.Run(t, "systemctl", "show", "--value", "-p", "ActiveState", "-p", "UnitFileState", "rotator"); said != active+"\n"+enabled+"\n" {
		t.Errorf("the service is %q, want %s and %s", said, active, enabled)
	}
}

// removed: the program is gone, and what it keeps is there.
func removed(t *testing.T, m *machine.Machine) {
	t.Helper()
	exist(t, m, true, "etc/rotator/policies/chat.yaml", "etc/rotator/credentials/management-key", "var/lib/rotator/rotator.db", "var/lib/rotator/secrets/chat")
	exist(t, m, false, "usr/bin/rotator", "usr/share/rotator", "usr/share/doc/rotator", "usr/share/licenses/rotator", "usr/lib/systemd/system/rotator.service", "etc/systemd/system/multi-user.target.wants/rotator.service")
	if said, _ := m.Try("systemctl", "is-active", "rotator"); said != "inactive\n" { // which is an error too
		t.Errorf("the service is %q", said)
	}
}

func healthy(t *testing.T, m *machine.Machine) {
	t.Helper()
	if said, _ := m.Try("systemctl", "is-system-running"); strings.TrimSpace(said) != "running" { // it fails when degraded
		t.Errorf("in the end the machine is %s", said)
	}
}

// emulated runs the program of a package for another machine.
func emulated(t *testing.T, deb string) {
	emulator, err := debian.Program(t.Context(), "qemu-user-static", "usr/bin/qemu-aarch64-static")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if said, err := exec.Command("dpkg-deb", "--extract", deb, dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	said, err := exec.Command(emulator, filepath.Join(dir, "usr/bin/rotator"), "version").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(said), "rotator 1.1.0 (") || !strings.Contains(string(said), " linux/arm64)") {
		t.Errorf("%v\n%s", err, said)
	}
}

// packed: helm takes the chart, which takes the image of its own version.
func packed(t *testing.T, chart string) {
	helm, err := kubetest.Helm.Build(t.Context(), func(what string) { t.Log(what) })
	if err != nil {
		t.Fatal(err)
	}
	values := "../helm/testdata/sqlite.yaml"
	if said, err := exec.Command(helm, "lint", "--strict", chart, "-f", values).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, said)
	}
	said, err := exec.Command(helm, "template", "r", chart, "-f", values).CombinedOutput()
	if err != nil || strings.Count(string(said), "image: registry.example/rotator:1.1.0\n") != 2 || !strings.Contains(string(said), "helm.sh/chart: rotator-1.1.0\n") {
		t.Errorf("%v\n%s", err, said)
	}
}

// copied puts a file into the machine, and returns its path there.
func copied(t *testing.T, m *machine.Machine, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m.Write(t, "root/"+filepath.Base(path), string(b), 0o644)
	return "/root/" + filepath.Base(path)
}

func exist(t *testing.T, m *machine.Machine, want bool, paths ...string) {
	t.Helper()
	for _, path := range paths {
		if _, err := os.Lstat(filepath.Join(m.Root, path)); (err == nil) != want {
			t.Errorf("%s: there is %v, want %v (%v)", path, err == nil, want, err)
		}
	}
}
