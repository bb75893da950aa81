package rotation_test

import (
	"testing"
	"time"

	"rotator/rotation/journal"
	"rotator/xai/xaisim"
)

// TestRollbackOfKeysTurnedOff: a rollback turns on the key that our own disable turned off, and never one that people revoked later.
func TestRollbackOfKeysTurnedOff(t *testing.T) {
	play(t, []liar{
		{"after a revoke, an older false alarm does not undo it", xaisim.Options{}, func(b *bench) {
			b.createFirstKey("retire: {overlap: 2h, soak: 20h}", targetA)
			id := b.key()
			b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByCompromise, Why: "maybe"})
			b.run(30 * time.Minute)
			b.down("a")
			b.order(journal.Order{Policy: "chat", Kind: journal.OrderRollback, FalseAlarm: true, Why: "wrong"})
			b.run(10 * time.Minute)
			b.revoke(id)
			b.run(10 * time.Minute)
			b.up("a")
			b.run(time.Hour)
			if b.accepts(id) {
				b.violated("the key that was revoked last works again")
			}
		}},
		{"to a key that our own disable turned off, whose answer was lost", xaisim.Options{}, func(b *bench) {
			b.observed()
			b.createFirstKey("retire: {overlap: 2h, soak: 20h}", targetA, targetB)
			id := b.key()
			b.reach(journal.Live)
			b.dieAt = "xai update after"
			b.runUntil(3*time.Hour, func() bool { return b.dieAt == "" })
			b.order(journal.Order{Policy: "chat", Kind: journal.OrderRollback})
			if !b.runUntil(time.Hour, func() bool { return b.key() == id }) {
				b.violated("not rolled back: %s %s", b.record("chat").Policy.Reason, b.record("chat").Policy.Error)
			}
		}},
	})
}
