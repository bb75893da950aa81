package pages

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

const schema = `{"required": ["stores"], "properties": {
  "max_age": {"type": "string", "description": "MaxAge is the promise\nto the auditor: a|b."},
  "adopt": {"type": "boolean", "description": "Adopt makes the key a predecessor."},
  "stores": {"additionalProperties": {"oneOf": [
    {"properties": {"type": {"const": "file"}, "dir": {"type": "string", "description": "Dir: the folder."}}, "required": ["dir", "type"], "additionalProperties": false, "description": "File is a folder."},
    {"properties": {"type": {"const": "aws"}, "role": {"properties": {"arn": {"type": "string", "description": "of the role"}}}}, "description": "AWS is far away."}
  ]}},
  "targets": {"type": "array", "description": "Targets are places.", "items": {"properties": {"path": {"type": "string", "description": "Path of it."}}}}
}}`

func TestKeys(t *testing.T) {
	t.Parallel()
	got := Keys(t, []byte(schema))
	want := []Key{
		{"max_age", "The promise to the auditor: a|b."},
		{"adopt", "Adopt makes the key a predecessor."},
		{"stores", "Required."},
		{"stores.NAME.type: file", "A folder."},
		{"stores.NAME.dir", "Required. The folder."},
		{"stores.NAME.type: aws", "Far away."},
		{"stores.NAME.role.arn", "Of the role"},
		{"targets", "Places."},
		{"targets[].path", "Path of it."},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if got, want := Table(want[:1]), "| key | meaning |\n|---|---|\n| `max_age` | The promise to the auditor: a\\|b. |\n"; got != want {
		t.Errorf("got %q", got)
	}
}

// failing records failures instead of being one.
type failing struct {
	testing.TB
	failed bool
}

func (f *failing) Errorf(string, ...any) { f.failed = true }

func TestPart(t *testing.T) {
	t.Parallel()
	page := filepath.Join(t.TempDir(), "page.md")
	const before, after = "before\n\n<!-- Made by `make x`. -->\n\n", "<!-- To here. -->\n\nafter\n"
	if err := os.WriteFile(page, []byte(before+after), 0o600); err != nil {
		t.Fatal(err)
	}
	holds := func(text string) bool {
		f := &failing{TB: t}
		Part(f, page, "make x", text, false)
		return !f.failed
	}
	if holds("text\n") {
		t.Error("an empty part counts as up to date")
	}
	for _, text := range []string{"text\n", "another\n"} {
		Part(t, page, "make x", text, true)
		if b, err := os.ReadFile(page); err != nil || string(b) != before+text+"\n"+after {
			t.Errorf("%v: %q", err, b)
		}
		if !holds(text) || holds("other\n") {
			t.Error("what was written is not what counts")
		}
	}
}

// TestSaysNothing: a key that no one documents is a failure.
func TestSaysNothing(t *testing.T) {
	t.Parallel()
	f := &failing{TB: t}
	Keys(f, []byte(`{"properties": {"a": {"type": "string"}}}`))
	if !f.failed {
		t.Error("it passed")
	}
}
