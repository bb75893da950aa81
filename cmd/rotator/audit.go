package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rotator/internal/audit"
	"rotator/policies"
	"rotator/rotation/journal"
)

func (a *cli) auditCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "audit",
		Short: "Verify and export the trail of all that was done and said",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.auditVerifyCommand(), a.auditExportCommand())
	return c
}

func (a *cli) auditVerifyCommand() *cobra.Command {
	json := false
	var keys []string
	c := &cobra.Command{
		Use:   "verify",
		Short: "Say whether someone changed the journal's audit trail",
		Long: `Verify reads every event, key and checkpoint of the journal, beside the daemon, and names each one that is not as the
rotator wrote it. The exit code is 0 if all are, and 1 if one is not. With audit.seal_key in the configuration, or a public key
given by --key, the checkpoints' signatures are verified too; without, an edit is not found whose author made every later
link and checkpoint again. See docs/audit.md.`,
		Example: `  rotator audit verify
  rotator audit verify --key rotator-audit+5c8f… -o json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.verifyAudit(c.Context(), keys, json) },
	}
	c.Flags().StringArrayVar(&keys, "key", nil, "public `KEY` of checkpoints, such as one that was in force before; may be given again")
	outputFlag(c, &json)
	return c
}

func (a *cli) verifyAudit(ctx context.Context, keys []string, json bool) error {
	report, public, err := a.setup().VerifyAudit(ctx, keys)
	if err != nil {
		return err
	}
	err = a.print(json, report, func(t *table) {
		t.row("FINDING")
		for _, f := range report.Findings {
			t.row(f.String())
		}
		if len(report.Findings) == 0 {
			t.row("none: the trail is whole")
		}
	})
	if err != nil {
		return err
	}
	if !json {
		fmt.Fprintf(a.stdout, "%d events, %d keys, %d checkpoints, %d of them with a verified signature; covered up to event %d\n",
			report.Events, report.Keys, report.Checkpoints, report.Signed, report.Covered)
		if public != "" {
			fmt.Fprintf(a.stdout, "public key: %s\n", public)
		} else if len(keys) == 0 {
			fmt.Fprintln(a.stdout, "without audit.seal_key: an edit whose author made all later links and checkpoints again is not found")
		}
	}
	if !report.OK {
		return failed(fmt.Errorf("%d findings", len(report.Findings)+report.More), "Compare with a backup or with what was exported; docs/audit.md says what each finding means.")
	}
	return nil
}

func (a *cli) auditExportCommand() *cobra.Command {
	var f audit.Filter
	var since, until, kind, format string
	c := &cobra.Command{
		Use:   "export",
		Short: "Write the audit trail to standard output",
		Example: `  rotator audit export --since 2026-11-01 --format csv > november.csv
  rotator audit export --since 24h --policy chat-prod --actor alice`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			now := time.Now()
			var err, err2 error
			f.Since, err = moment(since, now)
			f.Until, err2 = moment(until, now)
			if err = errors.Join(err, err2); err == nil && !slices.Contains(audit.Formats, format) {
				err = fmt.Errorf("--format %s is not known", format)
			}
			if err != nil {
				return usage(err, "Give a day (2026-11-01), an instant in RFC 3339 or a duration (24h, 30d), and one of the formats "+strings.Join(audit.Formats, ", ")+".")
			}
			f.Kind = journal.Kind(kind)
			return a.exportAudit(c.Context(), f, format)
		},
	}
	c.Flags().StringVar(&since, "since", "", "not before this `TIME`: a day, an instant, or so long ago")
	c.Flags().StringVar(&until, "until", "", "before this `TIME`")
	c.Flags().StringVar(&f.Policy, "policy", "", "events of this `POLICY`")
	c.Flags().StringVar(&f.Actor, "actor", "", "events whose author's `NAME` holds this")
	c.Flags().StringVar(&kind, "kind", "", "events of this `KIND`, such as ordered")
	c.Flags().StringVar(&format, "format", "jsonl", "`FORMAT`: "+strings.Join(audit.Formats, ", "))
	return c
}

func (a *cli) exportAudit(ctx context.Context, f audit.Filter, format string) error {
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	w, err := audit.NewWriter(format, a.stdout, host)
	if err != nil {
		return err
	}
	if err := a.setup().ExportAudit(ctx, f, w.Write); err != nil {
		return err
	}
	return w.Flush()
}

// moment reads a day in UTC, an instant, or how long ago; "" is the zero time.
func moment(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	ago, err := policies.ParseDuration(text)
	if err != nil {
		return time.Time{}, fmt.Errorf("invalid time %q", text)
	}
	return now.Add(-ago.Std()), nil
}
