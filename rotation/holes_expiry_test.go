package rotation_test

import (
	"testing"
	"time"

	"rotator/rotation/journal"
	"rotator/xai/xaisim"
)

// passes lets d pass, with the team's keys listed every six hours.
func (b *bench) passes(d time.Duration) {
	b.t.Helper()
	for end := b.clock.Add(d); b.clock.Before(end); b.run(6 * time.Hour) {
		if err := b.engine.scheduler.RunOnce(b.t.Context()); err != nil {
			b.t.Fatal(err)
		}
	}
}

// TestExpirySetLater: an expiry that someone sets on a key in use is seen in the next list, and the key replaced in time.
func TestExpirySetLater(t *testing.T) {
	play(t, []liar{
		{"sooner than the schedule", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			old := b.key()
			b.sim.SetExpires(old, b.clock.Add(10*24*time.Hour))
			b.passes(11 * 24 * time.Hour)
			if b.key() == old || b.count(journal.Promoted) != 2 {
				b.violated("the key in use is %s, promoted %d", b.key(), b.count(journal.Promoted))
			}
		}},
		{"moved to an earlier time", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			old := b.key()
			b.sim.SetExpires(old, b.clock.Add(20*24*time.Hour))
			b.passes(24 * time.Hour)
			b.sim.SetExpires(old, b.clock.Add(5*24*time.Hour))
			b.passes(6 * 24 * time.Hour)
			if b.key() == old {
				b.violated("the key that expired is still in use")
			}
		}},
		{"before the key was made is not believed", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			old := b.key()
			b.forge(func(r *journal.Record) { r.Keys[0].ExpiresAt = r.Keys[0].CreatedAt.Add(-time.Hour) })
			b.run(24 * time.Hour)
			if b.key() != old || b.count(journal.Started) != 1 {
				b.violated("an expiry before the creation made %d rotations begin", b.count(journal.Started)-1)
			}
		}},
	})
}
