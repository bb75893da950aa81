package secret_test

import (
	"strings"
	"testing"

	"rotator/internal/secret"
)

// Forms of a credential, and what is wrong with it; "" where it is taken.
var forms = map[string]struct{ text, wrong string }{
	"plain":                          {"s3cret", ""},
	"newline":                        {"s3cret\n", ""},
	"two newlines":                   {"s3cret\n\n", ""},
	"CRLF":                           {"s3cret\r\n", ""},
	"two CRLF":                       {"s3cret\r\n\r\n", ""},
	"leading space":                  {" s3cret", ""},
	"trailing space":                 {"s3cret ", ""},
	"leading newline and tab":        {"\n\ts3cret\t\n", ""},
	"no-break space":                 {"\u00a0s3cret\u00a0", ""},
	"byte-order mark":                {"\ufeffs3cret\n", ""},
	"byte-order mark and space":      {" \ufeff s3cret\r\n", ""},
	"inner newline":                  {"s3c\nret", "line break at byte 4"},
	"inner CRLF":                     {"s3c\r\nret\r\n", "line break at byte 4"},
	"inner newline after a mark":     {"\ufeffs3c\nret", "line break at byte 7"},
	"inner carriage return":          {"s3c\rret", "line break at byte 4"},
	"NUL":                            {"s3c\x00ret", "NUL at byte 4"},
	"NUL at the end":                 {"s3cret\x00", "NUL at byte 7"},
	"UTF-16, little endian":          {"\xff\xfes\x003\x00", "UTF-16"},
	"UTF-16, big endian":             {"\xfe\xff\x00s\x003", "UTF-16"},
	"UTF-16 without a mark":          {"s\x003\x00c\x00", "NUL at byte 2"},
	"Latin-1":                        {"s3cr\xe9t", "byte 5 is not UTF-8"},
	"zero-width space":               {"s3c\u200bret", "U+200B at byte 4"},
	"byte-order mark inside":         {"s3c\ufeffret", "U+FEFF at byte 4"},
	"byte-order mark at the end":     {"s3cret\ufeff", "U+FEFF at byte 7"},
	"no-break space inside":          {"s3c\u00a0ret", "U+00A0 at byte 4"},
	"escape sequence":                {"\x1b[0ms3cret", "U+001B at byte 1"},
	"inner tab":                      {"s3c\tret", "U+0009 at byte 4"},
	"nothing":                        {"", "it is empty"},
	"a newline":                      {"\n", "nothing but white space"},
	"only white space":               {" \t\r\n ", "nothing but white space"},
	"only a mark":                    {"\ufeff\n", "nothing but white space"},
	"replacement character, a space": {"s3 \ufffd\u00e9ret", ""},
}

// TestForms: what editors and shells add around a credential is taken off, and anything else that cannot be seen is
// refused by what it is and where, without the content.
func TestForms(t *testing.T) {
	t.Parallel()
	for name, f := range forms {
		got, err := secret.FromLine(f.text)
		switch {
		case f.wrong == "":
			want := strings.Trim(f.text, " \t\r\n\u00a0\ufeff")
			if err != nil || got.Reveal() != want {
				t.Errorf("%s: %d bytes, %v", name, len(got.Reveal()), err)
			}
		case err == nil || !strings.Contains(err.Error(), f.wrong) || !got.Empty():
			t.Errorf("%s: %v, want %q", name, err, f.wrong)
		case strings.Contains(err.Error(), "s3c"), strings.Contains(err.Error(), "ret"):
			t.Errorf("%s: %q quotes the content", name, err)
		}
	}
	lines := "\ufeff# created: today\r\nAGE-SECRET-KEY-1\r\n\r\n"
	if got, err := secret.FromLines(lines); err != nil || got.Reveal() != "# created: today\r\nAGE-SECRET-KEY-1" {
		t.Errorf("several lines: %v", err)
	}
	if _, err := secret.FromLines("a\nb\x00"); err == nil || !strings.Contains(err.Error(), "NUL at byte 4") {
		t.Errorf("several lines with a NUL: %v", err)
	}
}
