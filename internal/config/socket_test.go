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
		"teams: {":                                       "/var/lib/rotator/rotator.db.sock",
		"state: sqlite:rotator.db\nx: [":                 filepath.Join(dir, "rotator.db.sock"),
		"state: \"sqlite:/a/b.db\" # here\n":             "/a/b.db.sock",
		"socket: '/run/r.sock'\nstate: sqlite:x\n\tx":    "/run/r.sock",
		"socket: run/r.sock   # ours\nnothing":           filepath.Join(dir, "run/r.sock"),
		"state: postgres://u@h/d\n":                      "",
		"state: sqlite::memory:\n":                       "",
		"state: postgres://u@h/d\nsocket: /run/r.sock":   "/run/r.sock",
		"state: sqlite:rotator.db\r\nx: [\r\n":           filepath.Join(dir, "rotator.db.sock"),
		"socket: \"/run/r.sock\"\r\nstate: sqlite:x\r\n": "/run/r.sock",
		"socket: '/run/r.sock' # ours\r\nx: [\r\n":       "/run/r.sock",
		"\ufeffsocket: /run/r.sock\nx: [":                "/run/r.sock",
		"\ufeffsocket: /run/r.sock\r\nx: [":              "/run/r.sock",
		"x: [\rsocket: /run/r.sock\r":                    "/run/r.sock",
		utf16le("socket: /run/r.sock\r\nx: ["):           "/run/r.sock",
		"stores:\n  socket: /run/no.sock\n":              "/var/lib/rotator/rotator.db.sock",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, ok := SocketOf(file, Env{}); got != want || ok != (want != "") {
			t.Errorf("%q: %q, %t, want %q", text, got, ok, want)
		}
		if c, err := Load(file, Env{}); err == nil && c.Socket != want {
			t.Errorf("%q: Load says %q", text, c.Socket)
		}
	}
	if _, ok := SocketOf(filepath.Join(dir, "none.yaml"), Env{}); ok {
		t.Error("a file that is not there names a socket")
	}
}

// utf16le is text as Windows calls it Unicode.
func utf16le(text string) string {
	out := "\xff\xfe"
	for _, b := range []byte(text) {
		out += string([]byte{b, 0})
	}
	return out
}
