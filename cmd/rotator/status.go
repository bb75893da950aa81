package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rotator/internal/api"
	"rotator/internal/follow"
	"rotator/rotation/journal"
)

func (a *cli) statusCommand() *cobra.Command {
	json, wide, replicas := false, false, false
	var f selectFlags
	c := &cobra.Command{
		Use:   "status [POLICY...]",
		Short: "Show the state of the policies",
		Example: `  rotator status
  rotator status --team research --label tier=prod
  rotator status chat-prod -o wide`,
		ValidArgsFunction: a.completePolicies,
		RunE: func(c *cobra.Command, names []string) error {
			only, err := f.with(names)
			switch {
			case err != nil:
				return err
			case replicas:
				return a.replicas(c.Context(), only, json)
			}
			return a.status(c.Context(), only, json, wide)
		},
	}
	f.add(a, c)
	outputFlags(c, formatFlag{{"text", nil}, {"wide", &wide}, {"json", &json}})
	c.Flags().BoolVar(&replicas, "replicas", false, "show the processes that act for the policies instead: since when, when last seen, what for")
	return c
}

// replicas shows which processes share the journal.
func (a *cli) replicas(ctx context.Context, only api.Selection, json bool) (err error) {
	if !only.Empty() {
		return usage(errors.New("--replicas shows processes, and takes no policy"), "`rotator status -o wide POLICY` shows who acts for it.")
	}
	l, err := a.look(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	rows, err := l.Replicas(ctx)
	if err != nil {
		return err
	}
	return a.print(json, rows, func(t *table) { drawReplicas(t, rows, time.Now()) })
}

func drawReplicas(t *table, rows []api.ReplicaRow, now time.Time) {
	t.row("REPLICA", "HOST", "VERSION", "MODE", "SINCE", "LAST SEEN", "ACTS FOR")
	for _, r := range rows {
		seen := ago(r.LastSeen, now)
		if r.Stale {
			seen += " (stale)"
		}
		t.row(r.Replica, or(r.Host), or(r.Version), or(r.Mode), ago(r.Since, now), seen, strings.Join(r.Policies, ", "))
	}
}

func (a *cli) status(ctx context.Context, only api.Selection, json, wide bool) (err error) {
	l, err := a.look(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	rows, err := l.Select(ctx, only)
	if err != nil {
		return err
	}
	if !json {
		a.tellMode(ctx, l)
		a.tellLoads(ctx, l)
	}
	if err := a.print(json, rows, func(t *table) { drawStatus(t, rows, time.Now(), wide) }); err != nil {
		return err
	}
	if only.Empty() {
		return nil
	}
	for _, r := range rows {
		if follow.Stuck(r) {
			return waiting(errTold, "")
		}
	}
	return nil
}

// tellMode says that nothing is changed, where that is so, and who does it anyway.
func (a *cli) tellMode(ctx context.Context, l *connection) {
	if who, err := l.Version(ctx); err != nil || who.Mode != api.ModeObserve {
		return // rotate is no news
	}
	fmt.Fprintln(a.stdout, "mode: observe; nothing is changed at xAI or in a store")
	all, err := l.Replicas(ctx)
	if err != nil {
		a.log.Debug("it is not known which replicas there are", "err", err)
	}
	for _, r := range all {
		if or(r.Mode) == api.ModeRotate && !r.Stale {
			fmt.Fprintf(a.stdout, "  replica %s rotates, and acts for all policies\n", r.Replica)
		}
	}
}

// tellLoads says how the files of policies were last read: what is wrong there is in no policy's row.
func (a *cli) tellLoads(ctx context.Context, l *connection) {
	loads, err := l.Loads(ctx)
	if err != nil { // a daemon of an older version does not tell
		a.log.Debug("it is not known how files were read", "err", err)
	}
	for _, row := range loads {
		fmt.Fprintln(a.stdout, row.Line(time.Now(), len(loads) > 1))
		for _, problem := range row.Errors {
			fmt.Fprintln(a.stdout, "  "+problem)
		}
	}
}

// healthCell is a policy's health, and why where nothing else says it.
func healthCell(r api.StatusRow) string {
	if r.HealthReason == nil || or(r.HealthReason) == or(r.Reason) {
		return r.Health
	}
	return r.Health + " (" + *r.HealthReason + ")"
}

// drawStatus fills the table; a wide one says which replica acts for a policy at this moment.
func drawStatus(t *table, rows []api.StatusRow, now time.Time, wide bool) {
	head := []string{"POLICY", "STATE", "KEY", "AGE", "MAX AGE", "NEXT RUN", "HEALTH", "WAITS FOR"}
	if wide {
		head = slices.Insert(head, 7, "IN HAND OF", "SINCE")
	}
	t.row(head...)
	for _, r := range rows {
		why := or(r.Reason)
		if why != "" && r.WaitingUntil != nil {
			why += " (" + in(r.WaitingUntil, now) + ")"
		}
		if r.Hold != nil {
			held := "held by " + r.Hold.By
			if r.Hold.Until != nil {
				held += " until " + when(r.Hold.Until)
			}
			held += ": " + r.Hold.Reason
			if why != "" && or(r.RotationState) == string(journal.RollingBack) { // which no hold stops
				held = why + "; " + held
			}
			why = held
		}
		if r.Error != nil {
			why += ": " + *r.Error
		}
		for _, c := range r.KeyChanges {
			if says := changeSays(c); !strings.Contains(why, c.Detail) {
				why = strings.TrimPrefix(why+"; "+says, "; ")
			}
		}
		for _, w := range r.Wanted {
			why = strings.TrimPrefix(why+wantedSays(w), "; ")
		}
		if r.SpecError != nil {
			why = strings.TrimPrefix(why+"; uses the last accepted version: its file was refused", "; ")
		}
		state := r.State
		if r.RotationState != nil && *r.RotationState != state {
			state += " (" + *r.RotationState + ")"
		}
		cells := []string{r.Policy, state, or(r.KeyID), humanSeconds(r.Age), humanSeconds(r.MaxAge), in(r.NextRun, now), healthCell(r), why}
		if wide {
			cells = slices.Insert(cells, 7, or(r.Replica), ago(r.ReplicaSince, now))
		}
		t.row(cells...)
	}
}

// changeSays says where a key is not what its policy says.
func changeSays(c api.KeyChangeRow) string {
	text := "key " + c.KeyID + ": " + c.Detail
	switch c.State {
	case api.ChangeDrift:
		return text + " (changed at xAI)"
	case api.ChangeRefused:
		return text + " (refused; the next rotation brings it)"
	case api.ChangeLater:
		return text + " until the next rotation"
	}
	return text + " (pending)"
}

// wantedSays reports what people asked for besides a rotation, which the state shows.
func wantedSays(w api.WantedRow) string {
	by := strings.TrimSuffix(" by "+or(w.By)+": "+or(w.Why), ": ")
	switch {
	case w.What == string(journal.OrderRevoke):
		return "; key " + or(w.KeyID) + " is revoked" + by
	case w.What == string(journal.OrderDecommission) && w.Done != nil:
		return "; decommissioned" + by
	case w.What == string(journal.OrderDecommission):
		return "; being decommissioned" + by
	}
	return ""
}

// completePolicies proposes names of policies to the shell: those that the journal knows.
func (a *cli) completePolicies(c *cobra.Command, have []string, _ string) ([]string, cobra.ShellCompDirective) {
	l, err := a.look(c.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer func() { _ = l.close() }() // only read
	rows, _ := l.Status(c.Context()) // nothing is proposed when it fails
	var names []string
	for _, r := range rows {
		if !slices.Contains(have, r.Policy) {
			names = append(names, r.Policy)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
