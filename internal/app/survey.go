package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"rotator/internal/secret"
	"rotator/policies"
	"rotator/rotation/inventory"
	"rotator/rotation/journal"
	"rotator/rotation/plan"
	"rotator/rotation/target"
	"rotator/stores"
	"rotator/xai"
)

// finding is what a target holds now, and what the next rotation would do there.
type finding struct {
	plan.Finding
	narrows  bool // it holds a key whose consumers would lose rights
	stranger bool // it holds a live key that is not this policy's
}

func found(f plan.Finding) finding { return finding{Finding: f} }

// survey reads every target of the policy, and asks keys that the journal does not know who they are.
func (p actions) survey(ctx context.Context, v view, policy *policies.Policy, rec *journal.Record) []finding {
	all := make([]finding, len(policy.Targets))
	for i, t := range policy.Targets {
		all[i] = p.inspect(ctx, v, policy, rec, t)
		all[i].Target = t.String()
	}
	differ(policy.Name, all)
	return all
}

// differ has targets that hold different live keys wait: a human says which of them may be replaced.
func differ(policy string, all []finding) {
	first := slices.IndexFunc(all, func(f finding) bool { return f.stranger })
	if first < 0 || !slices.ContainsFunc(all, func(f finding) bool { return f.stranger && f.KeyID != all[first].KeyID }) {
		return
	}
	for i, f := range all {
		if f.stranger {
			all[i] = found(plan.Finding{Target: f.Target, Action: plan.Wait, KeyID: f.KeyID,
				Detail: fmt.Sprintf("the targets hold different live keys: `rotator resolve %s --target %s --overwrite` lets this one be replaced", policy, f.Target)})
		}
	}
}

// inspect reads one target and judges it as the engine does. Nothing is recorded.
func (p actions) inspect(ctx context.Context, v view, policy *policies.Policy, rec *journal.Record, t policies.Target) finding {
	id := target.IDOf(t)
	row := journal.Target{TargetID: id}
	if i := slices.IndexFunc(rec.Targets, func(r journal.Target) bool { return r.TargetID == id }); i >= 0 {
		row = rec.Targets[i]
	}
	if row.Decision == journal.Drop || row.Decision == journal.Leave {
		return found(plan.Finding{Action: plan.Leave, KeyID: row.KeyID, Detail: "a human said " + string(row.Decision)})
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	s, ok := v.environment.Store(t.Store)
	if !ok {
		return found(plan.Finding{Action: plan.Warning, Detail: missingStore(t.Store)})
	}
	value, err := s.Current(ctx, storeTarget(t))
	if err != nil && !errors.Is(err, stores.ErrNotFound) {
		return found(plan.Finding{Action: plan.Warning, Detail: err.Error()})
	}
	name, err := p.fresh(ctx, v, policy, rec, &row, value)
	if err != nil {
		return found(plan.Finding{Action: plan.Warning, Detail: "the key there cannot be asked who it is: " + err.Error()})
	}
	facts := target.Facts{Policy: policy.Name, Ours: rec.Keys, Live: rec.Live(), Effects: rec.Effects}
	if r := rec.Rotation; r != nil && r.State == journal.Promoting {
		facts.Promoting = rec.Key(r.KeyRef)
	}
	if known, err := p.journal.Key(ctx, row.KeyID); err == nil && known.Policy != policy.Name && known.State != journal.ForgottenKey {
		facts.Owner = known.Policy
	} else if err != nil {
		facts.Stranger = otherRotator(policy, name)
	}
	return prospect(policy, rec, row, name, facts)
}

// otherRotator reports that a key which the journal does not know has a name that a rotator gives to keys of another policy.
func otherRotator(policy *policies.Policy, name string) bool {
	const ref = len("-01961f1c-9a5e-7c3b-8f00-0123456789ab")
	rest, ok := strings.CutPrefix(name, inventory.Prefix)
	if !ok || len(rest) <= ref {
		return false
	}
	of := rest[:len(rest)-ref]
	return of != policy.Name && of != policy.RenamedFrom
}

// fresh makes the row what a read of the value makes it, and returns the name of a key that had to be asked for it.
func (p actions) fresh(ctx context.Context, v view, policy *policies.Policy, rec *journal.Record, row *journal.Target, value secret.Text) (name string, err error) {
	known := ""
	for _, k := range rec.Keys {
		if target.Is(value, k.Fingerprint) {
			known = k.ID
		}
	}
	wasForeign := row.Status == journal.TargetForeign || row.ContactAt.IsZero()
	row.Fingerprint, row.KeyID, row.Status, row.SeenAt = string(value.Fingerprint()), known, journal.TargetNew, time.Now()
	switch {
	case value.Empty() || known != "":
		return "", nil
	case !target.LooksLikeKey(value):
		if wasForeign && (row.Decision != journal.Overwrite || row.DecidedFor != row.Fingerprint) {
			row.Status = journal.TargetForeign
		}
		return "", nil
	}
	team := v.environment.teams[policy.Team]
	if team == nil {
		return "", fmt.Errorf("team %s cannot be made from the configuration", policy.Team)
	}
	who, err := team.probe.WhoAmI(ctx, value.Trimmed())
	if err != nil && !xai.ProvesBad(err) {
		return "", err
	}
	row.KeyID = who.KeyID
	return who.Name, nil
}

// prospect says what the next rotation would do at a target. name is that of the key there, where it was asked for.
func prospect(policy *policies.Policy, rec *journal.Record, row journal.Target, name string, facts target.Facts) finding {
	f := found(plan.Finding{Action: plan.Promote, KeyID: row.KeyID})
	verdict := target.Assess(row, nil, facts)
	if !verdict.MayReplace {
		f.Action = plan.Wait
		f.Detail = "it " + strings.TrimPrefix(verdict.Err(row).Error(), row.TargetID.String()+" ")
		if facts.Owner != "" {
			f.Detail = "it holds a key of policy " + facts.Owner + ": give that to one policy only, or " + verdict.Do
		}
		return f
	}
	live := rec.Live()
	switch {
	case row.Fingerprint == "":
		f.Empty, f.Detail = true, "nothing is there yet"
	case live != nil && row.KeyID == live.ID:
		f.Detail = "replaces the key in use"
	case row.Decision == journal.Overwrite && row.DecidedFor == row.Fingerprint:
		f.Detail = "replaces what is there, as a human said"
	case row.KeyID == "":
		f.Detail = "replaces a key that xAI does not accept"
	case rec.KeyByID(row.KeyID) != nil:
		f.Detail = "replaces another key of this policy"
	case policy.Adopt.Takes(row.KeyID) && policy.Adopt.KeyID == "" && strings.HasPrefix(name, inventory.Prefix):
		f.Action = plan.Wait
		f.Detail = fmt.Sprintf("it holds a key that a Rotator made, and that this journal does not know: `rotator keys adopt %s` takes it over if no other one manages it", policy.Name)
	case policy.Adopt.Takes(row.KeyID):
		f.stranger, f.Adopt, f.Detail = true, true, "replaces the key found there"
	default:
		f.stranger, f.Detail = true, "replaces a key that is then left alone (adopt: true would retire it)"
	}
	return f
}

// cacheTimes: type of store → how long its common clients keep a value without asking again.
var cacheTimes = map[string]struct {
	time time.Duration
	who  string
}{
	"aws":   {time.Hour, "AWS's caching clients ask once an hour"},
	"vault": {5 * time.Minute, "Vault Agent renders static secrets every 5 minutes"},
	// https://kubernetes.io/docs/concepts/configuration/secret/: its sync period and its cache, one minute each.
	"kubernetes": {2 * time.Minute, "the kubelet brings a mounted Secret within about 2 minutes"},
}

// risks are what is risky in the policy itself.
func risks(v view, policy *policies.Policy) (rows []plan.Row) {
	for _, t := range policy.Targets {
		if c := cacheTimes[v.Config.Stores[t.Store].Type]; policy.Retire.Overlap.Std() < c.time {
			rows = append(rows, plan.Row{Action: plan.Warning, Target: t.String(), Detail: fmt.Sprintf("an overlap of %s is short: %s", policy.Retire.Overlap, c.who)})
		}
	}
	if text := policy.EitherDay(time.Now()); text != "" {
		rows = append(rows, plan.Row{Action: plan.Warning, Detail: text})
	}
	return rows
}

// warnings are the stores' warnings about the policy's targets. An error of a store is shown once, with
// the first policy, and removed from unknown.
func warnings(policy *policies.Policy, dangers []danger, unknown map[string]error) (rows []plan.Row) {
	for _, t := range policy.Targets {
		for _, d := range dangers {
			if d.isAbout(t) {
				rows = append(rows, plan.Row{Action: plan.Warning, Target: t.String(), Detail: advised(d.Text, d.Do)})
			}
		}
		if err := unknown[t.Store]; err != nil {
			rows = append(rows, plan.Row{Action: plan.Warning, Target: t.String(), Detail: brief(err)})
			delete(unknown, t.Store)
		}
	}
	return rows
}

// advised is a text with what to do about it, if that is known.
func advised(text, do string) string {
	if do == "" {
		return text
	}
	return text + ". " + do
}
