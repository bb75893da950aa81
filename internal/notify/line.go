package notify

import (
	"errors"
	"strings"
	"text/template"
	"time"

	"rotator/rotation/journal"
)

// Line is how a channel for people shows a message, by a template over a [Message]; nil: as below.
type Line struct{ t *template.Template }

// NewLine parses a template in the language of Go's text/template. Fields are those of [Message]; what is absent is empty.
func NewLine(s string) (*Line, error) {
	t, err := template.New("text").Option("missingkey=zero").Parse(s)
	if err != nil {
		return nil, err
	}
	l := &Line{t}
	_, err = l.execute(newMessage(journal.Event{Kind: journal.Promoted, Policy: "chat", Data: map[string]string{}}, Facts{}, "host"))
	return l, err
}

// shown is a message as templates see it.
type shown struct {
	ID                                                                  int64
	At                                                                  time.Time
	Kind, Severity, Summary                                             string
	Policy, Team, Owner, Health, HealthReason, Remedy, Rotation, Source string
	Labels, Data                                                        map[string]string
}

// of shows a message. A template that fails for this message does not keep it back: the standard line is sent, and says so.
func (l *Line) of(m Message) string {
	if l == nil {
		return standard(m)
	}
	line, err := l.execute(m)
	if err != nil {
		return standard(m) + " (the channel's text fails for this event)"
	}
	return line
}

func standard(m Message) string {
	about := []string{string(m.Severity)}
	if m.Policy != nil && m.Team != nil {
		about = append(about, "team "+*m.Team)
	}
	if m.Owner != nil {
		about = append(about, "owner "+*m.Owner)
	}
	line := "[" + strings.Join(about, ", ") + "] " + m.Summary + " (" + m.At.Format(time.RFC3339) + ", " + m.Source + ")"
	return strings.Join(strings.Fields(printable(line)), " ")
}

func (l *Line) execute(m Message) (string, error) {
	var b short
	err := l.t.Execute(&b, shown{
		ID: m.ID, At: m.At, Kind: m.Kind, Severity: string(m.Severity), Summary: m.Summary, Policy: or(m.Policy), Team: or(m.Team), Owner: or(m.Owner),
		Health: or(m.Health), HealthReason: or(m.HealthReason), Remedy: or(m.Remedy), Rotation: or(m.Rotation), Source: m.Source, Labels: m.Labels, Data: m.Data,
	})
	if errors.Is(err, errLong) {
		err = nil
	}
	return shorten(printable(b.String()), maxLine), err
}

// maxLine is how much a line shows at most, in characters.
const maxLine = 4 * maxSummary

// short stops a template that writes more than is shown.
type short struct{ strings.Builder }

var errLong = errors.New("the text is too long")

// Write implements io.Writer.
func (s *short) Write(b []byte) (int, error) {
	if s.Len()+len(b) > 64<<10 {
		return 0, errLong
	}
	return s.Builder.Write(b)
}

// lines are the messages as people read them.
func (l *Line) lines(all []Message) (out []string) {
	for _, m := range all {
		out = append(out, l.of(m))
	}
	return out
}
