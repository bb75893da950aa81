package rotation_test

import (
	"context"
	"testing"
	"time"

	"rotator/internal/secret"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/stores"
	"rotator/stores/memstore"
	"rotator/xai/xaisim"
)

func TestPatience(t *testing.T) {
	hour := func(on, off func(*bench)) func(*bench) {
		return func(b *bench) {
			b.createFirstKey(quick, targetA, targetB)
			for _, s := range []journal.State{journal.Staged, journal.Verified, journal.Promoting, journal.Live, journal.Soaking} {
				b.reach(s)
				off0 := b.deletions()
				on(b)
				b.run(time.Hour)
				off(b)
				if b.deletions() > off0 && s != journal.Live && s != journal.Soaking || b.count(journal.AbortBegun) > 0 {
					b.violated("a key was given up in %s", s)
				}
				b.runUntilIdle()
				b.checkEnded()
			}
		}
	}
	play(t, []liar{
		{"no credits for an hour", xaisim.Options{}, hour(
			func(b *bench) { b.sim.SetBilling(teamID, xaisim.NoCredits) }, func(b *bench) { b.sim.SetBilling(teamID, xaisim.BillingFine) })},
		{"spending limit for an hour", xaisim.Options{}, hour(
			func(b *bench) { b.sim.SetBilling(teamID, xaisim.SpendingLimit) }, func(b *bench) { b.sim.SetBilling(teamID, xaisim.BillingFine) })},
		{"429 for an hour", xaisim.Options{}, hour(
			func(b *bench) { b.sim.ThrottleTeam(teamID, true) }, func(b *bench) { b.sim.ThrottleTeam(teamID, false) })},
		{"xAI down for days", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA, targetB)
			for _, s := range []journal.State{journal.Planned, journal.Staged, journal.Verified, journal.Promoting, journal.Live, journal.Soaking} {
				b.reach(s)
				b.sim.Inject(xaisim.Fault{Count: -1, Kind: xaisim.Reset})
				b.run(3 * 24 * time.Hour)
				b.sim.ClearFaults()
				b.runUntilIdle()
				b.checkEnded()
			}
		}},
		{"a store down for days", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA, targetB)
			for _, s := range []journal.State{journal.Planned, journal.Staged, journal.Verified, journal.Promoting, journal.Live, journal.Soaking} {
				b.reach(s)
				before := b.sim.Calls()["create"]
				b.stores["b"].OnCall(func(memstore.Call) error { return errFault })
				b.run(3 * 24 * time.Hour)
				b.waits("chat", reason.StoreUnavailable, false)
				if n := b.sim.Calls()["create"] - before; n > 0 {
					b.violated("%d keys were made in %s while a store was down", n, s)
				}
				b.stores["b"].OnCall(nil)
				b.runUntilIdle()
				b.checkEnded()
			}
		}},
		{"a store goes down after the create", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			b.wrapped["a"] = coat{Store: b.stores["a"], stage: func(context.Context, stores.Target, string, secret.Text) error { return errFault }}
			b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand})
			before := b.sim.Calls()["create"]
			b.run(24 * time.Hour)
			if n := b.sim.Calls()["create"] - before; n != 1 {
				b.violated("%d keys were made", n)
			}
			delete(b.wrapped, "a")
			b.runUntilIdle()
			b.checkEnded()
		}},
		{"a create lost while lists lag", xaisim.Options{ListLag: 30 * time.Second}, func(b *bench) {
			b.sim.Inject(xaisim.Fault{Call: "create", When: xaisim.After, Kind: xaisim.Reset})
			b.createFirstKey(quick, targetA)
			b.runUntilIdle()
			b.checkEnded()
			if b.count(journal.KeyFound) != 1 {
				b.violated("the lost key was found %d times", b.count(journal.KeyFound))
			}
		}},
		{"a create that lands after the list was read", xaisim.Options{}, func(b *bench) {
			b.sim.Inject(xaisim.Fault{Call: "create", When: xaisim.Late, Delay: 9 * time.Minute, Kind: xaisim.Timeout})
			b.createFirstKey(quick, targetA)
			b.runUntilIdle()
			b.checkEnded()
			if b.count(journal.KeyFound) != 1 {
				b.violated("the late key was found %d times", b.count(journal.KeyFound))
			}
		}},
		{"a create that lands an hour late", xaisim.Options{}, func(b *bench) {
			b.sim.Inject(xaisim.Fault{Call: "create", When: xaisim.Late, Delay: 59 * time.Minute, Kind: xaisim.Timeout})
			b.createFirstKey(quick, targetA)
			b.run(time.Hour)
			if err := b.engine.scheduler.RunOnce(b.t.Context()); err != nil { // the inventory gives it back to the sweep
				b.t.Fatal(err)
			}
			b.runUntilIdle()
			b.checkEnded()
		}},
		{"runs missed for months are made up once", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			b.clock = b.clock.Add(100 * 24 * time.Hour)
			b.runUntilIdle()
			b.checkEnded()
			if n := b.count(journal.Promoted); n != 2 {
				b.violated("%d rotations, want the first and one made up", n)
			}
		}},
		{"clocks jump", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA, targetB)
			for _, s := range []journal.State{journal.Planned, journal.Staged, journal.Verified, journal.Promoting, journal.Live, journal.Soaking} {
				for _, jump := range []time.Duration{-72 * time.Hour, -5 * time.Hour, 72 * time.Hour} {
					b.reach(s)
					b.clock, b.skew = b.clock.Add(jump), -jump
					b.run(30 * time.Minute)
					b.clock, b.skew = b.clock.Add(-jump), 0
					b.runUntil(80*time.Hour, b.isIdle)
					b.runUntilIdle()
					b.checkEnded()
					if len(b.broken) > 0 {
						b.t.Fatalf("%s by %s", s, jump)
					}
				}
			}
		}},
	})
}
