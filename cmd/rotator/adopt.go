package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"rotator/internal/api"
	"rotator/internal/app"
	"rotator/internal/follow"
	"rotator/policies"
	"rotator/rotation/journal"
)

type adoptFlags struct {
	keys      []string
	why       string
	yes, json bool
}

func (a *cli) adoptCommand() *cobra.Command {
	var f adoptFlags
	c := &cobra.Command{
		Use:   "adopt [POLICY...]",
		Short: "Rebuild a lost journal from what targets hold and xAI lists",
		Long: `Adopt is for a journal that was lost, or that lost its last commits. It reads every target, asks each key found there
who it is, lists the teams' keys, and says what each key would become: current (what the targets hold: the policy's key in
use), predecessor (has a name that the rotator gave for this policy, and no target holds it: off after a full overlap,
deleted after the soak), left (not touched) or waits (a human has to act first). Nothing is recorded before you agree, on
a terminal or with --yes; xAI and the stores are not changed by the command itself.

Keys of another installation that rotates policies of the same names in the same team look exactly like predecessors:
agree to the keys that are this one's with --key. What was agreed to can be stopped until the overlap is over with hold,
and is turned on again by revive until the soak is over. Adopting twice is the same as once.`,
		ValidArgsFunction: a.completePolicies,
		RunE:              func(c *cobra.Command, names []string) error { return a.adopt(c.Context(), c.InOrStdin(), names, f) },
	}
	c.Flags().StringArrayVar(&f.keys, "key", nil, "adopt only the key with this `ID`; may be given again")
	c.Flags().StringVar(&f.why, "why", "", "`REASON`, for the record")
	c.Flags().BoolVar(&f.yes, "yes", false, "agree to what would be adopted, without being asked")
	outputFlag(c, &f.json)
	return c
}

func (a *cli) adopt(ctx context.Context, in io.Reader, names []string, f adoptFlags) error {
	rows, err := a.adoptions(ctx, names)
	if err != nil {
		return err
	}
	agreed, err := f.agreed(rows)
	if err != nil {
		return err
	}
	if err := a.print(f.json, rows, func(t *table) {
		t.row("POLICY", "KEY", "AS", "CREATED", "NAME", "WHY")
		for _, r := range rows {
			t.row(or(r.Policy), or(r.KeyID), r.As, when(r.Created), or(r.Name), r.Why)
		}
	}); err != nil {
		return err
	}
	switch {
	case len(agreed) == 0:
		fmt.Fprintln(a.stderr, "there is nothing to adopt")
	case f.yes || !f.json && a.confirm(ctx, in, "Record this? [y/N] "):
		if err := a.agree(ctx, agreed, f); err != nil {
			return err
		}
	default:
		fmt.Fprintln(a.stderr, "nothing was recorded; --yes agrees to it")
	}
	return waitingAdoptions(rows)
}

// adoptions asks what would be adopted. A journal that is not there yet is none that has to be made for it.
func (a *cli) adoptions(ctx context.Context, names []string) (rows []api.AdoptionRow, err error) {
	a.warnOfFiles()
	l, err := a.look(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	return l.Adoptions(ctx, names...)
}

// agreed returns policy → the keys of it to adopt: all that can be, or those of --key.
func (f adoptFlags) agreed(rows []api.AdoptionRow) (map[string][]string, error) {
	agreed := make(map[string][]string)
	left := slices.Clone(f.keys)
	for _, r := range rows {
		id := or(r.KeyID)
		adoptable := r.As == app.AdoptCurrent || r.As == app.AdoptPredecessor
		if !adoptable || len(f.keys) > 0 && !slices.Contains(f.keys, id) {
			continue
		}
		agreed[*r.Policy] = append(agreed[*r.Policy], id)
		left = slices.DeleteFunc(left, func(k string) bool { return k == id })
	}
	switch {
	case len(left) > 0 && policies.HoldsKey(left[0]):
		return nil, usage(errors.New("--key holds a key of xAI's, and takes the id of one"), "Others may have read it there: have it replaced.")
	case len(left) > 0:
		return nil, usage(fmt.Errorf("--key %s: it is not one that would be adopted", left[0]), "Without --key the command lists those.")
	}
	return agreed, nil
}

// asks reports whether there is a terminal to ask on.
func (a *cli) asks(in io.Reader) bool {
	f, ok := in.(*os.File)
	return ok && terminal(f)
}

// confirm asks on a terminal. Elsewhere no one can answer, and silence is no.
func (a *cli) confirm(ctx context.Context, in io.Reader, question string) bool {
	if !a.asks(in) {
		return false
	}
	fmt.Fprint(a.stderr, question)
	answer := make(chan string, 1)
	go func() { // a read from a terminal cannot be called off: it ends with the program
		line, _ := bufio.NewReader(in).ReadString('\n')
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case said := <-answer:
		return said == "y" || said == "yes"
	case <-ctx.Done():
		return false
	}
}

// agree gives the orders and follows them. What happens is reported beside the answer.
func (a *cli) agree(ctx context.Context, agreed map[string][]string, f adoptFlags) (err error) {
	names := slices.Sorted(maps.Keys(agreed))
	l, err := a.act(ctx, names...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	var tasks []*follow.Task
	for _, name := range names {
		tasks = append(tasks, &follow.Task{Order: api.OrderRequest{
			Policy: name, Kind: string(journal.OrderResolve), Decision: string(journal.Adopt), KeyIDs: agreed[name], Why: f.why, By: a.userName(),
		}})
	}
	beside := *a
	if f.json {
		beside.stdout = a.stderr
	}
	rows, err := beside.follow(ctx, l, 0, tasks, nil)
	if err != nil {
		return err
	}
	if l.alone != nil {
		beside.sayWhoRetires(ctx, l, rows)
	}
	return nil
}

// waitingAdoptions is the error of policies for which a human has to act first.
func waitingAdoptions(rows []api.AdoptionRow) error {
	var names []string
	for _, r := range rows {
		if r.As == app.AdoptWaits {
			names = append(names, *r.Policy)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return waiting(fmt.Errorf("not adopted: %s", strings.Join(slices.Compact(names), ", ")), "Each line that waits says what has to be done first; then adopt again.")
}
