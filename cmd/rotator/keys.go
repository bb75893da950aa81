package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"rotator/internal/api"
	"rotator/xai"
)

func (a *app) keysCommand() *cobra.Command {
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

func (a *app) keys(ctx context.Context, team string, json bool) (err error) {
	l, err := a.look(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	rows, err := l.Keys(ctx, team)
	if err != nil {
		return err
	}
	return a.print(json, rows, func(t *table) {
		t.row("KEY", "KIND", "POLICY", "CREATED", "DISABLED", "NAME")
		for _, r := range rows {
			disabled := ""
			if r.Disabled {
				disabled = "yes"
			}
			t.row(r.KeyID, r.Kind, or(r.Policy), when(r.Created), disabled, r.Name)
		}
	})
}

// Keys implements api.Actions.
func (p *program) Keys(ctx context.Context, team string) ([]api.KeyRow, error) {
	w := p.present().world
	if w.missing != nil {
		return nil, w.missing
	}
	names := w.names
	if team != "" {
		if w.teams[team] == nil {
			return nil, &api.Error{Message: fmt.Sprintf("no team is named %q; there are %s", team, strings.Join(names, ", ")), Code: exitUsage}
		}
		names = []string{team}
	}
	rows := []api.KeyRow{}
	for _, name := range names {
		of, err := p.keysOf(ctx, w, name)
		if err != nil {
			return nil, err
		}
		rows = append(rows, of...)
	}
	return rows, nil
}

func (p *program) keysOf(ctx context.Context, w *world, name string) ([]api.KeyRow, error) {
	t, err := w.Team(ctx, name)
	if err != nil {
		return nil, err
	}
	list, err := t.Keys.ListKeys(ctx, t.ID)
	if err != nil {
		return nil, fmt.Errorf("team %s: %w", name, err)
	}
	slices.SortFunc(list.Keys, func(x, y xai.Key) int {
		if c := x.Created.Compare(y.Created); c != 0 {
			return c
		}
		return strings.Compare(x.ID, y.ID)
	})
	found, err := p.engine.Inventory(ctx, list)
	if err != nil {
		return nil, err
	}
	rows := make([]api.KeyRow, len(found))
	for i, k := range found {
		rows[i] = api.KeyRow{KeyID: k.Key.ID, Name: k.Key.Name, Kind: string(k.Kind), Disabled: k.Key.Disabled, Policy: optional(k.Policy)}
		if at := k.Key.Created.UTC(); !at.IsZero() {
			rows[i].Created = &at
		}
	}
	return rows, nil
}

// optional is the text, or null for none.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
