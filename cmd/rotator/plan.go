package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
)

func (a *cli) planCommand() *cobra.Command {
	json := false
	c := &cobra.Command{
		Use:   "plan [POLICY...]",
		Short: "Show what would happen and when, without touching anything",
		Long: `Plan reads the targets, asks each key found there who it is, and says what would be adopted, created, promoted, disabled
and deleted, and when: the rotation in flight and the next one. It warns of permissions that grow, and of overlaps that
are too short for the caches of the stores' clients.`,
		ValidArgsFunction: a.completePolicies,
		RunE:              func(c *cobra.Command, names []string) error { return a.plan(c.Context(), names, json) },
	}
	outputFlag(c, &json)
	return c
}

func (a *cli) plan(ctx context.Context, names []string, json bool) (err error) {
	if _, err := a.setup().ReadFiles(); err != nil {
		return err
	}
	l, err := a.look(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	rows, err := l.Plan(ctx, names...)
	if err != nil {
		return err
	}
	return a.print(json, rows, func(t *table) {
		t.row("POLICY", "WHEN", "ACTION", "KEY", "TARGET", "DETAIL")
		for _, r := range rows {
			t.row(r.Policy, when(r.At), r.Action, or(r.KeyID), or(r.Target), or(r.Detail))
		}
	})
}
