package rotation_test

import (
	"path/filepath"
	"testing"
	"time"

	"rotator/rotation"
	"rotator/rotation/journal"
	"rotator/xai/xaisim"
)

// gateRules has, for each rule of the gate, a life in which nothing but that rule keeps a key from being destroyed that
// must stay.
var gateRules = map[string]func(*bench){
	"state": func(b *bench) { // no job asks for such a key: the rule guards against a defect of theirs
		b.createFirstKey(quick, targetA)
		b.reach(journal.Staged)
		claims, err := b.journal.Claim(b.t.Context(), "bench", b.clock.Add(time.Hour), 1)
		if err != nil || len(claims) != 1 {
			b.t.Fatal("no claim", err)
		}
		r := b.record("chat")
		if err := b.engine.Disable(b.t.Context(), claims[0], r, r.Rotation.KeyRef); err == nil {
			b.violated("a key that is about to be promoted was disabled")
		}
	},
	"hold": func(b *bench) {
		b.createFirstKey(quick, targetA)
		b.reach(journal.Live)
		set, end := false, b.clock.Add(2*time.Hour)
		b.sim.OnCall(func(c xaisim.Call) {
			if c.Op != "list" || set || b.clock.Before(end) {
				return
			}
			set = true // the gate has begun
			hold := journal.Hold{Reason: "stop", By: "tester", At: b.clock}
			if err := b.journal.SetHold(b.t.Context(), b.clock, "chat", hold, journal.Event{At: b.clock, Kind: journal.HoldSet}); err != nil {
				b.t.Error(err)
			}
		})
		b.run(24 * time.Hour)
		if !set || b.deletions() > 0 {
			b.violated("a key was destroyed after the hold was set")
		}
	},
	"reconcile": func(b *bench) { // what is lost had sent the old key back to a target
		b.journal = openJournal(b.t, filepath.Join(b.t.TempDir(), "journal.db"))
		b.birth()
		b.createFirstKey("retire: {overlap: 2h, soak: 0s}", targetA)
		b.reach(journal.Live)
		b.run(119 * time.Minute)
		path := filepath.Join(b.t.TempDir(), "backup.db")
		if err := b.journal.Backup(b.t.Context(), path); err != nil {
			b.t.Fatal(err)
		}
		b.stores["a"].Now = b.now
		for range 2 { // it is tried again at once
			b.stores["a"].Late("promote", 5*time.Minute)
		}
		b.order(journal.Order{Policy: "chat", Kind: journal.OrderRollback})
		b.runUntil(time.Minute, func() bool { return len(b.stores["a"].Pending()) > 0 })
		b.journal = openJournal(b.t, path)
		b.birth()
		b.run(24 * time.Hour)
		b.live()
	},
	"team": func(b *bench) {
		b.createFirstKey(quick, targetA)
		b.reach(journal.Live)
		b.skew = 6 * time.Minute
		b.run(4 * time.Hour)
		if b.deletions() > 0 {
			b.violated("a key was destroyed by clocks that differ")
		}
	},
	"identity": func(b *bench) {
		b.createFirstKey(quick, targetA)
		id := b.stranger("not ours")
		b.forge(func(r *journal.Record) {
			r.Keys = append(r.Keys, journal.Key{
				Ref: "forged", ID: id, Policy: "chat", Team: "research", Name: "rotator-chat-forged", Origin: journal.OfAttempt, State: journal.RejectedKey,
				Fingerprint: "sha256:00", CreatedAt: b.clock,
			})
		})
		b.run(24 * time.Hour)
		if b.gone(id) {
			b.violated("I3: a stranger's key was deleted")
		}
	},
	"targets": func(b *bench) { // a target that is not written any more gets the old key back, and no watch sees it
		b.stores["b"].Set("chat", "a-password")
		b.exempt["an unknown value"] = true
		b.load(policyDoc("chat", quick, targetA, targetB))
		b.run(time.Minute)
		b.resolve(atB, journal.Drop)
		b.run(time.Hour)
		old := b.key()
		b.reach(journal.Live)
		b.run(119 * time.Minute)
		b.stores["b"].Set("chat", b.secretOf(old).Reveal())
		b.run(24 * time.Hour)
		b.live()
	},
	"effects": func(b *bench) { // a store without fences, where a write of the key is still under way
		b.stores["a"].Plain, b.stores["a"].Now = true, b.now
		b.createFirstKey(quick, targetA)
		old := b.key()
		b.stores["a"].Late("promote", 5*time.Minute)
		b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand})
		if !b.runUntil(time.Minute, func() bool { return len(b.stores["a"].Pending()) > 0 }) {
			b.t.Fatal("nothing is promoted")
		}
		young := b.successor()
		b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByCompromise, KeyIDs: journal.IDs(young), Why: "leaked"})
		b.run(24 * time.Hour)
		b.live()
		if !b.gone(young) && b.accepts(young) || b.key() == young || b.key() == old && b.gone(old) {
			b.violated("in use is %s; the leaked key %s is accepted: %v", b.key(), young, b.accepts(young))
		}
	},
	"explained": func(b *bench) { // a key of someone else with a name like ours, and a row for it that no event explains
		b.createFirstKey(quick, targetA)
		id := b.stranger("rotator-chat-forged")
		b.forgeRows(func(r *journal.Record) {
			r.Keys = append(r.Keys, journal.Key{
				Ref: "forged", ID: id, Policy: "chat", Team: "research", Name: "rotator-chat-forged", Origin: journal.OfAttempt, State: journal.RejectedKey,
				Fingerprint: "sha256:00", CreatedAt: b.clock,
			})
		}, false)
		b.run(24 * time.Hour)
		if b.gone(id) {
			b.violated("I3: a key was deleted that only an edit of the journal named")
		}
	},
	"successor": func(b *bench) {
		b.createFirstKey(quick, targetA)
		old := b.key()
		b.reach(journal.Live)
		b.run(119 * time.Minute)
		b.limits.Watch = 12 * time.Hour // no watch sees it before the gate does
		b.human(b.key(), b.sim.DeleteKey)
		b.runUntil(24*time.Hour, func() bool { return b.deletions() > 1 || b.reads("a") == old })
		if b.gone(old) || !b.accepts(old) {
			b.violated("the last key that worked was destroyed")
		}
	},
}

// TestEveryGateRuleIsNeeded turns each rule of the gate off: then a key is destroyed that must not be. With the rule the
// same life goes well.
func TestEveryGateRuleIsNeeded(t *testing.T) {
	t.Parallel()
	for _, name := range rotation.GateRules() {
		life := gateRules[name]
		if life == nil {
			t.Errorf("nothing shows that the rule %q is needed", name)
			continue
		}
		for _, without := range []bool{false, true} {
			t.Run(name+map[bool]string{true: "/without"}[without], func(t *testing.T) {
				t.Parallel()
				b := newBench(t, xaisim.Options{})
				if without {
					b.without = name
					b.birth()
				}
				life(b)
				switch {
				case !without:
					b.check()
				case len(b.broken) == 0:
					b.dump()
					t.Error("without this rule nothing is lost")
				default:
					t.Log(b.broken)
				}
			})
		}
	}
	if n := len(rotation.GateRules()); n != len(gateRules) {
		t.Errorf("%d rules, %d lives", n, len(gateRules))
	}
}
