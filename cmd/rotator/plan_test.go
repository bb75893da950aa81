package main

import (
	"strings"
	"testing"
	"time"

	ics "github.com/arran4/golang-ical"

	"rotator/internal/api"
)

func TestParseUntil(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{
		"1y": "2027-11-30T12:00:00Z", "90d": "2027-02-28T12:00:00Z", "12h": "2026-12-01T00:00:00Z",
		"2027-01-31": "2027-02-01T00:00:00Z", "2027-01-31T10:00:00+01:00": "2027-01-31T09:00:00Z",
		"soon": "", "0y": "", "11y": "", "-1d": "",
	} {
		got, err := parseUntil(text, now)
		if (err != nil) != (want == "") || err == nil && got.UTC().Format(time.RFC3339) != want {
			t.Errorf("%s is %s (%v), want %s", text, got, err, want)
		}
	}
}

// TestCalendar: another reader of the format finds what happens at a known time, with the same UID each time.
func TestCalendar(t *testing.T) {
	t.Parallel()
	at, id, detail := time.Date(2026, 12, 1, 3, 0, 0, 0, time.UTC), "k1", "because of schedule, due 2026-11-30; in a freeze: "+strings.Repeat("long ", 40)
	rows := []api.PlanRow{
		{Policy: "chat", Action: "rotate", At: &at, Detail: &detail}, {Policy: "chat", Action: "create", At: &at},
		{Policy: "chat", Action: "disable", At: &at, KeyID: &id}, {Policy: "chat", Action: "delete", KeyID: &id},
	}
	var first, second strings.Builder
	if err := drawCalendar(&first, rows, at); err != nil {
		t.Fatal(err)
	}
	if err := drawCalendar(&second, rows, at); err != nil || first.String() != second.String() {
		t.Errorf("drawn again (%v) it is another", err)
	}
	c, err := ics.ParseCalendar(strings.NewReader(first.String()))
	if err != nil {
		t.Fatal(err)
	}
	events := c.Events()
	if len(events) != 2 {
		t.Fatalf("%d events, want 2:\n%s", len(events), first.String())
	}
	start, err := events[0].GetStartAt()
	if err != nil || !start.Equal(at) || events[0].GetProperty(ics.ComponentPropertySummary).Value != "rotate chat" || events[1].GetProperty(ics.ComponentPropertySummary).Value != "disable key k1 of chat" {
		t.Errorf("%v\n%s", err, first.String())
	}
	for line := range strings.SplitSeq(first.String(), "\r\n") {
		if len(line) > 75 {
			t.Errorf("a line of %d bytes: RFC 5545 folds them at 75", len(line))
		}
	}
}
