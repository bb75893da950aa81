package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"rotator/internal/api"
	"rotator/internal/app"
)

func (a *cli) checkCommand() *cobra.Command {
	json, live, permissions, store := false, false, false, ""
	var restarts []string
	c := &cobra.Command{
		Use:   "check",
		Short: "Check configuration, policies, management keys and rights in stores",
		Long: `Check reads configuration and policies, asks xAI what each management key may do and which models and endpoints a team
has, and tries in each store whether each target could be written. A policy that its folder may not have (policies[].allow in
rotator.yaml) is refused by the name of the rule. Nothing is changed. A warning is a danger that is no
error, such as a second writer of a target; it does not change the exit code. Where a daemon runs, it is the
daemon that asks, with its own rights.

With --live it instead takes a key with the least rights through its whole life at xAI, says of each assumption about xAI
whether it holds, measures the delays, and deletes the key.

With --permissions it instead prints the least rights that it all needs, each in its own language: policies of Vault and
IAM, Roles of Kubernetes, folders, and what a management key is for. It reads the configuration and the policies, but no
secret, and makes no call: use it before there is any login. With --store only those in one store are printed; a document
that is alone and of JSON comes without the comments above it. Which workloads Secrets of Kubernetes restart is in their
annotations, which it does not read: name them with --restart.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			switch {
			case live:
				return a.checkLive(c.Context(), json)
			case permissions:
				return a.permissions(json, store, restarts)
			case store != "" || len(restarts) > 0:
				return usage(errors.New("--store and --restart go with --permissions"), "Without them everything is checked.")
			}
			return a.check(c.Context(), json)
		},
	}
	c.Flags().BoolVar(&live, "live", false, "rehearse a key's whole life at xAI, for one policy of each team")
	c.Flags().BoolVar(&permissions, "permissions", false, "print the least rights needed in each store and at xAI")
	c.Flags().StringVar(&store, "store", "", "`NAME` of the only store whose rights are printed")
	c.Flags().StringArrayVar(&restarts, "restart", nil, "`NAMESPACE/KIND/NAME` of a workload that a Secret restarts; may be given again")
	c.MarkFlagsMutuallyExclusive("live", "permissions")
	outputFlag(c, &json)
	return c
}

func (a *cli) check(ctx context.Context, json bool) error {
	f, err := a.setup().ReadFiles()
	if err != nil {
		return err
	}
	client, daemon, err := dial(ctx, f.Config.Socket)
	if err != nil {
		return err
	}
	if !daemon {
		p, err := a.setup().OpenToCheck(ctx, f)
		if err != nil {
			return err
		}
		defer func() { _ = p.Close() }() // it only reads
		client = p.Client()
	}
	rows, err := client.Check(ctx)
	if err != nil {
		return err
	}
	rows = append([]api.CheckRow{
		{Subject: "configuration " + f.Config.File, Result: api.CheckOK},
		{Subject: fmt.Sprintf("%s in %s", app.CountPolicies(len(f.Policies)), f.Config.Policies), Result: api.CheckOK},
	}, rows...)
	if err := a.print(json, rows, func(t *table) {
		t.row("RESULT", "SUBJECT", "DETAIL")
		for _, r := range rows {
			t.row(r.Result, r.Subject, joined(r.Detail, r.Do))
		}
	}); err != nil {
		return err
	}
	if slices.ContainsFunc(rows, func(r api.CheckRow) bool { return r.Result == api.CheckProblem }) {
		return failed(errors.New("problems were found"), "Each line marked problem says what would be right.")
	}
	return nil
}
