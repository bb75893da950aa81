package secret_test

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"text/template"

	"github.com/lmittmann/tint"
	"go.yaml.in/yaml/v4"

	"rotator/internal/secret"
)

const value = "xai-s3cretS3cretS3cretS3cretS3cretS3cretS3cretS3cretS3cretS3cret0123456789abcdefWXYZ"

type holder struct {
	Name     string
	Exported secret.Text
	hidden   secret.Text
	Pointer  *secret.Text
	Map      map[string]secret.Text
	Slice    []secret.Text
	Any      any
	nested   struct{ deep *secret.Text }
}

func hold(t secret.Text) holder {
	h := holder{Name: "n", Exported: t, hidden: t, Pointer: &t, Map: map[string]secret.Text{"k": t}, Slice: []secret.Text{t}, Any: t}
	h.nested.deep = &t
	return h
}

// TestNoWayOut tries every way in which Go programs print, encode and log values.
func TestNoWayOut(t *testing.T) {
	t.Parallel()
	text := secret.New(value)
	things := map[string]any{
		"text": text, "pointer": &text, "struct": hold(text), "struct pointer": ptr(hold(text)),
		"map": map[string]any{"k": text}, "map key": map[secret.Text]int{text: 1}, "slice": []any{text, &text},
		"array": [1]secret.Text{text}, "error": fmt.Errorf("wrapped: %v", text), "joined": errors.Join(fmt.Errorf("%s", text)),
		"channel of it":         func() any { c := make(chan secret.Text, 1); c <- text; return c }(),
		"interface in a struct": struct{ V fmt.Stringer }{text},
	}
	ways := map[string]func(any) string{
		"json":         func(v any) string { b, _ := json.Marshal(v); return string(b) },
		"json indent":  func(v any) string { b, _ := json.MarshalIndent(v, "", " "); return string(b) },
		"json encoder": func(v any) string { var b bytes.Buffer; _ = json.NewEncoder(&b).Encode(v); return b.String() },
		"json error":   func(v any) string { _, err := json.Marshal(v); return fmt.Sprint(err) },
		"yaml": func(v any) (s string) {
			defer func() { s += fmt.Sprint(recover()) }()
			b, err := yaml.Marshal(v)
			return string(b) + fmt.Sprint(err)
		},
		"xml": func(v any) string { b, err := xml.Marshal(v); return string(b) + fmt.Sprint(err) },
		"gob": func(v any) string {
			var b bytes.Buffer
			err := gob.NewEncoder(&b).Encode(v)
			return b.String() + fmt.Sprint(err)
		},
		"template": func(v any) string {
			var b bytes.Buffer
			_ = template.Must(template.New("").Parse("{{.}} {{printf `%s` .}}")).Execute(&b, v)
			return b.String()
		},
		"log": func(v any) string { var b bytes.Buffer; log.New(&b, "", 0).Println(v); return b.String() },
		"slog text": func(v any) string {
			return logged(v, func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) })
		},
		"slog json": func(v any) string {
			return logged(v, func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) })
		},
		"tint": func(v any) string {
			return logged(v, func(b *bytes.Buffer) slog.Handler { return tint.NewTextHandler(b, nil) })
		},
		"tint, no color": func(v any) string {
			return logged(v, func(b *bytes.Buffer) slog.Handler { return tint.NewTextHandler(b, &tint.Options{NoColor: true}) })
		},
		"error of it": func(v any) string { return fmt.Errorf("read: %w", fmt.Errorf("%+v", v)).Error() },
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%#q", "%x", "%X", "% x", "%d", "%b", "%c", "%U", "%t", "%e", "%T", "%o", "%10.3s", "%-90v", "%!"} {
		ways["fmt "+verb] = func(v any) string { return fmt.Sprintf(verb, v) }
	}
	ways["fmt.Sprint"] = func(v any) string { return fmt.Sprint(v) }
	ways["fmt.Sprintln"] = func(v any) string { return fmt.Sprintln(v) }
	for way, out := range ways {
		for what, v := range things {
			if got := out(v); leaks(got) {
				t.Errorf("%s of %s leaks", way, what)
			}
		}
	}
	if !leaks("x "+value) || !leaks(hex.EncodeToString([]byte(value))) {
		t.Error("the test can't see a leak")
	}
}

func ptr[T any](v T) *T { return &v }

func logged(v any, h func(*bytes.Buffer) slog.Handler) string {
	var b bytes.Buffer
	l := slog.New(h(&b)).With("with", v).WithGroup("g")
	l.Info("message", "v", v, slog.Any("any", v), slog.Group("group", "in", v))
	return b.String()
}

// leaks looks for the secret whole, in halves, and in the encodings that things come out in.
func leaks(s string) bool {
	half := len(value) / 2
	for _, part := range []string{value, value[:half], value[half:], value[4:24]} {
		for _, form := range []string{
			part, hex.EncodeToString([]byte(part)), strings.ToUpper(hex.EncodeToString([]byte(part))),
			base64.StdEncoding.EncodeToString([]byte(part)), base64.URLEncoding.EncodeToString([]byte(part)), url.QueryEscape(part),
		} {
			if strings.Contains(s, form) {
				return true
			}
		}
	}
	return strings.Contains(strings.ReplaceAll(s, " ", ""), hex.EncodeToString([]byte(value[:20])))
}

func TestText(t *testing.T) {
	t.Parallel()
	a := secret.New(value)
	switch {
	case a.Reveal() != value, a.Empty():
		t.Error("Reveal does not give the secret back")
	case !a.Equal(secret.New(value)), a.Equal(secret.New(value + "x")), a.Equal(secret.Text{}):
		t.Error("Equal is wrong")
	case !(secret.Text{}).Empty(), !secret.New("").Empty(), (secret.Text{}).Reveal() != "":
		t.Error("the zero Text is not empty")
	}
	var in struct{ Key secret.Text }
	if err := json.Unmarshal([]byte(`{"key":"`+value+`"}`), &in); err != nil || !in.Key.Equal(a) {
		t.Error("a JSON string is not taken")
	}
	if err := json.Unmarshal([]byte(`{"key":["`+value+`"]}`), &in); err == nil || leaks(err.Error()) {
		t.Errorf("a JSON array: %v", err)
	}
}

func TestFingerprint(t *testing.T) {
	t.Parallel()
	long, short := secret.New(value), secret.New("hunter2")
	if f := long.Fingerprint(); !f.Is(long) || f.Is(secret.New(value+"x")) || len(f) != len("sha256:")+16 {
		t.Errorf("fingerprint of a long secret: %s", f)
	}
	// 16 bits: enough to see that a password changed, too few to test guesses of it.
	if f := short.Fingerprint(); !f.Is(short) || len(f) != len("short:")+4 {
		t.Errorf("fingerprint of a short secret: %s", f)
	}
	if (secret.Text{}).Fingerprint() != "" {
		t.Error("nothing has a fingerprint")
	}
}
