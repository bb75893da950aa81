// Package secret holds text that cannot be printed.
//
// A Text reaches the outside through one door, [Text.Reveal], which is easy to grep for. Every other way out that Go's
// standard library and this project's encoders know (fmt verbs, JSON, YAML, slog's handlers, encoding.TextMarshaler,
// gob, errors) prints [Redacted] or refuses. The value sits behind an unexported pointer because fmt cannot call
// methods through unexported struct fields: a string kind with a String method would leak as soon as a struct holds it.
package secret

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// Redacted is what every formatter prints in place of a secret.
const Redacted = "[secret]"

// ErrNotPrintable is returned by every encoder that asks a Text for its bytes.
var ErrNotPrintable = errors.New("a secret cannot be encoded")

// Text is a secret string. The zero Text is empty and usable; copies share the same immutable value.
type Text struct {
	p *string
}

// New makes a Text of s. The caller should drop its own copy of s.
func New(s string) Text {
	if s == "" {
		return Text{}
	}
	return Text{p: &s}
}

// Reveal returns the secret itself: the one door out. What it returns belongs in a request to xAI or to a store,
// and nowhere else.
func (t Text) Reveal() string {
	if t.p == nil {
		return ""
	}
	return *t.p
}

// Empty reports whether there is no secret.
func (t Text) Empty() bool { return t.p == nil }

// Trimmed is the secret without the white space around it, which editors and shells put into files.
func (t Text) Trimmed() Text { return New(strings.TrimSpace(t.Reveal())) }

// Equal compares two secrets in time that depends on their lengths only.
func (t Text) Equal(u Text) bool {
	return subtle.ConstantTimeCompare([]byte(t.Reveal()), []byte(u.Reveal())) == 1
}

// Format implements fmt.Formatter for every verb and flag.
func (t Text) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, Redacted) }

// String implements fmt.Stringer.
func (t Text) String() string { return Redacted }

// GoString implements fmt.GoStringer.
func (t Text) GoString() string { return Redacted }

// LogValue implements slog.LogValuer.
func (t Text) LogValue() slog.Value { return slog.StringValue(Redacted) }

// MarshalText refuses, and with it JSON, XML and every encoder that asks for text.
func (t Text) MarshalText() ([]byte, error) { return nil, ErrNotPrintable }

// MarshalJSON refuses.
func (t Text) MarshalJSON() ([]byte, error) { return nil, ErrNotPrintable }

// MarshalYAML refuses.
func (t Text) MarshalYAML() (any, error) { return nil, ErrNotPrintable }

// MarshalBinary refuses, and with it gob.
func (t Text) MarshalBinary() ([]byte, error) { return nil, ErrNotPrintable }

// UnmarshalJSON takes a JSON string: answers and files may be decoded straight into a Text.
func (t *Text) UnmarshalJSON(b []byte) error {
	var s *string
	if json.Unmarshal(b, &s) != nil {
		return errors.New("a secret must be a JSON string") // json's own error would quote the input
	}
	*t = Text{}
	if s != nil {
		*t = New(*s)
	}
	return nil
}

// Fingerprint identifies a secret without holding it. It is written to the journal and shown to people, so it must not
// help to guess the secret: a long text (an API key has 84 characters) is named by 64 bits of its SHA-256, a short one
// (a password that someone left in a target) by 16 bits only, enough to see a change and too few to test guesses.
type Fingerprint string

// longEnough is the length in bytes from which a text is taken as too random to guess.
const longEnough = 32

// Fingerprint returns the fingerprint of t; an empty Text has the empty Fingerprint.
func (t Text) Fingerprint() Fingerprint {
	if t.Empty() {
		return ""
	}
	s := t.Reveal()
	sum := sha256.Sum256([]byte(s))
	if len(s) < longEnough {
		return Fingerprint("short:" + hex.EncodeToString(sum[:2]))
	}
	return Fingerprint("sha256:" + hex.EncodeToString(sum[:8]))
}

// Is reports whether f is the fingerprint of t.
func (f Fingerprint) Is(t Text) bool { return f == t.Fingerprint() }
