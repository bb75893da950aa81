package rotation_test

import (
	"strings"
	"testing"
	"time"

	"rotator/rotation/health"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/xai/xaisim"
)

// TestOnlyCopyDestroyed: the only copy of the live key's value is destroyed during the overlap. That is shown at the next watch,
// and resolve says that it cannot put the key back and what works, and then that works.
func TestOnlyCopyDestroyed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		garbage string
		keeps   bool // the store keeps former values
		why     journal.Reason
		then    journal.Order
	}{
		"overwritten, a new key":     {"garbage", true, reason.DriftFound, journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand, Supersede: true}},
		"overwritten, rolled back":   {"garbage", true, reason.DriftFound, journal.Order{Policy: "chat", Kind: journal.OrderRollback}},
		"emptied, a new key":         {"", true, reason.TargetMissing, journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand, Supersede: true}},
		"no former value, a new key": {"garbage", false, reason.DriftFound, journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand, Supersede: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, xaisim.Options{})
			b.exempt["an unknown value"] = true
			b.createFirstKey("retire: {overlap: 20h, soak: 1h}", targetB)
			old := b.key()
			b.reach(journal.Live)
			b.run(time.Minute)
			if !c.keeps {
				b.wrapped["b"] = forgetful{b.stores["b"]}
			}
			if c.garbage == "" {
				b.stores["b"].Delete("chat")
			} else {
				b.stores["b"].Set("chat", c.garbage)
			}
			b.run(20 * time.Minute)
			if p := b.record("chat").Policy; p.Reason != c.why || p.Health != health.ActionRequired || b.state() != journal.Live {
				b.violated("during the overlap status shows %s, %q: %s", p.Health, p.Reason, p.Error)
			}
			lost := b.key()
			id := b.order(journal.Order{Policy: "chat", Kind: journal.OrderResolve, Decision: journal.Overwrite, Target: atB})
			b.run(time.Minute)
			refused := b.refusal(id)
			for _, want := range []string{"nothing was written", lost, "`rotator rotate chat --supersede`"} {
				if !strings.Contains(refused, want) {
					b.violated("refused with %q, which lacks %q", refused, want)
				}
			}
			if back := strings.Contains(refused, "`rotator rollback chat` goes back to key "+old); back != c.keeps {
				b.violated("offers a rollback %t: %s", back, refused)
			}
			b.order(c.then)
			b.runUntil(2*time.Hour, func() bool { return b.record("chat").Rotation == nil && b.key() != lost })
			inUse(b)
			if b.key() == lost {
				b.violated("what was offered did not work: %s", b.record("chat").Policy.Error)
			}
			b.check()
		})
	}
}
