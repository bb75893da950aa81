package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"rotator/internal/api"
	"rotator/internal/app"
	"rotator/internal/follow"
	"rotator/policies"
	"rotator/rotation/journal"
)

// checkLive takes a key with the least rights through its whole life at xAI, for one policy of each team, and says of
// each assumption whether it held. The daemon does it where one runs; the key is deleted whatever happens, also when
// no one looks any more.
func (a *cli) checkLive(ctx context.Context, json bool) error {
	f, err := a.setup().ReadFiles()
	if err != nil {
		return err
	}
	names, teams := standIns(f)
	if len(names) == 0 {
		return failed(errors.New("there is no policy to rehearse for"), "Write one first: a rehearsal's key is kept in its part of the journal.")
	}
	l, err := a.act(ctx, names...)
	if err != nil {
		return err
	}
	defer func() { _ = l.close() }()
	after, err := l.Present(ctx)
	if err != nil {
		return err
	}
	var tasks []*follow.Task
	for i, name := range names {
		fmt.Fprintf(a.stderr, "%s: a key with the least rights of this policy lives and dies at xAI, for team %s; this takes minutes\n", name, teams[i])
		tasks = append(tasks, &follow.Task{Wants: "the rehearsal", Order: api.OrderRequest{Policy: name, Kind: string(journal.OrderRehearse), By: a.userName()}})
	}
	beside := *a
	if json {
		beside.stdout = a.stderr
	}
	if _, err := beside.follow(ctx, l, 0, tasks, nil); err != nil {
		return err
	}
	rows, err := assumptions(ctx, l, after)
	if err != nil {
		return err
	}
	if err := a.print(json, rows, func(t *table) {
		t.row("POLICY", "ANSWER", "ASSUMPTION", "DETAIL")
		for _, r := range rows {
			t.row(r.Policy, r.Answer, r.Assumption, or(r.Detail))
		}
	}); err != nil {
		return err
	}
	if slices.ContainsFunc(rows, func(r assumption) bool { return r.Answer == "not confirmed" }) {
		return failed(errors.New("not every assumption holds"), "docs/xai.md says for each what the daemon does when it does not hold.")
	}
	return nil
}

// standIns are a policy for each team, one that chats where there is one: others may name no model to chat with.
func standIns(f app.Files) (names, teams []string) {
	specs := f.Specs()
	silent := func(s journal.Spec) int {
		if f.Policies[s.Name].Verify.Method == policies.MethodChat {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(specs, func(x, y journal.Spec) int { return silent(x) - silent(y) })
	for _, s := range specs {
		if !slices.Contains(teams, s.Team) {
			names, teams = append(names, s.Name), append(teams, s.Team)
		}
	}
	return names, teams
}

// assumption is what a rehearsal saw of one thing that is assumed of xAI.
type assumption struct {
	Policy     string  `json:"policy"`
	Assumption string  `json:"assumption"`
	Answer     string  `json:"answer"` // confirmed, not confirmed or not asked
	Detail     *string `json:"detail"` // a delay that was measured, or an error
}

// assumptions collects them from the events since after.
func assumptions(ctx context.Context, l *connection, after int64) ([]assumption, error) {
	rows := []assumption{}
	present, err := l.Present(ctx)
	for err == nil && after < present {
		var got api.Events
		if got, err = l.Events(ctx, after, ""); err != nil {
			break
		}
		for _, e := range got.Events {
			if e.Kind != string(journal.Assumption) {
				continue
			}
			row := assumption{Policy: or(e.Policy), Assumption: e.Data["assumption"], Answer: e.Data["answer"]}
			if d, ok := e.Data["detail"]; ok {
				row.Detail = &d
			}
			rows = append(rows, row)
		}
		after = got.Next
	}
	return rows, err
}
