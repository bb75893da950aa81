package main

import (
	"context"
	"errors"
	"strconv"

	"github.com/spf13/cobra"
)

func (a *cli) historyCommand() *cobra.Command {
	json, limit := false, 0
	c := &cobra.Command{
		Use:               "history [POLICY]",
		Short:             "Show rotations, the newest first",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completePolicies,
		RunE: func(c *cobra.Command, args []string) error {
			policy := ""
			if len(args) > 0 {
				policy = args[0]
			}
			return a.history(c.Context(), policy, limit, json)
		},
	}
	c.Flags().IntVar(&limit, "limit", 100, "at most `N` rotations")
	outputFlag(c, &json)
	return c
}

func (a *cli) history(ctx context.Context, policy string, limit int, json bool) (err error) {
	l, err := a.look(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	rows, err := l.History(ctx, policy, limit)
	if err != nil {
		return err
	}
	return a.print(json, rows, func(t *table) {
		t.row("STARTED", "POLICY", "STATE", "TRIGGER", "TOOK", "NEW KEY", "OLD KEYS", "ATTEMPTS", "ERROR")
		for _, r := range rows {
			took := ""
			if r.Started != nil && r.Live != nil {
				took = human(r.Live.Sub(*r.Started)) // until consumers read the new key
			}
			old := strconv.Itoa(len(r.OldKeyIDs))
			t.row(when(r.Started), r.Policy, r.State, r.Trigger, took, or(r.NewKeyID), old, strconv.Itoa(r.Attempts), or(r.Error))
		}
	})
}
