package journaltest

import (
	"context"
	"time"

	"rotator/rotation/journal"
)

// installed opens the journal as an installation, and returns the mark that there is then.
func (k *kit) installed(name string, want bool) (mark string) {
	k.Helper()
	claimed, err := k.j.SetInstallation(k.Context(), now(), name)
	k.ok(err)
	k.equal(name+" has the journal", claimed, want)
	mark, err = k.j.Meta(k.Context(), journal.MetaRestored)
	k.ok(err)
	return mark
}

var installations = []promise{
	{"a journal belongs to one installation", func(k *kit) {
		c, rec := k.start("a")
		k.putOff(c, rec)
		k.equal("mark", k.installed("one", true), "")
		k.equal("mark, of the same one", k.installed("one", true), "")
		k.unclaimable()
		first := k.installed("two", false)
		if first == "" {
			k.Error("a stranger opened it, and nothing is compared")
		}
		k.ok(k.j.Release(k.Context(), k.claim("a"), now().Add(time.Hour))) // everyone looks now
		k.equal("mark, of the same stranger", k.installed("two", false), first)
		k.equal("mark, of the one whose it is", k.installed("one", true), first)
		k.equal("mark, of the same stranger", k.installed("two", false), first)
		k.unclaimable()
		if second := k.installed("three", false); second == first {
			k.Error("another stranger has the same mark")
		}
		k.equal("nameless", k.installed("", true) != "", true)
	}},
	{"an installation takes over", func(k *kit) {
		c, rec := k.start("a")
		r := k.rotation("a", journal.Promoting)
		rec.Rotation, rec.Keys = &r, []journal.Key{k.key("a", journal.PromotingKey), k.key("a", journal.DeletingKey)}
		rec.Targets = []journal.Target{target("a", "one")}
		rec.Sightings = []journal.Sighting{sighting(rec.Targets[0], "p")}
		rec.Effects = []journal.Effect{k.effect("a", rec.Keys[0].Ref, journal.EffectPromote)}
		k.ok(k.j.Commit(k.Context(), c, rec, false))
		k.installed("one", true)
		first := k.installed("two", false)
		claim := func(ctx context.Context, name string) error {
			return k.j.ClaimInstallation(ctx, now(), name, false, event("", journal.JournalRestored))
		}
		// It waits for the owner of a policy.
		hurried, cancel := context.WithTimeout(k.Context(), 200*time.Millisecond)
		defer cancel()
		k.refused(claim(hurried, "two"), context.DeadlineExceeded)
		k.equal("mark", k.installed("one", true), first)
		claimed := make(chan error)
		go func() { claimed <- claim(k.Context(), "two") }()
		rec.Policy.NextRunAt = now().Add(time.Hour)
		k.ok(k.j.Commit(k.Context(), c, rec, true))
		k.ok(<-claimed)
		k.equal("mark, as when it first came", k.installed("two", true), first)
		got := k.load("a")
		got.Policy.NextRunAt, rec.Policy.NextRunAt = time.Time{}, time.Time{}
		got.Base, rec.Base = nil, nil
		k.equal("record", got, rec) // all is as it was
		k.claim("a")
		second := k.installed("one", false)
		if second == first {
			k.Error("the one whose it was has no mark")
		}
		k.equal("events", k.events(), []journal.Kind{journal.JournalRestored})
	}},
	{"one that never opened it takes over", func(k *kit) {
		k.installed("one", true)
		k.ok(k.j.ClaimInstallation(k.Context(), now(), "two", false, event("", journal.JournalRestored)))
		if k.installed("two", true) == "" {
			k.Error("nothing is compared")
		}
	}},
	{"a copy starts over", func(k *kit) {
		claims, recs := k.two()
		hold := journal.Hold{Reason: "audit", By: "me", At: now()}
		states := []journal.State{journal.Promoting, journal.Verified}
		for i, rec := range recs {
			name := rec.Policy.Name
			r := k.rotation(name, states[i])
			rec.Rotation, rec.Retired = &r, []journal.Rotation{k.rotation(name, journal.Live)}
			for _, s := range journal.KeyStates {
				rec.Keys = append(rec.Keys, k.key(name, s.State))
			}
			rec.Targets = []journal.Target{target(name, "one")}
			rec.Targets[0].KeyID, rec.Targets[0].Replaceable, rec.Targets[0].ContactAt = "k", "p", now()
			rec.Sightings = []journal.Sighting{sighting(rec.Targets[0], "p")}
			open, unknown, done := k.effect(name, "r", journal.EffectUpdate), k.effect(name, "r", journal.EffectDelete), k.effect(name, "r", journal.EffectPromote)
			unknown.State, done.State = journal.EffectUnknown, journal.EffectDone
			rec.Effects = []journal.Effect{open, unknown, done}
			rec.Policy.WantedAt, rec.Policy.WantedTrigger = now(), journal.ByCompromise
			rec.Hold = hold
			rec.Policy.NextRunAt = now().Add(time.Hour)
			k.ok(k.j.Commit(k.Context(), claims[i], rec, true))
		}
		id, err := k.j.Place(k.Context(), journal.Order{Policy: "a", Kind: journal.OrderRollback, At: now()})
		k.ok(err)
		k.installed("one", true)
		k.ok(k.j.ClaimInstallation(k.Context(), now(), "two", true, event("", journal.JournalRestored)))
		k.installed("two", true)
		for _, rec := range recs {
			name := rec.Policy.Name
			got := k.load(name)
			k.equal("what is left to do", []int{len(got.Keys), len(got.Effects), len(got.Sightings), len(got.Retired), len(got.Orders)}, []int{0, 0, 0, 0, 0})
			k.equal("in flight", got.Rotation, (*journal.Rotation)(nil))
			k.equal("targets", got.Targets, []journal.Target{{TargetID: rec.Targets[0].TargetID, Policy: name}})
			k.equal("hold", got.Hold, hold)
			want := journal.Policy{
				Name: name, Team: got.Policy.Team, Owner: got.Policy.Owner, Spec: got.Policy.Spec, FirstSeen: got.Policy.FirstSeen, NextRunAt: got.Policy.NextRunAt,
			}
			k.equal("policy", got.Policy, want)
			history, err := k.j.Rotations(k.Context(), name, 0)
			k.ok(err)
			for _, r := range history {
				if r.EndedAt.IsZero() {
					k.Errorf("rotation %s did not end", r.State)
				}
			}
		}
		for policy, want := range map[string]journal.State{"a": journal.Superseded, "b": journal.Aborted} {
			history, err := k.j.Rotations(k.Context(), policy, 0)
			k.ok(err)
			states := map[journal.State]int{}
			for _, r := range history {
				states[r.State]++
			}
			k.equal("rotations of "+policy, states, map[journal.State]int{want: 1, journal.Live: 1})
		}
		o, err := k.j.OrderByID(k.Context(), id)
		k.ok(err)
		if o.DoneAt.IsZero() || o.Refused == "" {
			k.Errorf("order: %+v", o)
		}
		due, err := k.j.Claim(k.Context(), owner, now().Add(time.Second), 10)
		k.ok(err)
		k.equal("due", len(due), 2)
	}},
}
