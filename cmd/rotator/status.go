package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"rotator/internal/console"
)

func (a *app) statusCommand() *cobra.Command {
	json := false
	c := &cobra.Command{
		Use:               "status [POLICY...]",
		Short:             "Show where the policies stand",
		ValidArgsFunction: a.completePolicies,
		RunE:              func(c *cobra.Command, names []string) error { return a.status(c.Context(), names, json) },
	}
	outputFlag(c, &json)
	return c
}

func (a *app) status(ctx context.Context, names []string, json bool) (err error) {
	l, err := a.look(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	rows, err := l.Status(ctx, names...)
	if err != nil {
		return err
	}
	if err := a.print(json, rows, func(t *table) { drawStatus(t, rows, time.Now()) }); err != nil {
		return err
	}
	if len(names) == 0 {
		return nil
	}
	for _, r := range rows {
		if stuck(r) {
			return waiting(errTold, "")
		}
	}
	return nil
}

// stuck reports whether a policy waits for a human, or is held by one.
func stuck(r console.StatusRow) bool { return r.State == console.StateWaiting || r.Hold != nil }

func drawStatus(t *table, rows []console.StatusRow, now time.Time) {
	t.row("POLICY", "STATE", "KEY", "AGE", "MAX AGE", "NEXT RUN", "WAITS FOR")
	for _, r := range rows {
		why := or(r.Reason)
		if why != "" && r.WaitingUntil != nil {
			why += " (" + in(r.WaitingUntil, now) + ")"
		}
		if r.Hold != nil {
			why = "held by " + r.Hold.By + ": " + r.Hold.Reason
		}
		if r.Error != nil {
			why += ": " + *r.Error
		}
		state := r.State
		if r.RotationState != nil && *r.RotationState != state {
			state += " (" + *r.RotationState + ")"
		}
		t.row(r.Policy, state, or(r.KeyID), humanSeconds(r.Age), humanSeconds(r.MaxAge), in(r.NextRun, now), why)
	}
}

// completePolicies proposes names of policies to the shell: those that the journal knows.
func (a *app) completePolicies(c *cobra.Command, have []string, _ string) ([]string, cobra.ShellCompDirective) {
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
