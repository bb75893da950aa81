package rotation_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"rotator/internal/secret"
	"rotator/rotation"
	"rotator/rotation/journal"
	"rotator/stores"
)

// TestValueOfALostClaim: a claim that is lost takes the value of its key along, unless this process may go on with it.
func TestValueOfALostClaim(t *testing.T) {
	lost := fmt.Errorf("someone else: %w", journal.ErrLost)
	for name, c := range map[string]struct {
		commit  int // which of the turn's commits is refused
		creates int // keys that are made in all
		kept    int // values that are kept while the policy is no one's
	}{
		"before the key was recorded":             {3, 2, 0},
		"after the key was recorded, and resumed": {4, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(b *bench) {
				l := newLedger(b.journal)
				l.leases = true
				b.engine = newEngine("engine", rotation.Options{Journal: l, Environment: b, Now: b.now})
				fails := true
				b.wrapped["a"] = coat{Store: b.stores["a"], stage: func(ctx context.Context, at stores.Target, attempt string, v secret.Text) error {
					if fails {
						return errFault
					}
					return b.stores["a"].Stage(ctx, at, attempt, v)
				}}
				commits := 0
				l.refuse = func(method string, _ []string) error {
					if method == "Commit" {
						if commits++; commits == c.commit {
							return lost
						}
					}
					return nil
				}
				b.load(policyDoc("chat", quick, targetA))
				b.runs(time.Millisecond) // not long enough to claim it again
				if commits != c.commit {
					b.violated("%d commits, want the %dth refused", commits, c.commit)
				}
				kept := b.engine.InHand()
				b.runs(time.Second) // the chores begin with it
				if n := b.engine.InHand(); n != c.kept || kept != 1 {
					b.violated("%d values in hand, and then %d, want 1 and %d", kept, n, c.kept)
				}
				fails = false
				b.runs(time.Hour)
				if n := b.sim.Calls()["create"]; n != c.creates || b.engine.InHand() != 0 {
					b.violated("%d keys were made, %d values are in hand", n, b.engine.InHand())
				}
				b.real = false
				b.runUntilIdle()
				b.settled()
			})
		})
	}
}

// TestValueThatAnotherOwnerGaveUp: between two turns another process may claim the policy, find the value nowhere and give
// the attempt up. Then the one that had it forgets it.
func TestValueThatAnotherOwnerGaveUp(t *testing.T) {
	bubble(t, func(b *bench) {
		b.stores["a"].NoStaging = true
		b.load(policyDoc("chat", quick, targetA))
		first := b.engine
		b.runs(100 * time.Millisecond) // the key is not known everywhere yet
		if n := first.InHand(); n != 1 || b.state() != journal.Staged {
			b.t.Fatalf("%d values in hand, the rotation is %q", n, b.state())
		}
		b.runs(10 * time.Millisecond)
		if n := first.InHand(); n != 1 {
			b.violated("the only copy of a value was dropped")
		}
		b.birth()
		b.runs(time.Hour)
		if b.count(journal.KeyLost) != 1 || b.key() == "" {
			b.violated("%d keys were lost, in use is %q", b.count(journal.KeyLost), b.key())
		}
		b.engine = first
		b.runs(time.Second)
		if n := first.InHand(); n != 0 {
			b.violated("%d values are still in hand", n)
		}
	})
}
