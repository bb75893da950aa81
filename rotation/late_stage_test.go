package rotation_test

import (
	"fmt"
	"testing"
	"time"

	"rotator/rotation/journal"
	"rotator/xai/xaisim"
)

// stages has the stores a and b land the next n calls of op late, and asks for a rotation.
func (b *bench) lateInStores(op string, n int, delay time.Duration) {
	for _, s := range []string{"a", "b"} {
		b.stores[s].Now = b.now
		for range n {
			b.stores[s].Late(op, delay)
		}
	}
}

// nothingStaged checks that no store has a value that only its journal remembers.
func (b *bench) nothingStaged() {
	b.t.Helper()
	for name, s := range b.stores {
		if left := s.Leftovers(); len(left) > 0 || len(s.Pending()) > 0 {
			b.violated("store %s still has staged %v", name, left)
		}
	}
}

// TestStageThatLandsLate: what a stage leaves behind is removed, also when it lands after everything staged was removed.
func TestStageThatLandsLate(t *testing.T) {
	var lives []liar
	for _, delay := range []time.Duration{time.Second, 5 * time.Minute, 11*time.Minute - time.Second} {
		add := func(name string, play func(*bench)) {
			lives = append(lives, liar{fmt.Sprintf("%s, after %s", name, delay), xaisim.Options{}, func(b *bench) {
				b.lateInStores("stage", 0, 0)
				b.createFirstKey(quick, targetA, targetB)
				play(b)
				b.runUntilIdle()
				b.run(24 * time.Hour)
				b.nothingStaged()
				inUse(b)
			}})
		}
		rotate := journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand}
		add("the rotation goes on", func(b *bench) {
			b.lateInStores("stage", 1, delay)
			b.order(rotate)
		})
		add("the process dies", func(b *bench) {
			b.lateInStores("stage", 1, delay)
			b.dieAt = "store b stage before"
			b.order(rotate)
		})
		add("the policy is edited", func(b *bench) {
			b.lateInStores("stage", 3, delay)
			b.order(rotate)
			b.run(2 * time.Second)
			b.load(policyDoc("chat", quick+"\nverify: {method: whoami}", targetA, targetB))
		})
		add("a target leaves the policy", func(b *bench) {
			b.lateInStores("stage", 3, delay)
			b.order(rotate)
			b.run(2 * time.Second)
			b.load(policyDoc("chat", quick, targetA))
		})
		add("aborted by hand", func(b *bench) {
			b.lateInStores("stage", 3, delay)
			b.order(rotate)
			b.run(2 * time.Second)
			b.order(journal.Order{Policy: "chat", Kind: journal.OrderAbort})
		})
		add("the removal lands late too", func(b *bench) {
			b.lateInStores("stage", 2, delay)
			b.lateInStores("discard", 2, delay)
			b.order(rotate)
		})
	}
	play(t, lives)
}
