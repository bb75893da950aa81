package rotation_test

import (
	"testing"
	"time"

	"rotator/rotation"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/stores"
	"rotator/xai/xaisim"
)

// untouched lets chat try to rotate for a day and checks that a:chat still holds the key, and that it works.
func (b *bench) untouched(id string) {
	b.t.Helper()
	b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand})
	b.run(24 * time.Hour)
	if b.gone(id) || !b.accepts(id) {
		b.violated("%s, which others manage, was destroyed", id)
	}
	if got := b.idOf(b.stores["a"].Read(stores.Target{Path: "chat", Field: "api_key"})); got != id {
		b.violated("%s, which others manage, was replaced by %s", id, got)
	}
	b.waits("chat", reason.OtherRotator, true)
}

// TestKeysOfOtherRotatorsAreLeft: a name that a Rotator gives says that someone manages the key.
func TestKeysOfOtherRotatorsAreLeft(t *testing.T) {
	const billing = "rotator-billing-0198c5f2-0000-7000-8000-000000000000"
	holds := func(b *bench, name, extra string) (id string) {
		id, v := b.sim.AddKey(teamID, name, "api-key:model:grok-4", "api-key:endpoint:chat")
		b.stores["a"].Set("chat", field(v.Reveal()))
		b.load(policyDoc("chat", extra+quick, targetA))
		return id
	}
	play(t, []liar{
		{"with adopt: true", xaisim.Options{}, func(b *bench) { b.untouched(holds(b, billing, "adopt: true")) }},
		{"of a policy of the same name, elsewhere", xaisim.Options{}, func(b *bench) { // a copy of its secret came here
			b.untouched(holds(b, "rotator-chat-0198c5f2-0000-7000-8000-000000000000", "adopt: true"))
		}},
		{"the policy names the key", xaisim.Options{}, func(b *bench) {
			id, v := b.sim.AddKey(teamID, "rotator-chat-0198c5f2-0000-7000-8000-000000000000", "api-key:model:grok-4", "api-key:endpoint:chat")
			b.stores["a"].Set("chat", field(v.Reveal()))
			b.load(policyDoc("chat", "adopt: {key_id: "+id+"}"+quick, targetA))
			b.run(time.Hour)
			if b.key() != id {
				b.violated("the key that the policy names is not adopted: %q", b.key())
			}
			b.rotates()
			b.checkEnded()
		}},
		{"without", xaisim.Options{}, func(b *bench) { b.untouched(holds(b, billing, "")) }},
		{"a name that is cut short", xaisim.Options{}, func(b *bench) { b.untouched(holds(b, billing[:32], "adopt: true")) }},
		{"a human names the key", xaisim.Options{}, func(b *bench) {
			id := holds(b, billing, "adopt: true")
			b.run(time.Hour)
			if as := b.adopted(); as[id] != rotation.AdoptCurrent || b.key() != "" {
				b.violated("the plan is %v, the key in use %q", as, b.key())
			}
			b.agree("chat", journal.IDs(id))
			b.runUntilIdle()
			if b.key() != id {
				b.violated("the key that was agreed to is not adopted: %q", b.key())
			}
			b.rotates()
			b.checkEnded()
			if !b.gone(id) {
				b.violated("the key that was adopted is not retired")
			}
		}},
		{"a human has it replaced", xaisim.Options{}, func(b *bench) {
			id := holds(b, billing, "adopt: true")
			b.untouched(id)
			b.strange[id] = true
			b.resolve(atA, journal.Overwrite)
			b.runUntilIdle()
			b.checkEnded()
		}},
		{"a key made by hand is still adopted", xaisim.Options{}, func(b *bench) {
			id := holds(b, "made by hand", "adopt: true")
			b.rotates()
			b.checkEnded()
			if !b.gone(id) {
				b.violated("the key that was adopted is not retired")
			}
		}},
	})
}

// TestKeysOfOtherPoliciesAreLeft: a key that the journal knows as another policy's is not replaced at first contact.
func TestKeysOfOtherPoliciesAreLeft(t *testing.T) {
	const here = `{store: b, path: chat, field: api_key}`
	play(t, []liar{
		{"two stores with one backend", xaisim.Options{}, func(b *bench) {
			b.stores["b"] = b.stores["a"]
			b.createFirstKey(quick, targetA)
			id := b.key()
			b.load(policyDoc("chat", quick, targetA), policyDoc("talk", quick, here))
			b.order(journal.Order{Policy: "talk", Kind: journal.OrderRotate, Trigger: journal.ByHand})
			b.run(time.Hour)
			if got := b.idOf(b.stores["a"].Read(stores.Target{Path: "chat", Field: "api_key"})); got != id {
				b.violated("%s, the key in use of chat, was replaced by %s", id, got)
			}
			b.waits("talk", reason.OtherPolicy, true)
		}},
		{"a copy, and a human has it replaced", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			id := b.key()
			b.stores["b"].Set("chat", field(b.secretOf(id).Reveal()))
			b.load(policyDoc("chat", quick, targetA), policyDoc("talk", "adopt: true"+quick, here))
			b.run(time.Hour)
			b.waits("talk", reason.OtherPolicy, true)
			b.order(journal.Order{Policy: "talk", Kind: journal.OrderResolve, Decision: journal.Overwrite,
				Target: journal.TargetID{Store: "b", Path: "chat", Field: "api_key"}})
			b.runUntilIdle()
			b.checkEnded()
			if b.key() != id || b.record("talk").Policy.KeyID == id {
				b.violated("chat uses %s, talk %s", b.key(), b.record("talk").Policy.KeyID)
			}
		}},
	})
}
