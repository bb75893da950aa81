package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"rotator/policies"
	"rotator/rotation"
	"rotator/rotation/journal"
	"rotator/stores"
	"rotator/xai"
)

// finding is what a target holds now, and what the next rotation would do there.
type finding struct {
	target, action, key, detail string
	empty, adopt                bool
	stranger                    bool // it holds a live key that is not this policy's
}

// at is when it would be done.
func (f finding) at(due time.Time) time.Time {
	if f.action == actPromote {
		return due
	}
	return time.Time{}
}

// survey reads every target of the policy, and asks keys that the journal does not know who they are.
func (p *program) survey(ctx context.Context, v view, policy *policies.Policy, rec *journal.Record) []finding {
	found := make([]finding, len(policy.Targets))
	for i, t := range policy.Targets {
		found[i] = p.inspect(ctx, v, policy, rec, t)
		found[i].target = t.String()
	}
	differ(policy.Name, found)
	return found
}

// differ has targets that hold different live keys wait: a human says which of them may be replaced.
func differ(policy string, found []finding) {
	first := slices.IndexFunc(found, func(f finding) bool { return f.stranger })
	if first < 0 || !slices.ContainsFunc(found, func(f finding) bool { return f.stranger && f.key != found[first].key }) {
		return
	}
	for i, f := range found {
		if f.stranger {
			found[i] = finding{target: f.target, action: actWait, key: f.key,
				detail: fmt.Sprintf("the targets hold different live keys: `rotator resolve %s --target %s --overwrite` lets this one be replaced", policy, f.target)}
		}
	}
}

func (p *program) inspect(ctx context.Context, v view, policy *policies.Policy, rec *journal.Record, t policies.Target) finding {
	id := journal.TargetID{Store: t.Store, Path: t.Path, Field: t.Field}
	row := journal.Target{}
	if i := slices.IndexFunc(rec.Targets, func(r journal.Target) bool { return r.TargetID == id }); i >= 0 {
		row = rec.Targets[i]
	}
	if row.Decision == journal.Drop || row.Decision == journal.Leave {
		return finding{action: actLeave, key: row.KeyID, detail: "a human said " + string(row.Decision)}
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	s, _ := v.world.Store(t.Store) // policies name only stores that there are
	value, err := s.Current(ctx, storeTarget(t))
	print := string(value.Fingerprint())
	say := fmt.Sprintf("say what to do with `rotator resolve %s --target %s`", policy.Name, t)
	switch {
	case errors.Is(err, stores.ErrNotFound) && row.Replaceable != "":
		return finding{action: actWait, detail: "it is empty, and held a value before: restore it, or " + say}
	case errors.Is(err, stores.ErrNotFound):
		return finding{action: actPromote, empty: true, detail: "nothing is there yet"}
	case err != nil:
		return finding{action: actWarning, detail: err.Error()}
	case print == row.Fingerprint && row.KeyID != "" && row.KeyID == rec.Policy.KeyID:
		return finding{action: actPromote, key: row.KeyID, detail: "replaces the key in use"}
	case row.Decision == journal.Overwrite && row.DecidedFor == print:
		return finding{action: actPromote, key: row.KeyID, detail: "replaces what is there, as a human said"}
	case !rotation.KeyLike(value):
		return finding{action: actWait, detail: "it holds something that is not an API key: " + say}
	case !row.ContactAt.IsZero() && print != row.Replaceable:
		return finding{action: actWait, key: row.KeyID, detail: "somebody changed it: " + say}
	}
	who, err := v.world.teams[policy.Team].probe.WhoAmI(ctx, value)
	switch {
	case xai.ProvesBad(err):
		return finding{action: actPromote, detail: "replaces a key that xAI does not accept"}
	case err != nil:
		return finding{action: actWarning, detail: "the key there cannot be asked who it is: " + err.Error()}
	}
	return p.stranger(ctx, policy, who.KeyID, say)
}

// stranger is what becomes of a target that holds a live key which is not the policy's.
func (p *program) stranger(ctx context.Context, policy *policies.Policy, key, say string) finding {
	f := finding{action: actPromote, key: key, stranger: true}
	known, err := p.journal.Key(ctx, key)
	switch other := err == nil && known.Policy != policy.Name; {
	case other && policy.Adopt:
		f.action, f.detail = actWait, "it holds a key of policy "+known.Policy+": give that to one policy only, or "+say
	case policy.Adopt:
		f.adopt, f.detail = true, "replaces the key found there"
	case other:
		f.detail = "replaces a key of policy " + known.Policy
	default:
		f.detail = "replaces a key that is then left alone (adopt: true would retire it)"
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

// warn adds what is risky in the policy itself.
func (o *outline) warn(ctx context.Context, v view, policy *policies.Policy) {
	for _, t := range policy.Targets {
		if c := cacheTimes[v.config.Stores[t.Store].Type]; policy.Retire.Overlap.Std() < c.time {
			o.add(actWarning, time.Time{}, "", t.String(), fmt.Sprintf("an overlap of %s is short: %s", policy.Retire.Overlap, c.who))
		}
		s, _ := v.world.Store(t.Store)
		if told, ok := s.(observed).Store.(caveats); ok {
			texts, err := told.Caveats(ctx, storeTarget(t))
			if err != nil {
				texts = append(texts, err.Error())
			}
			for _, text := range texts {
				o.add(actWarning, time.Time{}, "", t.String(), text)
			}
		}
	}
}

// caveats is a store that can promise less at some targets.
type caveats interface {
	Caveats(ctx context.Context, t stores.Target) ([]string, error)
}

// growth warns when the next key may do more than the one in use.
func (p *program) growth(ctx context.Context, v view, policy *policies.Policy, rec *journal.Record, lists map[string]xai.KeyList, o *outline) {
	id := rec.Policy.KeyID
	for _, r := range o.rows {
		if id == "" && r.KeyID != nil {
			id = *r.KeyID // found in a target
		}
	}
	if id == "" {
		return
	}
	list, asked := lists[policy.Team]
	if !asked {
		t, err := v.world.Team(ctx, policy.Team)
		if err == nil {
			list, err = t.Keys.ListKeys(ctx, t.ID)
		}
		if err != nil {
			o.add(actWarning, time.Time{}, "", "", "the team's keys cannot be listed: "+err.Error())
			return
		}
		lists[policy.Team] = list
	}
	for _, k := range list.Keys {
		if k.ID != id {
			continue
		}
		var more []string
		for _, acl := range policy.Key.ACLs {
			kind, _, _ := cutLast(acl)
			if !slices.Contains(k.ACLs, acl) && !slices.Contains(k.ACLs, kind+":*") {
				more = append(more, acl)
			}
		}
		if len(more) > 0 {
			o.add(actWarning, time.Time{}, id, "", "permissions grow by "+strings.Join(more, ", "))
		}
	}
}

// cutLast cuts at the last colon.
func cutLast(s string) (before, after string, found bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}
