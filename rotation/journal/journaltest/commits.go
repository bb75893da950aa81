package journaltest

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"rotator/rotation/journal"
)

var commits = []promise{
	{"what was committed is loaded again", func(k *kit) {
		c, rec := k.start("a")
		r, retired := k.rotation("a", journal.Staged), k.rotation("a", journal.Live)
		r.Why, r.By, r.OldKeyIDs, r.Tries, r.Existing, r.Failures = "a reason", "me", journal.IDs("k1 k2"), 2, true, 3
		rec.Rotation, rec.Retired = &r, []journal.Rotation{retired}
		rec.Keys = []journal.Key{k.key("a", journal.LiveKey), k.key("a", journal.CandidateKey)}
		rec.Keys[0].ExpiresAt, rec.Keys[0].UserID, rec.Keys[0].Despite, rec.Keys[0].KeptName = now().Add(time.Hour), "user", "a:b", "cut"
		rec.Effects = []journal.Effect{k.effect("a", rec.Keys[0].Ref, journal.EffectUpdate), k.effect("a", rec.Keys[1].Ref, journal.EffectStage)}
		rec.Targets = []journal.Target{target("a", "one"), target("a", "two")}
		rec.Sightings = []journal.Sighting{sighting(rec.Targets[0], "p1"), sighting(rec.Targets[0], "p2"), sighting(rec.Targets[1], "p1")}
		rec.Policy.Reason, rec.Policy.Error, rec.Policy.Failures, rec.Policy.LostKeys = "backoff", "store is down", 4, 2
		rec.Policy.WantedAt, rec.Policy.WantedTrigger, rec.Policy.WantedWhy, rec.Policy.WantedBy = now(), journal.ByHand, "leaked", "me"
		rec.Policy.DecommissionAt, rec.Policy.DecommissionWhy, rec.Policy.DecommissionBy = now(), "the service ends", "me"
		rec.Policy.DecommissionOutage, rec.Policy.DecommissionedAt, rec.Keys[0].RevokedAt = true, now(), now()
		rec.Policy.ReconcileMark, rec.Policy.ReconcileFrom = "a mark", now()
		rec.Policy.Health, rec.Policy.HealthReason, rec.Policy.OverdueAt, rec.Policy.OverdueReason = "degraded", "held", now().Add(time.Hour), "over_age"
		rec.Policy.ProvedAt, rec.Policy.StaleAt, rec.Policy.HeldAt, rec.Policy.StaysOn = now(), now().Add(time.Minute), now(), true
		rec.Policy.NextRunAt, rec.Policy.AgeAlertAt = now().Add(time.Hour), now()
		k.ok(k.j.Commit(k.Context(), c, rec, true))
		got := k.load("a")
		k.equal("record", got, rec)
		k.equal("rotation in flight", got.Policy.RotationID, r.ID)
		live := rec.Keys[0]
		k.equal("of the live key", []any{got.Policy.KeyID, got.Policy.Fingerprint, got.Policy.KeyExpires, got.Policy.OldestKey},
			[]any{live.ID, live.Fingerprint, live.ExpiresAt, live.CreatedAt})
	}},
	{"a record just committed counts as loaded", func(k *kit) {
		c, rec := k.start("a")
		for i := range 5 {
			at := time.Now() // finer than what is kept, and of this machine's zone
			rec.Policy.WatchAt, rec.Policy.Failures = at, i
			switch i {
			case 1:
				r := k.rotation("a", journal.Planned)
				rec.Rotation, rec.Targets = &r, []journal.Target{target("a", "one")}
				rec.Keys = append(rec.Keys, k.key("a", journal.CreatingKey))
				rec.Effects = append(rec.Effects, k.effect("a", rec.Keys[0].Ref, journal.EffectCreate))
			case 2:
				rec.Rotation.State, rec.Rotation.KeyRef, rec.Rotation.StagedAt = journal.Staged, rec.Keys[0].Ref, at
				move(&rec.Keys[0], journal.CandidateKey)
				rec.Effects[0].State, rec.Effects[0].AckAt = journal.EffectDone, at
				rec.Sightings = append(rec.Sightings, sighting(rec.Targets[0], "p1"))
			case 3:
				move(&rec.Keys[0], journal.RejectedKey)
				rec.Rotation.State, rec.Rotation.EndedAt = journal.Aborted, at
				rec.Effects[0].ClosedAt, rec.Sightings[0].AbsentSince = at, at
			case 4:
				move(&rec.Keys[0], journal.DeletingKey)
				rec.Sightings = nil
			}
			k.ok(k.j.Commit(k.Context(), c, rec, false))
			got := k.load("a")
			got.Policy.NextRunAt, got.Base.Policy.NextRunAt = rec.Policy.NextRunAt, rec.Policy.NextRunAt
			if len(rec.Effects) == 0 { // none, and an empty list
				rec.Effects, rec.Base.Effects = nil, nil
			}
			k.equal("record", rec, got)
		}
	}},
	{"what ended, closed and is gone is not of the record any more", func(k *kit) {
		c, rec := k.start("a")
		r := k.rotation("a", journal.Promoting)
		rec.Rotation, rec.Keys = &r, []journal.Key{k.key("a", journal.PromotingKey), k.key("a", journal.LiveKey), k.key("a", journal.CreatingKey)}
		rec.Effects = []journal.Effect{k.effect("a", rec.Keys[0].Ref, journal.EffectPromote)}
		k.ok(k.j.Commit(k.Context(), c, rec, false))
		k.equal("oldest key", rec.Policy.OldestKey, rec.Keys[0].CreatedAt)

		rec.Rotation.State, rec.Rotation.LiveAt = journal.Live, now()
		move(&rec.Keys[0], journal.LiveKey) // before the other one ceases to be it
		move(&rec.Keys[1], journal.RetiringKey)
		move(&rec.Keys[2], journal.AbsentKey)
		rec.Effects[0].State, rec.Effects[0].AckAt, rec.Effects[0].ClosedAt = journal.EffectDone, now(), now()
		k.ok(k.j.Commit(k.Context(), c, rec, false))
		got := k.load("a")
		k.equal("in flight", []any{rec.Rotation, got.Rotation, got.Policy.RotationID}, []any{(*journal.Rotation)(nil), (*journal.Rotation)(nil), ""})
		k.equal("rotations with old keys", got.Retired, rec.Retired)
		k.equal("one", len(rec.Retired), 1)
		k.equal("keys", got.Keys, rec.Keys)
		k.equal("keys that are left", len(rec.Keys), 2)
		k.equal("live", got.Policy.KeyID, rec.Keys[0].ID)
		k.equal("effects", []int{len(rec.Effects), len(got.Effects)}, []int{0, 0})

		move(&rec.Keys[1], journal.DeletingKey)
		k.ok(k.j.Commit(k.Context(), c, rec, false))
		move(&rec.Keys[1], journal.DeletedKey)
		rec.Retired[0].EndedAt = now()
		k.ok(k.j.Commit(k.Context(), c, rec, false))
		k.equal("rotations with old keys", []int{len(rec.Retired), len(k.load("a").Retired)}, []int{0, 0})
		k.equal("keys that are left", []int{len(rec.Keys), len(k.load("a").Keys)}, []int{1, 1})
	}},
	{"a rotation that becomes live and its successor are one commit", func(k *kit) {
		c, rec := k.start("a")
		r := k.rotation("a", journal.Promoting)
		rec.Rotation = &r
		k.ok(k.j.Commit(k.Context(), c, rec, false))
		r.State, r.LiveAt = journal.Live, now()
		next := k.rotation("a", journal.Planned)
		next.StartedAt = r.StartedAt.Add(time.Second)
		// It is in both lists, and as the second says.
		rec.Ended, rec.Retired, rec.Rotation = []journal.Rotation{r}, []journal.Rotation{r}, &next
		rec.Retired[0].Error = "said last"
		k.ok(k.j.Commit(k.Context(), c, rec, true))
		got := k.load("a")
		k.equal("in flight", got.Rotation, &next)
		k.equal("before it", got.Retired, rec.Retired)
		k.equal("of the one before", got.Retired[0].Error, "said last")
	}},
	{"sightings are written, changed and deleted", func(k *kit) {
		c, rec := k.start("a")
		rec.Targets = []journal.Target{target("a", "one"), target("a", "two")}
		rec.Sightings = []journal.Sighting{sighting(rec.Targets[0], "p1"), sighting(rec.Targets[0], "p2"), sighting(rec.Targets[1], "p1")}
		k.ok(k.j.Commit(k.Context(), c, rec, false))
		rec.Sightings[1].AbsentSince, rec.Sightings[1].KeyID = now(), "k2"
		rec.Sightings = rec.Sightings[1:]
		k.ok(k.j.Commit(k.Context(), c, rec, false))
		k.equal("sightings", k.load("a").Sightings, rec.Sightings)
		rec.Sightings = append(rec.Sightings, sighting(target("a", "three"), "p1"))
		k.refused(k.j.Commit(k.Context(), c, rec, false), journal.ErrForbidden) // of no target
		rec.Sightings = nil
		k.ok(k.j.Commit(k.Context(), c, rec, true))
		k.equal("sightings", len(k.load("a").Sightings), 0)
	}},
	{"state and events are written together", func(k *kit) {
		c, rec := k.start("a")
		r := k.rotation("a", journal.Planned)
		rec.Rotation = &r
		k.ok(k.j.Commit(k.Context(), c, rec, false, event("a", journal.Started), event("a", journal.KeyCreated)))
		before := k.load("a")

		rec.Rotation.State = journal.Live // without its marks, and not from planned
		rec.Targets = append(rec.Targets, target("a", "one"))
		rec.Policy.Error = "never seen"
		k.refused(k.j.Commit(k.Context(), c, rec, false, event("a", journal.Promoted)), journal.ErrForbidden)
		k.equal("record", k.load("a"), before)
		k.equal("events", k.events(), []journal.Kind{journal.Started, journal.KeyCreated})

		k.ok(k.j.Commit(k.Context(), c, k.load("a"), true)) // the claim is as good as before
	}},
	{"one's failure is nobody else's", func(k *kit) {
		const n = 48
		var names []string
		for i := range n {
			names = append(names, fmt.Sprintf("policy-%02d", i))
		}
		k.policies(names...)
		claimed, err := k.j.Claim(k.Context(), owner, now(), n)
		k.ok(err)
		k.equal("claimed", len(claimed), n)
		recs := make([]*journal.Record, n)
		for i, c := range claimed {
			r := k.rotation(c.Policy, journal.Planned)
			recs[i] = k.load(c.Policy)
			recs[i].Rotation = &r
			switch i % 3 {
			case 1:
				recs[i].Policy.Error = "never seen" // written before the rotation is refused
				r.State = journal.Staged            // without a key
			case 2:
				claimed[i].Epoch--
			}
		}
		want := []error{nil, journal.ErrForbidden, journal.ErrLost}
		var wg sync.WaitGroup
		for i, c := range claimed {
			wg.Go(func() {
				err := k.j.Commit(k.Context(), c, recs[i], true, event(c.Policy, journal.Started))
				if !errors.Is(err, want[i%3]) {
					k.Errorf("commit %d: %v, want %v", i, err, want[i%3])
				}
			})
		}
		wg.Wait()
		for i, c := range claimed {
			got := k.load(c.Policy)
			if (got.Rotation != nil) != (i%3 == 0) || got.Policy.Error != "" {
				k.Errorf("policy %d has rotation %v, error %q", i, got.Rotation, got.Policy.Error)
			}
		}
		k.equal("events", len(k.events()), n/3)
	}},
	{"the rotation that ends and the one that begins are one commit", func(k *kit) {
		c, rec := k.start("a")
		old := k.rotation("a", journal.Promoting)
		rec.Rotation = &old
		k.ok(k.j.Commit(k.Context(), c, rec, false))

		ended := *rec.Rotation
		ended.State, ended.EndedAt = journal.Superseded, now()
		fresh := k.rotation("a", journal.Planned)
		fresh.StartedAt = old.StartedAt.Add(time.Second)
		rec.Ended, rec.Rotation = []journal.Rotation{ended}, &fresh
		k.ok(k.j.Commit(k.Context(), c, rec, false))
		k.equal("ended, of the record", len(rec.Ended), 0)
		k.equal("in flight", k.load("a").Rotation.ID, fresh.ID)
		all, err := k.j.Rotations(k.Context(), "a", 0)
		k.ok(err)
		k.equal("rotations", all, []journal.Rotation{fresh, ended})

		// And once more, with a rotation that ended in a commit of its own.
		rec.Rotation.State, rec.Rotation.EndedAt = journal.Aborted, now()
		k.ok(k.j.Commit(k.Context(), c, rec, false))
		k.equal("none in flight", k.load("a").Policy.RotationID, "")
		third := k.rotation("a", journal.Planned)
		rec.Rotation = &third
		k.ok(k.j.Commit(k.Context(), c, rec, true))
		k.equal("in flight", k.load("a").Rotation.ID, third.ID)
	}},
	{"loader and owner never overwrite each other", func(k *kit) {
		c, rec := k.start("a")
		s := spec("a")
		s.Canonical, s.Owner = "edited", "other@example.com"
		k.ok(k.j.SetPolicies(k.Context(), now(), []journal.Spec{s}))
		rec.Keys = []journal.Key{k.key("a", journal.LiveKey)}
		rec.Keys[0].LiveAt = now()
		k.ok(k.j.Commit(k.Context(), c, rec, true))
		s.Canonical = "edited again"
		k.ok(k.j.SetPolicies(k.Context(), now(), []journal.Spec{s}))
		got := k.load("a").Policy
		k.equal("spec", got.Spec, "edited again")
		k.equal("owner", got.Owner, "other@example.com")
		k.equal("key", got.KeyID, rec.Keys[0].ID)
		k.equal("live since", got.LiveSince, rec.Keys[0].LiveAt)
	}},
	{"only what changed is written", func(k *kit) {
		c, rec := k.start("a")
		rec.Targets = []journal.Target{target("a", "one"), target("a", "two")}
		k.ok(k.j.Commit(k.Context(), c, rec, false))
		// Two rows that another writes meanwhile: an order placed, a hold set.
		id, err := k.j.Place(k.Context(), journal.Order{Policy: "a", Kind: journal.OrderRotate, At: now()})
		k.ok(err)
		k.ok(k.j.SetHold(k.Context(), now(), "a", journal.Hold{Reason: "audit", By: "me", At: now()}, event("a", journal.HoldSet)))
		rec.Targets = rec.Targets[:1] // what the record drops stays
		k.ok(k.j.Commit(k.Context(), c, rec, true))
		got := k.load("a")
		k.equal("targets", len(got.Targets), 2)
		k.equal("hold", got.Hold.Reason, "audit")
		k.equal("orders", len(got.Orders), 1)
		k.equal("order", got.Orders[0].ID, id)
	}},
	{"what lists say of a key is not overwritten by who does not know it", func(k *kit) {
		c, rec := k.start("a")
		rec.Keys = []journal.Key{k.key("a", journal.LiveKey)}
		k.ok(k.j.Commit(k.Context(), c, rec, false))
		expires := now().Add(time.Hour)
		listed := journal.ListedKey{ID: rec.Keys[0].ID, UserID: "user", ExpiresAt: expires}
		k.ok(k.j.SaveList(k.Context(), now(), "research", []journal.ListedKey{listed}))
		rec.Keys[0].Health = journal.HealthOK
		k.ok(k.j.Commit(k.Context(), c, rec, false))
		got := k.load("a").Keys[0]
		k.equal("key", []any{got.Health, got.ExpiresAt, got.UserID}, []any{journal.HealthOK, expires, "user"})
		rec.Keys[0].ExpiresAt, rec.Keys[0].Listed = expires.Add(time.Hour), `{"qps":1}` // what the owner learns himself is written
		k.ok(k.j.Commit(k.Context(), c, rec, true))
		k.equal("expires", k.load("a").Keys[0].ExpiresAt, rec.Keys[0].ExpiresAt)
	}},
	{"after a commit of which nothing is known all that it may have written is written", func(k *kit) {
		c, rec := k.start("a")
		r := k.rotation("a", journal.Staged)
		rec.Rotation, rec.Targets = &r, []journal.Target{target("a", "one")}
		rec.Keys = []journal.Key{k.key("a", journal.LiveKey)}
		rec.Effects = []journal.Effect{k.effect("a", rec.Keys[0].Ref, journal.EffectUpdate)}
		k.ok(k.j.Commit(k.Context(), c, rec, false))
		want, unknown := copyOf(rec), copyOf(rec)
		unknown.Policy.Failures, unknown.Rotation.Failures, unknown.Keys[0].Tries = 7, 7, 7
		unknown.Targets[0].Error, unknown.Effects[0].Error = "lost", "lost"
		k.ok(k.j.Commit(k.Context(), c, unknown, false))
		want.Doubted = true // as its owner has it who did not hear the answer
		k.ok(k.j.Commit(k.Context(), c, want, false))
		k.equal("doubted", want.Doubted, false)
		k.equal("record", k.load("a"), want)
	}},
	{"a record that was not loaded is refused", func(k *kit) {
		c, rec := k.start("a")
		rec.Base = nil
		k.refused(k.j.Commit(k.Context(), c, rec, false), journal.ErrForbidden)
	}},
}
