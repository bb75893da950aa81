package policies

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFormat: what format goes with, and that one file has one format.
func TestFormat(t *testing.T) {
	t.Parallel()
	o := options
	o.Stores = map[string]string{"vault": "vault", "files": "file"}
	policy := func(name string, targets ...string) string {
		return "name: " + name + "\nteam: research\nschedule: \"0 3 * * 1\"\nkey: {acls: [\"api-key:model:*\", \"api-key:endpoint:*\"]}\n" +
			"verify: {method: whoami}\ntargets:\n  - " + strings.Join(targets, "\n  - ") + "\n"
	}
	for _, c := range []struct{ name, text, want string }{
		{"good", policy("a", "{store: files, path: app.env, field: XAI_API_KEY, format: dotenv}", "{store: files, path: app.env, field: OTHER, format: dotenv}"), ""},
		{"no field", policy("a", "{store: files, path: app.env, format: dotenv}"), "format is given, but field"},
		{"no name", policy("a", "{store: files, path: app.env, field: api-key, format: dotenv}"), "format is given, but field"},
		{"another format", policy("a", "{store: files, path: app.env, field: K, format: ini}"), "format \"ini\" is not valid"},
		{"another store", policy("a", "{store: vault, path: llm/a, field: K, format: dotenv}"), "a store of type vault has no files"},
		{"two formats", policy("a", "{store: files, path: app.env, field: K, format: dotenv}") + "---\n" + policy("b", "{store: files, path: app.env, field: L}"),
			"only one of them has format: dotenv"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "p.yaml"), []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		err := Load(dir, o).Err()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// TestFormatOfOne: an edit of one policy's format, which does not go with another policy of the same file, costs the edited one
// alone.
func TestFormatOfOne(t *testing.T) {
	t.Parallel()
	o, dir := options, t.TempDir()
	o.Stores = map[string]string{"files": "file"}
	write := func(name, field, format string) {
		text := "name: " + name + "\nteam: research\nschedule: \"0 3 * * 1\"\nkey: {acls: [\"api-key:model:*\", \"api-key:endpoint:*\"]}\n" +
			"verify: {method: whoami}\ntargets: [{store: files, path: app.env, field: " + field + format + "}]\n"
		if err := os.WriteFile(filepath.Join(dir, name+".yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, edited := range []string{"a", "b"} {
		write("a", "K", ", format: dotenv")
		write("b", "L", ", format: dotenv")
		o.Accepted = nil
		first := Load(dir, o)
		if err := first.Err(); err != nil {
			t.Fatal(err)
		}
		o.Accepted = map[string]Accepted{}
		for name, p := range first.Policies {
			o.Accepted[name] = Accepted{File: p.File, Canonical: string(p.Canonical())}
		}
		write(edited, map[string]string{"a": "K", "b": "L"}[edited], "")
		second := Load(dir, o)
		if len(second.Refused) != 1 || second.Refused[edited] == "" || len(second.Policies) != 2 || second.Policies[edited].Targets[0].Format != "dotenv" {
			t.Errorf("%s is edited: refused are %v", edited, second.Refused)
		}
	}
}
