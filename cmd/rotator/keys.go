package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

func (a *cli) keysCommand() *cobra.Command {
	json := false
	c := &cobra.Command{
		Use:   "keys [TEAM]",
		Short: "Show all keys of a team, or of every team, and what each is to the rotator",
		Long: `Keys asks xAI for the keys of a team. The kinds: managed (in use), predecessor (to be retired), in_doubt (of a create
whose outcome is not settled; will be deleted), orphan (bears the rotator's prefix, and the journal has no such create;
reported, never deleted; see keys adopt) and unmanaged (somebody else's).`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(c *cobra.Command, args []string) error { return a.keys(c.Context(), strings.Join(args, ""), json) },
	}
	outputFlag(c, &json)
	c.AddCommand(a.adoptCommand())
	return c
}

func (a *cli) keys(ctx context.Context, team string, json bool) (err error) {
	l, err := a.look(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	rows, err := l.Keys(ctx, team)
	if err != nil {
		return err
	}
	err = a.print(json, rows, func(t *table) {
		t.row("TEAM", "KEY", "KIND", "POLICY", "CREATED", "DISABLED", "NAME")
		for _, r := range rows {
			if r.Error != nil {
				continue
			}
			disabled := ""
			if r.Disabled {
				disabled = "yes"
			}
			t.row(r.Team, or(r.KeyID), or(r.Kind), or(r.Policy), when(r.Created), disabled, or(r.Name))
		}
	})
	var refused []error
	for _, r := range rows {
		if r.Error != nil {
			refused = append(refused, errors.New(*r.Error))
		}
	}
	if err == nil && refused != nil {
		err = failed(fmt.Errorf("not every team's keys could be listed: %w", errors.Join(refused...)), "`rotator check` tries each team.")
	}
	return err
}
