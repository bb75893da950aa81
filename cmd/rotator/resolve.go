package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"rotator/internal/api"
	"rotator/internal/follow"
	"rotator/rotation/journal"
)

type resolveFlags struct {
	target, key, despite               string
	overwrite, leave, drop, propagated bool
	why                                string
}

func (a *cli) resolveCommand() *cobra.Command {
	var f resolveFlags
	c := &cobra.Command{
		Use:   "resolve POLICY (--target STORE:PATH[#FIELD] --overwrite|--leave|--drop | --key ID [--despite TARGET] | --propagation)",
		Short: "Say what becomes of a target that holds something unexpected",
		Long: `Resolve is the human's word on a target that holds a value which is neither the policy's own nor the one found first:
--overwrite lets the next promote replace what stands there now, or, where the last one is over and its old key not yet
deleted, puts the key in use there at once; --leave keeps it and is quiet about it; --drop takes the target out of the
policy's hands. With --propagation it passes over a cluster that does not hear of the new key. With --key and --despite it
passes over the silence of a target that cannot be read and so keeps that key from being retired; what was seen there is
never passed over. With --key alone it says that a key which xAI lists under a shortened name (names_cut) is the one that a
lost create of this policy made: it is deleted, and keys are made again.

It fails where the key in use is to be put back and its value is nowhere any more, and says what works instead.`,
		Example: `  rotator resolve chat-prod --target vault:llm/chat#api_key --overwrite --why "edited by mistake"
  rotator resolve chat-prod --target local:chat --drop
  rotator resolve chat-prod --key KEY --despite old:chat --why "that server is gone"`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completePolicies,
		RunE: func(c *cobra.Command, args []string) error {
			r, err := f.request()
			if err != nil {
				return err
			}
			return a.resolve(c.Context(), args[0], r)
		},
	}
	c.Flags().StringVar(&f.target, "target", "", "the `TARGET` as status and plan write it: store:path or store:path#field")
	c.Flags().BoolVar(&f.overwrite, "overwrite", false, "what is there now may be replaced")
	c.Flags().BoolVar(&f.leave, "leave", false, "what is there now stays, and is no news")
	c.Flags().BoolVar(&f.drop, "drop", false, "the target is no longer the policy's to write")
	c.Flags().BoolVar(&f.propagated, "propagation", false, "take the key as propagated, whatever xAI's map says")
	c.Flags().StringVar(&f.key, "key", "", "the `ID` of the key that --despite speaks of; alone: that key is ours, needs --why")
	c.Flags().StringVar(&f.despite, "despite", "", "retire the key although this `TARGET` cannot be read; needs --why")
	c.Flags().StringVar(&f.why, "why", "", "`REASON`, for the record")
	c.MarkFlagsMutuallyExclusive("overwrite", "leave", "drop", "propagation", "despite")
	c.MarkFlagsMutuallyExclusive("target", "propagation", "despite")
	for _, other := range []string{"target", "overwrite", "leave", "drop", "propagation"} {
		c.MarkFlagsMutuallyExclusive("key", other)
	}
	return c
}

func (a *cli) resolve(ctx context.Context, policy string, r api.OrderRequest) (err error) {
	l, _, err := a.actOn(ctx, []string{policy})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	r.Policy, r.By = policy, a.userName()
	rows, err := a.follow(ctx, l, 0, []*follow.Task{{Order: r}}, nil)
	if err != nil {
		return err
	}
	if l.alone != nil {
		a.sayWhoRetires(ctx, l, rows)
	}
	_, err = fmt.Fprintf(a.stdout, "%s: resolved\n", policy)
	return err
}

func (f resolveFlags) request() (api.OrderRequest, error) {
	r := api.OrderRequest{Kind: string(journal.OrderResolve), Why: f.why}
	switch {
	case f.propagated:
		r.Kind = string(journal.OrderPropagation)
		return r, nil
	case f.despite != "" && f.key == "":
		return r, usage(errors.New("--despite needs --key"), "Say which key may be retired although that target cannot be read.")
	case f.key != "" && f.despite == "" && f.why == "":
		return r, usage(errors.New("--key needs --why"), "Say how you know that the key is this policy's; it is recorded.")
	case f.key != "" && f.despite == "":
		r.Decision, r.KeyIDs = string(journal.Ours), []string{f.key}
		return r, nil
	case f.despite != "" && f.why == "":
		return r, usage(errors.New("--despite needs --why"), "Say how you know that nothing reads the key there; it is recorded.")
	case f.despite != "":
		t, err := parseTarget("--despite", f.despite)
		r.Decision, r.KeyIDs, r.Target = string(journal.Despite), []string{f.key}, t
		return r, err
	case f.overwrite:
		r.Decision = string(journal.Overwrite)
	case f.leave:
		r.Decision = string(journal.Leave)
	case f.drop:
		r.Decision = string(journal.Drop)
	default:
		return r, usage(errors.New("nothing is decided"), "Give --target T with --overwrite, --leave or --drop; or --key ID, alone or with --despite T; or --propagation.")
	}
	t, err := parseTarget("--target", f.target)
	r.Target = t
	return r, err
}

// parseTarget reads store:path#field. The field is what follows the last #.
func parseTarget(flag, s string) (*api.TargetRow, error) {
	store, path, ok := strings.Cut(s, ":")
	field := ""
	if i := strings.LastIndexByte(path, '#'); i >= 0 {
		path, field = path[:i], path[i+1:]
	}
	if !ok || store == "" || path == "" {
		return nil, usage(errors.New(flag+" is no target"), "Write it as status and plan do: store:path, or store:path#field.")
	}
	return &api.TargetRow{Store: store, Path: path, Field: field}, nil
}

func (a *cli) forgetCommand() *cobra.Command {
	target := ""
	c := &cobra.Command{
		Use:   "forget POLICY",
		Short: "Forget a policy that was removed, or one target that it no longer names",
		Long: `Forget drops what the journal knows: from then on no target of it keeps an old key from being retired, and none of its
keys is touched any more. What was forgotten stays in the events.`,
		Example: `  rotator forget chat-old
  rotator forget chat-prod --target local:former`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completePolicies,
		RunE:              func(c *cobra.Command, args []string) error { return a.forget(c.Context(), args[0], target) },
	}
	c.Flags().StringVar(&target, "target", "", "only this `TARGET`: store:path or store:path#field")
	return c
}

func (a *cli) forget(ctx context.Context, policy, target string) (err error) {
	r := api.ForgetRequest{Policy: policy, By: a.userName()}
	if target != "" {
		t, err := parseTarget("--target", target)
		if err != nil {
			return err
		}
		r.Target = t
	}
	l, _, err := a.actOn(ctx, []string{policy})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	err = l.Forget(ctx, r)
	if code, do := advise(err); err != nil && code == exitFailed && do == "" {
		return failed(err, "Take it out of the policy files first; a rotation in flight must end before.")
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "%s: forgotten\n", strings.TrimSpace(policy+" "+target))
	return err
}
