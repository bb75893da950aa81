package audit

import (
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"rotator/rotation/journal"
)

// Filter says which events are read.
type Filter struct {
	Since, Until time.Time // zero: without a bound
	Policy       string    // "": of every policy and of none
	Actor        string    // part of what `by` says
	Kind         journal.Kind
}

// takes reports whether an event passes.
func (f Filter) takes(e *journal.Event) bool {
	return !e.At.Before(f.Since) && (f.Until.IsZero() || e.At.Before(f.Until)) && (f.Policy == "" || e.Policy == f.Policy) &&
		(f.Kind == "" || e.Kind == f.Kind) && (f.Actor == "" || strings.Contains(e.Data["by"], f.Actor))
}

// Events is where events are read.
type Events interface {
	Events(ctx context.Context, after int64, limit int) ([]journal.Event, error)
}

// Read hands all events that the filter takes to write, by id.
func Read(ctx context.Context, from Events, f Filter, write func(journal.Event) error) error {
	for after := int64(0); ; {
		page, err := from.Events(ctx, after, 0)
		if err != nil || len(page) == 0 {
			return err
		}
		for i := range page {
			after = page[i].ID
			if !f.takes(&page[i]) {
				continue
			}
			if err := write(page[i]); err != nil {
				return err
			}
		}
	}
}

// Line is an event as it leaves the journal.
type Line struct {
	ID       int64             `json:"id"` // grows; the same event always has the same id and link
	At       time.Time         `json:"at"`
	Kind     journal.Kind      `json:"kind"`
	Policy   string            `json:"policy,omitempty"`
	Rotation string            `json:"rotation,omitempty"`
	Data     map[string]string `json:"data,omitempty"`
	Link     string            `json:"link"`
}

func lineOf(e journal.Event) Line {
	return Line{ID: e.ID, At: e.At.UTC(), Kind: e.Kind, Policy: e.Policy, Rotation: e.Rotation, Data: e.Data, Link: e.Link}
}

// JSON is an event as one line of JSON, with its end.
func JSON(e journal.Event) ([]byte, error) {
	b, err := json.Marshal(lineOf(e))
	return append(b, '\n'), err
}

// Writer writes events in one format.
type Writer interface {
	Write(e journal.Event) error
	// Flush writes what is held back.
	Flush() error
}

// Formats are the names that NewWriter knows.
var Formats = []string{"jsonl", "csv", "syslog"}

// NewWriter makes a writer of a format. host names the sender in syslog.
func NewWriter(format string, to io.Writer, host string) (Writer, error) {
	switch format {
	case "jsonl":
		return writer(func(e journal.Event) ([]byte, error) { return JSON(e) }).to(to), nil
	case "syslog":
		return writer(func(e journal.Event) ([]byte, error) { return append(Syslog(e, host), '\n'), nil }).to(to), nil
	case "csv":
		w := csv.NewWriter(to)
		return &csvWriter{w}, w.Write([]string{"id", "at", "kind", "policy", "rotation", "by", "data", "link"})
	}
	return nil, fmt.Errorf("unknown format %q; want one of %s", format, strings.Join(Formats, ", "))
}

type writer func(journal.Event) ([]byte, error)

func (w writer) to(out io.Writer) Writer { return &lines{out, w} }

type lines struct {
	out  io.Writer
	form writer
}

func (l *lines) Write(e journal.Event) error {
	b, err := l.form(e)
	if err == nil {
		_, err = l.out.Write(b)
	}
	return err
}

func (l *lines) Flush() error { return nil }

type csvWriter struct{ *csv.Writer }

func (w *csvWriter) Write(e journal.Event) error {
	data, err := json.Marshal(e.Data)
	if err != nil {
		return err
	}
	return w.Writer.Write([]string{
		strconv.FormatInt(e.ID, 10), e.At.UTC().Format(time.RFC3339Nano), string(e.Kind), Cell(e.Policy), Cell(e.Rotation), Cell(e.Data["by"]), string(data), e.Link,
	})
}

func (w *csvWriter) Flush() error { w.Writer.Flush(); return w.Error() }

// Cell keeps a spreadsheet from taking a text for a formula.
func Cell(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}

// The facility and severities of RFC 5424: log audit; notice, and warning for what people are sent.
const (
	facility = 13
	notice   = 5
	warning  = 4
)

// Syslog is an event as a message of RFC 5424, without a frame. Its structured data has what the event says.
func Syslog(e journal.Event, host string) []byte {
	severity := notice
	if e.Kind.Urgent() {
		severity = warning
	}
	var b strings.Builder
	fmt.Fprintf(&b, "<%d>1 %s %s rotator - %s [event@32473", facility*8+severity, e.At.UTC().Format("2006-01-02T15:04:05.000000Z"),
		cmp.Or(printable(host, 255), "-"), cmp.Or(printable(string(e.Kind), 32), "-"))
	param := func(name, v string) {
		if v != "" {
			fmt.Fprintf(&b, ` %s="%s"`, cmp.Or(printable(name, 32), "x"), escaped.Replace(strings.ToValidUTF8(v, "\uFFFD")))
		}
	}
	param("id", strconv.FormatInt(e.ID, 10))
	param("policy", e.Policy)
	param("rotation", e.Rotation)
	param("link", e.Link)
	for _, name := range slices.Sorted(maps.Keys(e.Data)) {
		param("data."+name, e.Data[name])
	}
	b.WriteString("]")
	return []byte(b.String())
}

var escaped = strings.NewReplacer(`\`, `\\`, `"`, `\"`, `]`, `\]`, "\n", " ", "\r", " ")

// printable keeps of a name what RFC 5424 allows in one.
func printable(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' || r == '=' || r == ']' || r == '"' {
			return -1
		}
		return r
	}, s)
	return s[:min(len(s), most)]
}
