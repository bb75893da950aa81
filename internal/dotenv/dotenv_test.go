package dotenv

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/joho/godotenv"
)

const (
	variable = "XAI_API_KEY"
	before   = "xai-OLD0123456789abcdefghij"
	after    = "xai-NEW0123456789abcdefghij"
)

// TestFiles: files as people write them, in testdata. What a Go library reads of the other variables is the same afterwards, the
// variable is the new one, and every other line is the same, byte for byte. How systemd reads the same files is tested with
// the unit, in deploy/systemd.
func TestFiles(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.env")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".env"), func(t *testing.T) {
			t.Parallel()
			doc, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			held, err := Get(doc, variable)
			if err != nil && !errors.Is(err, ErrNotFound) {
				t.Fatal(err)
			}
			want, err := godotenv.UnmarshalBytes(doc)
			if err != nil {
				t.Fatal(err)
			}
			if held != "" && want[variable] != held { // the library takes a comment behind nothing for a value
				t.Errorf("read %q, the library %q", held, want[variable])
			}
			next, err := Set(doc, variable, after)
			if err != nil {
				t.Fatal(err)
			}
			if v, err := Get(next, variable); v != after || err != nil {
				t.Errorf("read back %q, %v", v, err)
			}
			got, err := godotenv.UnmarshalBytes(next)
			want[variable] = after
			if err != nil || !maps.Equal(got, want) {
				t.Errorf("the library reads %q, %v; want %q of\n%s", got, err, want, next)
			}
			if kept, left := others(doc), others(next); !bytes.Equal(kept, left) {
				t.Errorf("the other lines were\n%q\nand are\n%q", kept, left)
			}
			if bytes.Contains(next, []byte(before)) {
				t.Errorf("the old value is left in\n%s", next)
			}
			if again, err := Set(next, variable, after); err != nil || !bytes.Equal(again, next) {
				t.Errorf("a second time it is\n%s\n%v", again, err)
			}
		})
	}
}

// others returns the lines without the variable's own, and without comments that moved to a line of their own.
func others(doc []byte) []byte {
	var out []byte
	for line := range bytes.Lines(doc) {
		if !bytes.Contains(line, []byte(variable)) && !bytes.Contains(line, []byte("moved:")) {
			out = append(out, bytes.TrimRight(line, "\r\n")...)
			out = append(out, '\n')
		}
	}
	return out
}

// TestSet: what the variable's line becomes.
func TestSet(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, doc, want string }{
		{"empty file", "", "K=new\n"},
		{"replaced", "A=1\nK=old\nB=2\n", "A=1\nK=new\nB=2\n"},
		{"missing", "A=1\n", "A=1\nK=new\n"},
		{"missing, no newline at the end", "A=1", "A=1\nK=new\n"},
		{"missing, CRLF", "A=1\r\nB=2", "A=1\r\nB=2\r\nK=new\r\n"},
		{"missing among exports", "export A=1\nexport B=2\n", "export A=1\nexport B=2\nexport K=new\n"},
		{"no newline at the end", "K=old", "K=new"},
		{"CRLF", "K=old\r\nA=1\r\n", "K=new\r\nA=1\r\n"},
		{"double quotes", `K="old"`, `K="new"`},
		{"single quotes", `K='old'`, `K='new'`},
		{"export", "  export   K=old\n", "  export   K=new\n"},
		{"empty", "K=\nA=1\n", "K=new\nA=1\n"},
		{"empty with blanks", "K=  \t\nA=1\n", "K=new\nA=1\n"},
		{"empty quotes", `K=""`, `K="new"`},
		{"spaces around =", "K = old\n", "K = new\n"},
		{"a comment behind it", "A=1\n  export K=old  # why \nB=2\n", "A=1\n  # why\n  export K=new\nB=2\n"},
		{"a comment behind quotes, CRLF", "K='old' # why\r\n", "# why\r\nK='new'\r\n"},
		{"a comment behind nothing", "K= # put it here\n", "# put it here\nK=new\n"},
		{"twice with one value", "K=old\nA=1\nexport K='old'\n", "K=new\nA=1\nexport K='new'\n"},
		{"within another's quotes", "P=\"a\nK=old\nb\"\nK=old\n", "P=\"a\nK=old\nb\"\nK=new\n"},
		{"in a comment", "#K=old\n; K=old\nK=old", "#K=old\n; K=old\nK=new"},
		{"a longer name", "MY_K=a\nK_2=b\nK=old", "MY_K=a\nK_2=b\nK=new"},
	} {
		got, err := Set([]byte(c.doc), "K", "new")
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %q, %v; want %q", c.name, got, err, c.want)
		}
	}
}

// TestSpecial: a value that readers would change is written in single quotes, and refused where that does not help.
func TestSpecial(t *testing.T) {
	t.Parallel()
	for _, value := range []string{"a b", "a#b", "a$b", `a"b`, "a;b", "~a"} {
		for _, doc := range []string{"", "K=old\n", "K=\"old\"\n", "K='old'\n"} {
			next, err := Set([]byte(doc), "K", value)
			if err != nil {
				t.Fatalf("%q: %v", value, err)
			}
			if got, err := godotenv.UnmarshalBytes(next); got["K"] != value || err != nil {
				t.Errorf("%q became %q, read as %q, %v", value, next, got["K"], err)
			}
		}
	}
	for _, value := range []string{"", "a'b", `a\b`, "a\nb", "a\x00b", "a`b", "ä"} {
		if _, err := Set(nil, "K", value); !errors.Is(err, ErrNotText) {
			t.Errorf("%q: %v", value, err)
		}
	}
	for _, name := range []string{"", "1K", "a-b", "a b", "ä", "a=b"} {
		if _, err := Set(nil, name, "v"); !errors.Is(err, ErrNotText) {
			t.Errorf("name %q: %v", name, err)
		}
	}
}

// TestRefused: where readers disagree, nothing is read and nothing is written, and the error says the line.
func TestRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, doc string
		want      error
		text      string
	}{
		{"JSON", `{"K":"old"}`, ErrNotFile, "line 1"},
		{"a bare key", "xai-old", ErrNotFile, "line 1"},
		{"YAML", "A=1\nK: old\n", ErrNotFile, "line 2"},
		{"a zero byte", "K=old\x00\n", ErrNotFile, "zero byte"},
		{"an old end of line", "A=1\rK=old\r", ErrAmbiguous, "carriage return"},
		{"a byte order mark", "\xef\xbb\xbfK=old\n", ErrAmbiguous, "byte order mark"},
		{"different values", "K=old\nA=1\nK=older\n", ErrAmbiguous, "lines 1 and 3"},
		{"a reference", "K=${OTHER}\n", ErrAmbiguous, "line 1"},
		{"a reference in quotes", `K="$OTHER"`, ErrAmbiguous, "line 1"},
		{"a command", "K=`pass show xai`\n", ErrAmbiguous, "line 1"},
		{"an escape", `K=a\b`, ErrAmbiguous, "line 1"},
		{"an open quote", "A=1\nK=\"old\n", ErrAmbiguous, "line 2"},
		{"text behind the quote", `K="old"er`, ErrAmbiguous, "line 1"},
		{"spaces within", "K=an old one\n", ErrAmbiguous, "line 1"},
		{"# directly behind =", "K=#old\n", ErrAmbiguous, "line 1"},
		{"# within", "K=ol#d\n", ErrAmbiguous, "line 1"},
		{"a line that systemd joins", "A=1\\\nK=old\n", ErrAmbiguous, "line 2"},
		{"a comment that older systemd joins", "# see C:\\\nK=old\n", ErrAmbiguous, "line 2"},
		{"several lines", "K=\"old\nA=1\"\n", ErrAmbiguous, "line 1"},
		{"a comment with a backslash", "K=old # a\\\nB=1\n", ErrAmbiguous, "line 1"},
	} {
		for what, err := range map[string]error{
			"Get": func() error { _, err := Get([]byte(c.doc), "K"); return err }(),
			"Set": func() error { _, err := Set([]byte(c.doc), "K", "new"); return err }(),
		} {
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) || strings.Contains(err.Error(), "old") {
				t.Errorf("%s, %s: %v", c.name, what, err)
			}
		}
	}
	// A file that ends within something that is still open takes no further line.
	for _, doc := range []string{"A=\"open\n", "A=1\\", "# a\\"} {
		if next, err := Set([]byte(doc), "K", "new"); !errors.Is(err, ErrAmbiguous) {
			t.Errorf("%q became %q, %v", doc, next, err)
		}
	}
}

// FuzzSet: whatever the file, either it is refused, or the value is read back and the other variables are the same to
// both readers.
func FuzzSet(f *testing.F) {
	for _, doc := range []string{"A=1\nK=old # c\nB='x\ny'\n", "export K=\"old\"\r\n", "A=\\\nK=1", "# c\\\nA=1\n", "K=a\nK=a", "A=\"b\" c\nK='d'"} {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		next, err := Set(doc, "K", "xai-new")
		if err != nil {
			return
		}
		if v, err := Get(next, "K"); v != "xai-new" || err != nil {
			t.Fatalf("%q became %q and is read as %q, %v", doc, next, v, err)
		}
		if was, is := names(scanSystemd(doc)), names(scanSystemd(next)); was != is {
			t.Errorf("systemd saw %q and sees %q in %q, once %q", was, is, next, doc)
		}
		if was, is := names(scanDotenv(doc).assignments), names(scanDotenv(next).assignments); was != is {
			t.Errorf("libraries saw %q and see %q in %q, once %q", was, is, next, doc)
		}
	})
}

// names lists the assignments but the variable's.
func names(all []assignment) string {
	var out []string
	for _, a := range all {
		if a.name != "K" {
			out = append(out, a.name+"="+a.value)
		}
	}
	return strings.Join(out, "\n")
}
