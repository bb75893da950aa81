package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// output is standard output. It remembers that something could not be written there: an answer that is cut off was not
// given.
type output struct {
	io.Writer
	failed   error  // the first failure
	deserted func() // is called when nothing reads it any more
}

// Write implements io.Writer.
func (o *output) Write(b []byte) (int, error) {
	n, err := o.Writer.Write(b)
	if o.failed == nil && err != nil {
		o.failed = err
		if errors.Is(err, syscall.EPIPE) {
			o.deserted()
		}
	}
	return n, err
}

// outputFlag adds -o, which takes "text" and "json".
func outputFlag(c *cobra.Command, asJSON *bool) {
	outputFlags(c, formatFlag{{"text", nil}, {"json", asJSON}})
}

// outputFlags adds -o, which takes any of the formats.
func outputFlags(c *cobra.Command, f formatFlag) {
	c.Flags().VarP(f, "output", "o", "`FORMAT` of the answer: "+f.list())
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(f.names(), cobra.ShellCompDirectiveNoFileComp)) // fails only for an unknown flag
}

// formatFlag is the formats that a command can answer in, the first of which is the default. The one that is asked for is
// set, and no other.
type formatFlag []struct {
	name string
	set  *bool // nil for the default
}

var _ pflag.Value = (formatFlag)(nil)

func (f formatFlag) names() (names []string) {
	for _, format := range f {
		names = append(names, format.name)
	}
	return names
}

func (f formatFlag) list() string {
	names := f.names()
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

func (f formatFlag) String() string {
	for _, format := range f {
		if format.set != nil && *format.set {
			return format.name
		}
	}
	return "text"
}

func (f formatFlag) Set(s string) error {
	if !slices.Contains(f.names(), s) {
		return fmt.Errorf("want %s", f.list())
	}
	for _, format := range f {
		if format.set != nil {
			*format.set = format.name == s
		}
	}
	return nil
}

func (f formatFlag) Type() string { return "format" }

// table is columns of text, as wide as they need to be.
type table struct{ *tabwriter.Writer }

func (t *table) row(cells ...string) {
	for i, c := range cells {
		if cells[i] = oneLine(c); c == "" {
			cells[i] = "-"
		}
	}
	fmt.Fprintln(t, strings.TrimRight(strings.Join(cells, "\t"), "\t"))
}

// oneLine is text in which nothing steers a terminal or breaks a table: others may have named what is shown.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
			return ' '
		}
		return r
	}, text)
}

// print answers with rows: as one JSON array, or as the table that draw fills.
func (a *cli) print(asJSON bool, rows any, draw func(*table)) error {
	if asJSON {
		e := json.NewEncoder(a.stdout)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(rows)
	}
	t := &table{tabwriter.NewWriter(a.stdout, 0, 8, 2, ' ', 0)}
	draw(t)
	return t.Flush()
}

// or is the text, "" for none.
func or(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// joined puts sentences behind each other.
func joined(parts ...*string) string {
	var all []string
	for _, p := range parts {
		if p != nil {
			all = append(all, *p)
		}
	}
	return strings.Join(all, ". ")
}

// human is a duration as people say it: its two largest units, such as 3d4h or 5m10s.
func human(d time.Duration) string {
	if d < 0 {
		return "-" + human(-d)
	}
	d = d.Round(time.Second)
	units := []struct {
		name string
		size time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}}
	for i, u := range units {
		if d < u.size && u.size > time.Second {
			continue
		}
		text := fmt.Sprintf("%d%s", d/u.size, u.name)
		if i+1 < len(units) {
			if rest := d % u.size / units[i+1].size; rest > 0 {
				text += fmt.Sprintf("%d%s", rest, units[i+1].name)
			}
		}
		return text
	}
	return "0s"
}

// humanSeconds is human for what the API says in seconds.
func humanSeconds(n *int64) string {
	if n == nil {
		return ""
	}
	return human(time.Duration(*n) * time.Second)
}

// when is a time as a table shows it.
func when(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// in is a time with how far it is away.
func in(t *time.Time, now time.Time) string {
	if t == nil {
		return ""
	}
	d := t.Sub(now)
	if d < 0 {
		return "now"
	}
	return "in " + human(d)
}

// ago is how long a time is past.
func ago(t *time.Time, now time.Time) string {
	if t == nil {
		return ""
	}
	return human(max(0, now.Sub(*t))) + " ago"
}
