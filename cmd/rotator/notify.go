package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

func (a *cli) notifyCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "notify",
		Short: "Look after the channels that people are told over",
		Args:  cobra.NoArgs,
	}
	json := false
	test := &cobra.Command{
		Use:   "test [CHANNEL...]",
		Short: "Send a test message over channels",
		Long: `Test sends a message over each of the channels that are named, over all when none is, and says which took it. It reads the
configuration itself, and needs no daemon. The exit code is 0 only if every channel took the message.`,
		Example: `  rotator notify test
  rotator notify test oncall -o json`,
		RunE: func(c *cobra.Command, names []string) error { return a.notifyTest(c.Context(), names, json) },
	}
	outputFlag(test, &json)
	c.AddCommand(test)
	return c
}

func (a *cli) notifyTest(ctx context.Context, names []string, json bool) error {
	rows, err := a.setup().TestNotify(ctx, names)
	if err != nil {
		return err
	}
	bad := 0
	for _, r := range rows {
		if !r.OK {
			bad++
		}
	}
	err = a.print(json, rows, func(t *table) {
		t.row("CHANNEL", "TYPE", "RESULT", "DETAIL")
		for _, r := range rows {
			result := "sent"
			if !r.OK {
				result = "failed"
			}
			t.row(r.Channel, r.Type, result, or(r.Error))
		}
	})
	if err == nil && bad > 0 {
		err = failed(fmt.Errorf("%d of %d channels did not take the message", bad, len(rows)), "See `notify` in the configuration, and docs/notifications.md.")
	}
	return errors.Join(err)
}
