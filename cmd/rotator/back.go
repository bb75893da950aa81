package main

import (
	"github.com/spf13/cobra"

	"rotator/internal/follow"
	"rotator/rotation/journal"
)

func (a *cli) abortCommand() *cobra.Command {
	why := ""
	c := a.orderCommand(&cobra.Command{
		Use:   "abort [POLICY...]",
		Short: "Take back a rotation before anything was promoted, or a decommission",
		Long: `Abort discards what is staged and deletes the new key. It is refused once the promote has begun: then rollback is the
way. The policy is held afterwards, or the scheduler would begin again at once.

A policy that is being decommissioned is wanted again: its key is turned on where it is off, and a new one is made where that
is too late. It is not held.`,
		Example: `  rotator abort chat-prod --why "wrong team"
  rotator abort chat-prod search-prod`,
	}, func(*connection, string) (*follow.Task, error) {
		t := carried(journal.OrderAbort, why, "the end of the rotation", follow.Until(journal.Aborted))
		t.Withdraws = true
		return t, nil
	})
	c.Flags().StringVar(&why, "why", "", "`REASON`, for the record")
	return c
}

func (a *cli) rollbackCommand() *cobra.Command {
	why, falseAlarm := "", false
	c := a.orderCommand(&cobra.Command{
		Use:   "rollback [POLICY...]",
		Short: "Give consumers the old key back, retire the new one, and hold the policy",
		Long: `Rollback enables the old key, waits until no disable of it can be on its way and it proves itself, puts it back into
every target, and retires the new key after the overlap. It returns when every target holds the old key; it works while the
delete of that was not begun. A key that was reported compromised is refused, unless --false-alarm takes the report back.
No rotation begins by itself afterwards, until the policy is released.`,
		Example: `  rotator rollback chat-prod --why "the new key is refused by the gateway"
  rotator rollback chat-prod --false-alarm --why "the report was wrong"`,
	}, func(*connection, string) (*follow.Task, error) {
		t := carried(journal.OrderRollback, why, "the old key", follow.Until(journal.Done, journal.Live))
		t.Order.FalseAlarm = falseAlarm
		return t, nil
	})
	c.Flags().StringVar(&why, "why", "", "`REASON`, for the record")
	c.Flags().BoolVar(&falseAlarm, "false-alarm", false, "the old key was reported compromised, and is not")
	return c
}

func (a *cli) reviveCommand() *cobra.Command {
	why := ""
	c := a.orderCommand(&cobra.Command{
		Use:   "revive [POLICY...]",
		Short: "Enable the old key, keep the new one, and hold the policy",
		Long: `Revive is for the consumer that still reads the old key: both keys work, and nothing is disabled or deleted until the
policy is released.`,
		Example: `  rotator revive chat-prod --why "one consumer is late"`,
	}, func(*connection, string) (*follow.Task, error) {
		return carried(journal.OrderRevive, why, "the old key turned on", nil), nil
	})
	c.Flags().StringVar(&why, "why", "", "`REASON`, for the record")
	return c
}
