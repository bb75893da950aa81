package journaltest

import (
	"fmt"
	"sync"
	"time"

	"rotator/rotation/journal"
)

var claims = []promise{
	{"a policy is claimed by one", func(k *kit) {
		const n = 60
		var names []string
		for i := range n {
			names = append(names, fmt.Sprintf("policy-%02d", i))
		}
		k.policies(names...)
		var mu sync.Mutex
		owners := make(map[string]string) // policy → who claimed it
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				me := fmt.Sprint("replica-", i)
				for misses := 0; misses < 20; {
					claimed, err := k.j.Claim(k.Context(), me, now(), 7)
					if err != nil {
						k.Error(err)
						return
					}
					if len(claimed) == 0 {
						misses++
					}
					mu.Lock()
					for _, c := range claimed {
						if had, ok := owners[c.Policy]; ok {
							k.Errorf("%s was claimed by %s and by %s", c.Policy, had, me)
						}
						owners[c.Policy] = me
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		k.equal("claimed", len(owners), n)
	}},
	{"a clock that was set back puts nobody off", func(k *kit) {
		k.policies("a", "b")
		all, err := k.j.Claim(k.Context(), owner, now(), 2)
		k.ok(err)
		at := map[string]time.Time{"a": now().Add(72 * time.Hour), "b": now().Add(time.Hour)}
		for _, c := range all {
			k.ok(k.j.Release(k.Context(), c, at[c.Policy]))
		}
		k.ok(k.j.Hasten(k.Context(), now(), journal.Horizon))
		got, err := k.j.Claim(k.Context(), owner, now().Add(time.Second), 2)
		k.ok(err)
		if len(got) != 1 || got[0].Policy != "a" {
			k.Errorf("due: %v, want a alone", got)
		}
		k.ok(k.j.Hasten(k.Context(), now(), 0)) // what the others waited for is over
		got, err = k.j.Claim(k.Context(), owner, now().Add(time.Second), 2)
		k.ok(err)
		if len(got) != 1 || got[0].Policy != "b" {
			k.Errorf("due then: %v, want b", got)
		}
	}},
	{"what a replica that observes left paused is due for one that rotates", func(k *kit) {
		k.policies("a", "b")
		claims := k.claimsOf(owner, "a", "b")
		for name, why := range map[string]journal.Reason{"a": journal.ObserveMode, "b": "window"} {
			c := claims[name]
			rec := k.load(name)
			rec.Policy.Reason, rec.Policy.NextRunAt = why, now().Add(time.Hour)
			k.ok(k.j.Commit(k.Context(), c, rec, true))
		}
		rotates := journal.Replica{Name: "one", StartedAt: now()}
		k.ok(k.j.Beat(k.Context(), now(), rotates)) // it is alone: no one looks at these policies without rotating
		got, err := k.j.Claim(k.Context(), owner, now().Add(time.Second), 2)
		k.ok(err)
		k.equal("due while it is alone", len(got), 0)
		k.ok(k.j.Beat(k.Context(), now(), journal.Replica{Name: "two", StartedAt: now(), Observes: true}))
		k.ok(k.j.Beat(k.Context(), now(), rotates))
		got, err = k.j.Claim(k.Context(), owner, now().Add(time.Second), 2)
		k.ok(err)
		if len(got) != 1 || got[0].Policy != "a" {
			k.Errorf("due: %v, want a alone", got)
		}
	}},
	{"the oldest come first", func(k *kit) {
		k.policies("a", "b", "c")
		all, err := k.j.Claim(k.Context(), owner, now(), 3)
		k.ok(err)
		at := map[string]time.Time{"a": now().Add(-time.Minute), "b": now().Add(-time.Hour), "c": now().Add(-time.Second)}
		for _, c := range all {
			k.ok(k.j.Release(k.Context(), c, at[c.Policy]))
		}
		var order []string
		for range 3 {
			c, err := k.j.Claim(k.Context(), owner, now(), 1)
			k.ok(err)
			order = append(order, c[0].Policy)
		}
		k.equal("order", order, []string{"b", "a", "c"})
	}},
	{"nothing is handed out before its time", func(k *kit) {
		k.next(time.Time{}, time.Time{})
		k.policies("a")
		c := k.claim("a")
		at := now().Add(time.Hour)
		k.ok(k.j.Release(k.Context(), c, at))
		k.unclaimable()
		k.next(at, time.Time{})
		k.equal("next of the row", k.load("a").Policy.NextRunAt, at)
	}},
	{"an epoch grows with every claim", func(k *kit) {
		k.policies("a")
		var last int64
		for range 3 {
			c := k.claim("a")
			if c.Epoch <= last {
				k.Fatalf("epoch %d after %d", c.Epoch, last)
			}
			if c.Owner != owner || c.Now.IsZero() {
				k.Fatalf("claim %+v", c)
			}
			last = c.Epoch
			k.ok(k.j.Release(k.Context(), c, now()))
		}
	}},
	{"a renewed claim stays", func(k *kit) {
		k.policies("a")
		c := k.claim("a")
		r, err := k.j.Renew(k.Context(), now(), c)
		k.ok(err)
		k.equal("epoch", r.Epoch, c.Epoch)
		if r.Until.Before(c.Until) {
			k.Errorf("renewed until %v, before %v", r.Until, c.Until)
		}
		k.unclaimable()
		k.ok(k.j.Commit(k.Context(), r, k.load("a"), true))
	}},
	{"who lost a claim writes nothing", func(k *kit) {
		stale, rec := k.start("a")
		k.ok(k.j.Release(k.Context(), stale, now()))
		before := k.load("a")
		fresh := k.claim("a")
		r := k.rotation("a", journal.Planned)
		rec.Rotation = &r
		rec.Policy.Error = "from the past"
		for _, release := range []bool{false, true} {
			k.refused(k.j.Commit(k.Context(), stale, copyOf(rec), release, event("a", journal.Started)), journal.ErrLost)
		}
		_, err := k.j.Renew(k.Context(), now(), stale)
		k.refused(err, journal.ErrLost)
		k.refused(k.j.Release(k.Context(), stale, now()), journal.ErrLost)
		k.equal("record", k.load("a"), before)
		k.equal("events", len(k.events()), 0)

		other := fresh
		other.Owner = "replica-9"
		k.refused(k.j.Commit(k.Context(), other, k.load("a"), false), journal.ErrLost)
		k.ok(k.j.Commit(k.Context(), fresh, k.load("a"), true))
	}},
	{"a claim without changes is checked too", func(k *kit) {
		c, rec := k.start("a")
		k.ok(k.j.Commit(k.Context(), c, rec, false))
		k.ok(k.j.Release(k.Context(), c, now()))
		k.refused(k.j.Commit(k.Context(), c, rec, false), journal.ErrLost)
	}},
	{"without release the claim goes on, and a crash leaves the policy due", func(k *kit) {
		c, rec := k.start("a")
		due := rec.Policy.NextRunAt
		rec.Policy.NextRunAt = now().Add(time.Hour)
		rec.Policy.Error = "halfway"
		k.ok(k.j.Commit(k.Context(), c, rec, false))
		k.unclaimable()
		got := k.load("a").Policy
		k.equal("next run", got.NextRunAt, due)
		k.equal("error", got.Error, "halfway")
	}},
	{"a word during a step is heard after it", func(k *kit) {
		speak := map[string]func(){
			"order": func() {
				_, err := k.j.Place(k.Context(), journal.Order{Policy: "a", Kind: journal.OrderRotate, At: now()})
				k.ok(err)
			},
			"hold": func() {
				k.ok(k.j.SetHold(k.Context(), now(), "a", journal.Hold{Reason: "x", By: "me", At: now()}, event("a", journal.HoldSet)))
			},
			"edit": func() {
				s := spec("a")
				s.Canonical = "edited"
				k.ok(k.j.SetPolicies(k.Context(), now(), []journal.Spec{s}))
			},
			"removal": func() { k.ok(k.j.SetPolicies(k.Context(), now(), nil)) },
		}
		k.policies("a")
		for _, what := range []string{"order", "hold", "edit", "removal"} {
			c, rec := k.claim("a"), k.load("a")
			speak[what]()
			k.unclaimable() // one at a time
			rec.Policy.NextRunAt = now().Add(time.Hour)
			k.ok(k.j.Commit(k.Context(), c, rec, true))
			c = k.claim("a") // at once
			speak[what]()
			k.ok(k.j.Release(k.Context(), c, now().Add(time.Hour)))
			if what == "edit" || what == "removal" { // the same once more is no news
				k.unclaimable()
				_, err := k.j.Place(k.Context(), journal.Order{Policy: "a", Kind: journal.OrderRotate, At: now()})
				k.ok(err)
			}
			c = k.claim("a")
			k.ok(k.j.Release(k.Context(), c, now()))
		}
	}},
	{"a chore is done once per interval", func(k *kit) {
		var mu sync.Mutex
		done := 0
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				mine, err := k.j.Chore(k.Context(), now(), "sweep", time.Hour)
				if err != nil {
					k.Error(err)
				}
				if mine {
					mu.Lock()
					done++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		k.equal("times done", done, 1)
		other, err := k.j.Chore(k.Context(), now(), "list", time.Hour)
		k.ok(err)
		k.equal("another chore", other, true)
		again, err := k.j.Chore(k.Context(), now().Add(time.Second), "sweep", 0)
		k.ok(err)
		k.equal("when its time has come again", again, true)
	}},
}
