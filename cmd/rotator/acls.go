package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"rotator/internal/api"
)

func (a *cli) aclsCommand() *cobra.Command {
	json, team := false, ""
	c := &cobra.Command{
		Use:   "acls",
		Short: "Show what the ACLs of policies may name, and what they name that xAI does not offer",
		Long: `Acls asks xAI which models of all kinds, with their aliases, and which endpoints the keys of a team can be given, and says
which policies name each. What policies name and xAI does not offer, any more or at all, comes last as missing, with what
was probably meant; the exit code is then 1. The daemon looks once an hour and sends the event rights_missing.`,
		Example: `  rotator acls
  rotator acls --team research -o json`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(c *cobra.Command, _ []string) error { return a.acls(c.Context(), team, json) },
	}
	c.Flags().StringVar(&team, "team", "", "`NAME` of the only team to ask about")
	outputFlag(c, &json)
	return c
}

func (a *cli) acls(ctx context.Context, team string, json bool) (err error) {
	l, err := a.look(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	rows, err := l.ACLs(ctx, team)
	if err != nil {
		return err
	}
	missing := 0
	var refused []error
	if err := a.print(json, rows, func(t *table) {
		t.row("TEAM", "KIND", "ACL", "ALIASES", "POLICIES", "DETAIL")
		for _, r := range rows {
			if r.Error != nil {
				continue
			}
			t.row(r.Team, or(r.Kind), or(r.ACL), strings.Join(r.Aliases, " "), strings.Join(r.Policies, " "), aclDetail(r))
		}
	}); err != nil {
		return err
	}
	for _, r := range rows {
		switch {
		case r.Error != nil:
			refused = append(refused, errors.New(*r.Error))
		case !r.Offered:
			missing++
		}
	}
	switch {
	case refused != nil:
		return failed(fmt.Errorf("not every team could be asked about: %w", errors.Join(refused...)), "`rotator check` tries each team.")
	case missing > 0:
		return failed(fmt.Errorf("policies name %d that xAI does not offer", missing), "Edit key.acls or verify of the policies, or have xAI give the team what they name.")
	}
	return nil
}

// aclDetail says what is wrong with a right that policies name.
func aclDetail(r api.ACLRow) string {
	switch {
	case r.Offered:
		return ""
	case r.Nearest == nil:
		return "missing: xAI does not offer it"
	}
	return "missing: xAI does not offer it; did you mean " + *r.Nearest + "?"
}
