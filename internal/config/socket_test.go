package config

import (
	"os"
	"path/filepath"
	"testing"
)

// TestSocketOf: the commands reach a daemon also while its configuration is broken.
func TestSocketOf(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "rotator.yaml")
	for text, want := range map[string]string{
		"teams: {":                                     "/var/lib/rotator/rotator.db.sock",
		"state: sqlite:rotator.db\nx: [":               filepath.Join(dir, "rotator.db.sock"),
		"state: \"sqlite:/a/b.db\" # here\n":           "/a/b.db.sock",
		"socket: '/run/r.sock'\nstate: sqlite:x\n\tx":  "/run/r.sock",
		"socket: run/r.sock   # ours\nnothing":         filepath.Join(dir, "run/r.sock"),
		"state: postgres://u@h/d\n":                    "",
		"state: sqlite::memory:\n":                     "",
		"state: postgres://u@h/d\nsocket: /run/r.sock": "/run/r.sock",
		"stores:\n  socket: /run/no.sock\n":            "/var/lib/rotator/rotator.db.sock",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, ok := SocketOf(file); got != want || ok != (want != "") {
			t.Errorf("%q: %q, %t, want %q", text, got, ok, want)
		}
		if c, err := Load(file, Env{}); err == nil && c.Socket != want {
			t.Errorf("%q: Load says %q", text, c.Socket)
		}
	}
	if _, ok := SocketOf(filepath.Join(dir, "none.yaml")); ok {
		t.Error("a file that is not there names a socket")
	}
}
