package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"rotator/internal/app"
	"rotator/internal/follow"
	"rotator/internal/logging"
	"rotator/rotation/reason"
)

func (a *cli) runCommand() *cobra.Command {
	once := false
	c := &cobra.Command{
		Use:   "run",
		Short: "Run the daemon: rotate whatever is due, until it is stopped",
		Long: `Run rotates whatever is due, serves the page and the commands, and reads configuration and policies again when they
change, on SIGHUP, and on ` + "`rotator reload`" + `. A mistake in a policy's file costs only what it names: see ` + "`rotator status`" + `. SIGTERM and SIGINT park the steps in hand within 30 seconds and end it with 0; a second one kills it.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if once {
				return a.runOnce(c.Context())
			}
			return a.runDaemon(c.Context())
		},
	}
	c.Flags().BoolVar(&once, "once", false, "do everything that is due or in flight and can move now, then exit")
	return c
}

func (a *cli) runOnce(ctx context.Context) (err error) {
	p, err := a.setup().Open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	if err := p.RotateOnce(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	all, err := p.Journal().Summaries(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	stuck := 0
	for _, s := range all {
		if s.Policy.Failures > 0 || reason.NeedsHuman(s.Policy.Reason) {
			fmt.Fprintf(a.stderr, "%s: %s: %s\n", s.Policy.Name, s.Policy.Reason, cmp.Or(s.Policy.Error, follow.Advice(string(s.Policy.Reason))))
			stuck++
		}
	}
	if err := p.LoadProblems(); err != nil {
		return err
	}
	if stuck > 0 {
		return failed(fmt.Errorf("%d of %s made no progress", stuck, app.CountPolicies(len(all))), "`rotator status` shows why; the next run tries again.")
	}
	return nil
}

func (a *cli) runDaemon(ctx context.Context) error {
	a.serves = true
	out := logging.NewQueue(a.stdout, logging.Options{}) // often the same pipe as the log, and as little read
	defer out.Close(flushTime)
	return a.setup().Run(ctx, func(url string) { fmt.Fprintf(out, "listening on %s\n", url) })
}
