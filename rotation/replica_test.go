package rotation_test

import (
	"testing"
	"time"

	"rotator/rotation"
	"rotator/rotation/journal"
)

// A replica is seen while it runs, also while it parks what it has in hand, and not when it has ended.
func TestReplicaIsSeen(t *testing.T) {
	bubble(t, func(b *bench) {
		l := newLedger(b.journal)
		l.leases = true
		b.engine = newEngine("one", rotation.Options{Journal: l, Environment: b, Now: b.now})
		begun := time.Now().UTC()
		b.after(time.Minute, func() {
			seen, err := b.journal.Replicas(b.t.Context())
			if err != nil || len(seen) != 1 {
				b.t.Errorf("replicas: %+v, %v", seen, err)
				return
			}
			r := seen[0]
			if r.Name != "one" || r.Host != "here" || r.Version != "1.2.3" || r.StartedAt.Sub(begun).Abs() > time.Second || time.Since(r.SeenAt) > 11*time.Second {
				b.t.Errorf("replica: %+v", r)
			}
		})
		b.runs(2 * time.Minute)
		if seen, err := b.journal.Replicas(b.t.Context()); err != nil || len(seen) != 0 {
			b.violated("replicas after the end: %+v, %v", seen, err)
		}
		if n := l.since()["Beat"]; n < 12 || n > 14 {
			b.violated("%d beats in two minutes", n)
		}
	})
}

// What someone says to another replica is heard at once, and without being told of it within two seconds.
func TestOthersAreHeard(t *testing.T) {
	for name, c := range map[string]struct {
		told   bool
		within time.Duration
	}{"told": {true, 0}, "by looking": {false, 2 * time.Second}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(b *bench) {
				l := b.atRest(1)
				var id int64
				b.after(10*time.Second+100*time.Millisecond, func() {
					var err error
					id, err = b.journal.Place(b.t.Context(), journal.Order{
						Policy: "p0", Kind: journal.OrderRotate, Trigger: journal.ByHand, At: time.Now(), By: "tester",
					})
					if err != nil {
						b.t.Error(err)
					}
					if c.told {
						l.woken <- struct{}{}
					}
				})
				b.runs(time.Minute)
				o, err := b.journal.OrderByID(b.t.Context(), id)
				if err != nil || o.DoneAt.IsZero() || o.DoneAt.Sub(o.At) > c.within {
					b.violated("said at %s, heard at %s: %v", o.At, o.DoneAt, err)
				}
			})
		})
	}
}
