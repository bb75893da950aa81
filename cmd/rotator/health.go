package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"rotator/internal/api"
	"rotator/policies"
)

func (a *cli) healthCommand() *cobra.Command {
	json, strict := false, false
	c := &cobra.Command{
		Use:   "health",
		Short: "Show at one look whether all is well: configuration, journal, teams, stores, policies",
		Long: `Health shows whether configuration and policies are accepted, whether the daemon and the journal work, how each team and
each store last answered, and how each policy is. Nothing is asked of xAI or of a store: rotator check does that.

A policy is ok when recent evidence proves it: its live key proved itself, and was read in every target, within two
watches. It is progressing while a rotation or a retirement is under way in time, degraded when it may get worse,
action_required when it needs people, and overdue when a promise is broken.

Exit codes: 0 every policy is ok, progressing or degraded; 1 something is down or refused; 3 a policy needs people or is
overdue, with --strict also one that is degraded.`,
		Example: "  rotator health\n  rotator health --strict -o json",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return a.health(c.Context(), json, strict) },
	}
	c.Flags().BoolVar(&strict, "strict", false, "a policy that is degraded is exit code 3 too")
	outputFlag(c, &json)
	return c
}

func (a *cli) health(ctx context.Context, json, strict bool) (err error) {
	rows := []api.HealthRow{a.configurationHealth()}
	l, err := a.look(ctx)
	switch {
	case err != nil && !rows[0].Broken():
		detail := err.Error()
		rows = append(rows, api.HealthRow{Kind: api.KindJournal, Health: api.HealthDown, Detail: &detail})
	case err == nil:
		defer func() { err = errors.Join(err, l.close()) }()
		seen, err := l.Health(ctx)
		if err != nil {
			return err
		}
		if l.alone != nil {
			seen = withoutDaemon(seen)
		}
		rows = append(rows, seen...)
	}
	if err := a.print(json, rows, func(t *table) { drawHealth(t, rows) }); err != nil {
		return err
	}
	switch {
	case slices.ContainsFunc(rows, api.HealthRow.Broken):
		return failed(errTold, "")
	case slices.ContainsFunc(rows, func(r api.HealthRow) bool {
		return r.Health == api.HealthOverdue || r.Health == api.HealthActionRequired || strict && r.Health == api.HealthDegraded
	}):
		return waiting(errTold, "")
	}
	return nil
}

// configurationHealth says whether configuration and policies would be accepted as they are now.
func (a *cli) configurationHealth() api.HealthRow {
	row := api.HealthRow{Kind: api.KindConfiguration, Health: api.HealthOK}
	if f, err := a.setup().ReadFiles(); err != nil {
		detail, remedy := err.Error(), "Correct the files: rotator check shows every problem."
		var problems policies.Problems
		if errors.As(err, &problems) && len(problems) > 0 {
			detail = problems[0].String()
			if n := len(problems) - 1; n > 0 {
				detail += fmt.Sprintf(", and %d more", n)
			}
		}
		row.Health, row.Detail, row.Remedy = api.HealthRefused, &detail, &remedy
	} else {
		row.Name = f.Config.File
	}
	return row
}

// withoutDaemon are the rows as a command sees them that reads the journal by itself: no daemon answers. That is in order where
// policies are rotated from time to time, and it is not where nothing has looked at them for two watches.
func withoutDaemon(rows []api.HealthRow) []api.HealthRow {
	rows = slices.DeleteFunc(rows, func(r api.HealthRow) bool { return r.Kind == api.KindDaemon })
	row := api.HealthRow{Kind: api.KindDaemon, Health: api.HealthUnknown}
	detail := "no daemon answers"
	if slices.ContainsFunc(rows, func(r api.HealthRow) bool { return r.Kind == api.KindPolicy && or(r.Reason) == api.ReasonNotWatched }) {
		detail += ", and policies were not looked at for two watches"
		remedy := "Start it: rotator run, or systemctl start rotator."
		row.Health, row.Remedy = api.HealthDown, &remedy
	}
	row.Detail = &detail
	return slices.Insert(rows, 0, row)
}

// drawHealth fills the table: what is needed row by row, then how many policies are how, then those that are not well.
func drawHealth(t *table, rows []api.HealthRow) {
	t.row("WHAT", "NAME", "HEALTH", "DETAIL")
	count := make(map[string]int)
	var order []string
	for _, r := range rows {
		if r.Kind == api.KindPolicy {
			if count[r.Health]++; count[r.Health] == 1 {
				order = append(order, r.Health)
			}
			continue
		}
		t.row(r.Kind, r.Name, r.Health, joined(r.Detail, r.Remedy))
	}
	var counts []string
	for _, word := range order {
		counts = append(counts, fmt.Sprintf("%d %s", count[word], word))
	}
	if len(counts) == 0 {
		counts = []string{"none"}
	}
	t.row("policies", "", strings.Join(counts, ", "), "")
	for _, r := range rows {
		if r.Kind != api.KindPolicy || r.Health == api.HealthOK || r.Health == api.HealthProgressing {
			continue
		}
		detail := or(r.Reason)
		if said := joined(r.Detail, r.Remedy); said != "" {
			detail += ": " + said
		}
		t.row(r.Kind, r.Name, r.Health, detail)
	}
}
