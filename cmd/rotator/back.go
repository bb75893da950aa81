package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"rotator/internal/api"
	"rotator/rotation/journal"
)

func (a *cli) abortCommand() *cobra.Command {
	c, _ := a.orderCommand(journal.OrderAbort, &cobra.Command{
		Use:   "abort POLICY...",
		Short: "Take a rotation back before anything was promoted, and hold the policy",
		Long: `Abort discards what is staged and deletes the new key. It is refused once the promote has begun: then rollback is the
way. The policy is held afterwards, or the scheduler would begin again at once.`,
	}, until(journal.Aborted))
	return c
}

func (a *cli) rollbackCommand() *cobra.Command {
	c, r := a.orderCommand(journal.OrderRollback, &cobra.Command{
		Use:   "rollback POLICY...",
		Short: "Give consumers the old key back, retire the new one, and hold the policy",
		Long: `Rollback enables the old key, waits until no disable of it can be on its way and it proves itself, puts it back into
every target, and retires the new key after the overlap. It returns when every target holds the old key; it works while the
delete of that was not begun. A key that was reported compromised is refused, unless --false-alarm takes the report back.
No rotation begins by itself afterwards, until the policy is released.`,
	}, until(journal.Done, journal.Live))
	c.Flags().BoolVar(&r.FalseAlarm, "false-alarm", false, "the old key was reported compromised, and is not")
	return c
}

func (a *cli) reviveCommand() *cobra.Command {
	c, _ := a.orderCommand(journal.OrderRevive, &cobra.Command{
		Use:   "revive POLICY...",
		Short: "Enable the old key, keep the new one, and hold the policy",
		Long: `Revive is for the consumer that still reads the old key: both keys work, and nothing is disabled or deleted until the
policy is released.`,
	}, nil)
	return c
}

// orderCommand makes a command that gives one kind of order and follows it until the rotation has arrived. What flags add to
// the order goes into the request that it returns.
func (a *cli) orderCommand(kind journal.OrderKind, c *cobra.Command, arrived arrival) (*cobra.Command, *api.OrderRequest) {
	r := &api.OrderRequest{Kind: string(kind)}
	c.Args = cobra.MinimumNArgs(1)
	c.ValidArgsFunction = a.completePolicies
	c.Flags().StringVar(&r.Why, "why", "", "`REASON`, for the record")
	c.RunE = func(c *cobra.Command, names []string) error {
		return a.order(c.Context(), names, *r, arrived)
	}
	return c, r
}

// order gives the same order for each policy, once.
func (a *cli) order(ctx context.Context, names []string, r api.OrderRequest, arrived arrival) (err error) {
	l, names, err := a.actOn(ctx, names)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	var errands []*errand
	for _, name := range names {
		r.Policy, r.By = name, a.userName()
		errands = append(errands, &errand{request: r, arrived: arrived})
	}
	if err := a.place(ctx, l, errands); err != nil {
		return err
	}
	if l.alone != nil && ctx.Err() == nil {
		a.sayWhoRetires(ctx, l, errands)
	}
	return nil
}

// until says that a rotation has arrived when it is in one of these states.
func until(states ...journal.State) arrival {
	return func(_ *errand, h api.HistoryRow) (bool, error) {
		switch {
		case slices.Contains(states, journal.State(h.State)):
			return true, nil
		case h.Ended != nil:
			return true, failed(fmt.Errorf("%s: the rotation ended as %s: %s", h.Policy, h.State, or(h.Error)), "`rotator history "+h.Policy+"` shows it.")
		}
		return false, nil
	}
}
