//go:build deploy

package systemd

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rotator/deploy/machine"
	"rotator/internal/dotenv"
)

const reader = `[Service]
Type=oneshot
EnvironmentFile=/srv/env/%i
ExecStart=/usr/bin/env -0
StandardOutput=file:/srv/env/%i.read
`

// readsAsEnvironmentFile has systemd read the .env files of internal/dotenv before and after a new key is written. The other
// variables are the same; the key is the new one, and absent where systemd ignores the line for its `export`.
func readsAsEnvironmentFile(t *testing.T, m *machine.Machine) {
	const variable, value = "XAI_API_KEY", "xai-NEW0123456789abcdefghij"
	files, err := filepath.Glob("../../internal/dotenv/testdata/*.env")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	m.Write(t, "etc/systemd/system/reader@.service", reader, 0o644)
	start := []string{"systemctl", "start"}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".env")
		doc, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		next, err := dotenv.Set(doc, variable, value)
		if err != nil {
			t.Fatal(err)
		}
		m.Write(t, "srv/env/before_"+name, string(doc), 0o644)
		m.Write(t, "srv/env/after_"+name, string(next), 0o644)
		start = append(start, "reader@before_"+name, "reader@after_"+name)
	}
	m.Run(t, "systemctl", "daemon-reload")
	m.Run(t, start...)
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".env")
		was, is := environment(t, m, "before_"+name), environment(t, m, "after_"+name)
		want := value
		if strings.HasPrefix(name, "export") || name == "missing-export" {
			want = ""
		}
		if is[variable] != want {
			t.Errorf("%s: systemd reads %q, want %q", name, is[variable], want)
		}
		delete(was, variable)
		delete(is, variable)
		if !maps.Equal(was, is) {
			t.Errorf("%s: systemd read %q, and reads %q", name, was, is)
		}
	}
}

// environment is what a reader was started with, but what is its own alone.
func environment(t *testing.T, m *machine.Machine, name string) map[string]string {
	t.Helper()
	out, err := os.ReadFile(filepath.Join(m.Root, "srv/env", name+".read"))
	if err != nil {
		t.Fatal(err)
	}
	variables := map[string]string{}
	for _, v := range strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		key, value, _ := strings.Cut(v, "=")
		variables[key] = value
	}
	delete(variables, "INVOCATION_ID")
	delete(variables, "SYSTEMD_EXEC_PID")
	return variables
}
