package rotation_test

import (
	"testing"
	"time"

	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/stores/memstore"
	"rotator/xai/xaisim"
)

func TestRetirementIsEarned(t *testing.T) {
	noUsage := xaisim.Fault{Call: "usage", Count: -1, Kind: xaisim.Status, Status: 403, Body: `{"code":7,"message":"forbidden","details":[]}`}
	play(t, []liar{
		{"unknown use is not idleness", xaisim.Options{}, func(b *bench) {
			b.sim.Inject(noUsage)
			b.createFirstKey("retire: {overlap: 2h, soak: 1h, require_idle: 6h}", targetA)
			b.reach(journal.Live)
			b.run(5 * 24 * time.Hour)
			b.waits("chat", reason.WaitIdle, false)
			b.run(15 * 24 * time.Hour)
			b.waits("chat", reason.RetireOverdue, true)
			if b.deletions() > 0 {
				b.violated("a key whose use is not known was destroyed")
			}
			b.sim.ClearFaults()
			b.runUntilIdle()
		}},
		{"max_wait bounds it, and tells", xaisim.Options{}, func(b *bench) {
			b.sim.Inject(noUsage)
			b.createFirstKey("retire: {overlap: 2h, soak: 1h, require_idle: 6h, max_wait: 2d}", targetA)
			b.reach(journal.Live)
			b.run(3 * 24 * time.Hour)
			b.checkEnded()
			if n := b.count(journal.Unretired); n != 1 {
				b.violated("told %d times", n)
			}
		}},
		{"max_wait bounds it when billing gives no answer", xaisim.Options{}, func(b *bench) {
			b.sim.Inject(xaisim.Fault{Call: "usage", Count: -1, Kind: xaisim.Status, Status: 404, Body: "<html>404 Not Found</html>"})
			b.createFirstKey("retire: {overlap: 2h, soak: 1h, require_idle: 6h, max_wait: 2d}", targetA)
			b.reach(journal.Live)
			b.run(40 * time.Hour)
			if b.deletions() > 0 {
				b.violated("a key whose use is not known was destroyed before max_wait")
			}
			b.run(30 * time.Hour)
			b.checkEnded()
			if n := b.count(journal.Unretired); n != 1 {
				b.violated("told %d times", n)
			}
		}},
		{"a target that was removed and holds the old key", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA, targetB)
			old := b.key()
			b.load(policyDoc("chat", quick, targetA))
			b.rotates()
			b.waits("chat", reason.TargetHoldsKey, true)
			if b.gone(old) || b.deletions() > 0 {
				b.violated("a key that a target holds was destroyed")
			}
			b.stores["b"].Set("chat", "something else")
			b.runUntilIdle()
			b.checkEnded()
		}},
		{"a target that was removed and is forgotten", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA, targetB)
			old := b.key()
			b.load(policyDoc("chat", quick, targetA))
			b.rotates()
			if err := b.journal.Forget(b.t.Context(), b.clock, "chat", &atB, journal.Event{At: b.clock, Kind: journal.Forgotten}); err != nil {
				b.t.Fatal(err)
			}
			b.runUntilIdle()
			b.checkEnded()
			if !b.gone(old) {
				b.violated("the old key was not retired")
			}
		}},
		{"an unreadable target", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA, targetB)
			b.reach(journal.Live)
			b.stores["b"].OnCall(func(memstore.Call) error { return errFault })
			b.run(24 * time.Hour)
			if b.deletions() > 0 {
				b.violated("a key was destroyed while a target could not be read")
			}
			b.stores["b"].OnCall(nil)
			b.runUntilIdle()
			b.checkEnded()
		}},
		{"a store that is no longer configured", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA, targetB)
			b.reach(journal.Live)
			b.wrapped["b"] = nil
			b.run(24 * time.Hour)
			b.waits("chat", reason.ConfigMissing, true)
			if b.deletions() > 0 {
				b.violated("a key was destroyed while a store was missing")
			}
			delete(b.wrapped, "b")
			b.runUntilIdle()
			b.checkEnded()
		}},
		{"another policy's target holds the old key", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			old := b.key()
			doc, _ := b.stores["a"].Doc("chat")
			b.load(policyDoc("chat", quick, targetA), policyDoc("talk", quick, `{store: b, path: copy, field: api_key}`))
			b.stores["b"].Set("copy", doc)
			b.run(time.Hour)
			b.stores["b"].Set("copy", doc) // talk made a key of its own; a human puts the old one back
			b.run(20 * time.Minute)
			b.rotates()
			b.waits("chat", reason.TargetHoldsKey, true)
			if b.gone(old) {
				b.violated("a key that another policy's target holds was destroyed")
			}
		}},
		{"a hold that comes while the gate looks", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			b.reach(journal.Live)
			set := false
			b.sim.OnCall(func(c xaisim.Call) {
				if c.Op == "validate" && !set { // the gate has begun
					set = true
					hold := journal.Hold{Reason: "stop", By: "tester", At: b.clock}
					if err := b.journal.SetHold(b.t.Context(), b.clock, "chat", hold, journal.Event{At: b.clock, Kind: journal.HoldSet}); err != nil {
						b.t.Error(err)
					}
				}
			})
			b.run(24 * time.Hour)
			if !set || b.deletions() > 0 {
				b.violated("a key was destroyed after the hold was set")
			}
			b.waits("chat", reason.Held, false)
		}},
		{"the successor stops working in the overlap", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			b.reach(journal.Live)
			b.sim.SetBilling(teamID, xaisim.NoCredits) // says nothing about the key, which says who it is
			b.runUntilIdle()
			b.checkEnded()
			if b.count(journal.KeyUnproved) == 0 {
				b.violated("nobody was told that the key in use could not be proved by a call")
			}
		}},
	})
}
