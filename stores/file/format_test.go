package file

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/joho/godotenv"

	"rotator/stores"
	"rotator/stores/storetest"
)

const dotenvField = "XAI_API_KEY"

// TestDotenvStore: a target in a .env file keeps the whole contract. A member of the suite's JSON objects is a line: the key
// as it is, the others under names and in quotes that such a file takes.
func TestDotenvStore(t *testing.T) {
	t.Parallel()
	h := harness(t, nil)
	structured, seed, read := h.Structured, h.Seed, h.Read
	h.Structured = func(t *testing.T) stores.Target {
		target := structured(t)
		target.Field, target.Options = dotenvField, map[string]string{"format": formatDotenv}
		return target
	}
	h.Seed = func(t *testing.T, target stores.Target, doc string) {
		var members map[string]json.RawMessage
		if target.Field == "" || json.Unmarshal([]byte(doc), &members) != nil {
			seed(t, target, doc)
			return
		}
		var text strings.Builder
		for name, value := range members {
			var plain string
			switch {
			case strings.HasPrefix(name, dotenvField) && json.Unmarshal(value, &plain) == nil:
				fmt.Fprintf(&text, "%s=%s\n", name, plain)
			case strings.HasPrefix(name, dotenvField): // what is no text in JSON is no plain value here
				fmt.Fprintf(&text, "%s=${OTHER}\n", name)
			default:
				fmt.Fprintf(&text, "M%x='%x' # a member\n", name, value)
			}
		}
		seed(t, target, text.String())
	}
	h.Read = func(t *testing.T, target stores.Target) (string, bool) {
		doc, found := read(t, target)
		lines, err := godotenv.Unmarshal(doc)
		if !found || target.Field == "" || err != nil {
			return doc, found
		}
		members := map[string]json.RawMessage{}
		for name, value := range lines {
			if !strings.HasPrefix(name, "M") {
				members[name], _ = json.Marshal(value)
				continue
			}
			key, _ := hex.DecodeString(name[1:])
			members[string(key)], _ = hex.DecodeString(value)
		}
		all, err := json.Marshal(members)
		if err != nil {
			t.Fatal(err)
		}
		return string(all), true
	}
	h.PlainOnly = true
	storetest.Run(t, h)
}

// TestFormatOfALeftTarget: what a policy left is read by its name alone, whatever the format was. It is not written so.
func TestFormatOfALeftTarget(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, held := open(t, dir, nil), key()
	write(t, dir, "app.env", "# the app\nA=1\n"+dotenvField+"="+held.Reveal()+"\n")
	left := stores.Target{Path: "app.env", Field: dotenvField}
	if v, err := s.Current(t.Context(), left); err != nil || !v.Equal(held) {
		t.Fatalf("it is not read: %v", err)
	}
	err := s.Promote(t.Context(), left, "a1", key(), held.Fingerprint())
	if !errors.Is(err, stores.ErrInvalid) || !strings.Contains(err.Error(), "needs format: dotenv") {
		t.Errorf("it is written: %v", err)
	}
	if err := s.Check(t.Context(), left); !errors.Is(err, stores.ErrInvalid) || !strings.Contains(err.Error(), "needs format: dotenv") {
		t.Errorf("the check says %v", err)
	}
}

// TestDotenvRefused: options and files that cannot work say so in the check, before any rotation, and nothing is changed.
func TestDotenvRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir, nil)
	dotenv := map[string]string{"format": formatDotenv}
	for _, c := range []struct {
		target    stores.Target
		doc, want string
	}{
		{stores.Target{Options: dotenv}, "A=1\n", "needs a field"},
		{stores.Target{Field: "api-key", Options: dotenv}, "A=1\n", "needs a field"},
		{stores.Target{Field: dotenvField, Options: map[string]string{"format": "ini"}}, "A=1\n", "the only format"},
		{stores.Target{Field: dotenvField, Options: dotenv}, `{"XAI_API_KEY":"a"}`, "line 1 is neither"},
		{stores.Target{Field: dotenvField, Options: dotenv}, "A=1\nXAI_API_KEY=${OTHER}\n", "line 2"},
		{stores.Target{Field: dotenvField, Options: dotenv}, "A=\"open\n", "would not be read back"},
		{stores.Target{Field: dotenvField}, "A=1\n", "needs format: dotenv"},
	} {
		c.target.Path = "app.env"
		write(t, dir, c.target.Path, c.doc)
		err := s.Check(t.Context(), c.target)
		if !errors.Is(err, stores.ErrInvalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v over %q: %v, want %q", c.target, c.doc, err, c.want)
		}
		if err := s.Promote(t.Context(), c.target, "a1", key(), ""); !errors.Is(err, stores.ErrInvalid) {
			t.Errorf("%+v over %q: it is written: %v", c.target, c.doc, err)
		}
		if now, err := os.ReadFile(filepath.Join(dir, "app.env")); err != nil || string(now) != c.doc {
			t.Errorf("%q became %q, %v", c.doc, now, err)
		}
	}
}
