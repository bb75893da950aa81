package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"rotator/internal/config"
)

func (a *app) initCommand() *cobra.Command {
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

func (a *app) propose(ctx context.Context, targets []string, dir string) error {
	c, err := config.Load(a.configFile(), a.env)
	if err != nil {
		return err
	}
	w, err := newWorld(ctx, c, nil, noHooks(), a.log)
	if err != nil {
		return err
	}
	f := &finder{world: w, config: c}
	if err := f.list(ctx); err != nil {
		return failed(err, "`rotator check` says more about it.")
	}
	for _, text := range targets {
		if err := f.visit(ctx, text); err != nil {
			return err
		}
	}
	if err := f.complete(ctx); err != nil {
		return err
	}
	if dir == "" {
		for i, p := range f.proposals {
			if i > 0 {
				fmt.Fprintln(a.stdout, "---")
			}
			fmt.Fprint(a.stdout, p.text)
		}
	} else if err := a.writeProposals(dir, f.proposals); err != nil {
		return err
	}
	for _, k := range f.keys {
		if !k.found {
			fmt.Fprintf(a.stderr, "key %s (%s) of team %s: no target named here holds it; name the places where it is read with --target\n", k.key.ID, oneLine(k.key.Name), k.team)
		}
	}
	if len(f.proposals) == 0 {
		return failed(errors.New("there is nothing to propose"), "Name the places where keys are read: rotator init --target STORE:PATH#FIELD")
	}
	return nil
}

// writeProposals writes a file for each policy, or none when one of the names is taken.
func (a *app) writeProposals(dir string, proposals []*proposal) error {
	path := func(p *proposal) string { return filepath.Join(dir, p.policy.Name+".yaml") }
	if i := slices.IndexFunc(proposals, func(p *proposal) bool { _, err := os.Lstat(path(p)); return err == nil }); i >= 0 {
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
		_, err = out.WriteString(p.text)
		if err := errors.Join(err, out.Close()); err != nil {
			return failed(errors.Join(err, os.Remove(path(p))), "") // half a policy is none
		}
		fmt.Fprintln(a.stdout, path(p))
	}
	return nil
}

// slug makes a policy's name of any text.
func slug(text string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(text) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '.', r == '_':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	s := strings.TrimLeft(b.String(), "._-")
	if s = strings.TrimRight(s[:min(len(s), 63)], "-"); s == "" {
		return "policy"
	}
	return s
}
