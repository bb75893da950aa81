package app

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"rotator/internal/api"
	"rotator/xai"
)

// Keys implements api.Actions.
func (p actions) Keys(ctx context.Context, team string) ([]api.KeyRow, error) {
	w := p.present().environment
	names := w.names
	if team != "" {
		if !slices.Contains(w.names, team) {
			return nil, &api.Error{Message: fmt.Sprintf("no team is named %q; there are %s", team, strings.Join(names, ", ")), Code: api.ExitUsage}
		}
		names = []string{team}
	}
	rows := []api.KeyRow{}
	for _, name := range names {
		of, err := p.keysOf(ctx, w, name)
		switch {
		case err != nil && (team != "" || ctx.Err() != nil):
			return nil, err
		case err != nil:
			of = []api.KeyRow{{Team: name, Error: optional(err.Error())}}
		}
		rows = append(rows, of...)
	}
	return rows, nil
}

func (p actions) keysOf(ctx context.Context, w *environment, name string) ([]api.KeyRow, error) {
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
	found, err := p.engine.Lists().Of(ctx, list)
	if err != nil {
		return nil, err
	}
	rows := make([]api.KeyRow, len(found))
	for i, k := range found {
		rows[i] = api.KeyRow{Team: name, KeyID: optional(k.Key.ID), Name: optional(k.Key.Name), Kind: optional(string(k.Kind)), Disabled: k.Key.Disabled, Policy: optional(k.Policy)}
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
