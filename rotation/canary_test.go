package rotation_test

import (
	"testing"
	"time"

	"rotator/rotation/health"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/xai/xaisim"
)

const withCanary = "\ncanary: {target: \"a:chat#api_key\", for: 6h}" + quick

// onCanary has chat rotate until one target alone holds the new key. It returns the key that the others hold, and the new one.
func (b *bench) onCanary() (old, successor string) {
	b.t.Helper()
	b.createFirstKey(withCanary, three...)
	old = b.key()
	b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand})
	b.run(10 * time.Minute)
	successor = b.successor()
	b.hold3("the canary begins", successor, old, old)
	if rot := b.record("chat").Rotation; rot == nil || rot.CanaryFrom.IsZero() || successor == old {
		b.t.Fatalf("no canary: %+v", rot)
	}
	return old, successor
}

// hold3 checks what the targets hold.
func (b *bench) hold3(when string, want ...string) {
	b.t.Helper()
	for i, store := range []string{"a", "b", "c"} {
		if got := b.reads(store); got != want[i] {
			b.violated("%s: %s holds %s, want %s", when, store, got, want[i])
		}
	}
}

// TestCanary: one target gets the new key first. What ends its time alone, what takes the key from it, and when there is none.
func TestCanary(t *testing.T) {
	play(t, []liar{
		{"its time is over", xaisim.Options{}, func(b *bench) {
			old, successor := b.onCanary()
			b.run(5*time.Hour + 40*time.Minute)
			b.hold3("before the time is over", successor, old, old)
			b.waits("chat", reason.WaitCanary, false)
			b.is(health.Progressing, reason.WaitCanary)
			b.run(30 * time.Minute)
			b.hold3("after it", successor, successor, successor)
			b.runUntilIdle()
			b.checkEnded()
			b.told()
			if b.count(journal.CanaryBegun) != 1 || b.count(journal.CanaryEnded) != 1 {
				b.violated("the canary was told %d and %d times", b.count(journal.CanaryBegun), b.count(journal.CanaryEnded))
			}
		}},
		{"the process dies again and again", xaisim.Options{}, func(b *bench) {
			old, successor := b.onCanary()
			for range 11 {
				b.run(30 * time.Minute)
				b.birth() // the value is in the canary alone, and in what is staged
			}
			b.hold3("before the time is over", successor, old, old)
			b.run(time.Hour)
			b.hold3("after it", successor, successor, successor)
			b.runUntilIdle()
			b.checkEnded()
		}},
		{"its consumers use the key", xaisim.Options{}, func(b *bench) {
			old, successor := b.onCanary()
			b.run(70 * time.Minute) // the next hour has begun: in the first, the rotator proved the key
			b.hold3("when nobody used it", successor, old, old)
			if err := b.infer.Chat(b.t.Context(), b.secretOf(successor), "grok-4"); err != nil {
				b.t.Fatal(err)
			}
			b.run(35 * time.Minute)
			b.hold3("when someone did", successor, successor, successor)
			b.runUntilIdle()
			b.checkEnded()
		}},
		{"use by the rotator alone does not count", xaisim.Options{UsageShowsIdle: true}, func(b *bench) {
			old, successor := b.onCanary()
			b.run(5 * time.Hour)
			b.hold3("when nobody used it", successor, old, old)
		}},
		{"usage that is not told by key does not count", xaisim.Options{UsageUngrouped: true}, func(b *bench) {
			old, successor := b.onCanary()
			b.run(70 * time.Minute)
			if err := b.infer.Chat(b.t.Context(), b.secretOf(old), "grok-4"); err != nil {
				b.t.Fatal(err)
			}
			b.run(3 * time.Hour)
			b.hold3("when the old key was used", successor, old, old)
		}},
		{"the new key dies", xaisim.Options{}, func(b *bench) {
			old, successor := b.onCanary()
			b.human(successor, b.sim.DeleteKey)
			b.run(40 * time.Minute)
			if held := b.reads("a"); held == successor {
				b.violated("the canary still holds the dead key")
			}
			b.runUntilIdle()
			b.checkEnded()
			third := b.key()
			if third == old || third == successor {
				b.violated("no other key was made")
			}
			b.hold3("after another rotation, which waits for no canary", third, third, third)
			if b.count(journal.CanaryBegun) != 1 || b.count(journal.Healed) != 1 {
				b.violated("%d canaries, %d healings", b.count(journal.CanaryBegun), b.count(journal.Healed))
			}
		}},
		{"the key of the others dies", xaisim.Options{}, func(b *bench) {
			old, successor := b.onCanary()
			b.human(old, b.sim.DeleteKey)
			b.run(40 * time.Minute)
			b.hold3("within two watches", successor, successor, successor)
			b.runUntilIdle()
			b.checkEnded()
		}},
		{"a rollback", xaisim.Options{}, func(b *bench) {
			old, successor := b.onCanary()
			b.order(journal.Order{Policy: "chat", Kind: journal.OrderRollback})
			b.run(15 * time.Minute)
			b.hold3("after the rollback", old, old, old)
			if got := b.key(); got != old {
				b.violated("key %s is in use, want %s", got, old)
			}
			b.run(20 * time.Hour)
			b.hold3("under the hold", old, old, old)
			if !b.gone(successor) {
				b.violated("the key that was taken back is left")
			}
		}},
		{"a hold", xaisim.Options{}, func(b *bench) {
			old, successor := b.onCanary()
			b.hold(journal.Hold{Reason: "the canary is ill", By: "ann", At: b.clock})
			b.run(20 * time.Hour)
			b.hold3("under the hold", successor, old, old)
			b.is(health.Degraded, reason.Held)
			b.hold(journal.Hold{})
			b.run(time.Minute)
			b.hold3("after it", successor, successor, successor)
			b.runUntilIdle()
			b.checkEnded()
			b.told()
		}},
		{"its policy names none any more", xaisim.Options{}, func(b *bench) {
			_, successor := b.onCanary()
			b.load(policyDoc("chat", quick, three...))
			b.run(time.Minute)
			b.hold3("after the edit", successor, successor, successor)
			b.runUntilIdle()
			b.checkEnded()
		}},
		{"the key in use is compromised", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(withCanary, three...)
			b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByCompromise, Why: "leaked"})
			b.run(15 * time.Minute)
			b.hold3("at once", b.key(), b.key(), b.key())
			if b.count(journal.CanaryBegun) != 0 {
				b.violated("a leaked key was kept for a canary")
			}
			b.runUntilIdle()
			b.checkEnded()
		}},
		{"a canary that was left", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(withCanary, three...)
			b.stores["a"].Set("chat", `{"api_key":"hunter2"}`)
			b.exempt["an unknown value"] = true
			b.run(time.Hour)
			b.resolve(atA, journal.Leave)
			b.rotates()
			b.hold3("at once", "an unknown value", b.key(), b.key())
			if b.count(journal.CanaryBegun) != 0 {
				b.violated("a target that is not ours to write was the canary")
			}
		}},
	})
}
