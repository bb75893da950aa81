package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"rotator/internal/app"
	"rotator/policies"
)

func (a *cli) initCommand() *cobra.Command {
	var targets []string
	dir := ""
	c := &cobra.Command{
		Use:   "init [--target STORE:PATH[#FIELD]...]",
		Short: "Propose policies from the keys and targets it finds",
		Long: `Init lists the keys of the configured teams, reads the targets that --target names, and asks each key found there who it
is. It does not search stores for further ones: that would take the right to read secrets that are none of its business.
For each key that targets hold it proposes a policy that adopts it, with the rights that it has now; for targets that are
empty, one that makes their first key. Nothing is changed at xAI or in stores. The proposals go to standard output, or
into files with --write; keys that no target named here holds are listed on standard error.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.propose(c.Context(), targets, dir) },
	}
	c.Flags().StringArrayVar(&targets, "target", nil, "a place where a key is read: `STORE:PATH` or STORE:PATH#FIELD; may be given again")
	c.Flags().StringVar(&dir, "write", "", "write a file for each policy into `DIR`; one that is there is never replaced")
	return c
}

func (a *cli) propose(ctx context.Context, targets []string, dir string) error {
	c, err := a.setup().Configuration()
	if err != nil {
		return err
	}
	f, err := a.setup().Finder(ctx, c)
	if err != nil {
		return err
	}
	if err := f.List(ctx); err != nil {
		return failed(err, "`rotator check` says more about it.")
	}
	for _, text := range targets {
		t, err := parseTarget("--target", text)
		if err != nil {
			return err
		}
		if err := f.Visit(ctx, policies.Target{Store: t.Store, Path: t.Path, Field: t.Field}); err != nil {
			return err
		}
	}
	if err := f.Complete(ctx); err != nil {
		return err
	}
	if dir == "" {
		for i, p := range f.Proposals() {
			if i > 0 {
				fmt.Fprintln(a.stdout, "---")
			}
			fmt.Fprint(a.stdout, p.Text)
		}
	} else if err := a.writeProposals(dir, f.Proposals()); err != nil {
		return err
	}
	for _, k := range f.Unheld() {
		fmt.Fprintf(a.stderr, "key %s (%s) of team %s: no target named here holds it; name the places where it is read with --target\n", k.ID, oneLine(k.Name), k.Team)
	}
	if len(f.Proposals()) == 0 {
		return failed(errors.New("there is nothing to propose"), "Name the places where keys are read: rotator init --target STORE:PATH#FIELD")
	}
	return nil
}

// writeProposals writes a file for each policy, or none when one of the names is taken.
func (a *cli) writeProposals(dir string, proposals []*app.Proposal) error {
	path := func(p *app.Proposal) string { return filepath.Join(dir, p.Policy.Name+".yaml") }
	if i := slices.IndexFunc(proposals, func(p *app.Proposal) bool { _, err := os.Lstat(path(p)); return err == nil }); i >= 0 {
		return failed(fmt.Errorf("%s is there already; nothing was written", path(proposals[i])), "Move it away, or write into another folder.")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return failed(err, "")
	}
	for _, p := range proposals {
		out, err := os.OpenFile(path(p), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return failed(err, "")
		}
		_, err = out.WriteString(p.Text)
		if err := errors.Join(err, out.Close()); err != nil {
			return failed(errors.Join(err, os.Remove(path(p))), "") // half a policy is none
		}
		fmt.Fprintln(a.stdout, path(p))
	}
	return nil
}
