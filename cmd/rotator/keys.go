package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rotator/internal/api"
	"rotator/policies"
)

func (a *cli) keysCommand() *cobra.Command {
	json, unused := false, ""
	var q api.KeysQuery
	c := &cobra.Command{
		Use:   "keys [TEAM]",
		Short: "Show all keys of a team, or of every team, and what each is to the rotator",
		Long: `Keys asks xAI for the keys of a team. The kinds: managed (in use), predecessor (to be retired), in_doubt (of a create
whose outcome is not settled; will be deleted), orphan (has the rotator's prefix, and the journal has no such create;
reported, never deleted; see keys adopt) and unmanaged (someone else's). RIGHTS shows "all" for a key that can use every
model and every endpoint; -o json has its ACLs, and the targets that were seen to hold it.

With --unused-for only keys are shown that are older than that and were not used meanwhile, as xAI's billing has it. USE is none
where billing reports the key without use, none seen where it names other keys of the team and not this one, and unknown where
nothing can be said. Before you delete a key by hand in xAI's
console, ask its creator, and disable it for a while first. A key of a policy goes with rotator decommission.`,
		Example: `  rotator keys research
  rotator keys --unused-for 30d
  rotator keys --unmanaged --wide -o json`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, args []string) error {
			q.Team = strings.Join(args, "")
			if c.Flags().Changed("unused-for") {
				d, err := policies.ParseDuration(unused)
				if err != nil || d < policies.Duration(24*time.Hour) || d > policies.Duration(365*24*time.Hour) {
					return usage(fmt.Errorf("--unused-for %q is not a length of time from 1d to 365d", unused), "For a month, --unused-for 30d.")
				}
				q.UnusedFor = d.Std()
			}
			return a.keys(c.Context(), q, json)
		},
	}
	c.Flags().StringVar(&unused, "unused-for", "", "only keys older than this `TIME`, such as 30d, and unused during it")
	c.Flags().BoolVar(&q.Wide, "wide", false, "only keys that may use every model by every endpoint")
	c.Flags().BoolVar(&q.Unmanaged, "unmanaged", false, "only keys that the rotator has nothing to do with")
	outputFlag(c, &json)
	c.AddCommand(a.adoptCommand())
	return c
}

func (a *cli) keys(ctx context.Context, q api.KeysQuery, json bool) (err error) {
	l, err := a.look(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	rows, err := l.Keys(ctx, q)
	if err != nil {
		return err
	}
	err = a.print(json, rows, func(t *table) {
		cells := []string{"TEAM", "KEY", "KIND", "POLICY", "CREATED", "EXPIRES", "CREATOR", "RIGHTS", "DISABLED", "NAME"}
		if q.UnusedFor > 0 {
			cells = append(cells, "USE")
		}
		t.row(cells...)
		for _, r := range rows {
			if r.Error == nil {
				t.row(keyCells(r)...)
			}
		}
	})
	var refused []error
	for _, r := range rows {
		if r.Error != nil {
			refused = append(refused, errors.New(*r.Error))
		}
	}
	if err == nil && len(rows) > len(refused) && (q.Wide || q.UnusedFor > 0) {
		fmt.Fprintln(a.stderr, tidyAdvice(q))
	}
	if err == nil && refused != nil {
		err = failed(fmt.Errorf("not every team's keys could be listed: %w", errors.Join(refused...)), "`rotator check` tries each team.")
	}
	return err
}

// tidyAdvice says what to do about keys that were asked for by what is wrong with them. Nothing is done about them by itself.
func tidyAdvice(q api.KeysQuery) string {
	var advice []string
	if q.UnusedFor > 0 {
		advice = append(advice, "Before you delete an unused key in xAI's console, ask its creator, and disable it for a while; a policy's goes with `rotator decommission`.")
	}
	if q.Wide {
		advice = append(advice, "Give a policy's key fewer rights by key.acls; `rotator acls` lists what there is. Other keys are edited in xAI's console.")
	}
	return strings.Join(advice, "\n")
}

// keyCells are the cells of a key's line.
func keyCells(r api.KeyRow) []string {
	disabled, rights := "", fmt.Sprint(len(r.ACLs))
	if r.Disabled {
		disabled = "yes"
	}
	if r.Wide {
		rights = "all"
	}
	cells := []string{r.Team, or(r.KeyID), or(r.Kind), or(r.Policy), when(r.Created), when(r.Expires), or(r.Creator), rights, disabled, or(r.Name)}
	if r.Use != nil {
		cells = append(cells, strings.ReplaceAll(*r.Use, "_", " "))
	}
	return cells
}
