package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"rotator/internal/api"
	"rotator/rotation/journal"
)

// rotateFlags are the flags of rotate.
type rotateFlags struct {
	compromised, supersede bool
	key, why, wait         string
}

func (a *cli) rotateCommand() *cobra.Command {
	var f rotateFlags
	c := &cobra.Command{
		Use:   "rotate POLICY...",
		Short: "Rotate policies now",
		Long: `Rotate begins a rotation of each policy at once, or joins the one that is on its way to live, and returns when the
successor is live. While the last rotation's old key is not deleted it is refused, unless --supersede is given: then both
old keys are kept until the newest is live. With --compromised the key is never promoted or turned on again, and is
disabled as soon as every target reads another one. Without a daemon the command does the work itself. With one, Ctrl-C stops looking and the daemon goes
on, and a daemon that is restarted meanwhile is waited for, up to a minute.`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completePolicies,
		RunE:              func(c *cobra.Command, names []string) error { return a.rotate(c.Context(), names, f) },
	}
	c.Flags().BoolVar(&f.compromised, "compromised", false, "the key leaked: no overlap, it is disabled as soon as another is live; lifts a hold; needs --why")
	c.Flags().StringVar(&f.key, "key", "", "`ID` of the key that leaked, if it is not the one that consumers read; with --compromised")
	c.Flags().BoolVar(&f.supersede, "supersede", false, "also while the last rotation's old key is not deleted")
	c.Flags().StringVar(&f.why, "why", "", "`REASON`, for the record")
	c.Flags().StringVar(&f.wait, "wait", "live", "return at this `POINT`: live, retired (all is done) or none (at once)")
	_ = c.RegisterFlagCompletionFunc("wait", cobra.FixedCompletions([]string{"live", "retired", "none"}, cobra.ShellCompDirectiveNoFileComp)) // fails only for an unknown flag
	return c
}

func (f rotateFlags) check() error {
	if f.compromised && f.why == "" {
		return usage(errors.New("--compromised needs --why"), "Say what happened; it is recorded with the rotation.")
	}
	if f.key != "" && !f.compromised {
		return usage(errors.New("--key goes with --compromised"), "It says which key is known to others.")
	}
	if !slices.Contains([]string{"live", "retired", "none"}, f.wait) {
		return usage(fmt.Errorf("--wait %s is not known", f.wait), "Give live, retired or none.")
	}
	return nil
}

func (a *cli) rotate(ctx context.Context, names []string, f rotateFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	trigger := journal.ByHand
	if f.compromised {
		trigger = journal.ByCompromise
	}
	r := api.OrderRequest{Kind: string(journal.OrderRotate), Trigger: string(trigger), Supersede: f.supersede, Why: f.why}
	if f.key != "" {
		r.KeyIDs = []string{f.key}
	}
	return a.order(ctx, names, r, f.arrived())
}

// arrived says when a rotation is as far as asked.
func (f rotateFlags) arrived() arrival {
	if f.wait == "none" {
		return nil
	}
	return func(_ *errand, h api.HistoryRow) (bool, error) {
		switch {
		case f.wait == "live" && h.Live != nil, h.State == string(journal.Done):
			return true, nil
		case h.Ended != nil:
			return true, failed(fmt.Errorf("%s: the rotation was %s: %s", h.Policy, h.State, or(h.Error)), "`rotator history "+h.Policy+"` shows it; `rotator rotate` begins another one.")
		}
		return false, nil
	}
}

// sayWhoRetires says, where no daemon runs, who will turn off and delete the keys that consumers no longer read.
func (a *cli) sayWhoRetires(ctx context.Context, l *connection, errands []*errand) {
	for _, e := range errands {
		rows, err := l.Status(ctx, e.request.Policy)
		if err != nil || !slices.Contains([]string{string(journal.Overlap), string(journal.Soaking), string(journal.RollingBack)}, or(rows[0].RotationState)) {
			continue
		}
		at := ""
		if rows[0].WaitingUntil != nil {
			at = " after " + rows[0].WaitingUntil.UTC().Format(time.RFC3339)
		}
		fmt.Fprintf(a.stdout, "%s: no daemon runs: the other key keeps working until `rotator run`, or `rotator run --once`%s, retires it\n", e.request.Policy, at)
	}
}
