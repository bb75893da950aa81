package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"rotator/internal/api"
)

// selectFlags are the flags by which commands select policies, beside naming them.
type selectFlags struct {
	api.Selection
	all bool
}

// selectorHelp ends the help of each command that has them.
const selectorHelp = `

Policies are selected by name, or by --all, --team, --owner, --label, --store and --key-id. Different ones narrow; the same one
given again widens, except --label: a policy has to have all of them.`

func (f *selectFlags) add(a *cli, c *cobra.Command) {
	c.Flags().BoolVar(&f.all, "all", false, "every policy")
	for _, flag := range []struct {
		to                *[]string
		name, value, what string
	}{
		{&f.Teams, "team", "TEAM", "policies of this"},
		{&f.Owners, "owner", "OWNER", "policies of this"},
		{&f.Labels, "label", "KEY=VALUE", "policies with this label:"},
		{&f.Stores, "store", "STORE", "policies with a target in this"},
		{&f.KeyIDs, "key-id", "ID", "the policy of the key with this"},
	} {
		c.Flags().StringArrayVar(flag.to, flag.name, nil, flag.what+" `"+flag.value+"`")
		_ = c.RegisterFlagCompletionFunc(flag.name, a.completeValues(flag.name)) // fails only for an unknown flag
	}
	c.Long = strings.TrimSpace(orShort(c) + selectorHelp)
}

func orShort(c *cobra.Command) string {
	if c.Long == "" {
		return c.Short + "."
	}
	return c.Long
}

// with is the selection that the flags and the names make.
func (f *selectFlags) with(names []string) (api.Selection, error) {
	s := f.Selection
	s.Policies = names
	if f.all && !s.Empty() {
		return s, usage(errors.New("--all means every policy, and something else narrows it"), "Leave --all out.")
	}
	return s, nil
}

// selected returns the names of the policies that a command is to act on. Policies that no file has any more are passed over,
// unless they are named.
func (a *cli) selected(ctx context.Context, f *selectFlags, names []string) (found []string, err error) {
	only, err := f.with(names)
	switch {
	case err != nil:
		return nil, err
	case only.Empty() && !f.all:
		return nil, usage(errors.New("no policy is named"), "Name policies, or select them: --all, --team, --owner, --label, --store, --key-id.")
	case len(f.Selection.KeyIDs)+len(f.Teams)+len(f.Owners)+len(f.Labels)+len(f.Stores) == 0 && !f.all:
		return names, nil
	}
	l, err := a.look(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	rows, err := l.Select(ctx, only)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		if r.State != api.StateRemoved || len(names) > 0 {
			found = append(found, r.Policy)
		}
	}
	if len(found) == 0 && len(rows) > 0 {
		return nil, usage(errors.New("the policies that match are in no file any more: "+listed(policiesOf(rows))), "Name those that are meant.")
	}
	if len(found) == 0 {
		return nil, usage(errors.New("no policy is selected"), "`rotator status` shows the policies that there are.")
	}
	return found, nil
}

// agreed asks on a terminal whether all the policies are meant, where they were selected and not named.
func (a *cli) agreed(ctx context.Context, in io.Reader, command string, names []string) bool {
	if !a.asks(in) {
		return true
	}
	fmt.Fprintf(a.stderr, "%s: %s\n", command, listed(names))
	what := fmt.Sprintf("these %d policies", len(names))
	if len(names) == 1 {
		what = "this policy"
	}
	return a.confirm(ctx, in, "Go on with "+what+"? [y/N] ")
}

func policiesOf(rows []api.StatusRow) (names []string) {
	for _, r := range rows {
		names = append(names, r.Policy)
	}
	return names
}

// listed are names in one line, of many the first.
func listed(names []string) string {
	const most = 50
	if more := len(names) - most; more > 0 {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", more)
	}
	return strings.Join(names, ", ")
}

// completeValues proposes what policies have, for a flag that selects by it.
func (a *cli) completeValues(flag string) cobra.CompletionFunc {
	return func(c *cobra.Command, _ []string, _ string) (values []string, _ cobra.ShellCompDirective) {
		l, err := a.look(c.Context())
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer func() { _ = l.close() }() // only read
		rows, _ := l.Status(c.Context()) // nothing is proposed when it fails
		for _, r := range rows {
			values = append(values, valuesOf(r, flag)...)
		}
		slices.Sort(values)
		return slices.Compact(values), cobra.ShellCompDirectiveNoFileComp
	}
}

func valuesOf(r api.StatusRow, flag string) (values []string) {
	switch flag {
	case "team":
		return []string{r.Team}
	case "owner":
		if r.Owner != nil {
			return []string{*r.Owner}
		}
	case "label":
		for key, value := range r.Labels {
			values = append(values, key+"="+value)
		}
	case "store":
		for _, t := range r.Targets {
			store, _, _ := strings.Cut(t.Target, ":")
			values = append(values, store)
		}
	case "key-id":
		if r.KeyID != nil {
			return []string{*r.KeyID}
		}
	}
	return values
}
