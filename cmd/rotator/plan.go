package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	ics "github.com/arran4/golang-ical"
	"github.com/spf13/cobra"

	"rotator/internal/api"
)

func (a *cli) planCommand() *cobra.Command {
	json, calendar, until := false, false, ""
	var f selectFlags
	c := &cobra.Command{
		Use:   "plan [POLICY...]",
		Short: "Show what would happen and when, without touching anything",
		Long: `Plan reads the targets, asks each key found there who it is, and says what would be adopted, created, promoted, updated,
disabled and deleted, and when: the rotation in flight and the next one, and what a window or a freeze delays. It warns of permissions
that grow, and of overlaps that are too short for the caches of the stores' clients.

With --until it says every rotation that begins before then, if each succeeds at once. -o ics answers with a calendar.`,
		Example: `  rotator plan
  rotator plan chat-prod --until 90d
  rotator plan --until 1y -o ics > rotations.ics`,
		ValidArgsFunction: a.completePolicies,
		RunE: func(c *cobra.Command, names []string) error {
			var end time.Time
			if until != "" {
				var err error
				if end, err = parseUntil(until, time.Now()); err != nil {
					return err
				}
			}
			only, err := f.with(names)
			if err != nil {
				return err
			}
			return a.plan(c.Context(), only, end, json, calendar)
		},
	}
	f.add(a, c)
	outputFlags(c, formatFlag{{"text", nil}, {"json", &json}, {"ics", &calendar}})
	c.Flags().StringVar(&until, "until", "", "every rotation before `WHEN`: a length of time such as 90d or 1y, or a day such as 2027-01-31")
	return c
}

func (a *cli) plan(ctx context.Context, only api.Selection, until time.Time, json, calendar bool) (err error) {
	a.warnOfFiles()
	l, err := a.look(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	rows, err := l.Plan(ctx, until, only)
	if err != nil {
		return err
	}
	if calendar {
		return drawCalendar(a.stdout, rows, time.Now())
	}
	return a.print(json, rows, func(t *table) {
		t.row("POLICY", "WHEN", "ACTION", "KEY", "TARGET", "DETAIL")
		for _, r := range rows {
			t.row(r.Policy, when(r.At), r.Action, or(r.KeyID), or(r.Target), or(r.Detail))
		}
	})
}

// drawCalendar writes what happens at a known time as an iCalendar (RFC 5545). An event has the same UID each time, so that
// a calendar that is read again has it once.
func drawCalendar(w io.Writer, rows []api.PlanRow, now time.Time) error {
	c := ics.NewCalendarFor("Rotator")
	c.SetMethod(ics.MethodPublish)
	for _, r := range rows {
		if r.At == nil {
			continue
		}
		switch r.Action {
		case "rotate", "disable", "delete":
		default:
			continue // they come with the rotation
		}
		what := r.Action + " " + r.Policy
		if r.KeyID != nil {
			what = fmt.Sprintf("%s key %s of %s", r.Action, *r.KeyID, r.Policy)
		}
		e := c.AddEvent(fmt.Sprintf("%s-%s-%s-%d@rotator", r.Policy, r.Action, or(r.KeyID), r.At.Unix()))
		e.SetDtStampTime(now)
		e.SetStartAt(*r.At)
		e.SetSummary(what)
		if r.Detail != nil {
			e.SetDescription(*r.Detail)
		}
	}
	return c.SerializeTo(w, ics.WithNewLineWindows) // CRLF, as the format has it
}
