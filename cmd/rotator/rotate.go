package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"rotator/internal/follow"
	"rotator/rotation/journal"
)

// rotateFlags are the flags of rotate.
type rotateFlags struct {
	orderFlags
	compromised, supersede bool
	dryRun                 bool
	key, why, wait         string
}

func (a *cli) rotateCommand() *cobra.Command {
	var f rotateFlags
	var c *cobra.Command
	c = a.orderCommandOf(&cobra.Command{
		Use:   "rotate [POLICY...]",
		Short: "Rotate policies now",
		Long: `Rotate begins a rotation of each policy at once, or joins the one that is on its way to live, and returns when every
new key is live. What cannot be carried out is refused at once, and does not stop the other policies. At the end there is a
row for each policy, also after Ctrl-C. The exit code is 0 only if every policy reached the goal.

While the last rotation's old key is not deleted, rotate is refused, unless --supersede is given: then both old keys are kept
until the newest is live. With --compromised a hold is lifted, the key is never promoted or turned on again, and it is
disabled as soon as every target reads another one; rotator revoke turns it off before that. On a terminal, --compromised shows what
will be replaced and what reads it, and asks; --dry-run shows that and does nothing.

Without a daemon the command does the work itself. With one, Ctrl-C and --timeout stop looking and the daemon goes on; a
daemon that is restarted meanwhile is waited for, up to a minute.`,
		Example: `  rotator rotate chat-prod
  rotator rotate chat-prod search-prod --why "quarterly" --timeout 15m
  rotator rotate chat-prod --compromised --why "pasted into a ticket"
  rotator rotate --team research --label tier=dev --compromised --why "laptop stolen" --dry-run
  rotator rotate chat-prod --wait retired -o json`,
	}, &f.orderFlags, func(l *connection, policy string) (*follow.Task, error) {
		t, err := f.task()
		if err == nil && l != nil && f.compromised && f.key == "" { // the key that selects the policy is the one that leaked
			selected, _ := c.Flags().GetStringArray("key-id") // there is such a flag
			t.Order.KeyIDs, err = keyOf(c.Context(), l, policy, selected)
		}
		return t, err
	})
	rotate := c.RunE
	c.RunE = func(c *cobra.Command, names []string) error {
		asks := f.compromised && !f.yes && a.asks(c.InOrStdin())
		if !f.dryRun && !asks {
			return rotate(c, names)
		}
		if _, err := f.task(); err != nil {
			return err
		}
		return a.previewed(c, names, &f, func(selected []string) error {
			f.all, f.yes = false, true
			return rotate(c, selected)
		})
	}
	c.Flags().BoolVar(&f.dryRun, "dry-run", false, "show what would be replaced and what reads it, and do nothing")
	c.Flags().BoolVar(&f.compromised, "compromised", false, "the key leaked: no overlap, it is disabled as soon as another is live; lifts a hold; needs --why")
	c.Flags().StringVar(&f.key, "key", "", "`ID` of the key that leaked, if it is not the one that consumers read; with --compromised")
	c.Flags().BoolVar(&f.supersede, "supersede", false, "also while the last rotation's old key is not deleted")
	c.Flags().StringVar(&f.why, "why", "", "`REASON`, for the record")
	c.Flags().StringVar(&f.wait, "wait", "live", "return at this `POINT`: live, retired (all is done) or none (at once)")
	_ = c.RegisterFlagCompletionFunc("wait", cobra.FixedCompletions([]string{"live", "retired", "none"}, cobra.ShellCompDirectiveNoFileComp)) // fails only for an unknown flag
	return c
}

// replaced is a key that a rotation would replace.
type replaced struct {
	Policy  string   `json:"policy"`
	KeyID   *string  `json:"key_id"`  // null: no key is in use yet
	Targets []string `json:"targets"` // that were seen to hold it: store:path#field
	Hold    *string  `json:"hold"`    // why the policy is held; null: it is not
	Health  string   `json:"health"`  // of the policy
	Off     string   `json:"old_key"` // what becomes of the key
}

// previewed shows what would be replaced and, unless nothing is to be done, asks and goes on.
func (a *cli) previewed(c *cobra.Command, named []string, f *rotateFlags, then func(names []string) error) error {
	names, err := a.selected(c.Context(), &f.selectFlags, named)
	if err != nil {
		return err
	}
	rows, err := a.replacedBy(c.Context(), names, f.compromised)
	if err != nil {
		return err
	}
	to := *a
	if !f.dryRun {
		to.stdout = a.stderr
	}
	err = to.print(f.json && f.dryRun, rows, func(t *table) {
		t.row("POLICY", "KEY", "READ FROM", "OLD KEY", "HELD", "HEALTH")
		for _, r := range rows {
			t.row(r.Policy, or(r.KeyID), strings.Join(r.Targets, ", "), r.Off, or(r.Hold), r.Health)
		}
	})
	if err != nil || f.dryRun {
		return err
	}
	if !a.confirm(c.Context(), c.InOrStdin(), fmt.Sprintf("Replace %d keys now? [y/N] ", len(rows))) {
		return failed(errors.New("nothing was done"), "")
	}
	return then(names)
}

func (a *cli) replacedBy(ctx context.Context, names []string, compromised bool) (rows []replaced, err error) {
	l, err := a.look(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	policies, err := l.Status(ctx, names...)
	if err != nil {
		return nil, err
	}
	for _, p := range policies {
		r := replaced{Policy: p.Policy, KeyID: p.KeyID, Targets: []string{}, Health: p.Health, Off: "works through the overlap"}
		if compromised {
			r.Off = "off as soon as every target has the new one"
		}
		if p.Hold != nil {
			r.Hold = &p.Hold.Reason
		}
		for _, t := range p.Targets {
			if p.KeyID != nil && or(t.Holds) == *p.KeyID {
				r.Targets = append(r.Targets, t.Target)
			}
		}
		rows = append(rows, r)
	}
	return rows, nil
}

func (f rotateFlags) task() (*follow.Task, error) {
	switch {
	case f.compromised && f.why == "":
		return nil, usage(errors.New("--compromised needs --why"), "Say what happened; it is recorded with the rotation.")
	case f.key != "" && !f.compromised:
		return nil, usage(errors.New("--key goes with --compromised"), "It says which key is known to others.")
	case !slices.Contains([]string{"live", "retired", "none"}, f.wait):
		return nil, usage(fmt.Errorf("--wait %s is not known", f.wait), "Give live, retired or none.")
	}
	t := carried(journal.OrderRotate, f.why, "a new key", map[string]follow.Goal{"live": follow.Live, "retired": follow.Until(journal.Done)}[f.wait])
	t.Order.Trigger, t.Order.Supersede = string(journal.ByHand), f.supersede
	if f.compromised {
		t.Order.Trigger = string(journal.ByCompromise)
	}
	if f.key != "" {
		t.Order.KeyIDs = []string{f.key}
	}
	return t, nil
}

// keyOf returns the one of the keys that is the policy's.
func keyOf(ctx context.Context, l *connection, policy string, ids []string) (of []string, err error) {
	for _, id := range ids {
		k, err := l.Key(ctx, id)
		if err != nil {
			return nil, err
		}
		if k.Policy == policy {
			of = append(of, id)
		}
	}
	if len(of) > 1 {
		return nil, usage(fmt.Errorf("%s has %d of the keys", policy, len(of)), "Report one key of a policy at a time.")
	}
	return of, nil
}
