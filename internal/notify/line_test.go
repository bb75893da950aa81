package notify

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"rotator/rotation/journal"
)

// TestATemplateThatFails for one message keeps back neither that message nor those that follow.
func TestATemplateThatFails(t *testing.T) {
	t.Parallel()
	line, err := NewLine(`{{with .Owner}}{{slice . 0 5}}{{end}}{{.Summary}}`)
	if err != nil {
		t.Fatal(err)
	}
	m := owned(1, "bob")
	got := line.lines([]Message{m, owned(2, "ann@example.com")})
	if !strings.HasSuffix(got[0], "(the channel's text fails for this event)") || !strings.Contains(got[0], m.Summary) || got[1] != "ann@e"+m.Summary {
		t.Errorf("lines %q", got)
	}
}

// TestATemplateThatWritesWithoutEnd is cut, and takes no memory.
func TestATemplateThatWritesWithoutEnd(t *testing.T) {
	t.Parallel()
	line, err := NewLine(`{{range 10000000000}}x{{end}}`)
	if err != nil {
		t.Fatal(err)
	}
	if got := line.of(owned(1, "bob")); len([]rune(got)) != maxLine {
		t.Errorf("%d characters", len([]rune(got)))
	}
	if _, err := NewLine(`{{define "x"}}{{template "x"}}{{end}}{{template "x"}}`); err == nil {
		t.Error("a template that names itself is taken")
	}
}

// TestTextOfOthersStaysText: what an event says can neither look like another message nor turn the direction of writing.
func TestTextOfOthersStaysText(t *testing.T) {
	t.Parallel()
	bad := "x\r\n\r\n[critical] pay\x1b[2K\x00\u202e\u2066me"
	m := event(journal.Failed, map[string]string{"error": bad})
	m.Owner = text("ann\u202e")
	free, err := NewLine("{{.Data.error}}")
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range []string{m.Summary, (*Line)(nil).of(m), strings.ReplaceAll(free.of(m), "\n", " ")} {
		if strings.ContainsAny(got, "\r\n\x1b\x00\u202e\u2066") || !strings.Contains(got, "[critical] pay[2Kme") {
			t.Errorf("%q", got)
		}
	}
}

// TestChatsTakeEveryMessage: 20 events with long texts, of characters that take much room in JSON, are within what Slack and Teams
// take, and nothing in them becomes a link.
func TestChatsTakeEveryMessage(t *testing.T) {
	t.Parallel()
	line, err := NewLine("{{.Data.error}}")
	if err != nil {
		t.Fatal(err)
	}
	var all []Message
	for range chatMost {
		all = append(all, event(journal.Failed, map[string]string{"error": `\[click](http://evil.example)<!channel>` + strings.Repeat("𝕏\\&", 5000)}))
	}
	var body []byte
	by := tripFunc(func(q *http.Request) (*http.Response, error) {
		body, _ = io.ReadAll(q.Body)
		return &http.Response{StatusCode: 200, Body: http.NoBody, Request: q}, nil
	})
	for most, s := range map[int]Sender{
		40_000: &Slack{URL: given(hookURL), Line: line, Transport: by},
		28_000: &Teams{URL: given(hookURL), Line: line, Transport: by},
	} {
		if err := s.Send(t.Context(), all); err != nil {
			t.Fatal(err)
		}
		if len(body) > most || !json.Valid(body) || strings.Count(string(body), "click") != chatMost || strings.Contains(string(body), "<!channel>") {
			t.Errorf("%T: %d bytes: %.300s", s, len(body), body)
		}
		if _, teams := s.(*Teams); teams && !strings.Contains(string(body), `"text":"\\\\\\[click\\](http`) {
			t.Errorf("a link: %.300s", body)
		}
	}
}

type tripFunc func(*http.Request) (*http.Response, error)

func (f tripFunc) RoundTrip(q *http.Request) (*http.Response, error) { return f(q) }

// TestHugeValues are cut, and an event of a policy that was forgotten still has its owner.
func TestHugeValues(t *testing.T) {
	t.Parallel()
	e := journal.Event{Kind: journal.ReloadRefused, Data: map[string]string{"error": strings.Repeat("é", 1_000_000), "owner": "ann@example.com"}}
	m := newMessage(e, Facts{}, "host")
	if n := len([]rune(m.Data["error"])); n != maxData || or(m.Owner) != "ann@example.com" || len([]rune(m.Summary)) != maxSummary {
		t.Errorf("%d characters, owner %q", n, or(m.Owner))
	}
	if len([]rune(e.Data["error"])) != 1_000_000 {
		t.Error("the event itself was changed")
	}
}
