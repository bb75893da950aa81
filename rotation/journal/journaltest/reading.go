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
		past, live, over := k.rotation("a", journal.Aborted), k.rotation("a", journal.Live), k.rotation("a", journal.Live)
		over.EndedAt = now()
		r := k.rotation("a", journal.Planned)
		rec.Rotation, rec.Ended, rec.Retired = &r, []journal.Rotation{past, over}, []journal.Rotation{live}
		for i, s := range journal.KeyStates {
			key := k.key("a", s.State)
			key.CreatedAt = now().Add(time.Duration(i) * time.Second)
			rec.Keys = append(rec.Keys, key)
		}
		closed, open := k.effect("a", "r", journal.EffectDelete), k.effect("a", "r", journal.EffectDelete)
		closed.State, closed.ClosedAt = journal.EffectDone, now()
		rec.Effects = []journal.Effect{closed, open}
		removed := target("a", "one")
		removed.RemovedAt = now()
		rec.Targets = []journal.Target{removed}
		var there []journal.Key
		for _, key := range rec.Keys {
			if !key.State.Gone() {
				there = append(there, key)
			}
		}
		k.ok(k.j.Commit(k.Context(), c, rec, true))
		got := k.load("a")
		k.equal("rotation", got.Rotation, &r)
		k.equal("retired", got.Retired, []journal.Rotation{live})
		k.equal("keys", got.Keys, there)
		k.equal("keys that are not gone", len(there), len(journal.KeyStates)-3)
		k.equal("effects", got.Effects, []journal.Effect{open})
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
				for _, s := range []journal.TargetStatus{
					journal.TargetNew, journal.TargetEmpty, journal.TargetOK, journal.TargetUnreadable, journal.TargetSamePlace, // not these
					journal.TargetDrift, journal.TargetForeign, journal.TargetMissing, journal.TargetOtherPolicy, journal.TargetOtherRotator,
				} {
					g := target("b", "of "+string(s))
					g.Status = s
					rec.Targets = append(rec.Targets, g)
				}
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
		k.equal("drifted", drifted, []string{"b5"})
	}},
	{"a summary has the policy's keys, and the rotation that matters", func(k *kit) {
		c, rec := k.start("a")
		older, younger, over := k.rotation("a", journal.Live), k.rotation("a", journal.Live), k.rotation("a", journal.Live)
		older.StartedAt, over.StartedAt, over.EndedAt = younger.StartedAt.Add(-time.Hour), younger.StartedAt.Add(time.Hour), now()
		live, leaving, gone := k.key("a", journal.LiveKey), k.key("a", journal.RetiringKey), k.key("a", journal.DeletedKey)
		leaving.CreatedAt = live.CreatedAt.Add(-time.Hour)
		rec.Retired, rec.Ended, rec.Keys = []journal.Rotation{older, younger}, []journal.Rotation{over}, []journal.Key{live, leaving, gone}
		k.ok(k.j.Commit(k.Context(), c, rec, false))
		summary := func() journal.Summary {
			all, err := k.j.Summaries(k.Context(), "a")
			k.ok(err)
			return all[0]
		}
		got := summary()
		k.equal("keys", got.Keys, []journal.Key{leaving, live})
		k.equal("rotation", got.Rotation, &younger)
		r := k.rotation("a", journal.Planned)
		r.StartedAt = older.StartedAt.Add(-time.Hour)
		rec.Rotation = &r
		k.ok(k.j.Commit(k.Context(), c, rec, true))
		k.equal("rotation", summary().Rotation, &r)
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
			r := k.rotation(c.Policy, journal.Superseded)
			r.StartedAt = begun.Add(time.Duration(i) * time.Minute)
			rec.Ended = []journal.Rotation{r}
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
	{"sightings span all policies", func(k *kit) {
		k.policies("a", "b")
		claimed, err := k.j.Claim(k.Context(), owner, now(), 2)
		k.ok(err)
		for _, c := range claimed {
			rec := k.load(c.Policy)
			shared, own := target(c.Policy, "shared"), target(c.Policy, "own")
			if c.Policy == "a" {
				shared.RemovedAt = now() // what was seen there still counts
			}
			known := k.key(c.Policy, journal.RetiringKey)
			known.Fingerprint = "print of " + c.Policy
			named, part, unknown := sighting(shared, "p1"), sighting(own, known.Fingerprint), sighting(own, "unknown")
			named.KeyID = "k1"
			rec.Keys, rec.Targets, rec.Sightings = []journal.Key{known}, []journal.Target{shared, own}, []journal.Sighting{named, part, unknown}
			k.ok(k.j.Commit(k.Context(), c, rec, true))
		}
		found := func(list []journal.Sighting, err error) (paths []string) {
			k.ok(err)
			for _, s := range list {
				paths = append(paths, s.Policy+" "+s.Path+" "+s.Fingerprint)
			}
			return paths
		}
		k.equal("of k1", found(k.j.SightingsOf(k.Context(), "k1", "")), []string{"a shared p1", "b shared p1"})
		k.equal("of b's", found(k.j.SightingsOf(k.Context(), "not seen", "print of b")), []string{"b own print of b"})
		k.equal("of both", found(k.j.SightingsOf(k.Context(), "k1", "print of b")), []string{"a shared p1", "b own print of b", "b shared p1"})
		k.equal("of none", found(k.j.SightingsOf(k.Context(), "", "")), []string(nil))
		k.equal("unidentified", found(k.j.UnidentifiedSightings(k.Context())), []string{"a own unknown", "b own unknown"})
		all, err := k.j.Targets(k.Context())
		k.ok(err)
		k.equal("targets", len(all), 4)
		all, err = k.j.Targets(k.Context(), "b", "nobody")
		k.ok(err)
		k.equal("b's targets", len(all), 2)
		for _, t := range all {
			k.equal("whose", t.Policy, "b")
		}
	}},
	{"targets in one secret are found, whatever path leads there", func(k *kit) {
		c, rec := k.start("a")
		at := func(path, field, place string) journal.Target {
			g := target("a", path)
			g.Field, g.Place = field, place
			return g
		}
		left, other := at("one", "left", "host/one#left"), at("one", "key", "")
		left.RemovedAt, other.Store = now(), "other"
		rec.Targets = []journal.Target{
			at("one", "key", ""), left, other, at("alias", "key", "host/one#key"), at("whole", "", "host/one"), at("two", "key", "host/one two#key"),
			at("three", "key", ""),
		}
		k.ok(k.j.Commit(k.Context(), c, rec, true))
		for _, q := range []struct {
			path, place string
			want        []string
		}{
			{"one", "", []string{"one key", "one left"}},
			{"one", "host/one", []string{"alias key", "one key", "one left", "whole "}},
			{"none", "host/one#key", []string{"alias key"}},
			{"none", "", nil},
		} {
			found, err := k.j.TargetsBeside(k.Context(), "vault", q.path, q.place)
			k.ok(err)
			var got []string
			for _, g := range found {
				got = append(got, g.Path+" "+g.Field)
			}
			k.equal("beside "+q.path+" "+q.place, got, q.want)
		}
		for place, want := range map[string]int{"host/one": 1, "host/one#key": 1, "host": 0, "": 0} {
			found, err := k.j.TargetsAt(k.Context(), "vault", place)
			k.ok(err)
			k.equal("at "+place, len(found), want)
		}
	}},
	{"keys are found by their ids and by their names, forever", func(k *kit) {
		c, rec := k.start("a")
		gone, here, never := k.key("a", journal.DeletedKey), k.key("a", journal.LiveKey), k.key("a", journal.AbsentKey)
		gone.CreatedAt = here.CreatedAt.Add(-time.Hour)
		twin, other := k.key("a", journal.RetiringKey), k.key("a", journal.RetiringKey) // people may give two keys one name
		for _, key := range []*journal.Key{&twin, &other} {
			key.Origin, key.Name, key.CreatedAt = journal.OfAdoption, "production", now().Add(time.Hour)
		}
		rec.Keys = []journal.Key{here, never, gone, twin, other}
		k.ok(k.j.Commit(k.Context(), c, rec, true))
		for _, c := range []struct {
			ids  []string
			want []journal.Key
		}{{nil, nil}, {[]string{"nobody's"}, nil}, {[]string{here.ID}, []journal.Key{here}}, {[]string{here.ID, "nobody's", gone.ID}, []journal.Key{gone, here}}} {
			keys, err := k.j.Keys(k.Context(), c.ids)
			k.ok(err)
			k.equal(fmt.Sprint("keys ", c.ids), keys, c.want)
		}
		named, err := k.j.KeysByName(k.Context(), []string{"no such name", never.Name, gone.Name})
		k.ok(err)
		k.equal("by name", named, []journal.Key{gone, never})
		printed, err := k.j.KeysByFingerprint(k.Context(), []string{"", gone.Fingerprint, "sha256:0000"})
		k.ok(err)
		k.equal("by fingerprint", len(printed), 1)
		k.equal("by fingerprint", printed[0].Ref, gone.Ref)
		named, err = k.j.KeysByName(k.Context(), []string{"production"})
		k.ok(err)
		k.equal("of one name", len(named), 2)
		_, err = k.j.Key(k.Context(), "nobody's")
		k.refused(err, journal.ErrNotFound)
		_, err = k.j.Key(k.Context(), "")
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
				k.ok(k.j.SetMeta(k.Context(), "color", want))
			}
			got, err := k.j.Meta(k.Context(), "color")
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
