package rotation_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"rotator/rotation/health"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/stores"
	"rotator/xai/xaisim"
)

// canary6 is a canary of six hours with a soak that one canary outlasts.
const canary6 = "\ncanary: {target: \"a:chat#api_key\", for: 6h}\nretire: {overlap: 2h, soak: 3h}\n"

func byHandNow(supersede bool) journal.Order {
	return journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand, Supersede: supersede}
}

// expires has a key expire at xAI, as a list told the journal.
func (b *bench) expires(id string, at time.Time) {
	b.sim.SetExpires(id, at)
	b.forge(func(r *journal.Record) {
		for i := range r.Keys {
			if r.Keys[i].ID == id {
				r.Keys[i].ExpiresAt = at
			}
		}
	})
}

// TestCanaryTroubles: what else can happen while one target alone holds the new key.
func TestCanaryTroubles(t *testing.T) {
	play(t, []liar{
		{"old key expires during the canary", xaisim.Options{}, func(b *bench) {
			old, successor := b.onCanary()
			b.expires(old, b.clock.Add(2*time.Hour))
			b.run(1*time.Hour + 55*time.Minute)
			b.hold3("before the old key expires", successor, successor, successor)
			b.run(time.Hour) // I1
		}},
		{"a rotation for expiry", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(withCanary, three...)
			b.expires(b.key(), b.clock.Add(4*time.Hour))
			b.run(5 * time.Hour) // nothing reads an expired key
		}},
		{"a leaked old key outlives its report", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(canary6, three...)
			k0 := b.key()
			b.order(byHandNow(false))
			b.run(7 * time.Hour)
			b.order(byHandNow(true))
			b.run(20 * time.Minute)
			b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByCompromise, Why: "leak", KeyIDs: journal.IDs("").With(k0)})
			b.offWithin(15*time.Minute, k0)
		}},
		{"soak ends during the canary", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(canary6, three...)
			b.order(byHandNow(false))
			b.run(9 * time.Hour) // the old key is off
			b.order(byHandNow(true))
			b.run(5 * time.Hour)
			b.told()
		}},
		{"overlap ends during the canary", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(canary6, three...)
			b.order(byHandNow(false))
			b.run(7 * time.Hour)
			b.order(byHandNow(true))
			b.run(5 * time.Hour)
			b.told()
		}},
		{"max_age of a week, no meddling", xaisim.Options{}, func(b *bench) {
			b.createFirstKey("\nmax_age: 7d\ncanary: {target: \"a:chat#api_key\", for: 2d}\nretire: {overlap: 24h, soak: 24h}\n", three...)
			b.run(20 * 24 * time.Hour)
			b.told()
		}},
		{"run --once", xaisim.Options{}, func(b *bench) {
			b.onCanary()
			ctx, cancel := context.WithTimeout(b.t.Context(), 5*time.Second)
			defer cancel()
			if err := b.engine.scheduler.RunOnce(ctx); err != nil {
				b.violated("RunOnce waits for the canary: %v", err)
			}
		}},
		{"removed, and the new key dies", xaisim.Options{}, func(b *bench) {
			_, successor := b.onCanary()
			b.load(policyDoc("another", quick, `{store: a, path: other}`))
			b.human(successor, b.sim.DeleteKey)
			b.run(2 * time.Hour)
			if e := b.record("chat").Policy.Error; strings.Contains(e, "passes") {
				b.violated("it spins: %s", e)
			}
		}},
		{"drift of the canary", xaisim.Options{}, func(b *bench) {
			b.onCanary()
			b.exempt["an unknown value"] = true
			b.stores["a"].Set("chat", `{"api_key":"hunter2"}`)
			b.run(2 * time.Hour)
			b.is(health.ActionRequired, reason.DriftFound)
			b.run(5 * time.Hour)
			if b.reads("b") != b.key() {
				b.violated("a canary that was never on trial ended, and b got the new key")
			}
		}},
		{"a human puts the old key back", xaisim.Options{}, func(b *bench) {
			old, _ := b.onCanary()
			b.stores["a"].Set("chat", `{"api_key":"`+b.secretOf(old).Reveal()+`"}`)
			b.run(7 * time.Hour)
			b.hold3("nobody tried the new key", old, old, old)
		}},
		{"the canary is left", xaisim.Options{}, func(b *bench) {
			old, successor := b.onCanary()
			b.resolve(atA, journal.Leave)
			b.hold3("--leave of the canary", successor, old, old)
		}},
		{"own call counts as use", xaisim.Options{UsageShowsIdle: true}, func(b *bench) {
			b.createFirstKey(withCanary, three...)
			old := b.key()
			b.skew = 4 * time.Minute // xAI's clock is ahead, within what is allowed
			b.until("2026-03-01 13:57")
			b.order(byHandNow(false))
			b.run(80 * time.Minute)
			b.hold3("nobody used it", b.successor(), old, old)
		}},
		{"a new target waits for its first key", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(withCanary, targetA, targetB)
			b.load(policyDoc("chat", withCanary, three...))
			b.order(byHandNow(false))
			b.run(20 * time.Minute)
			if b.stores["c"].Read(stores.Target{Path: "other", Field: "key"}).Empty() {
				b.violated("c is empty while the canary is on trial")
			}
		}},
		{"for is shortened", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(strings.Replace(withCanary, "6h", "10h", 1), three...)
			b.order(byHandNow(false))
			b.run(7*time.Hour + 10*time.Minute)
			b.load(policyDoc("chat", withCanary, three...))
			b.run(time.Minute)
			b.hold3("shorter", b.successor(), b.successor(), b.successor())
			b.told()
		}},
		{"the clock is set back", xaisim.Options{}, func(b *bench) {
			old, successor := b.onCanary()
			b.sets(-8 * time.Hour)
			b.run(20 * time.Minute)
			b.hold3("minutes after it began", successor, old, old)
		}},
		{"decommission in observe mode", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, three...)
			b.decommission(false)
			b.run(time.Minute)
			b.observes(10 * time.Hour)
			b.run(time.Hour)
			if e := b.record("chat").Policy.Error; strings.Contains(e, "would delete") {
				b.violated("of a key that is in use and on: %q", e)
			}
		}},
	})
}
