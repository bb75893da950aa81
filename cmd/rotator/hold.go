package main

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"rotator/internal/api"
	"rotator/internal/follow"
	"rotator/policies"
)

func (a *cli) holdCommand() *cobra.Command {
	why, until := "", ""
	c := a.orderCommand(&cobra.Command{
		Use:   "hold [POLICY...]",
		Short: "Keep policies from beginning rotations, and from disabling and deleting keys",
		Long: `Hold stops new rotations, disable and delete of the policies, until they are released or the time has come. A
promotion in progress will finish.`,
		Example: `  rotator hold chat-prod --why "change freeze"
  rotator hold chat-prod search-prod --why "launch" --until 3d
  rotator hold --all --why "incident 4711"`,
	}, func(l *connection, name string) (*follow.Task, error) {
		if why == "" {
			return nil, usage(errors.New("--why is missing"), "Say why: whoever finds the policy held wants to know.")
		}
		h := api.HoldRequest{Policy: name, Reason: why, By: a.userName()}
		if until != "" {
			at, err := parseUntil(until, time.Now())
			if err != nil {
				return nil, err
			}
			h.Until = &at
		}
		return &follow.Task{Do: func(ctx context.Context) (string, error) {
			return "held; `rotator release " + name + "` lets it go on", l.Hold(ctx, h)
		}}, nil
	})
	c.Flags().StringVar(&why, "why", "", "`REASON`, for whoever finds the policies held (required)")
	c.Flags().StringVar(&until, "until", "", "release by itself at this `TIME` (2026-12-01T08:00:00Z), or after this duration (12h, 3d)")
	c.Flags().SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "reason" { // as it was called
			name = "why"
		}
		return pflag.NormalizedName(name)
	})
	return c
}

func (a *cli) releaseCommand() *cobra.Command {
	return a.orderCommand(&cobra.Command{
		Use:   "release [POLICY...]",
		Short: "Let held policies go on",
		Example: `  rotator release chat-prod
  rotator release chat-prod search-prod
  rotator release --all`,
	}, func(l *connection, name string) (*follow.Task, error) {
		return &follow.Task{Do: func(ctx context.Context) (string, error) {
			return "released", l.Release(ctx, name, a.userName())
		}}, nil
	})
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
