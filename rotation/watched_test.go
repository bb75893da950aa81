package rotation_test

import (
	"testing"
	"time"

	"rotator/rotation/journal"
	"rotator/stores/memstore"
	"rotator/xai/xaisim"
)

// kills are the ways in which a key dies.
var kills = map[string]func(*bench, string){
	"disabled": func(b *bench, id string) { b.human(id, b.sim.DisableKey) },
	"deleted":  func(b *bench, id string) { b.human(id, b.sim.DeleteKey) },
}

// servedWithin checks that every target of chat holds a key that works, in time, and that people were notified of the dead one.
func (b *bench) servedWithin(d time.Duration, targets ...string) {
	b.t.Helper()
	served := func() bool {
		for _, s := range targets {
			if !b.accepts(b.reads(s)) {
				return false
			}
		}
		return true
	}
	if !b.runUntil(d, served) {
		p := b.record("chat").Policy
		b.violated("after %s consumers still read %s, which is dead; %s %s: %s", d, b.reads(targets[0]), b.state(), p.Reason, p.Error)
	}
	if b.count(journal.KeyUnhealthy) == 0 {
		b.violated("nobody was told that the key is dead")
	}
}

// TestKeyOfARollbackDies: the key that consumers were given back dies, and they get one that works.
func TestKeyOfARollbackDies(t *testing.T) {
	const slow = "retire: {overlap: 24h, soak: 24h}"
	var lives []liar
	for how, kill := range kills {
		lives = append(lives,
			liar{"after it is live again: " + how, xaisim.Options{}, func(b *bench) {
				b.createFirstKey(slow, targetA)
				old := b.key()
				b.reach(journal.Live)
				young := b.key()
				b.order(journal.Order{Policy: "chat", Kind: journal.OrderRollback})
				b.run(time.Minute)
				kill(b, old)
				b.servedWithin(20*time.Minute, "a")
				if b.reads("a") != young {
					b.violated("consumers read %s and not the newer key, which works", b.reads("a"))
				}
				b.run(7 * 24 * time.Hour)
				inUse(b)
			}},
			liar{"in one of two targets: " + how, xaisim.Options{}, func(b *bench) {
				b.createFirstKey(slow, targetA, targetB)
				old := b.key()
				b.reach(journal.Live)
				b.stores["b"].OnCall(func(c memstore.Call) error {
					if c.Op == "promote" {
						return errFault
					}
					return nil
				})
				b.order(journal.Order{Policy: "chat", Kind: journal.OrderRollback})
				b.run(10 * time.Minute)
				if b.reads("a") != old {
					b.t.Fatalf("a holds %s", b.reads("a"))
				}
				kill(b, old)
				b.servedWithin(20*time.Minute, "a", "b")
				b.stores["b"].OnCall(nil)
				b.run(7 * 24 * time.Hour)
				inUse(b)
			}},
			liar{"and the newer one is off: " + how, xaisim.Options{}, func(b *bench) {
				b.createFirstKey("retire: {overlap: 1h, soak: 48h}", targetA)
				old := b.key()
				b.reach(journal.Live)
				b.order(journal.Order{Policy: "chat", Kind: journal.OrderRollback})
				b.run(12 * time.Hour)
				if b.state() != journal.Soaking {
					b.t.Fatalf("the newer key is not off: %s", b.state())
				}
				kill(b, old)
				b.servedWithin(20*time.Minute, "a")
				b.run(7 * 24 * time.Hour)
				inUse(b)
			}},
			liar{"and so does the newer one: " + how, xaisim.Options{}, func(b *bench) {
				b.createFirstKey(slow, targetA)
				old := b.key()
				b.reach(journal.Live)
				young := b.key()
				b.order(journal.Order{Policy: "chat", Kind: journal.OrderRollback})
				b.run(time.Minute)
				kill(b, young)
				kill(b, old)
				b.servedWithin(time.Hour, "a")
				b.run(7 * 24 * time.Hour)
				inUse(b)
			}},
		)
	}
	play(t, lives)
}

// TestKeyInPromotionIsWatched: one target's store is down for days, and the new key, which the other one's consumers read,
// dies.
func TestKeyInPromotionIsWatched(t *testing.T) {
	var lives []liar
	for how, kill := range kills {
		for _, held := range []bool{false, true} {
			lives = append(lives, liar{how + map[bool]string{true: ", under a hold"}[held], xaisim.Options{}, func(b *bench) {
				b.createFirstKey(quick, targetA, targetB)
				old := b.key()
				b.reach(journal.Promoting)
				young := b.successor()
				b.stores["b"].OnCall(func(memstore.Call) error { return errFault })
				b.run(2 * time.Hour)
				if b.reads("a") != young || b.state() != journal.Promoting {
					b.t.Fatalf("a holds %s, the rotation is %s", b.reads("a"), b.state())
				}
				if held {
					h := journal.Hold{Reason: "a fair", By: "tester", At: b.clock}
					if err := b.journal.SetHold(b.t.Context(), b.clock, "chat", h, journal.Event{At: b.clock, Kind: journal.HoldSet}); err != nil {
						b.t.Fatal(err)
					}
				}
				kill(b, young)
				b.servedWithin(20*time.Minute, "a")
				if b.reads("a") != old {
					b.violated("consumers of a read %s and not the key that worked all along", b.reads("a"))
				}
				b.run(4 * time.Hour)
				b.stores["b"].OnCall(nil)
				b.run(2 * time.Hour)
				inUse(b)
			}})
		}
	}
	play(t, lives)
}

// TestKeyInUseDiesWhileTheNextIsStaged: the next key cannot be promoted, the one in use dies. People are notified, and the next
// one is promoted as soon as it may be.
func TestKeyInUseDiesWhileTheNextIsStaged(t *testing.T) {
	var lives []liar
	for how, kill := range kills {
		lives = append(lives,
			liar{"it has not reached all clusters: " + how, xaisim.Options{}, func(b *bench) {
				b.createFirstKey(quick, targetA)
				old := b.key()
				b.sim.Inject(xaisim.LieNotPropagated(-1))
				b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand})
				b.run(time.Hour)
				kill(b, old)
				b.run(24 * time.Hour)
				if b.count(journal.KeyUnhealthy) == 0 || b.reads("a") != old {
					b.violated("told %d times; a holds %s", b.count(journal.KeyUnhealthy), b.reads("a"))
				}
				b.sim.ClearFaults()
				b.servedWithin(20*time.Minute, "a")
			}},
			liar{"an older key works: " + how, xaisim.Options{}, func(b *bench) {
				b.createFirstKey("retire: {overlap: 48h, soak: 0s}", targetA)
				old := b.key()
				b.reach(journal.Live)
				b.sim.Inject(xaisim.LieNotPropagated(-1))
				b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand, Supersede: true})
				b.run(time.Hour)
				kill(b, b.key())
				b.servedWithin(20*time.Minute, "a")
				if b.reads("a") != old {
					b.violated("a holds %s", b.reads("a"))
				}
				b.sim.ClearFaults()
				b.run(24 * time.Hour)
				inUse(b)
			}},
		)
	}
	play(t, lives)
}
