package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rotator/internal/api"
	"rotator/policies"
)

func (a *cli) holdCommand() *cobra.Command {
	reason, until := "", ""
	c := &cobra.Command{
		Use:   "hold POLICY...",
		Short: "Keep policies from beginning rotations, and from disabling and deleting keys",
		Long: `Hold stops new rotations, disable and delete of the policies, until they are released or the time has come. A promote
that has begun goes on: half-way is no place to stay.`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completePolicies,
		RunE: func(c *cobra.Command, names []string) error {
			return a.hold(c.Context(), names, reason, until)
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "`REASON`, for whoever finds the policies held (required)")
	c.Flags().StringVar(&until, "until", "", "release by itself at this `TIME` (2026-12-01T08:00:00Z), or after this duration (12h, 3d)")
	return c
}

func (a *cli) hold(ctx context.Context, names []string, reason, until string) error {
	if reason == "" {
		return usage(errors.New("--reason is missing"), "Say why: whoever finds the policy held wants to know.")
	}
	h := api.HoldRequest{Reason: reason, By: a.userName()}
	if until != "" {
		at, err := parseUntil(until, time.Now())
		if err != nil {
			return err
		}
		h.Until = &at
	}
	return a.each(ctx, names, func(l *connection, name string) error {
		h.Policy = name
		if err := l.Hold(ctx, h); err != nil {
			return err
		}
		fmt.Fprintf(a.stdout, "%s: held; `rotator release %s` lets it go on\n", name, name)
		return nil
	})
}

func (a *cli) releaseCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "release POLICY...",
		Short:             "Let held policies go on",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completePolicies,
		RunE: func(c *cobra.Command, names []string) error {
			return a.each(c.Context(), names, func(l *connection, name string) error {
				if err := l.Release(c.Context(), name, a.userName()); err != nil {
					return err
				}
				fmt.Fprintf(a.stdout, "%s: released\n", name)
				return nil
			})
		},
	}
}

// each does something for each policy, once.
func (a *cli) each(ctx context.Context, names []string, do func(*connection, string) error) (err error) {
	l, names, err := a.actOn(ctx, names)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	for _, name := range names {
		if err := do(l, name); err != nil {
			return err
		}
	}
	return nil
}

// parseUntil reads the value of --until: a length of time from now on, an instant, or a day, which counts.
func parseUntil(s string, now time.Time) (time.Time, error) {
	if years, ok := strings.CutSuffix(s, "y"); ok {
		if n, err := strconv.Atoi(years); err == nil && n > 0 && n <= 10 {
			return now.AddDate(n, 0, 0), nil
		}
	}
	if d, err := policies.ParseDuration(s); err == nil {
		return now.Add(d.Std()), nil
	}
	m, err := policies.ParseMoment(s)
	if err != nil {
		return time.Time{}, usage(errors.New("--until is neither a time nor a duration"), "Give a time such as 2026-12-01T08:00:00Z, a day such as 2026-12-01, or a duration such as 12h, 3d or 1y.")
	}
	_, end := policies.Freeze{From: m, To: m}.Span(&policies.Policy{})
	return end, nil
}
