package rotation_test

import (
	"strings"
	"testing"
	"time"

	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/stores"
	"rotator/stores/memstore"
	"rotator/xai/xaisim"
)

// keeps runs the world for a day and checks that a key is neither off nor gone, and that chat says why.
func (b *bench) keeps(id string, why journal.Reason, named string) {
	b.t.Helper()
	b.run(24 * time.Hour)
	if b.gone(id) || !b.accepts(id) {
		b.violated("%s was destroyed", id)
	}
	b.waits("chat", why, true)
	if p := b.record("chat").Policy; !strings.Contains(p.Error, named) {
		b.violated("the error does not name %s: %s", named, p.Error)
	}
}

// TestGateReadsEveryTargetOfThePolicy: a target that was left, dropped or removed may get the old key back at any moment.
func TestGateReadsEveryTargetOfThePolicy(t *testing.T) {
	// aside has b:chat hold a password, and a human say what becomes of it.
	aside := func(b *bench, d journal.Decision) (old string) {
		b.stores["b"].Set("chat", "a-password")
		b.exempt["an unknown value"] = true
		b.load(policyDoc("chat", quick, targetA, targetB))
		b.run(time.Minute)
		b.resolve(atB, d)
		b.run(time.Hour)
		return b.key()
	}
	// back puts the old key there right before the end of the overlap: no watch sees it before the gate does.
	back := func(b *bench, old, format string) {
		b.reach(journal.Live)
		b.run(119 * time.Minute)
		b.stores["b"].Set("chat", strings.ReplaceAll(format, "KEY", b.secretOf(old).Reveal()))
	}
	play(t, []liar{
		{"left", xaisim.Options{}, func(b *bench) {
			old := aside(b, journal.Leave)
			back(b, old, "KEY")
			b.keeps(old, reason.DriftFound, "b:chat") // the word was said of another value
		}},
		{"left, with the key in a line", xaisim.Options{}, func(b *bench) {
			old := aside(b, journal.Leave)
			back(b, old, "# of chat\nXAI_API_KEY=\"KEY\"\n")
			b.keeps(old, reason.DriftFound, "b:chat")
		}},
		{"left, and cannot be read", xaisim.Options{}, func(b *bench) {
			old := aside(b, journal.Leave)
			b.reach(journal.Live)
			b.run(119 * time.Minute)
			b.stores["b"].OnCall(func(memstore.Call) error { return stores.ErrDenied })
			b.keeps(old, reason.StoreDenied, "b:chat")
			b.stores["b"].OnCall(nil)
			b.runUntilIdle()
			if !b.gone(old) {
				b.violated("the old key is never retired: %s", b.record("chat").Policy.Error)
			}
		}},
		{"dropped", xaisim.Options{}, func(b *bench) {
			old := aside(b, journal.Drop)
			back(b, old, "KEY")
			b.keeps(old, reason.TargetHoldsKey, "b:chat")
		}},
		{"no longer named", xaisim.Options{}, func(b *bench) {
			old := aside(b, journal.Leave)
			b.load(policyDoc("chat", quick, targetA))
			b.run(time.Hour)
			back(b, old, "KEY")
			b.keeps(old, reason.TargetHoldsKey, "b:chat")
		}},
	})
}

// TestGateReadsEveryTargetForAnAdoptedKey: a key that was made by hand may be in targets in which nothing has seen it yet.
func TestGateReadsEveryTargetForAnAdoptedKey(t *testing.T) {
	shared := func(b *bench, format, extra string, before func()) (id string) {
		id = b.byHand("a", field, "chat")
		b.exempt["an unknown value"] = true
		b.stores["b"].Set("chat", strings.ReplaceAll(format, "KEY", b.secretOf(id).Reveal()))
		before()
		b.load(policyDoc("chat", "adopt: true"+quick, targetA), policyDoc("talk", extra+quick, targetB))
		b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand})
		return id
	}
	play(t, []liar{
		{"of a policy whose store denies", xaisim.Options{}, func(b *bench) {
			id := shared(b, "KEY", "adopt: true", func() {
				b.stores["b"].OnCall(func(memstore.Call) error { return stores.ErrDenied })
			})
			b.keeps(id, reason.UnreadTarget, "b:chat of policy talk")
		}},
		{"of a policy whose store is not configured", xaisim.Options{}, func(b *bench) {
			id := shared(b, "KEY", "", func() { b.wrapped["b"] = nil })
			b.keeps(id, reason.UnreadTarget, "b:chat of policy talk")
		}},
		{"of a policy of another folder whose store denies, where that folder does not count", xaisim.Options{}, func(b *bench) {
			id := shared(b, "not it", "", func() {
				b.apart, b.files = true, map[string]string{"chat": "/p/one/chat.yaml", "talk": "/p/two/talk.yaml"}
				b.stores["b"].OnCall(func(memstore.Call) error { return stores.ErrDenied })
			})
			b.run(24 * time.Hour)
			if !b.gone(id) {
				b.violated("the old key is never retired: %s", b.record("chat").Policy.Error)
			}
		}},
		{"of a policy of the same folder whose store denies", xaisim.Options{}, func(b *bench) {
			id := shared(b, "KEY", "", func() {
				b.apart, b.files = true, map[string]string{"chat": "/p/one/chat.yaml", "talk": "/p/one/talk.yaml"}
				b.stores["b"].OnCall(func(memstore.Call) error { return stores.ErrDenied })
			})
			b.keeps(id, reason.UnreadTarget, "b:chat of policy talk")
		}},
		{"of a policy of the same folder that was removed", xaisim.Options{}, func(b *bench) {
			id := shared(b, "KEY", "", func() {
				b.apart, b.files = true, map[string]string{"chat": "/p/one/chat.yaml", "talk": "/p/one/talk.yaml"}
				b.stores["b"].OnCall(func(memstore.Call) error { return stores.ErrDenied })
			})
			b.load(policyDoc("chat", "adopt: true"+quick, targetA))
			b.keeps(id, reason.UnreadTarget, "b:chat of policy talk")
		}},
		{"seen in a target of another folder that does not count", xaisim.Options{}, func(b *bench) {
			id := shared(b, "KEY", "adopt: true", func() {
				b.apart, b.files = true, map[string]string{"chat": "/p/one/chat.yaml", "talk": "/p/two/talk.yaml"}
			})
			b.keeps(id, reason.TargetHoldsKey, "b:chat")
		}},
		{"as a line of a file", xaisim.Options{}, func(b *bench) {
			id := shared(b, "A=1\nexport XAI_API_KEY=KEY\n", "", func() {})
			b.keeps(id, reason.TargetHoldsKey, "b:chat")
		}},
		{"in a document", xaisim.Options{}, func(b *bench) {
			id := shared(b, `{"xai-key":"xai-none","keys":["KEY"]}`, "", func() {})
			b.keeps(id, reason.TargetHoldsKey, "b:chat")
		}},
		{"nowhere else", xaisim.Options{}, func(b *bench) {
			id := shared(b, "not it", "", func() {})
			b.run(24 * time.Hour)
			if !b.gone(id) {
				b.violated("the old key is never retired: %s", b.record("chat").Policy.Error)
			}
		}},
	})
}
