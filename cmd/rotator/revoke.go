package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"rotator/internal/api"
	"rotator/internal/follow"
	"rotator/rotation/journal"
)

type revokeFlags struct {
	orderFlags
	accept, yes bool
	why         string
}

func (a *cli) revokeCommand() *cobra.Command {
	var f revokeFlags
	c := &cobra.Command{
		Use:   "revoke KEY --accept-outage --why REASON",
		Short: "Turn a key off now, whatever reads it",
		Long: `Revoke is the kill switch for a key that leaked: the key with this id is turned off at once, or deleted where xAI does not
turn it off, whatever reads it, and whatever a hold, a freeze or a clock says. Consumers that still read it are cut off until
the new key is there, which is made at once. Only the key's id and name and the management key are checked. What was asked for
stays wanted, through restarts and edits, until the key is seen off or gone.

rotator rotate POLICY --compromised replaces the key first, and turns it off when no target holds it any more.
On a terminal it asks twice; --yes answers.`,
		Example: `  rotator revoke 5f6c9f3a-7f0e-4f3e-9d59-2f1f6f6b3f10 --accept-outage --why "posted in a public repository"
  rotator revoke 5f6c9f3a-7f0e-4f3e-9d59-2f1f6f6b3f10 --accept-outage --why "ticket 4711" --yes -o json`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return a.revoke(c.Context(), c.InOrStdin(), args[0], f) },
	}
	c.Flags().BoolVar(&f.accept, "accept-outage", false, "consumers that read the key are cut off (required)")
	c.Flags().StringVar(&f.why, "why", "", "`REASON`, for the record (required)")
	c.Flags().BoolVar(&f.yes, "yes", false, "do not ask")
	c.Flags().DurationVar(&f.timeout, "timeout", 0, "stop waiting after this `DURATION`, such as 10m; the request stays in effect")
	outputFlag(c, &f.json)
	return c
}

func (a *cli) revoke(ctx context.Context, in io.Reader, id string, f revokeFlags) (err error) {
	known, err := a.knownKey(ctx, id)
	switch {
	case err != nil:
		return err
	case !f.accept:
		return usage(fmt.Errorf("%s: revoked, it stops working there at once", known.Says()),
			"--accept-outage says that this is accepted; `rotator rotate "+known.Policy+" --compromised --why REASON` replaces it first.")
	case f.why == "":
		return usage(errors.New("--why is missing"), "Say what happened; it is recorded with the key.")
	}
	if !f.yes && a.asks(in) {
		fmt.Fprintln(a.stderr, known.Says()+".")
		if !a.confirm(ctx, in, "Disable this key now, for every consumer? [y/N] ") || !a.confirm(ctx, in, "Consumers fail until a new key is in place. Continue? [y/N] ") {
			return failed(errors.New("nothing was revoked"), "")
		}
	}
	l, err := a.act(ctx, known.Policy)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	return a.followed(ctx, l, []string{known.Policy}, f.orderFlags, func(*connection, string) (*follow.Task, error) {
		t := carried(journal.OrderRevoke, f.why, "the end of key "+id, nil)
		t.Order.KeyIDs, t.Order.AcceptOutage, t.Key = []string{id}, true, id
		t.Seen = func(row api.StatusRow) (bool, string) {
			open := slices.ContainsFunc(row.Wanted, func(w api.WantedRow) bool { return w.What == string(journal.OrderRevoke) && or(w.KeyID) == id })
			return !open, "the key is off or gone"
		}
		return t, nil
	})
}

// knownKey asks which key of the journal has that id.
func (a *cli) knownKey(ctx context.Context, id string) (row api.KnownKeyRow, err error) {
	l, err := a.look(ctx)
	if err != nil {
		return row, err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	return l.Key(ctx, id)
}
