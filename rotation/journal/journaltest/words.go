package journaltest

import (
	"time"

	"rotator/rotation/journal"
)

var words = []promise{
	{"an order is heard, carried out and remembered", func(k *kit) {
		c, rec := k.start("a")
		rec.Policy.NextRunAt = now().Add(time.Hour)
		k.ok(k.j.Commit(k.Context(), c, rec, true))
		k.unclaimable()
		o := journal.Order{
			Policy: "a", Kind: journal.OrderResolve, Trigger: journal.ByHand, Supersede: true, FalseAlarm: true, AcceptOutage: true,
			Target: journal.TargetID{Store: "vault", Path: "p", Field: "f"}, Decision: journal.Overwrite,
			KeyIDs: "key-1 key-2",
			Why:    "leaked", By: "me", At: now(),
		}
		var err error
		o.ID, err = k.j.Place(k.Context(), o)
		k.ok(err)
		second, err := k.j.Place(k.Context(), journal.Order{Policy: "a", Kind: journal.OrderAbort, At: now()})
		k.ok(err)
		if second <= o.ID {
			k.Errorf("order %d after %d", second, o.ID)
		}
		c, rec = k.claim("a"), k.load("a")
		k.equal("orders", len(rec.Orders), 2)
		k.equal("order", rec.Orders[0], o)
		r := k.rotation("a", journal.Planned)
		rec.Rotation = &r
		rec.Orders[0].DoneAt, rec.Orders[0].RotationID = now(), r.ID
		rec.Orders[1].DoneAt, rec.Orders[1].Refused = now(), "nothing to abort"
		want := rec.Orders[1]
		k.ok(k.j.Commit(k.Context(), c, rec, true))
		k.equal("open orders", len(k.load("a").Orders), 0)
		got, err := k.j.OrderByID(k.Context(), second)
		k.ok(err)
		k.equal("order", got, want)
	}},
	{"nobody orders what is not there", func(k *kit) {
		_, err := k.j.Place(k.Context(), journal.Order{Policy: "a", Kind: journal.OrderRotate, At: now()})
		k.refused(err, journal.ErrNotFound)
		_, err = k.j.OrderByID(k.Context(), 1)
		k.refused(err, journal.ErrNotFound)
		k.refused(k.j.SetHold(k.Context(), now(), "a", journal.Hold{}, event("a", journal.HoldReleased)), journal.ErrNotFound)
		k.refused(k.j.Forget(k.Context(), now(), "a", nil, event("a", journal.Forgotten)), journal.ErrNotFound)
		k.refused(k.j.Reopen(k.Context(), now(), "x", journal.ListedKey{}), journal.ErrNotFound)
		k.equal("events", len(k.events()), 0)
	}},
	{"a hold is set, replaced and released", func(k *kit) {
		c, _ := k.start("a")
		k.ok(k.j.Release(k.Context(), c, now().Add(time.Hour)))
		first := journal.Hold{Reason: "audit", By: "me", At: now(), Until: now().Add(time.Hour), Scope: journal.HoldRotations}
		second := journal.Hold{Reason: "freeze", By: "you", At: now()}
		for _, h := range []journal.Hold{first, second, {}} {
			kind := journal.HoldSet
			if h == (journal.Hold{}) {
				kind = journal.HoldReleased
			}
			k.ok(k.j.SetHold(k.Context(), now(), "a", h, event("a", kind)))
			got, err := k.j.HoldOf(k.Context(), "a")
			k.ok(err)
			k.equal("hold", got, h)
			k.equal("hold of the record", k.load("a").Hold, h)
			k.ok(k.j.Release(k.Context(), k.claim("a"), now().Add(time.Hour))) // each of them wakes
		}
		k.equal("events", k.events(), []journal.Kind{journal.HoldSet, journal.HoldSet, journal.HoldReleased})
	}},
	{"an owner's hold is written with what it follows", func(k *kit) {
		c, rec := k.start("a")
		rec.Hold = journal.Hold{Reason: "aborted", By: "me", At: now()}
		want := rec.Hold
		k.ok(k.j.Commit(k.Context(), c, rec, false, event("a", journal.AbortEnded)))
		k.equal("hold", k.load("a").Hold, want)
		// A human's word after that remains: the owner did not change the hold again.
		k.ok(k.j.SetHold(k.Context(), now(), "a", journal.Hold{}, event("a", journal.HoldReleased)))
		rec.Policy.Failures++
		k.ok(k.j.Commit(k.Context(), c, rec, true))
		k.equal("hold", k.load("a").Hold, journal.Hold{})
	}},
	{"a commit reports that someone has spoken", func(k *kit) {
		c, rec := k.start("a")
		k.ok(k.j.Commit(k.Context(), c, rec, false))
		k.equal("woken", rec.Woken, false)
		_, err := k.j.Place(k.Context(), journal.Order{Policy: "a", Kind: journal.OrderAbort, At: now()})
		k.ok(err)
		k.ok(k.j.Commit(k.Context(), c, rec, false)) // nothing changed
		k.equal("woken", rec.Woken, true)
		rec.Policy.Failures++
		k.ok(k.j.Commit(k.Context(), c, rec, false))
		k.equal("still woken", rec.Woken, true)
		k.ok(k.j.Commit(k.Context(), c, rec, true))
		c = k.claim("a")
		rec = k.load("a")
		k.ok(k.j.Commit(k.Context(), c, rec, false))
		k.equal("woken, with a claim made since", rec.Woken, false)
	}},
	{"a policy is forgotten when it is gone", func(k *kit) {
		c, rec := k.start("a")
		r := k.rotation("a", journal.Promoting)
		rec.Rotation, rec.Retired = &r, []journal.Rotation{k.rotation("a", journal.Live)}
		leaving, gone := k.key("a", journal.DeletingKey), k.key("a", journal.DeletedKey)
		rec.Keys, rec.Targets = []journal.Key{k.key("a", journal.LiveKey), leaving, gone}, []journal.Target{target("a", "one")}
		rec.Sightings = []journal.Sighting{sighting(rec.Targets[0], "p")}
		rec.Effects = []journal.Effect{k.effect("a", rec.Keys[0].Ref, journal.EffectUpdate)}
		k.ok(k.j.Commit(k.Context(), c, rec, false))
		forget := func() error { return k.j.Forget(k.Context(), now(), "a", nil, event("a", journal.Forgotten)) }
		k.refused(forget(), journal.ErrForbidden) // still in the files
		k.policies("b")
		k.refused(forget(), journal.ErrForbidden) // in flight
		rec.Rotation.State, rec.Rotation.EndedAt = journal.Superseded, now()
		k.ok(k.j.Commit(k.Context(), c, rec, false))
		k.ok(k.j.Release(k.Context(), c, now()))
		k.refused(forget(), journal.ErrForbidden) // a delete was sent
		all, err := k.j.Claim(k.Context(), owner, now(), 1, "a")
		k.ok(err)
		c = all[0]
		move(rec.Key(leaving.Ref), journal.DeletedKey)
		k.ok(k.j.Commit(k.Context(), c, rec, false))
		forgotten := make(chan error)
		go func() { forgotten <- forget() }() // it waits for the owner of the policy
		k.ok(k.j.Commit(k.Context(), c, rec, true))
		k.ok(<-forgotten)
		_, err = k.j.Load(k.Context(), "a")
		k.refused(err, journal.ErrNotFound)
		k.refused(k.j.Commit(k.Context(), c, rec, true), journal.ErrLost)
		k.refused(forget(), journal.ErrNotFound)
		targets, err := k.j.Targets(k.Context())
		k.ok(err)
		sightings, err := k.j.UnidentifiedSightings(k.Context())
		k.ok(err)
		k.equal("targets and sightings", len(targets)+len(sightings), 0)
		history, err := k.j.Rotations(k.Context(), "a", 0)
		k.ok(err)
		k.equal("history", len(history), 2)
		for _, r := range history {
			k.equal("ended", r.EndedAt.IsZero(), false)
		}
		k.equal("key", k.stateOf(rec.Keys[0].Name), journal.ForgottenKey)
		k.equal("key that was gone", k.stateOf(gone.Name), journal.DeletedKey)
		for _, key := range []journal.Key{rec.Keys[0], gone} {
			k.refused(k.j.Reopen(k.Context(), now(), key.Ref, journal.ListedKey{ID: key.ID}), journal.ErrNotFound)
		}
		k.equal("events", k.events(), []journal.Kind{journal.PolicyRemoved, journal.Forgotten})

		// A policy of that name has nothing of it.
		k.policies("a", "b")
		rec = k.load("a")
		k.equal("keys and effects", len(rec.Keys)+len(rec.Effects), 0)
	}},
	{"a policy with a key whose create is under way is not forgotten", func(k *kit) {
		c, rec := k.start("a")
		rec.Keys = []journal.Key{k.key("a", journal.CreatingKey)}
		k.ok(k.j.Commit(k.Context(), c, rec, true))
		k.policies()
		k.refused(k.j.Forget(k.Context(), now(), "a", nil, event("a", journal.Forgotten)), journal.ErrForbidden)
	}},
	{"a target is forgotten when no policy names it", func(k *kit) {
		c, rec := k.start("a")
		rec.Targets = []journal.Target{target("a", "one"), target("a", "two")}
		k.ok(k.j.Commit(k.Context(), c, rec, false))
		forget := func(path string) error {
			id := target("a", path).TargetID
			return k.j.Forget(k.Context(), now(), "a", &id, event("a", journal.Forgotten))
		}
		k.refused(forget("one"), journal.ErrForbidden)
		k.refused(forget("three"), journal.ErrNotFound)
		rec.Targets[0].RemovedAt = now()
		rec.Sightings = []journal.Sighting{sighting(rec.Targets[0], "p"), sighting(rec.Targets[1], "p")}
		k.ok(k.j.Commit(k.Context(), c, rec, false))
		k.ok(forget("one"))
		k.equal("sightings", k.load("a").Sightings, rec.Sightings[1:])
		// The owner in the middle of a step knows the target still, and does not bring it back.
		rec.Targets[0].Status, rec.Targets[1].Status = journal.TargetUnreadable, journal.TargetDrift
		rec.Sightings[0].AbsentSince = now()
		rec.Sightings = append(rec.Sightings, sighting(rec.Targets[0], "another"))
		k.ok(k.j.Commit(k.Context(), c, rec, true))
		k.equal("targets", k.load("a").Targets, rec.Targets[1:])
		k.equal("sightings", k.load("a").Sightings, rec.Sightings[1:2])
	}},
}
