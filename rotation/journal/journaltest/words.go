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
			Policy: "a", Kind: journal.OrderResolve, Trigger: journal.ByHand, Supersede: true,
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
		k.refused(k.j.ReopenAttempt(k.Context(), now(), "x"), journal.ErrNotFound)
		k.refused(k.j.SetExpiry(k.Context(), now(), "x", now()), journal.ErrNotFound)
		k.equal("events", len(k.events()), 0)
	}},
	{"a hold is set, replaced and released", func(k *kit) {
		c, _ := k.start("a")
		k.ok(k.j.Release(k.Context(), c, now().Add(time.Hour)))
		first := journal.Hold{Reason: "audit", By: "me", At: now(), Until: now().Add(time.Hour)}
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
		// A human's word after that stands: the owner did not change the hold again.
		k.ok(k.j.SetHold(k.Context(), now(), "a", journal.Hold{}, event("a", journal.HoldReleased)))
		rec.Policy.Failures++
		k.ok(k.j.Commit(k.Context(), c, rec, true))
		k.equal("hold", k.load("a").Hold, journal.Hold{})
	}},
	{"another expiry of a key is written and wakes its policy", func(k *kit) {
		c, rec := k.start("a")
		rec.Keys = []journal.Key{k.key("a")}
		rec.Policy.NextRunAt = now().Add(time.Hour)
		k.ok(k.j.Commit(k.Context(), c, rec, true))
		want := now().Add(24 * time.Hour)
		k.ok(k.j.SetExpiry(k.Context(), now(), rec.Keys[0].ID, want))
		k.claim("a")
		k.equal("expiry", k.load("a").Keys[0].ExpiresAt, want)
	}},
	{"a commit tells that somebody has spoken", func(k *kit) {
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
	{"an attempt that shows up again is in doubt again", func(k *kit) {
		c, rec := k.start("a")
		r := k.rotation("a", journal.Planned)
		settled, intended := k.attempt(r, journal.Settled), k.attempt(r, journal.Intended)
		rec.Rotation, rec.Attempts = &r, []journal.Attempt{settled, intended}
		k.ok(k.j.Commit(k.Context(), c, rec, false))
		rec.Rotation.State = journal.Aborting
		k.ok(k.j.Commit(k.Context(), c, rec, false))
		rec.Rotation.State, rec.Rotation.EndedAt = journal.Aborted, now()
		rec.Policy.NextRunAt = now().Add(time.Hour)
		k.ok(k.j.Commit(k.Context(), c, rec, true))
		k.equal("attempts to look after", len(k.load("a").Attempts), 1)

		k.ok(k.j.ReopenAttempt(k.Context(), now(), settled.ID))
		k.ok(k.j.ReopenAttempt(k.Context(), now(), intended.ID))
		k.claim("a")
		got := k.load("a").Attempts
		k.equal("attempts to look after", len(got), 2)
		for _, a := range got {
			want := journal.InDoubt
			if a.ID == intended.ID {
				want = journal.Intended
			}
			k.equal("state", a.State, want)
			k.equal("settled", a.SettledAt, time.Time{})
		}
	}},
	{"a policy is forgotten when it is gone", func(k *kit) {
		c, rec := k.start("a")
		r := k.rotation("a", journal.Live)
		a := k.attempt(r, journal.Settled)
		rec.Rotation, rec.Attempts = &r, []journal.Attempt{a}
		rec.Keys, rec.Targets = []journal.Key{k.key("a")}, []journal.Target{target("a", "one")}
		k.ok(k.j.Commit(k.Context(), c, rec, false))
		forget := func() error { return k.j.Forget(k.Context(), now(), "a", nil, event("a", journal.Forgotten)) }
		k.refused(forget(), journal.ErrForbidden) // still in the files
		k.policies("b")
		k.refused(forget(), journal.ErrForbidden) // in flight
		rec = k.load("a")
		rec.Rotation.State, rec.Rotation.EndedAt = journal.Done, now()
		k.ok(k.j.Commit(k.Context(), c, rec, false))
		forgotten := make(chan error)
		go func() { forgotten <- forget() }() // it waits for who acts for the policy
		k.ok(k.j.Commit(k.Context(), c, rec, true))
		k.ok(<-forgotten)
		_, err := k.j.Load(k.Context(), "a")
		k.refused(err, journal.ErrNotFound)
		k.refused(k.j.Commit(k.Context(), c, rec, true), journal.ErrLost)
		k.refused(forget(), journal.ErrNotFound)
		all, err := k.j.Targets(k.Context())
		k.ok(err)
		k.equal("targets", len(all), 0)
		_, err = k.j.Key(k.Context(), rec.Keys[0].ID)
		k.refused(err, journal.ErrNotFound)
		history, err := k.j.Rotations(k.Context(), "a", 0)
		k.ok(err)
		k.equal("history", len(history), 1)
		names, err := k.j.Attempts(k.Context(), []string{a.Name})
		k.ok(err)
		k.equal("names", names, []journal.Attempt{a})
		k.refused(k.j.ReopenAttempt(k.Context(), now(), a.ID), journal.ErrNotFound)
		k.equal("events", k.events(), []journal.Kind{journal.PolicyRemoved, journal.Forgotten})
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
		k.ok(k.j.Commit(k.Context(), c, rec, false))
		k.ok(forget("one"))
		// The owner in the middle of a step knows the target still, and does not bring it back.
		rec.Targets[0].Status, rec.Targets[1].Status = journal.TargetUnreadable, journal.TargetDrift
		k.ok(k.j.Commit(k.Context(), c, rec, true))
		got := k.load("a").Targets
		k.equal("targets", got, rec.Targets[1:])
	}},
}
