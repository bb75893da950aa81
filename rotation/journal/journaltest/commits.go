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
		r := k.rotation("a", journal.Staged)
		r.Why, r.OldKeyIDs, r.Tries, r.PropagationOK, r.BadCount = "a reason", journal.IDs("k1 k2"), 2, true, 3
		rec.Rotation = &r
		rec.Attempts = []journal.Attempt{k.attempt(r, journal.Created), k.attempt(r, journal.Settled)}
		rec.Keys = []journal.Key{k.key("a"), k.key("a")}
		rec.Targets = []journal.Target{target("a", "one"), target("a", "two")}
		rec.Policy.Reason, rec.Policy.Error, rec.Policy.Failures = "backoff", "store is down", 4
		rec.Policy.NextRunAt, rec.Policy.StepAt, rec.Policy.AgeAlertAt = now().Add(time.Hour), now(), now()
		k.ok(k.j.Commit(k.Context(), c, rec, true))
		got := k.load("a")
		k.equal("record", got, rec)
		k.equal("rotation in flight", got.Policy.RotationID, r.ID)
	}},
	{"a record just committed counts as loaded", func(k *kit) {
		c, rec := k.start("a")
		for i := range 4 {
			at := time.Now() // finer than what is kept, and of this machine's zone
			rec.Policy.StepAt, rec.Policy.Failures = at, i
			if i == 1 {
				r := k.rotation("a", journal.Planned)
				rec.Rotation = &r
				rec.Attempts = append(rec.Attempts, k.attempt(r, journal.Intended))
			}
			if i == 2 {
				rec.Rotation.State, rec.Rotation.KeyID, rec.Rotation.StagedAt = journal.Staged, "k", at
				rec.Attempts[0].State, rec.Attempts[0].KeyID = journal.Created, "k"
			}
			k.ok(k.j.Commit(k.Context(), c, rec, false))
			got := k.load("a")
			got.Policy.NextRunAt, got.Base.Policy.NextRunAt = rec.Policy.NextRunAt, rec.Policy.NextRunAt
			k.equal("record", rec, got)
		}
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
		old := k.rotation("a", journal.Live)
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
		rec.Rotation.State, rec.Rotation.EndedAt = journal.Aborting, time.Time{}
		k.ok(k.j.Commit(k.Context(), c, rec, false))
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
		rec.Policy.KeyID, rec.Policy.LiveSince = "key", now()
		k.ok(k.j.Commit(k.Context(), c, rec, true))
		s.Canonical = "edited again"
		k.ok(k.j.SetPolicies(k.Context(), now(), []journal.Spec{s}))
		got := k.load("a").Policy
		k.equal("spec", got.Spec, "edited again")
		k.equal("owner", got.Owner, "other@example.com")
		k.equal("key", got.KeyID, "key")
		k.equal("live since", got.LiveSince, rec.Policy.LiveSince)
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
	{"a record that was not loaded is refused", func(k *kit) {
		c, rec := k.start("a")
		rec.Base = nil
		k.refused(k.j.Commit(k.Context(), c, rec, false), journal.ErrForbidden)
	}},
}
