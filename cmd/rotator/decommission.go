package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"rotator/internal/api"
	"rotator/internal/follow"
	"rotator/rotation/journal"
)

func (a *cli) decommissionCommand() *cobra.Command {
	accept, why, wait := false, "", "none"
	c := a.orderCommand(&cobra.Command{
		Use:   "decommission [POLICY...]",
		Short: "End policies: turn their keys off and delete them, without a successor",
		Long: `Decommission retires the keys of a policy that is no longer wanted, whether it is still in a file or was removed. No
new rotation will start. Each key is turned off once xAI's usage proves that no one needs it (retire.require_idle, else 24h), or
at once with --accept-outage; it is deleted after the soak. A hold, a freeze, and a target of another policy that holds the key
keep it as it is. What stays in the policy's own targets is the value of a key that is dead: stores cannot remove it.

It stays wanted through restarts until all keys are gone. rotator abort takes it back, as long as the key was not deleted:
then the key is turned on again. A policy that is still in a file stays decommissioned until then, or until the file goes.`,
		Example: `  rotator decommission chat-old --why "the service was shut down"
  rotator decommission chat-old search-old --accept-outage --why "no longer used"
  rotator decommission chat-old --why "shut down" --wait retired --timeout 48h`,
	}, func(*connection, string) (*follow.Task, error) {
		switch {
		case why == "":
			return nil, usage(errors.New("--why is missing"), "Say why the policy ends; it is recorded with it.")
		case wait != "none" && wait != "retired":
			return nil, usage(fmt.Errorf("--wait %s is not known", wait), "Give retired or none.")
		}
		t := carried(journal.OrderDecommission, why, "the end of its keys", nil)
		t.Order.AcceptOutage = accept
		t.Seen = func(row api.StatusRow) (bool, string) { return decommissioned(row, wait == "retired") }
		return t, nil
	})
	c.Flags().BoolVar(&accept, "accept-outage", false, "consumers that still read the keys are cut off")
	c.Flags().StringVar(&why, "why", "", "`REASON`, for the record (required)")
	c.Flags().StringVar(&wait, "wait", wait, "return at this `POINT`: none (at once) or retired (all keys are gone)")
	_ = c.RegisterFlagCompletionFunc("wait", cobra.FixedCompletions([]string{"none", "retired"}, cobra.ShellCompDirectiveNoFileComp)) // fails only for an unknown flag
	return c
}

// decommissioned reports whether a policy is as far as asked, and says what follows.
func decommissioned(row api.StatusRow, toTheEnd bool) (bool, string) {
	i := slices.IndexFunc(row.Wanted, func(w api.WantedRow) bool { return w.What == string(journal.OrderDecommission) })
	switch {
	case i < 0 && row.State == api.StateRemoved:
		return true, "its keys are gone; `rotator forget " + row.Policy + "` drops it"
	case i < 0:
		return false, ""
	case row.Wanted[i].Done != nil:
		return true, "its keys are gone; remove it from its file, and what is left in its targets"
	case toTheEnd:
		return false, ""
	}
	return true, "no new rotation will start; its keys are turned off when nothing uses them, and deleted after the soak; `rotator abort " + row.Policy + "` takes that back"
}
