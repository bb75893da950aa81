package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"rotator/internal/api"
	"rotator/internal/follow"
	"rotator/rotation/journal"
)

// orderFlags are the flags of commands that ask something of several policies.
type orderFlags struct {
	selectFlags
	json, yes bool
	timeout   time.Duration
}

// orderCommand makes a command of one that asks something of policies: start creates the task of each.
func (a *cli) orderCommand(c *cobra.Command, start func(l *connection, policy string) (*follow.Task, error)) *cobra.Command {
	return a.orderCommandOf(c, &orderFlags{}, start)
}

// orderCommandOf is orderCommand with flags that the caller sees too.
func (a *cli) orderCommandOf(c *cobra.Command, f *orderFlags, start func(l *connection, policy string) (*follow.Task, error)) *cobra.Command {
	c.ValidArgsFunction = a.completePolicies
	c.RunE = func(c *cobra.Command, names []string) error { return a.each(c, names, *f, start) }
	f.add(a, c)
	c.Flags().BoolVar(&f.yes, "yes", false, "do not ask whether the selected policies are meant")
	c.Flags().DurationVar(&f.timeout, "timeout", 0, "stop waiting after this `DURATION`, such as 10m; the request stays in effect")
	outputFlag(c, &f.json)
	return c
}

// each asks something of each policy, once, follows all, and prints a row for each.
func (a *cli) each(c *cobra.Command, named []string, f orderFlags, start func(*connection, string) (*follow.Task, error)) (err error) {
	ctx := c.Context()
	if f.timeout < 0 {
		return usage(errors.New("--timeout must not be negative"), "Give a duration such as 10m.")
	}
	if _, err := start(nil, ""); err != nil { // report a usage error before anything is opened
		return err
	}
	names, err := a.selected(ctx, &f.selectFlags, named)
	if err != nil {
		return err
	}
	if !slices.Equal(names, named) && !f.yes && !a.agreed(ctx, c.InOrStdin(), c.Name(), names) {
		return failed(errors.New("nothing was done"), "")
	}
	l, names, err := a.actOn(ctx, names)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	return a.followed(ctx, l, names, f, start)
}

func (a *cli) followed(ctx context.Context, l *connection, names []string, f orderFlags, start func(*connection, string) (*follow.Task, error)) error {
	var tasks []*follow.Task
	for _, name := range names {
		t, err := start(l, name)
		if err != nil {
			return err
		}
		t.Order.Policy, t.Order.By = name, a.userName()
		tasks = append(tasks, t)
	}
	beside := *a
	if f.json {
		beside.stdout = a.stderr
	}
	rows, err := beside.follow(ctx, l, f.timeout, tasks, func(rows []follow.Row) error {
		return a.print(f.json, rows, func(t *table) { drawTasks(t, rows) })
	})
	if err == nil && l.alone != nil && ctx.Err() == nil {
		beside.sayWhoRetires(ctx, l, rows)
	}
	return err
}

// follow gives orders and follows them; show gets the rows before the work of a command that works alone is parked.
func (a *cli) follow(ctx context.Context, l *connection, timeout time.Duration, tasks []*follow.Task, show func([]follow.Row) error) ([]follow.Row, error) {
	stop := l.work(ctx)
	defer stop()
	view := a.newLiveView(tasks)
	rows, err := follow.Run(ctx, follow.Options{Client: l.Client, View: view, Alone: l.alone != nil, Timeout: timeout}, tasks)
	if show != nil {
		err = errors.Join(err, show(rows))
	}
	return rows, err
}

func drawTasks(t *table, rows []follow.Row) {
	t.row("POLICY", "OUTCOME", "ROTATION", "KEY", "TOOK", "DETAIL")
	for _, r := range rows {
		t.row(r.Policy, r.Outcome, or(r.Rotation), or(r.KeyID), humanSeconds(&r.Took), or(r.Detail))
	}
}

// carried makes the task of an order of that kind.
func carried(kind journal.OrderKind, why, wants string, goal follow.Goal) *follow.Task {
	return &follow.Task{Order: api.OrderRequest{Kind: string(kind), Why: why}, Goal: goal, Wants: wants}
}

// sayWhoRetires says, where no daemon runs, who will turn off and delete the keys that consumers no longer read.
func (a *cli) sayWhoRetires(ctx context.Context, l *connection, rows []follow.Row) {
	for _, r := range rows {
		now, err := l.Status(ctx, r.Policy)
		if err != nil || !slices.Contains([]string{string(journal.Overlap), string(journal.Soaking), string(journal.RollingBack)}, or(now[0].RotationState)) {
			continue
		}
		at := ""
		if now[0].WaitingUntil != nil {
			at = " after " + now[0].WaitingUntil.UTC().Format(time.RFC3339)
		}
		fmt.Fprintf(a.stdout, "%s: no daemon runs: the other key keeps working until `rotator run`, or `rotator run --once`%s, retires it\n", r.Policy, at)
	}
}
