package secret

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// byteOrderMark is what some editors begin a file of UTF-8 with.
const byteOrderMark = "\uFEFF"

// FromLine makes a Text of a credential as files, variables and programs hold it: one line of UTF-8, without the byte-order mark
// before it and the white space around it. Anything else in it that is no printable character or space is refused: a
// credential with a line break in it would be refused far away, for a reason that no one sees. The error says which
// character is where, counted in bytes from 1, and never the content.
func FromLine(raw string) (Text, error) { return from(raw, false) }

// FromLines is [FromLine] for a credential of several lines, such as an age identity.
func FromLines(raw string) (Text, error) { return from(raw, true) }

func from(raw string, lines bool) (Text, error) {
	if strings.HasPrefix(raw, "\xff\xfe") || strings.HasPrefix(raw, "\xfe\xff") {
		return Text{}, errors.New("it is UTF-16 text, as its byte-order mark says; save it as UTF-8")
	}
	text := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(raw), byteOrderMark))
	switch {
	case raw == "":
		return Text{}, errors.New("it is empty")
	case text == "":
		return Text{}, errors.New("it holds nothing but white space")
	}
	first := strings.Index(raw, text)
	for i, r := range text {
		at := first + i + 1
		switch {
		case r == '\n' || r == '\r':
			if !lines {
				return Text{}, fmt.Errorf("it has a line break at byte %d; want a single line", at)
			}
		case r == '\t' && lines:
		case r == 0:
			return Text{}, fmt.Errorf("it has a NUL at byte %d, as UTF-16 text has; want UTF-8", at)
		case r == utf8.RuneError && isInvalid(text[i:]):
			return Text{}, fmt.Errorf("byte %d is not UTF-8; want text, such as base64 or hexadecimal", at)
		case r != ' ' && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Zs): // a no-break space looks like a space
			return Text{}, fmt.Errorf("it has the invisible character %U at byte %d", r, at)
		}
	}
	return New(text), nil
}

// isInvalid reports whether text begins with a byte that is no UTF-8, rather than with a replacement character.
func isInvalid(text string) bool {
	_, size := utf8.DecodeRuneInString(text)
	return size == 1
}
