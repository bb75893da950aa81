package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"rotator/internal/config"
)

func (a *cli) copyCommand() *cobra.Command {
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

func (a *cli) copyState(ctx context.Context, from, to string) (err error) {
	var states [2]config.State
	for i, side := range [2]struct{ flag, text string }{{"--from", from}, {"--to", to}} {
		if states[i], err = config.ParseState(side.flag, side.text, a.env); err != nil {
			return usage(err, "`rotator help state copy` shows an example.")
		}
	}
	rows, err := a.setup().CopyJournal(ctx, states[0], states[1])
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "the journal was copied, %d rows; point `state` in the configuration at the new one before you start again\n", rows)
	return err
}
