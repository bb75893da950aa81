package rotation_test

import (
	"fmt"
	"testing"
	"time"

	"rotator/rotation/journal"
	"rotator/xai/xaisim"
)

// TestWrittenTwice: a store that cannot fence gets a key twice, since the first write had no answer. That the second is read
// back says nothing of the first, which may land after the next key is promoted: the key stays until it cannot.
func TestWrittenTwice(t *testing.T) {
	var lives []liar
	for _, delay := range []time.Duration{3 * time.Minute, 8 * time.Minute, 10*time.Minute + 50*time.Second} {
		for what, again := range map[string]journal.Order{
			"replaced":    {Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand, Supersede: true},
			"compromised": {Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByCompromise, Why: "leaked"},
		} {
			for _, dies := range []bool{false, true} {
				lives = append(lives, liar{fmt.Sprintf("%s within %s, dies %t", what, delay, dies), xaisim.Options{}, func(b *bench) {
					b.stores["a"].Plain, b.stores["a"].Now = true, b.now
					b.observed()
					b.createFirstKey("\nretire: {overlap: 2m, soak: 0s}", targetA)
					first := b.key()
					b.stores["a"].Late("promote", delay)
					b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand})
					if dies {
						b.runUntil(2*time.Minute, func() bool { return len(b.stores["a"].Pending()) == 1 })
						b.dieAt = "store a promote after" // what the next process reads is the second write
					}
					if !b.runUntil(3*time.Minute, func() bool { return b.key() != first }) || len(b.stores["a"].Pending()) != 1 {
						b.t.Fatalf("key %s is in use, and %d writes are under way", b.key(), len(b.stores["a"].Pending()))
					}
					b.order(again)
					b.runUntilIdle()
					b.checkEnded()
				}})
			}
		}
	}
	play(t, lives)
}
