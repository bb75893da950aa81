package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// program calls encoding/csv, and nothing of archive/tar.
const program = `package main

import (
	"encoding/csv"
	"os"
)

func main() { _, _ = csv.NewReader(os.Stdin).ReadAll() }
`

// TestVulnerabilities: what the program reaches stops a release, and so does a database that does not answer.
func TestVulnerabilities(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, filepath.Join(root, "go.mod"), "module example.com/program\n\ngo 1.26.0\n")
	write(t, filepath.Join(root, "cmd/rotator/main.go"), program)
	for _, c := range []struct{ name, database, want string }{
		{"a function that is called", database(t, "encoding/csv", "Reader.ReadAll"), "GO-2026-0001"},
		{"a function that is not called", database(t, "archive/tar", "Reader.Next"), ""},
		{"no database", "file://" + filepath.Join(root, "nowhere"), "VULNDB=none"},
		{"none asked for", "none", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := release{root: root, stage: t.TempDir(), vulndb: c.database}
			err := r.vulnerabilities(t.Context())
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// database is one of a single vulnerability, in Go's standard library: https://go.dev/doc/security/vuln/database.
func database(t *testing.T, pkg, symbol string) string {
	t.Helper()
	dir := t.TempDir()
	const entry = `{"schema_version":"1.3.1","id":"GO-2026-0001","modified":"2026-01-01T00:00:00Z","published":"2026-01-01T00:00:00Z","summary":"A test","details":"A test",` +
		`"affected":[{"package":{"name":"stdlib","ecosystem":"Go"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"}]}],` +
		`"ecosystem_specific":{"imports":[{"path":"PACKAGE","symbols":["SYMBOL"]}]}}],"database_specific":{"url":"https://pkg.go.dev/vuln/GO-2026-0001"}}`
	for name, text := range map[string]string{
		"index/db.json":        `{"modified":"2026-01-01T00:00:00Z"}`,
		"index/modules.json":   `[{"path":"stdlib","vulns":[{"id":"GO-2026-0001","modified":"2026-01-01T00:00:00Z"}]}]`,
		"index/vulns.json":     `[{"id":"GO-2026-0001","modified":"2026-01-01T00:00:00Z"}]`,
		"ID/GO-2026-0001.json": strings.NewReplacer("PACKAGE", pkg, "SYMBOL", symbol).Replace(entry),
	} {
		write(t, filepath.Join(dir, name), text)
	}
	return "file://" + dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
