package journaltest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"rotator/rotation/journal"
)

var reading = []promise{
	{"a record has what an owner needs", func(k *kit) {
		_, err := k.j.Load(k.Context(), "a")
		k.refused(err, journal.ErrNotFound)
		c, rec := k.start("a")
		past := k.rotation("a", journal.Aborting)
		rec.Rotation = &past
		rec.Attempts = []journal.Attempt{k.attempt(past, journal.Settled), k.attempt(past, journal.InDoubt)}
		k.ok(k.j.Commit(k.Context(), c, rec, false))
		rec.Rotation.State, rec.Rotation.EndedAt = journal.Aborted, now()
		k.ok(k.j.Commit(k.Context(), c, rec, false))
		r := k.rotation("a", journal.Planned)
		doubt := rec.Attempts[1]
		mine := k.attempt(r, journal.Settled)
		rec.Rotation, rec.Attempts = &r, append(rec.Attempts, mine)
		gone, here := k.key("a"), k.key("a")
		gone.DeletedAt = now()
		rec.Keys = []journal.Key{gone, here}
		removed := target("a", "one")
		removed.RemovedAt = now()
		rec.Targets = []journal.Target{removed}
		k.ok(k.j.Commit(k.Context(), c, rec, true))
		got := k.load("a")
		k.equal("rotation", got.Rotation, &r)
		k.equal("attempts", got.Attempts, []journal.Attempt{doubt, mine})
		k.equal("keys", got.Keys, []journal.Key{here})
		k.equal("targets", got.Targets, []journal.Target{removed})
	}},
	{"summaries are all there is, by name", func(k *kit) {
		k.policies("b", "a", "B", "ä")
		c, err := k.j.Claim(k.Context(), owner, now(), 4)
		k.ok(err)
		for _, c := range c {
			if c.Policy == "b" {
				rec := k.load("b")
				r := k.rotation("b", journal.Planned)
				rec.Rotation = &r
				fine, one, two := target("b", "fine"), target("b", "one"), target("b", "two")
				fine.Status, one.Status, two.Status = journal.TargetOK, journal.TargetDrift, journal.TargetDrift
				rec.Targets = []journal.Target{fine, one, two}
				k.ok(k.j.Commit(k.Context(), c, rec, true))
			}
		}
		k.ok(k.j.SetHold(k.Context(), now(), "a", journal.Hold{Reason: "x", By: "me", At: now()}, event("a", journal.HoldSet)))
		all, err := k.j.Summaries(k.Context())
		k.ok(err)
		var names, held, moving, drifted []string
		for _, s := range all {
			names = append(names, s.Policy.Name)
			if s.Hold.Reason != "" {
				held = append(held, s.Policy.Name)
			}
			if s.Rotation != nil {
				moving = append(moving, s.Policy.Name)
			}
			if s.Drifted != 0 {
				drifted = append(drifted, fmt.Sprint(s.Policy.Name, s.Drifted))
			}
		}
		k.equal("names", names, []string{"B", "a", "b", "ä"})
		k.equal("held", held, []string{"a"})
		k.equal("moving", moving, []string{"b"})
		k.equal("drifted", drifted, []string{"b2"})
	}},
	{"history is newest first", func(k *kit) {
		k.policies("a", "b")
		claimed, err := k.j.Claim(k.Context(), owner, now(), 2)
		k.ok(err)
		begun := now().Add(-time.Hour)
		var want []string
		for i := range 5 {
			c := claimed[i%2]
			rec := k.load(c.Policy)
			r := k.rotation(c.Policy, journal.Done)
			r.StartedAt = begun.Add(time.Duration(i) * time.Minute)
			rec.Rotation = &r
			k.ok(k.j.Commit(k.Context(), c, rec, false))
			want = append([]string{r.ID}, want...)
		}
		ids := func(policy string, limit int) (ids []string) {
			all, err := k.j.Rotations(k.Context(), policy, limit)
			k.ok(err)
			for _, r := range all {
				ids = append(ids, r.ID)
			}
			return ids
		}
		k.equal("all", ids("", 0), want)
		k.equal("three", ids("", 3), want[:3])
		k.equal("of one", ids(claimed[1].Policy, 0), []string{want[1], want[3]})
	}},
	{"the target map spans all policies", func(k *kit) {
		k.policies("a", "b")
		claimed, err := k.j.Claim(k.Context(), owner, now(), 2)
		k.ok(err)
		for _, c := range claimed {
			rec := k.load(c.Policy)
			shared, own, later := target(c.Policy, "shared"), target(c.Policy, "own-"+c.Policy), target(c.Policy, "later-"+c.Policy)
			shared.KeyID, own.KeyID, later.NextKeyID = "k1", "of-"+c.Policy, "k1"
			if c.Policy == "a" {
				shared.RemovedAt = now() // what was seen there still counts
			}
			rec.Targets = []journal.Target{shared, own, later}
			k.ok(k.j.Commit(k.Context(), c, rec, true))
		}
		found := func(list []journal.Target, err error) (paths []string) {
			k.ok(err)
			for _, g := range list {
				paths = append(paths, g.Policy+" "+g.Path)
			}
			return paths
		}
		k.equal("of k1", found(k.j.TargetsOf(k.Context(), "k1")), []string{"a later-a", "a shared", "b later-b", "b shared"})
		k.equal("of b's", found(k.j.TargetsOf(k.Context(), "of-b")), []string{"b own-b"})
		k.equal("of none", found(k.j.TargetsOf(k.Context(), "")), []string(nil))
		k.equal("all", len(found(k.j.Targets(k.Context()))), 6)
	}},
	{"a key is found in targets by its fingerprint", func(k *kit) {
		c, rec := k.start("a")
		old := k.key("a")
		unnamed := journal.Target{TargetID: journal.TargetID{Store: "s", Path: "unnamed"}, Policy: "a", Fingerprint: old.Fingerprint}
		empty := journal.Target{TargetID: journal.TargetID{Store: "s", Path: "empty"}, Policy: "a"}
		rec.Keys, rec.Targets = []journal.Key{old}, []journal.Target{unnamed, empty}
		k.ok(k.j.Commit(k.Context(), c, rec, true))
		got, err := k.j.TargetsOf(k.Context(), old.ID)
		k.ok(err)
		if len(got) != 1 || got[0].TargetID != unnamed.TargetID {
			k.Errorf("found %v", got)
		}
	}},
	{"keys are found by their ids and attempts by their names, for ever", func(k *kit) {
		c, rec := k.start("a")
		r := k.rotation("a", journal.Planned)
		gone, here, other := k.key("a"), k.key("a"), k.key("a")
		gone.DeletedAt, gone.CreatedAt = now(), here.CreatedAt.Add(-time.Hour)
		settled, another := k.attempt(r, journal.Settled), k.attempt(r, journal.Settled)
		rec.Rotation, rec.Attempts, rec.Keys = &r, []journal.Attempt{settled, another}, []journal.Key{here, other, gone}
		k.ok(k.j.Commit(k.Context(), c, rec, true))
		for _, c := range []struct {
			ids  []string
			want []journal.Key
		}{{nil, nil}, {[]string{"nobody's"}, nil}, {[]string{here.ID}, []journal.Key{here}}, {[]string{here.ID, "nobody's", gone.ID}, []journal.Key{gone, here}}} {
			keys, err := k.j.Keys(k.Context(), c.ids)
			k.ok(err)
			k.equal(fmt.Sprint("keys ", c.ids), keys, c.want)
		}
		attempts, err := k.j.Attempts(k.Context(), []string{"no such name", settled.Name})
		k.ok(err)
		k.equal("attempts", attempts, []journal.Attempt{settled})
		_, err = k.j.Key(k.Context(), "nobody's")
		k.refused(err, journal.ErrNotFound)
	}},
	{"teams and meta are kept", func(k *kit) {
		team := journal.Team{Name: "research", ID: "t-1", ManagementKeyID: "m", ValidatedAt: now(), Managed: 3, Error: "none"}
		k.ok(k.j.SaveTeam(k.Context(), journal.Team{Name: "zeta"}))
		k.ok(k.j.SaveTeam(k.Context(), journal.Team{Name: "research", Error: "first"}))
		k.ok(k.j.SaveTeam(k.Context(), team))
		teams, err := k.j.Teams(k.Context())
		k.ok(err)
		k.equal("teams", teams, []journal.Team{team, {Name: "zeta"}})
		for _, want := range []string{"", "one", "two"} {
			if want != "" {
				k.ok(k.j.SetMeta(k.Context(), "colour", want))
			}
			got, err := k.j.Meta(k.Context(), "colour")
			k.ok(err)
			k.equal("meta", got, want)
		}
	}},
	{"events are paged in order, and none is missed", func(k *kit) {
		const writers, each = 8, 15
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for i := range each {
					e := journal.Event{At: now(), Kind: journal.Failed, Data: map[string]string{"n": fmt.Sprint(w, "/", i)}}
					if err := k.j.Record(k.Context(), e, e); err != nil {
						k.Error(err)
					}
				}
			})
		}
		ctx, written := context.WithCancel(k.Context())
		go func() { wg.Wait(); written() }()
		seen := make(map[string]int)
		var last int64
		for over := false; ; {
			page, err := k.j.Events(k.Context(), last, 7)
			k.ok(err)
			for _, e := range page {
				if e.ID <= last {
					k.Fatalf("event %d after %d", e.ID, last)
				}
				last = e.ID
				seen[e.Data["n"]]++
			}
			if over && len(page) == 0 {
				break
			}
			over = ctx.Err() != nil
		}
		for w := range writers {
			for i := range each {
				k.equal(fmt.Sprint("times seen of ", w, "/", i), seen[fmt.Sprint(w, "/", i)], 2)
			}
		}
		newest, err := k.j.LastEvent(k.Context())
		k.ok(err)
		k.equal("last event", newest, last)
	}},
	{"no event is the last of none", func(k *kit) {
		newest, err := k.j.LastEvent(k.Context())
		k.ok(err)
		k.equal("last event", newest, int64(0))
	}},
	{"a caller who is gone is not served", func(k *kit) {
		c, rec := k.start("a")
		ctx, cancel := context.WithCancel(k.Context())
		cancel()
		rec.Policy.Error = "late"
		k.refused(k.j.Commit(ctx, c, rec, true), context.Canceled)
		k.equal("error", k.load("a").Policy.Error, "")
	}},
	{"a closed journal says so", func(k *kit) {
		k.ok(k.j.Close())
		if _, err := k.j.Summaries(k.Context()); err == nil {
			k.Error("it reads")
		}
		if err := k.j.SetMeta(k.Context(), "a", "b"); err == nil {
			k.Error("it writes")
		}
		k.ok(k.j.Close())
	}},
}
