package rotation_test

import (
	"testing"
	"time"

	"rotator/rotation/journal"
	"rotator/xai/xaisim"
)

// truly is the time at xAI, which is never set wrong here.
func (b *bench) truly() time.Time { return b.now().Add(b.skew) }

// sets sets our clock by so much, while xAI's goes on.
func (b *bench) sets(by time.Duration) { b.clock, b.skew = b.clock.Add(by), b.skew-by }

// TestOverlapIsNotCutShort: however our clock is set, an old key works for the whole overlap and stays off for the whole soak.
func TestOverlapIsNotCutShort(t *testing.T) {
	const day = 24 * time.Hour
	goes := func(b *bench) (old string, at time.Time) {
		old = b.key()
		b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand})
		if !b.runUntil(time.Hour, func() bool { return b.state() == journal.Live }) {
			b.t.Fatal("no key is live")
		}
		return old, b.truly()
	}
	// works checks that a key is accepted for d at xAI, and that it is gone later on.
	works := func(b *bench, old string, at time.Time) {
		off := b.runUntil(4*day, func() bool { return !b.accepts(old) })
		overlap := b.truly().Sub(at)
		if !off || overlap < day-time.Second { // xAI says whole seconds
			b.violated("off: %t, %s after the other key was live: %s", off, overlap, b.record("chat").Policy.Error)
		}
		at = b.truly()
		if !b.runUntil(4*day, func() bool { return b.gone(old) }) || b.truly().Sub(at) < day-time.Minute {
			b.violated("gone: %t, after a soak of %s", b.gone(old), b.truly().Sub(at))
		}
		inUse(b)
	}
	lives := map[string]func(*bench){
		"ours is behind, and is set right in the overlap": func(b *bench) {
			b.sets(-26 * time.Hour)
			old, at := goes(b)
			b.sets(26 * time.Hour)
			works(b, old, at)
		},
		"ours is ahead, and is set right in the overlap": func(b *bench) {
			b.sets(26 * time.Hour)
			old, at := goes(b)
			b.sets(-26 * time.Hour)
			works(b, old, at)
		},
		"ours jumps ahead in the overlap, and back": func(b *bench) {
			old, at := goes(b)
			b.sets(30 * time.Hour)
			b.run(time.Hour)
			if !b.accepts(old) {
				b.violated("the old key is off an hour after the other one went live")
			}
			b.sets(-30 * time.Hour)
			works(b, old, at)
		},
		"xAI's jumps ahead in the overlap, and back": func(b *bench) {
			old, at := goes(b)
			b.skew += 30 * time.Hour
			b.run(time.Hour)
			if !b.accepts(old) {
				b.violated("the old key is off an hour after the other one went live")
			}
			b.skew -= 30 * time.Hour
			works(b, old, at)
		},
		"ours jumps ahead in the soak, and back": func(b *bench) {
			old, _ := goes(b)
			b.runUntil(2*day, func() bool { return b.state() == journal.Soaking })
			at := b.truly()
			b.sets(30 * time.Hour)
			b.run(time.Hour)
			b.sets(-30 * time.Hour)
			if b.gone(old) {
				b.violated("the old key is gone after a soak of %s", b.truly().Sub(at))
			}
			if !b.runUntil(4*day, func() bool { return b.gone(old) }) || b.truly().Sub(at) < day-time.Minute {
				b.violated("gone: %t, after a soak of %s", b.gone(old), b.truly().Sub(at))
			}
		},
		"xAI's answers have no date": func(b *bench) {
			old, at := goes(b)
			b.sim.Set(func(o *xaisim.Options) { o.NoDate = true })
			b.run(3 * day)
			if b.deletions() > 0 {
				b.violated("a deadline passed without xAI's clock")
			}
			b.sim.Set(func(o *xaisim.Options) { o.NoDate = false })
			works(b, old, at)
		},
	}
	var all []liar
	for name, life := range lives {
		all = append(all, liar{name, xaisim.Options{}, func(b *bench) {
			b.createFirstKey("retire: {overlap: 24h, soak: 24h}", targetA)
			life(b)
		}})
	}
	play(t, all)
}
