package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rotator/internal/api"
	"rotator/internal/audit"
)

// eventsFlags are the flags of events.
type eventsFlags struct {
	since, policy, actor, kind string
	json, csv, follow          bool

	from time.Time
}

func (a *cli) eventsCommand() *cobra.Command {
	f := eventsFlags{since: "7d"}
	c := &cobra.Command{
		Use:   "events",
		Short: "Show what happened and what people ordered",
		Long: `Events shows the events of the journal, the oldest first: what was done to keys and targets, what people ordered, and how files
were read. With --follow it goes on as they come, until Ctrl-C; -o json then writes one object a line.

rotator audit export writes them with their links, for an archive or a SIEM.`,
		Example: `  rotator events --since 24h --policy chat-prod
  rotator events --kind ordered --actor ann -o csv
  rotator events --since 1h --follow`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if f.from, err = moment(f.since, time.Now()); err != nil {
				return usage(err, "Give a day (2026-11-01), an instant in RFC 3339 or a duration (24h, 30d).")
			}
			return a.events(c.Context(), f)
		},
	}
	c.Flags().StringVar(&f.since, "since", f.since, "not before this `TIME`: a day, an instant, or so long ago")
	c.Flags().StringVar(&f.policy, "policy", "", "events of this `POLICY`")
	c.Flags().StringVar(&f.actor, "actor", "", "events whose author's `NAME` holds this")
	c.Flags().StringVar(&f.kind, "kind", "", "events of this `KIND`, such as ordered or promoted")
	c.Flags().BoolVar(&f.follow, "follow", false, "go on with the events that come")
	outputFlags(c, formatFlag{{"text", nil}, {"json", &f.json}, {"csv", &f.csv}})
	return c
}

// takes reports whether an event is asked for.
func (f eventsFlags) takes(e api.EventRow) bool {
	return (e.At == nil || !e.At.Before(f.from)) && (f.policy == "" || or(e.Policy) == f.policy) && (f.kind == "" || e.Kind == f.kind) &&
		(f.actor == "" || strings.Contains(e.Data["by"], f.actor))
}

func (a *cli) events(ctx context.Context, f eventsFlags) (err error) {
	l, err := a.look(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	last, err := l.Present(ctx)
	if err != nil {
		return err
	}
	var past []api.EventRow
	after := int64(0)
	for after < last {
		page, err := l.Events(ctx, after, "") // of one policy it would wait for the next one
		if err != nil {
			return err
		}
		for _, e := range page.Events {
			if e.ID <= last && f.takes(e) {
				past = append(past, e)
			}
		}
		after = page.Next
	}
	if err := a.showEvents(f, past, false); err != nil || !f.follow {
		return err
	}
	for after = last; ; {
		page, err := l.Events(ctx, after, f.policy)
		if ctx.Err() != nil {
			return nil // Ctrl-C ends it
		}
		if err != nil {
			return err
		}
		after = page.Next
		if some := slices.DeleteFunc(page.Events, func(e api.EventRow) bool { return !f.takes(e) }); len(some) > 0 {
			if err := a.showEvents(f, some, true); err != nil {
				return err
			}
		}
	}
}

// showEvents prints events. more says that it prints such events for the second time or later.
func (a *cli) showEvents(f eventsFlags, all []api.EventRow, more bool) error {
	switch {
	case f.json && f.follow:
		to := json.NewEncoder(a.stdout)
		for _, e := range all {
			if err := to.Encode(e); err != nil {
				return err
			}
		}
		return nil
	case f.csv:
		w := csv.NewWriter(a.stdout)
		if !more {
			_ = w.Write([]string{"id", "at", "kind", "policy", "rotation", "by", "data"}) // Error has it
		}
		for _, e := range all {
			_ = w.Write([]string{strconv.FormatInt(e.ID, 10), when(e.At), e.Kind, audit.Cell(or(e.Policy)), or(e.Rotation), audit.Cell(e.Data["by"]), audit.Cell(words(e.Data))})
		}
		w.Flush()
		return w.Error()
	}
	if all == nil {
		all = []api.EventRow{}
	}
	return a.print(f.json, all, func(t *table) {
		if !more {
			t.row("AT", "KIND", "POLICY", "BY", "DETAIL")
		}
		for _, e := range all {
			t.row(when(e.At), e.Kind, or(e.Policy), e.Data["by"], words(e.Data))
		}
	})
}

// words are what an event holds besides its author, in one order.
func words(data map[string]string) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(data)) {
		if name != "by" && data[name] != "" {
			all = append(all, name+"="+data[name])
		}
	}
	return strings.Join(all, " ")
}
