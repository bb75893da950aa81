// Package pages holds what people read to what it is made from: the tables in docs/ to the code and the schemas that they
// are of. Tests use it; the program does not.
package pages

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/invopop/jsonschema"
)

// Part holds one part of a page, between the lines that name its maker, to text: with update it is rewritten, otherwise
// another text there fails the test. The maker is what a person runs to have it written.
func Part(t testing.TB, page, maker, text string, update bool) {
	t.Helper()
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "\n<!-- Made by `"+maker+"`. -->\n\n", "<!-- To here. -->\n"
	head, rest, ok := strings.Cut(string(b), begin)
	_, tail, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s does not say where goes what `%s` makes", page, maker)
	}
	want := []byte(head + begin + text + "\n" + end + tail)
	if bytes.Equal(b, want) {
		return
	}
	if !update {
		t.Errorf("%s is not up to date: run `%s`", page, maker)
	} else if err := os.WriteFile(page, want, 0o644); err != nil {
		t.Fatal(err)
	}
}

// Key is a key of a configuration file, as the file's JSON Schema documents it.
type Key struct {
	Path  string // from the top, such as retire.overlap; NAME is one that people choose, [] each of a list
	About string // in Markdown, one line
}

// Keys lists the keys of a schema, in its order. Where a mapping has one of several forms, which its type says, each form
// begins with a key of its own: stores.NAME.type: vault. A key of which the schema says nothing fails the test, unless it
// only holds others.
func Keys(t testing.TB, schema []byte) []Key {
	t.Helper()
	var s jsonschema.Schema
	if err := json.Unmarshal(schema, &s); err != nil {
		t.Fatal(err)
	}
	all := below("", &s)
	for _, k := range all {
		if k.About == "" {
			t.Errorf("the schema says nothing of %s", k.Path)
		}
	}
	return all
}

// below lists the keys below a path.
func below(path string, s *jsonschema.Schema) []Key {
	if s == nil {
		return nil
	}
	all := slices.Concat(below(path+"[]", s.Items), below(path+".NAME", s.AdditionalProperties))
	for _, form := range s.OneOf {
		kind, _ := form.Properties.Delete("type")
		all = append(all, Key{fmt.Sprintf("%s.type: %s", path, kind.Const), about(fmt.Sprint(kind.Const), form.Description)})
		all = append(all, below(path, form)...)
	}
	for _, form := range s.AnyOf {
		all = append(all, below(path+"[]", form.Items)...) // a list in place of one
	}
	for p := s.Properties.Oldest(); p != nil; p = p.Next() {
		k := Key{strings.TrimPrefix(path+"."+p.Key, "."), about(p.Key, p.Value.Description)}
		if slices.Contains(s.Required, p.Key) {
			k.About = strings.TrimSpace("Required. " + k.About)
		}
		under := below(k.Path, p.Value)
		if k.About != "" || len(under) == 0 {
			all = append(all, k)
		}
		all = append(all, under...)
	}
	return all
}

// about is a description in one line, without the name that Go has for the key: "Overlap is how long …" is "How long …".
func about(key, description string) string {
	text := strings.Join(strings.Fields(description), " ")
	name, rest, _ := strings.Cut(text, " ")
	verb, fact, ok := strings.Cut(rest, " ")
	switch {
	case !strings.EqualFold(strings.TrimSuffix(name, ":"), strings.ReplaceAll(key, "_", "")):
	case strings.HasSuffix(name, ":"):
		text = rest
	case ok && (verb == "is" || verb == "are" || verb == "says"):
		text = fact
	}
	if text == "" {
		return ""
	}
	first, size := utf8.DecodeRuneInString(text)
	return string(unicode.ToUpper(first)) + text[size:]
}

// Table is keys as a table of Markdown.
func Table(keys []Key) string {
	var b strings.Builder
	b.WriteString("| key | meaning |\n|---|---|\n")
	for _, k := range keys {
		fmt.Fprintf(&b, "| `%s` | %s |\n", k.Path, strings.ReplaceAll(k.About, "|", `\|`))
	}
	return b.String()
}
