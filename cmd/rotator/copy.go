package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"rotator/internal/config"
	"rotator/rotation/journal"
	"rotator/rotation/journal/sqldb"
)

func (a *app) copyCommand() *cobra.Command {
	var from, to string
	c := &cobra.Command{
		Use:   "copy --from STATE --to STATE",
		Short: "Move the journal to another database",
		Long: `Copy writes the whole journal into an empty one: from SQLite to PostgreSQL, when one machine is no longer enough, or
back. Stop every daemon first: a journal that is in use, on either side, is refused. Then point state in the
configuration at the new one and start again. Nothing is due that was not, and no key is touched.

Both are written as state in the configuration is; a password is a reference, such as ?password=file:PATH. A daemon
that begins with the old journal by mistake creates and destroys nothing until every target was compared.`,
		Example: "  rotator state copy --from sqlite:/var/lib/rotator/rotator.db --to 'postgres://rotator@db/rotator?sslmode=verify-full&password=file:/etc/rotator/db'",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return a.copyState(c.Context(), from, to) },
	}
	c.Flags().StringVar(&from, "from", "", "`STATE` to copy")
	c.Flags().StringVar(&to, "to", "", "empty `STATE` to write")
	for _, flag := range []string{"from", "to"} {
		_ = c.MarkFlagRequired(flag) // fails only for an unknown flag
	}
	return c
}

func (a *app) copyState(ctx context.Context, from, to string) (err error) {
	var states [2]config.State
	for i, side := range [2]struct{ flag, text string }{{"--from", from}, {"--to", to}} {
		if states[i], err = config.ParseState(side.flag, side.text, a.env); err != nil {
			return usage(err, "`rotator help state copy` shows an example.")
		}
	}
	source, err := a.openToCopy(ctx, "--from", states[0], true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	target, err := a.openToCopy(ctx, "--to", states[1], false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	rows, err := sqldb.Copy(ctx, source, target)
	if err != nil {
		return failed(err, copyAdvice(err))
	}
	_, err = fmt.Fprintf(a.stdout, "the journal was copied, %d rows; point `state` in the configuration at the new one before you start again\n", rows)
	return err
}

// openToCopy opens one side. What is copied must be there: opening would begin a new journal.
func (a *app) openToCopy(ctx context.Context, flag string, s config.State, mustExist bool) (*sqldb.DB, error) {
	address, err := s.Address(ctx)
	if err != nil {
		return nil, usage(err, flag+" must name a secret that can be read.")
	}
	o := journalOptions(s)
	if mustExist {
		looking := o
		looking.ReadOnly = true
		db, err := sqldb.Open(ctx, address.Reveal(), looking)
		if err == nil {
			err = db.Close()
		}
		if err != nil {
			return nil, failed(fmt.Errorf("%s: %w", flag, err), copyAdvice(err))
		}
	}
	db, err := sqldb.Open(ctx, address.Reveal(), o)
	if err != nil {
		return nil, failed(fmt.Errorf("%s: %w", flag, err), copyAdvice(err))
	}
	return db, nil
}

func copyAdvice(err error) string {
	switch {
	case errors.Is(err, journal.ErrInUse):
		return "Stop every daemon and command that uses it; then nothing can change while it is copied."
	case errors.Is(err, sqldb.ErrNotEmpty):
		return "Give a database or a file of its own: a copy never mixes with what is there."
	case errors.Is(err, sqldb.ErrNoJournal):
		return "There is no journal to copy."
	case errors.Is(err, journal.ErrNewer), errors.Is(err, sqldb.ErrOlder):
		return "Copy with the version of Rotator that the journal is from."
	}
	return "Both are written as `state` in the configuration is, and must be reached from here."
}
