package app

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"rotator/internal/api"
	"rotator/rotation"
	"rotator/rotation/inventory"
	"rotator/xai"
)

// only returns the named team alone, and all teams for "".
func (w *environment) only(team string) ([]string, error) {
	switch {
	case team == "":
		return w.names, nil
	case !slices.Contains(w.names, team):
		return nil, &api.Error{Message: fmt.Sprintf("no team is named %q; there are %s", team, strings.Join(w.names, ", ")), Code: api.ExitUsage}
	}
	return []string{team}, nil
}

// Keys implements api.Actions.
func (p actions) Keys(ctx context.Context, q api.KeysQuery) ([]api.KeyRow, error) {
	w := p.present().environment
	names, err := w.only(q.Team)
	if err != nil {
		return nil, err
	}
	rows := []api.KeyRow{}
	for _, name := range names {
		of, err := p.keysOf(ctx, w, name, q)
		switch {
		case err != nil && (q.Team != "" || ctx.Err() != nil):
			return nil, err
		case err != nil:
			of = []api.KeyRow{{Team: name, ACLs: []string{}, Holders: []string{}, Error: optional(err.Error())}}
		}
		rows = append(rows, of...)
	}
	return rows, nil
}

func (p actions) keysOf(ctx context.Context, w *environment, name string, q api.KeysQuery) ([]api.KeyRow, error) {
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
	found = slices.DeleteFunc(found, func(k inventory.Key) bool {
		return q.Unmanaged && k.Kind != inventory.Unmanaged || q.Wide && !k.Wide()
	})
	rows := make([]api.KeyRow, 0, len(found))
	for _, k := range found {
		row, err := p.keyRow(ctx, name, k)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	if q.UnusedFor > 0 {
		return p.unused(ctx, name, t, rows, q.UnusedFor)
	}
	return rows, nil
}

// keyRow is a listed key with what the journal knows of it.
func (p actions) keyRow(ctx context.Context, team string, k inventory.Key) (api.KeyRow, error) {
	row := api.KeyRow{Team: team, KeyID: optional(k.Key.ID), Name: optional(k.Key.Name), Kind: optional(string(k.Kind)), Policy: optional(k.Policy),
		Creator: optional(k.UserID), ACLs: slices.Concat([]string{}, k.ACLs), Wide: k.Wide(), Disabled: k.Disabled, Holders: []string{},
		Created: instant(k.Created), Expires: instant(k.Expiry())}
	seen, err := p.journal.SightingsOf(ctx, k.Key.ID, "")
	if err != nil {
		return row, err
	}
	for _, s := range seen {
		row.Holders = append(row.Holders, s.TargetID.String())
	}
	slices.Sort(row.Holders)
	row.Holders = slices.Compact(row.Holders)
	return row, nil
}

// unused leaves of a team's keys those that are older than the time, and that billing does not show in use within it. Where billing
// says nothing of a key, the row says so.
func (p actions) unused(ctx context.Context, name string, t rotation.Team, rows []api.KeyRow, within time.Duration) ([]api.KeyRow, error) {
	since := time.Now().Add(-within)
	rows = madeBefore(rows, since)
	ids := make([]string, len(rows))
	for i, r := range rows {
		ids[i] = *r.KeyID
	}
	uses, err := p.engine.Lists().Uses(ctx, inventory.Team{ID: t.ID, About: t.About}, ids, since)
	if err != nil {
		return nil, fmt.Errorf("team %s: the use of its keys is not known: %w", name, err)
	}
	left := rows[:0]
	for _, r := range rows {
		u := uses[*r.KeyID]
		if u == inventory.Used {
			continue
		}
		r.Use = optional(string(u))
		left = append(left, r)
	}
	return left, nil
}

// madeBefore leaves the keys that are older than the time. One of which xAI reports no age stays, as in the event keys_unused.
func madeBefore(rows []api.KeyRow, since time.Time) []api.KeyRow {
	return slices.DeleteFunc(rows, func(r api.KeyRow) bool { return r.Created != nil && !r.Created.Before(since) })
}

// instant is the time in UTC, or null for none.
func instant(at time.Time) *time.Time {
	if at.IsZero() {
		return nil
	}
	at = at.UTC()
	return &at
}

// optional is the text, or null for none.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
