package journaltest

import (
	"context"
	"fmt"
	"time"

	"rotator/rotation/journal"
)

var loader = []promise{
	{"policies are added, changed, removed, and come back", func(k *kit) {
		begun := now()
		k.policies("a", "b")
		a := k.load("a").Policy
		want := journal.Policy{
			Name: "a", Team: "research", Owner: "ml@example.com", Spec: spec("a").Canonical,
			FirstSeen: a.FirstSeen, NextRunAt: a.FirstSeen,
		}
		k.equal("policy", a, want)
		if a.FirstSeen.Before(begun.Add(-time.Minute)) || a.FirstSeen.After(now().Add(time.Minute)) {
			k.Errorf("first seen %v", a.FirstSeen)
		}
		k.policies("b", "c")
		if k.load("a").Policy.RemovedAt.IsZero() {
			k.Error("a is gone from the files, and not marked so")
		}
		removed := k.load("a").Policy.RemovedAt
		k.policies("b", "c") // once more: no news
		k.equal("removed", k.load("a").Policy.RemovedAt, removed)
		k.policies("a", "b", "c")
		a = k.load("a").Policy
		k.equal("removed", a.RemovedAt, time.Time{})
		k.equal("first seen", a.FirstSeen, want.FirstSeen)
	}},
	{"policies that vanish are told, once", func(k *kit) {
		told := func(want ...map[string]string) {
			k.Helper()
			var got []map[string]string
			for _, e := range k.news() {
				k.equal("kind", e.Kind, journal.PolicyRemoved)
				got = append(got, e.Data)
			}
			k.equal("told", got, want)
		}
		k.policies("a", "b", "c")
		k.policies("a", "b", "c")
		told()
		k.policies("b")
		k.policies("b")
		first := map[string]string{"policies": "a, c", "count": "2"}
		told(first)
		k.policies("a", "c")
		told(first, map[string]string{"policies": "b", "count": "1"})
		k.equal("the trail of a", k.trail("a"), []journal.Kind{journal.PolicyAdded, journal.PolicyLeft, journal.PolicyReturned})
	}},
	{"only what changed is woken", func(k *kit) {
		k.policies("a", "b", "c")
		claimed, err := k.j.Claim(k.Context(), owner, now(), 3)
		k.ok(err)
		for _, c := range claimed {
			k.ok(k.j.Release(k.Context(), c, now().Add(time.Hour)))
		}
		k.policies("a", "b", "c")
		k.unclaimable()
		edited := spec("b")
		edited.Team = "other"
		k.ok(k.j.SetPolicies(k.Context(), now(), []journal.Spec{spec("a"), edited, spec("c")}))
		k.claim("b")
		k.equal("team", k.load("b").Policy.Team, "other")
	}},
	{"a new name takes over all that belongs to the old one", func(k *kit) {
		c, rec := k.start("old")
		r := k.rotation("old", journal.Promoting)
		rec.Rotation, rec.Retired = &r, []journal.Rotation{k.rotation("old", journal.Live)}
		rec.Keys, rec.Targets = []journal.Key{k.key("old", journal.LiveKey)}, []journal.Target{target("old", "one")}
		rec.Effects = []journal.Effect{k.effect("old", rec.Keys[0].Ref, journal.EffectPromote)}
		rec.Sightings = []journal.Sighting{sighting(rec.Targets[0], "p")}
		k.ok(k.j.Commit(k.Context(), c, rec, false, event("old", journal.Started)))
		_, err := k.j.Place(k.Context(), journal.Order{Policy: "old", Kind: journal.OrderAbort, At: now()})
		k.ok(err)
		hold := journal.Hold{Reason: "audit", By: "me", At: now()}
		k.ok(k.j.SetHold(k.Context(), now(), "old", hold, event("old", journal.HoldSet)))

		s := spec("new")
		s.RenamedFrom = "old"
		// It waits for the owner of the old name.
		hurried, cancel := context.WithTimeout(k.Context(), 200*time.Millisecond)
		defer cancel()
		k.refused(k.j.SetPolicies(hurried, now(), []journal.Spec{s, spec("other")}), context.DeadlineExceeded)
		_, err = k.j.Load(k.Context(), "other")
		k.refused(err, journal.ErrNotFound)
		renamed := make(chan error)
		go func() { renamed <- k.j.SetPolicies(k.Context(), now(), []journal.Spec{s}) }()
		k.ok(k.j.Commit(k.Context(), c, rec, true))
		k.ok(<-renamed)
		_, err = k.j.Load(k.Context(), "old")
		k.refused(err, journal.ErrNotFound)
		got := k.load("new")
		k.equal("policy", got.Policy.KeyID, rec.Keys[0].ID)
		k.equal("spec", got.Policy.Spec, s.Canonical)
		k.equal("removed", got.Policy.RemovedAt, time.Time{})
		k.equal("rotation", got.Rotation.ID, r.ID)
		k.equal("rotation's policy", got.Rotation.Policy, "new")
		k.equal("retired rotations, keys, effects, targets, sightings, orders",
			[]int{len(got.Retired), len(got.Keys), len(got.Effects), len(got.Targets), len(got.Sightings), len(got.Orders)}, []int{1, 1, 1, 1, 1, 1})
		k.equal("hold", got.Hold, hold)
		events, err := k.j.Events(k.Context(), 0, 0)
		k.ok(err)
		wrote := "old" // an event keeps the name that it was written under
		for _, e := range events {
			if e.Kind == journal.PolicyRenamed {
				k.equal("renamed from", e.Data["from"], wrote)
				wrote = "new"
			}
			if e.Policy != "" {
				k.equal("event's policy", e.Policy, wrote)
			}
		}
		k.equal("events of the new name", k.trail("new"), []journal.Kind{journal.PolicyRenamed, journal.KeyMoved, journal.PolicyChanged})
		// The claim for the old name is worth nothing, and the policy is handed out under its new one.
		k.refused(k.j.Commit(k.Context(), c, rec, true), journal.ErrLost)
		c = k.claim("new")
		k.ok(k.j.Commit(k.Context(), c, got, true))

		// The line stays in the file: it means nothing any more, also when someone uses the old name again.
		k.ok(k.j.SetPolicies(k.Context(), now(), []journal.Spec{s, spec("old")}))
		k.equal("keys of the new name", len(k.load("new").Keys), 1)
		k.equal("keys of the old name", len(k.load("old").Keys), 0)
	}},
	{"a target that a policy names has a row before it is read", func(k *kit) {
		named := func(name string, paths ...string) journal.Spec {
			s := spec(name)
			for _, p := range paths {
				s.Targets = append(s.Targets, target(name, p).TargetID)
			}
			s.Canonical = fmt.Sprint(name, paths)
			return s
		}
		unread := func(policy, path string) journal.Target {
			return journal.Target{TargetID: target(policy, path).TargetID, Policy: policy}
		}
		k.ok(k.j.SetPolicies(k.Context(), now(), []journal.Spec{named("a", "one", "two"), named("b", "one")}))
		all, err := k.j.Targets(k.Context())
		k.ok(err)
		k.equal("targets", all, []journal.Target{unread("a", "one"), unread("a", "two"), unread("b", "one")})

		claims, err := k.j.Claim(k.Context(), owner, now(), 1, "a")
		k.ok(err)
		rec := k.load("a")
		rec.Targets[0].Status, rec.Targets[0].ContactAt = journal.TargetOK, now()
		k.ok(k.j.Commit(k.Context(), claims[0], rec, false))
		k.ok(k.j.SetPolicies(k.Context(), now(), []journal.Spec{named("a", "one", "three"), named("b", "one")}))
		// What was read stays, and so does what the policy names no more.
		k.equal("targets", k.load("a").Targets, []journal.Target{rec.Targets[0], unread("a", "three"), unread("a", "two")})
		// Its owner, who does not know the new row yet, may write it.
		rec.Targets = append(rec.Targets, target("a", "three"))
		k.ok(k.j.Commit(k.Context(), claims[0], rec, true))
		k.equal("target", k.load("a").Targets[1], rec.Targets[2])
	}},
	{"a name occurs once", func(k *kit) {
		k.refused(k.j.SetPolicies(k.Context(), now(), []journal.Spec{spec("a"), spec("a")}), journal.ErrForbidden)
		all, err := k.j.Summaries(k.Context())
		k.ok(err)
		k.equal("policies", len(all), 0)
	}},
}
