package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rotator/rotation/journal"
)

// claimFlags are the flags of state claim.
type claimFlags struct {
	moved, asCopy bool
	why           string
}

func (a *cli) claimCommand() *cobra.Command {
	var f claimFlags
	c := &cobra.Command{
		Use:   "claim --moved|--copy --why REASON",
		Short: "Take over a journal that belonged to another installation",
		Long: `Claim is for a journal that was restored, moved or copied: it names the installation that it belongs to, and another one
only compares keys and targets, and changes nothing.

With --moved the original is gone, and this installation goes on in its place, once everything was compared. With --copy the
original still runs: this one lets go of every key and starts fresh beside it, so that it never touches the original's keys.
Stop the daemons first, and start them again afterwards.`,
		Example: "  rotator state claim --moved --why 'the old host is scrapped'\n  rotator state claim --copy --why 'staging, from a copy of production'",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return a.claim(c.Context(), f) },
	}
	c.Flags().BoolVar(&f.moved, "moved", false, "the original is gone: go on in its place")
	c.Flags().BoolVar(&f.asCopy, "copy", false, "the original is still in use: start over beside it, and touch none of its keys")
	c.Flags().StringVar(&f.why, "why", "", "`REASON`, for the record (required)")
	c.MarkFlagsMutuallyExclusive("moved", "copy")
	return c
}

func (f claimFlags) check() error {
	switch {
	case f.moved == f.asCopy:
		return usage(errors.New("neither --moved nor --copy is given"), "Say --moved if the original is gone, --copy if it is still in use.")
	case strings.TrimSpace(f.why) == "":
		return usage(errors.New("--why is missing"), "Say what happened; it is recorded.")
	}
	return nil
}

func (a *cli) claim(ctx context.Context, f claimFlags) (err error) {
	if err := f.check(); err != nil {
		return err
	}
	c, err := a.setup().Configuration()
	if err != nil {
		return err
	}
	name, err := a.setup().Installation(c)
	if err != nil {
		return err
	}
	if name == "" {
		return usage(errors.New("this installation has no name"), "Set `installation` in "+c.File+" first.")
	}
	j, err := a.setup().OpenJournal(ctx, c, false)
	if errors.Is(err, journal.ErrInUse) {
		return failed(err, "Stop the daemon first, and start it again afterwards.")
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	how := "moved"
	if f.asCopy {
		how = "copy"
	}
	now := time.Now()
	e := journal.Event{At: now, Kind: journal.JournalClaimed, Data: map[string]string{"installation": name, "as": how, "why": f.why, "by": a.userName()}}
	if err := j.ClaimInstallation(ctx, now, name, f.asCopy, e); err != nil {
		return failed(err, "Stop every daemon that uses the journal, and try again.")
	}
	_, err = fmt.Fprintf(a.stdout, "the journal is %s's now; start the daemon again\n", name)
	return err
}
