//go:build deploy

package systemd

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"rotator/deploy/machine"
)

// The pace of the machine's simulated xAI: slow enough that a busy machine stops a rotation halfway, also one that is
// still meanwhile. What must come soon comes sooner than a busy machine needs.
const (
	propagation = "30s"
	soon        = 5 * time.Minute
)

const sandboxUnit = `[Service]
ExecStart=/usr/bin/rotator sandbox --team main --propagation ` + propagation + ` --key-file /etc/rotator/credentials/management-key
`

// loopback is appended to the example configuration: xAI is the sandbox, and limits may be short.
const loopback = `
xai: {management_url: "http://127.0.0.1:8421", inference_url: "http://127.0.0.1:8421"}
limits: {min_interval: 1s, quarantine: 1s, watch: 1s}
`

const policy = `name: NAME
team: main
schedule: "@every 720h"
key: {acls: ["api-key:model:grok-4", "api-key:endpoint:chat"]}
targets: [{store: local, path: NAME}]
retire: {overlap: 1s, soak: 1s}
`

// boot starts a machine in which the units are installed and the simulated xAI answers; the daemon is not started yet.
func boot(t *testing.T) *machine.Machine {
	t.Helper()
	m := machine.New(t)
	binary := filepath.Join(m.Root, "usr/bin/rotator")
	build := exec.Command("go", "build", "-trimpath", "-o", binary, "rotator/cmd/rotator")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, unit := range units {
		m.Write(t, "usr/lib/systemd/system/"+unit, read(t, unit), 0o644)
	}
	m.Write(t, "usr/lib/sysusers.d/rotator.conf", read(t, "rotator.sysusers"), 0o644)
	m.Write(t, "usr/lib/tmpfiles.d/rotator.conf", read(t, "rotator.tmpfiles"), 0o644)
	m.Write(t, "etc/systemd/system/sandbox.service", sandboxUnit, 0o644)
	m.Write(t, "etc/rotator/rotator.yaml", read(t, "rotator.yaml")+loopback, 0o644)
	writePolicy(t, m, "chat")
	m.Boot(t)
	m.Run(t, "systemctl", "start", "sandbox")
	m.Until(t, soon, "management-key", "ls", "/etc/rotator/credentials")
	return m
}

func writePolicy(t *testing.T, m *machine.Machine, name string) {
	t.Helper()
	m.Write(t, "etc/rotator/policies/"+name+".yaml", strings.ReplaceAll(policy, "NAME", name), 0o644)
}

// state waits until a policy is in a state, and returns the id of its key.
func state(t *testing.T, m *machine.Machine, policy, want string) string {
	t.Helper()
	m.Until(t, soon, `"key_id": "`, "rotator", "status", policy, "-o", "json") // a policy that has not begun yet is idle too
	out := m.Until(t, soon, `"state": "`+want+`"`, "rotator", "status", policy, "-o", "json")
	var rows []struct {
		KeyID string `json:"key_id"`
	}
	if err := json.Unmarshal([]byte(out), &rows); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return rows[0].KeyID
}

// property is one line of `systemctl show`.
func property(t *testing.T, m *machine.Machine, unit, name string) string {
	t.Helper()
	return strings.TrimSpace(m.Run(t, "systemctl", "show", "--value", "-p", name, unit))
}

// oneKey fails unless xAI holds exactly one key for each policy.
func oneKey(t *testing.T, m *machine.Machine, policies int) {
	t.Helper()
	out := m.Run(t, "rotator", "keys", "-o", "json")
	var rows []struct{ Kind, Name string }
	if err := json.Unmarshal([]byte(out), &rows); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if len(rows) != policies {
		t.Errorf("xAI holds %d keys for %d policies:\n%s", len(rows), policies, out)
	}
}

// beforeTheStart looks with the service's own logins, as docs/first-rotation.md does, and leaves nothing in its way. The
// machine has no message bus, which systemd-run needs for --pipe and --wait: a file takes what is said.
func beforeTheStart(t *testing.T, m *machine.Machine) {
	t.Helper()
	for command, want := range map[string]string{"plan": "chat ", "check": "ok       team main"} {
		said := "/run/" + command
		m.Run(t, "systemd-run", "--quiet", "--collect", "-p", "User=rotator", "-p", "LoadCredential=rotator:/etc/rotator/credentials",
			"-p", "StandardOutput=file:"+said, "rotator", command)
		m.Until(t, soon, want, "cat", said)
	}
}

// TestDaemonOnSystemd boots a machine and leads the service through its life.
func TestDaemonOnSystemd(t *testing.T) {
	t.Parallel()
	m := boot(t)
	beforeTheStart(t, m)
	m.Run(t, "systemctl", "start", "rotator") // returns when it is ready
	m.Until(t, soon, "1 policy: ", "systemctl", "show", "-p", "StatusText", "rotator")
	first := state(t, m, "chat", "idle")

	t.Run("EnvironmentFile", func(t *testing.T) { readsAsEnvironmentFile(t, m) })
	t.Run("who may do what", func(t *testing.T) {
		modes := m.Run(t, "stat", "-c", "%a %U:%G %n", "/run/rotator", "/run/rotator/rotator.sock", "/var/lib/rotator",
			"/var/lib/rotator/secrets/chat", "/etc/rotator/credentials")
		want := "750 rotator:rotator /run/rotator\n660 rotator:rotator /run/rotator/rotator.sock\n700 rotator:rotator /var/lib/rotator\n" +
			"600 rotator:rotator /var/lib/rotator/secrets/chat\n700 root:root /etc/rotator/credentials\n"
		if modes != want {
			t.Errorf("got:\n%swant:\n%s", modes, want)
		}
		m.Run(t, "setpriv", "--reuid=nobody", "--regid=nogroup", "--groups=rotator", "rotator", "hold", "chat", "--reason", "a member of the group")
		m.Run(t, "rotator", "release", "chat")
		if _, err := m.Try("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "rotator", "hold", "chat", "--reason", "nobody"); err == nil ||
			!strings.Contains(err.Error(), "not open to you") {
			t.Errorf("anyone may give orders: %v", err)
		}
	})
	t.Run("reload", func(t *testing.T) {
		writePolicy(t, m, "other")
		m.Run(t, "systemctl", "reload", "rotator")
		state(t, m, "other", "idle")
		m.Write(t, "etc/rotator/policies/bad.yaml", "name: bad\nschedule: never\n", 0o644)
		m.Until(t, soon, "StatusText=configuration refused, what it names stays as it was: /etc/rotator/policies/bad.yaml", // until the next report
			"sh", "-ec", "! systemctl reload rotator; sleep 1; systemctl show -p StatusText rotator")
		m.Until(t, soon, "bad.yaml", "journalctl", "--no-pager", "-p", "warning", "-u", "rotator")
		if err := os.Remove(filepath.Join(m.Root, "etc/rotator/policies/bad.yaml")); err != nil {
			t.Fatal(err)
		}
		m.Run(t, "systemctl", "reload", "rotator")
		if got := property(t, m, "rotator", "NRestarts"); got != "0" {
			t.Errorf("restarted %s times by now", got)
		}
	})
	t.Run("killed with a rotation in hand", func(t *testing.T) {
		m.Run(t, "rotator", "rotate", "chat", "--wait", "none")
		state(t, m, "chat", "staged")
		m.Run(t, "systemctl", "kill", "--kill-whom=main", "--signal=KILL", "rotator")
		m.Until(t, soon, "NRestarts=1\nActiveState=active", "systemctl", "show", "-p", "NRestarts", "-p", "ActiveState", "rotator")
		if second := state(t, m, "chat", "idle"); second == first {
			t.Error("the key is as it was")
		}
	})
	t.Run("stopped with a rotation in hand", func(t *testing.T) {
		before := state(t, m, "chat", "idle")
		m.Run(t, "rotator", "rotate", "chat", "--wait", "none")
		state(t, m, "chat", "staged")
		m.Run(t, "systemctl", "stop", "rotator")
		if got := property(t, m, "rotator", "Result") + property(t, m, "rotator", "ExecMainStatus"); got != "success0" {
			t.Errorf("stopped with %s", got)
		}
		state(t, m, "chat", "staged")
		m.Run(t, "systemctl", "start", "rotator")
		if after := state(t, m, "chat", "idle"); after == before {
			t.Error("the key is as it was")
		}
	})
	t.Run("frozen", func(t *testing.T) {
		m.Write(t, "etc/systemd/system/rotator.service.d/quick.conf", "[Service]\nWatchdogSec=30s\n", 0o644)
		m.Run(t, "systemctl", "daemon-reload")
		m.Run(t, "systemctl", "restart", "rotator")
		time.Sleep(31 * time.Second) // longer than the watchdog: it is fed
		restarts, err := strconv.Atoi(property(t, m, "rotator", "NRestarts"))
		if err != nil || restarts != 0 {
			t.Fatalf("restarted %d times while all is well: %v", restarts, err)
		}
		m.Run(t, "systemctl", "kill", "--kill-whom=main", "--signal=STOP", "rotator")
		m.Until(t, soon, "NRestarts=1\nActiveState=active", "systemctl", "show", "-p", "NRestarts", "-p", "ActiveState", "rotator")
		m.Until(t, soon, "Watchdog timeout", "journalctl", "--no-pager", "-u", "rotator")
		m.Run(t, "rotator", "rotate", "chat")
	})
	t.Run("failing at each start", func(t *testing.T) {
		good, err := os.ReadFile(filepath.Join(m.Root, "etc/rotator/rotator.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		m.Write(t, "etc/rotator/rotator.yaml", "stat: nothing\n", 0o644)
		if _, err := m.Try("systemctl", "restart", "rotator"); err == nil {
			t.Error("it started without a configuration")
		}
		m.Until(t, soon, "StatusText=the last 5 starts failed, see the log; the next is in 32s", "systemctl", "show", "-p", "StatusText", "rotator")
		m.Write(t, "etc/rotator/rotator.yaml", string(good), 0o644)
		m.Run(t, "systemctl", "restart", "rotator") // at once
		state(t, m, "chat", "idle")
	})
	state(t, m, "chat", "idle")
	oneKey(t, m, 2)
	t.Run("restored", func(t *testing.T) { // from here on keys and targets are only compared for a while
		before := state(t, m, "chat", "idle")
		m.Run(t, "rotator", "state", "backup", "/root/rotator.db")
		m.Run(t, "systemctl", "stop", "rotator")
		m.Run(t, "sh", "-ec", "rm -f /var/lib/rotator/rotator.db*; install -o rotator -g rotator -m 0600 /root/rotator.db /var/lib/rotator/rotator.db")
		m.Run(t, "systemctl", "start", "rotator")
		m.Until(t, soon, "restored from a backup", "journalctl", "--no-pager", "-u", "rotator", "-n", "20")
		m.Until(t, soon, `"key_id": "`+before+`"`, "rotator", "status", "chat", "-o", "json")
	})
	noSecrets(t, m)
}

// TestOnceOnSystemd boots a machine without the daemon, whose management key is encrypted.
func TestOnceOnSystemd(t *testing.T) {
	t.Parallel()
	m := boot(t)
	m.Run(t, "systemd-creds", "encrypt", "--name=sealed_management-key", "/etc/rotator/credentials/management-key", "/etc/rotator/credentials.encrypted/management-key")
	m.Run(t, "rm", "/etc/rotator/credentials/management-key")
	m.Write(t, "etc/rotator/rotator.yaml", strings.ReplaceAll(read(t, "rotator.yaml"), "credential:rotator_", "credential:sealed_")+loopback, 0o644)
	m.Run(t, "systemctl", "start", "rotator-once.service") // returns when the run ended well
	if _, err := os.Stat(filepath.Join(m.Root, "var/lib/rotator/secrets/chat")); err != nil {
		t.Error(err)
	}

	// By the timer, at a pace that a test can wait for: what became due is done.
	writePolicy(t, m, "other")
	m.Write(t, "etc/systemd/system/rotator-once.timer.d/quick.conf", "[Timer]\nOnCalendar=\nOnCalendar=*:*:0/2\nRandomizedDelaySec=0\nAccuracySec=100ms\n", 0o644)
	m.Run(t, "systemctl", "enable", "--now", "rotator-once.timer")
	m.Until(t, soon, "rotator-once.timer", "systemctl", "list-timers", "--no-pager")
	m.Until(t, soon, "/other", "sh", "-c", "ls /var/lib/rotator/secrets/other; true")
	m.Run(t, "systemctl", "disable", "--now", "rotator-once.timer")
	m.Until(t, soon, "inactive", "sh", "-c", "systemctl is-active rotator-once.service; true")
	if got := property(t, m, "rotator-once", "Result"); got != "success" {
		t.Errorf("the timer's run ended with %s", got)
	}

	// Beside a daemon it does nothing, and is no failure.
	m.Run(t, "systemctl", "start", "rotator")
	m.Run(t, "systemctl", "start", "rotator-once.service")
	if got := property(t, m, "rotator-once", "ConditionResult"); got != "no" {
		t.Errorf("ran beside the daemon: ConditionResult=%s", got)
	}
	noSecrets(t, m)
}

// TestFolderOfConsumers: with the change that docs/systemd.md names, the service writes where a group of consumers reads.
func TestFolderOfConsumers(t *testing.T) {
	t.Parallel()
	m := boot(t)
	_, change, ok := strings.Cut(read(t, "../../docs/systemd.md"), "```ini\n")
	change, _, _ = strings.Cut(change, "```")
	if !ok || !strings.Contains(change, "ReadWritePaths=/srv/keys") {
		t.Fatalf("docs/systemd.md names no such change: %s", change)
	}
	m.Run(t, "groupadd", "app")
	m.Run(t, "install", "-d", "-o", "rotator", "-g", "app", "-m", "0750", "/srv/keys")
	m.Write(t, "etc/systemd/system/rotator.service.d/override.conf", change, 0o644)
	m.Write(t, "etc/rotator/rotator.yaml", strings.ReplaceAll(read(t, "rotator.yaml"), "/var/lib/rotator/secrets", "/srv/keys")+loopback, 0o644)
	m.Write(t, "etc/rotator/policies/chat.yaml", strings.NewReplacer("path: NAME", `path: chat, group: app, mode: "0640"`, "NAME", "chat").Replace(policy), 0o644)
	m.Run(t, "systemctl", "daemon-reload")
	m.Run(t, "systemctl", "start", "rotator")
	state(t, m, "chat", "idle")
	if got := m.Run(t, "stat", "-c", "%a %U:%G", "/srv/keys/chat"); got != "640 rotator:app\n" {
		t.Errorf("the key's file is %s", got)
	}
	m.Run(t, "setpriv", "--reuid=nobody", "--regid=nogroup", "--groups=app", "cat", "/srv/keys/chat")
}

// noSecrets fails when a key is anywhere that others read: the journal of the machine, or what systemd shows.
func noSecrets(t *testing.T, m *machine.Machine) {
	t.Helper()
	said := m.Run(t, "journalctl", "--no-pager", "-o", "export") + m.Run(t, "systemctl", "show", "rotator", "rotator-once")
	key, err := os.ReadFile(filepath.Join(m.Root, "var/lib/rotator/secrets/chat"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(said, string(key)) {
		t.Error("the key is in the machine's log")
	}
}
