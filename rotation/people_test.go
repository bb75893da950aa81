package rotation_test

import (
	"testing"
	"time"

	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/stores"
	"rotator/xai/xaisim"
)

// byHand is a key that a human made and put into a target.
func (b *bench) byHand(store string, doc func(string) string, path string) string {
	id, v := b.sim.AddKey(teamID, "made by hand", "api-key:model:grok-4", "api-key:endpoint:chat")
	b.stores[store].Set(path, doc(v.Reveal()))
	return id
}

func plain(v string) string { return v }
func field(v string) string { return `{"api_key":"` + v + `","other":1}` }

func (b *bench) gone(id string) bool {
	for _, k := range b.sim.Keys(teamID) {
		if k.ID == id {
			return k.Deleted
		}
	}
	return true
}

func TestFirstContact(t *testing.T) {
	play(t, []liar{
		{"a password waits for a human, who overwrites it", xaisim.Options{}, func(b *bench) {
			b.stores["a"].Set("chat", `{"api_key":"hunter2"}`)
			b.exempt["an unknown value"] = true
			b.load(policyDoc("chat", quick, targetA, targetB))
			b.run(24 * time.Hour)
			b.waits("chat", reason.ForeignValue, true)
			if b.sim.Calls()["create"] > 0 || b.sim.Calls()["whoami"] > 0 {
				b.violated("a password was sent to xAI, or a key was made")
			}
			b.resolve(atA, journal.Overwrite)
			b.runUntilIdle()
			b.checkEnded()
		}},
		{"a password is left", xaisim.Options{}, func(b *bench) {
			b.stores["a"].Set("chat", `{"api_key":"hunter2"}`)
			b.exempt["an unknown value"] = true
			b.load(policyDoc("chat", quick, targetA, targetB))
			b.run(time.Hour)
			b.resolve(atA, journal.Leave)
			b.runUntilIdle()
			b.settled()
			if b.stores["a"].Read(stores.Target{Path: "chat", Field: "api_key"}).Reveal() != "hunter2" || b.key() == "" {
				b.violated("a value that was to be left was replaced, or nothing else was served")
			}
		}},
		{"different live keys", xaisim.Options{}, func(b *bench) {
			first, second := b.byHand("a", field, "chat"), b.byHand("b", plain, "chat")
			b.strange[first], b.strange[second] = true, true
			b.load(policyDoc("chat", "adopt: true"+quick, targetA, targetB))
			b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand})
			b.run(24 * time.Hour)
			b.waits("chat", reason.DifferentKeys, true)
			delete(b.strange, first) // the one that is not overwritten by word is adopted
			b.resolve(atB, journal.Overwrite)
			b.runUntilIdle()
			b.checkEnded()
			if !b.gone(first) || b.gone(second) {
				b.violated("the adopted key is gone: %t; the other one: %t", b.gone(first), b.gone(second))
			}
		}},
		{"different live keys, long before anything is due", xaisim.Options{}, func(b *bench) {
			b.strange[b.byHand("a", field, "chat")], b.strange[b.byHand("b", plain, "chat")] = true, true
			b.load(policyDoc("chat", "adopt: true"+quick, targetA, targetB))
			b.run(time.Hour)
			b.waits("chat", reason.DifferentKeys, true)
		}},
		{"a key with a line end, as files bring it", xaisim.Options{}, func(b *bench) {
			id := b.byHand("a", func(v string) string { return field(v + `\n`) }, "chat")
			b.exempt["an unknown value"] = true // consumers drop the line end, the simulator does not
			b.load(policyDoc("chat", "adopt: true"+quick, targetA))
			b.rotates()
			b.checkEnded()
			if !b.gone(id) {
				b.violated("the adopted key was not retired")
			}
		}},
		{"a text that only begins like a key", xaisim.Options{}, func(b *bench) {
			b.stores["a"].Set("chat", field("xai-treme pass phrase"))
			b.exempt["an unknown value"] = true
			b.load(policyDoc("chat", quick, targetA))
			b.run(24 * time.Hour)
			b.waits("chat", reason.ForeignValue, true)
			b.resolve(atA, journal.Overwrite)
			b.rotates()
			b.checkEnded()
		}},
		{"not adopted, left alone", xaisim.Options{}, func(b *bench) {
			b.strange[b.byHand("a", field, "chat")] = true
			b.load(policyDoc("chat", quick, targetA))
			b.rotates()
			b.checkEnded()
		}},
		{"one key in two policies that adopt", xaisim.Options{}, func(b *bench) {
			id := b.byHand("a", field, "chat")
			doc, _ := b.stores["a"].Doc("chat")
			b.stores["b"].Set("chat", doc)
			b.load(policyDoc("chat", "adopt: true"+quick, targetA), policyDoc("talk", "adopt: true"+quick, `{store: b, path: chat, field: api_key}`))
			for _, p := range []string{"chat", "talk"} {
				b.order(journal.Order{Policy: p, Kind: journal.OrderRotate, Trigger: journal.ByHand})
			}
			b.run(24 * time.Hour)
			if b.gone(id) || b.deletions() > 0 {
				b.violated("a key that another policy's target holds was destroyed")
			}
			b.waits("talk", reason.AdoptedElsewhere, true)
			b.waits("chat", reason.TargetHoldsKey, true)
			b.order(journal.Order{Policy: "talk", Kind: journal.OrderResolve, Decision: journal.Overwrite, Target: journal.TargetID{Store: "b", Path: "chat", Field: "api_key"}})
			b.runUntilIdle()
			b.checkEnded()
			if !b.gone(id) {
				b.violated("the key that nobody reads any more was not retired")
			}
		}},
		{"another team's key", xaisim.Options{Teams: []string{"team-2"}}, func(b *bench) {
			_, v := b.sim.AddKey("team-2", "theirs", "api-key:model:*", "api-key:endpoint:*")
			b.stores["a"].Set("chat", field(v.Reveal()))
			b.exempt["an unknown value"] = true
			b.load(policyDoc("chat", "adopt: true"+quick, targetA))
			b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand})
			b.run(24 * time.Hour)
			b.waits("chat", reason.AdoptedElsewhere, true)
			b.resolve(atA, journal.Overwrite)
			b.runUntilIdle()
			b.checkEnded()
			if !b.sim.Accepts(v) {
				b.violated("another team's key was touched")
			}
		}},
		{"an adopted key that expires", xaisim.Options{}, func(b *bench) {
			id := b.byHand("a", field, "chat")
			b.sim.SetExpires(id, b.clock.Add(5*24*time.Hour))
			b.load(policyDoc("chat", "adopt: true"+quick, targetA))
			b.run(5 * 24 * time.Hour)
			b.runUntilIdle()
			b.checkEnded()
			if r := b.record("chat"); b.key() == id || r.Policy.LastSuccess.After(b.clock.Add(-3*time.Hour)) {
				b.violated("a key that expires was not replaced in time")
			}
		}},
		{"an adopted key that is too old", xaisim.Options{}, func(b *bench) {
			id := b.byHand("a", field, "chat")
			b.sim.SetCreated(id, b.clock.Add(-400*24*time.Hour))
			b.load(policyDoc("chat", "adopt: true\nmax_age: 30d"+quick, targetA))
			b.runUntilIdle()
			b.checkEnded()
			if !b.gone(id) {
				b.violated("a key over its age was kept")
			}
		}},
		{"max_age before the schedule", xaisim.Options{}, func(b *bench) {
			b.createFirstKey("max_age: 10d"+quick, targetA)
			b.run(10 * 24 * time.Hour)
			b.runUntilIdle()
			b.checkEnded()
			if n := b.count(journal.Promoted); n != 2 || b.count(journal.AgeOverLimit) > 0 {
				b.violated("%d rotations in ten days, %d alerts", n, b.count(journal.AgeOverLimit))
			}
		}},
	})
}

func TestWaysBack(t *testing.T) {
	retiring := func(b *bench, k journal.OrderKind) (old, young string) {
		b.createFirstKey(quick, targetA, targetB)
		old = b.key()
		b.reach(journal.Soaking)
		b.order(journal.Order{Policy: "chat", Kind: k})
		return old, b.key()
	}
	play(t, []liar{
		{"a disable that lands after the rollback", xaisim.Options{DisableLag: 2 * time.Minute, LateDisableWins: true}, func(b *bench) {
			b.createFirstKey(quick, targetA, targetB)
			old := b.key()
			b.reach(journal.Live)
			b.run(2*time.Hour + time.Second) // the disable was sent, and has not landed
			b.exempt[old] = true             // for seconds, when it lands
			b.order(journal.Order{Policy: "chat", Kind: journal.OrderRollback})
			b.runUntilIdle()
			delete(b.exempt, old)
			b.live()
			b.checkEnded()
			if b.key() != old {
				b.violated("the key in use is %s", b.key())
			}
		}},
		{"the old key was deleted by a human before the rollback", xaisim.Options{}, func(b *bench) {
			old, young := retiring(b, journal.OrderRollback)
			b.human(old, b.sim.DeleteKey)
			b.run(24 * time.Hour)
			if b.state() != journal.RollingBack || b.gone(young) {
				b.violated("the rollback is %q", b.state())
			}
			if p := b.record("chat").Policy; !reason.NeedsHuman(p.Reason) || p.Error == "" {
				b.violated("waits for %q: %s", p.Reason, p.Error)
			}
			b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand, Supersede: true})
			b.runUntilIdle()
			b.checkEnded()
		}},
		{"no store has the old value: refused", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			b.reach(journal.Soaking)
			b.wrapped["a"] = forgetful{b.stores["a"]}
			b.order(journal.Order{Policy: "chat", Kind: journal.OrderRollback})
			b.runUntilIdle()
			b.checkEnded()
			if b.count(journal.OrderRefused) != 1 {
				b.violated("a rollback without a value to go back to was begun")
			}
		}},
		{"no store has the old value any more", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			old := b.key()
			v := b.stores["a"].Read(stores.Target{Path: "chat", Field: "api_key"})
			b.reach(journal.Soaking)
			b.dieIn = journal.RollingBack
			b.order(journal.Order{Policy: "chat", Kind: journal.OrderRollback})
			b.runUntil(time.Minute, func() bool { return b.state() == journal.RollingBack })
			b.wrapped["a"] = forgetful{b.stores["a"]}
			b.run(24 * time.Hour)
			b.waits("chat", reason.NoOldValue, true)
			b.stores["a"].Set("chat", field(v.Reveal())) // by hand, as the message says
			b.runUntilIdle()
			b.checkEnded()
			if b.key() != old {
				b.violated("the key in use is %s", b.key())
			}
		}},
		{"revive keeps both until released", xaisim.Options{}, func(b *bench) {
			old, young := retiring(b, journal.OrderRevive)
			b.run(24 * time.Hour)
			b.waits("chat", reason.Held, false)
			for _, k := range b.sim.Live(teamID) {
				if (k.ID == old || k.ID == young) && k.Disabled {
					b.violated("%s is off", k.ID)
				}
			}
		}},
		{"a chain of three", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA, targetB)
			b.reach(journal.Live)
			for range 3 {
				b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand, Supersede: true})
				b.run(time.Minute)
			}
			if n := len(b.sim.Live(teamID)); n != 6 { // the first, four successors, and the stranger's
				b.violated("%d keys during the overlap", n)
			}
			b.runUntilIdle()
			b.checkEnded()
		}},
		{"the old key is back because the new one is bad", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA, targetB)
			old := b.key()
			b.reach(journal.Soaking)
			b.human(b.successor(), b.sim.DeleteKey)
			b.sim.Inject(xaisim.Fault{Call: "update", Count: 3})
			b.runUntil(time.Hour, func() bool { return b.count(journal.TakenOver) > 0 })
			for _, k := range b.sim.Live(teamID) {
				if k.ID == old && k.Disabled {
					b.violated("the old key was not turned on")
				}
			}
			b.runUntilIdle()
			b.checkEnded()
		}},
		{"a bad new key costs one key a pause", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			b.sim.Inject(xaisim.Fault{Call: "chat", Count: -1, Kind: xaisim.Status, Status: 400, Body: `{"code":"invalid-argument","error":"Incorrect API key provided: xa***gA"}`})
			before := b.sim.Calls()["create"]
			b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand})
			b.run(time.Hour)
			if n := b.sim.Calls()["create"] - before; n > 5 {
				b.violated("%d keys in an hour", n)
			}
			b.sim.ClearFaults()
			b.runUntilIdle()
			b.settled()
		}},
	})
}

// forgetful is a store that keeps no former values.
type forgetful struct{ stores.Store }
