package rotation_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"rotator/internal/guard"
	"rotator/internal/secret"
	"rotator/rotation/journal"
	"rotator/stores"
	"rotator/xai/xaisim"
)

// TestStoresAskForTheLease: a process that freezes inside a call to a store finds out, right before the change leaves, that
// its claim may have been lost.
func TestStoresAskForTheLease(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{})
	b.createFirstKey(quick, targetA)
	var boot time.Duration
	b.engine.boot = func() time.Duration { return boot }
	var before, after error
	b.wrapped["a"] = coat{Store: b.stores["a"], stage: func(ctx context.Context, _ stores.Target, _ string, _ secret.Text) error {
		before = guard.Check(ctx)
		boot += time.Minute // frozen, for longer than the lease
		after = guard.Check(ctx)
		return after
	}}
	b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand})
	claims, err := b.journal.Claim(t.Context(), "bench", b.clock, 1)
	if err != nil || len(claims) != 1 {
		t.Fatal("no claim", err)
	}
	claims[0].Until = claims[0].Now.Add(15 * time.Second)
	if err := b.engine.Turn(t.Context(), claims[0]); !errors.Is(err, journal.ErrLost) {
		t.Errorf("the turn ended with %v", err)
	}
	if before != nil || !errors.Is(after, journal.ErrLost) {
		t.Errorf("the store was told %v, and after the freeze %v", before, after)
	}
	if left := b.stores["a"].Leftovers(); len(left) > 0 {
		t.Errorf("staged anyway: %v", left)
	}
}
