package rotation_test

import (
	"testing"
	"time"

	"rotator/policies"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/xai/xaisim"
)

// freeze makes days in which nothing is changed that can wait.
func (b *bench) freeze(from, to string, hard bool) {
	b.t.Helper()
	first, err := policies.ParseMoment(from)
	if err != nil {
		b.t.Fatal(err)
	}
	last, err := policies.ParseMoment(to)
	if err != nil {
		b.t.Fatal(err)
	}
	b.freezes = []policies.Freeze{{From: first, To: last, Why: "holidays", Hard: hard}}
}

// until lets time pass until an instant.
func (b *bench) until(text string) {
	b.t.Helper()
	at, err := time.Parse("2006-01-02 15:04", text)
	if err != nil {
		b.t.Fatal(err)
	}
	b.run(at.Sub(b.clock))
}

// TestFreezes: a freeze keeps what can wait, and nothing else. The first key is live on 2026-03-01, and the next rotation
// is due on 2026-03-31.
func TestFreezes(t *testing.T) {
	order := func(trigger journal.Trigger) journal.Order {
		return journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: trigger, Why: "it leaked"}
	}
	replaced := func(b *bench, old string, want bool, when string) {
		b.t.Helper()
		if got := b.key() != old; got != want {
			b.violated("%s: replaced %t, want %t", when, got, want)
		}
	}
	play(t, []liar{
		{"a start", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			old := b.key()
			b.freeze("2026-03-30", "2026-04-05", false)
			b.until("2026-03-31 11:00")
			b.waits("chat", "", false)
			b.until("2026-04-05 23:00")
			b.waits("chat", reason.Frozen, false)
			if p := b.record("chat").Policy; p.Error != "holidays" || !p.DueAt.Equal(time.Date(2026, 4, 6, 0, 0, 0, 0, time.UTC)) {
				b.violated("it waits until %s for %q", p.DueAt, p.Error)
			}
			replaced(b, old, false, "in the freeze")
			b.until("2026-04-06 02:00")
			replaced(b, old, true, "after the freeze")
			b.runUntilIdle()
			b.checkEnded()
		}},
		{"a freeze that is taken back", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			old := b.key()
			b.freeze("2026-03-30", "2026-04-05", true)
			b.until("2026-04-01 12:00")
			replaced(b, old, false, "in the freeze")
			b.freezes = nil
			b.until("2026-04-01 14:00")
			replaced(b, old, true, "without the freeze")
		}},
		{"an order by hand", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			old := b.key()
			b.freeze("2026-03-02", "2026-03-05", false)
			b.until("2026-03-03 12:00")
			b.order(order(journal.ByHand))
			b.until("2026-03-05 23:00")
			b.waits("chat", reason.Frozen, false)
			replaced(b, old, false, "in the freeze")
			b.until("2026-03-06 02:00")
			replaced(b, old, true, "after the freeze")
		}},
		{"a key that dies while an order waits", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			old := b.key()
			b.freeze("2026-03-02", "2026-03-20", true)
			b.until("2026-03-03 12:00")
			b.order(order(journal.ByHand))
			b.run(time.Hour)
			replaced(b, old, false, "in the freeze")
			b.exempt[old] = true
			b.sim.DeleteKey(old)
			b.run(3 * time.Hour)
			replaced(b, old, true, "after the key died")
		}},
		{"max_age while an order waits", xaisim.Options{}, func(b *bench) {
			b.createFirstKey("max_age: 20d\nretire: {overlap: 24h, soak: 24h}\n", targetA)
			old := b.key()
			b.freeze("2026-03-10", "2026-04-05", false)
			b.until("2026-03-12 12:00")
			b.order(order(journal.ByHand))
			b.run(time.Hour)
			replaced(b, old, false, "in the freeze")
			b.until("2026-03-20 13:00")
			replaced(b, old, true, "before it would be too old")
		}},
		{"an old key stays on", xaisim.Options{}, func(b *bench) {
			b.createFirstKey("retire: {overlap: 24h, soak: 24h}\n", targetA)
			old := b.key()
			b.order(order(journal.ByHand))
			b.run(time.Hour)
			replaced(b, old, true, "before the freeze")
			b.freeze("2026-03-02", "2026-03-05", false)
			b.until("2026-03-05 23:00")
			if b.deletions() != 0 {
				b.violated("the old key was turned off in the freeze")
			}
			b.waits("chat", reason.Frozen, false)
			b.until("2026-03-06 02:00")
			if b.deletions() != 1 {
				b.violated("the old key is still on after the freeze")
			}
			b.runUntilIdle()
			b.checkEnded()
		}},
		{"an old key that is off is deleted afterwards", xaisim.Options{}, func(b *bench) {
			b.createFirstKey("retire: {overlap: 1h, soak: 24h}\n", targetA)
			old := b.key()
			b.order(order(journal.ByHand))
			b.until("2026-03-02 00:00")
			b.freeze("2026-03-02", "2026-03-05", false)
			b.until("2026-03-05 23:00")
			if b.gone(old) {
				b.violated("the old key was deleted in the freeze")
			}
			b.until("2026-03-06 02:00")
			if !b.gone(old) {
				b.violated("the old key is still there after the freeze")
			}
		}},
		{"a compromised key is replaced and destroyed", xaisim.Options{}, func(b *bench) {
			b.createFirstKey("retire: {overlap: 24h, soak: 24h}\n", targetA)
			old := b.key()
			b.freeze("2026-03-01", "2026-03-05", true)
			b.order(order(journal.ByCompromise))
			b.until("2026-03-02 00:00")
			replaced(b, old, true, "in the freeze")
			if b.deletions() != 1 {
				b.violated("the compromised key works in the freeze")
			}
			b.until("2026-03-03 12:00")
			if !b.gone(old) {
				b.violated("the compromised key is not deleted in the freeze")
			}
		}},
		{"max_age wins over one that is not hard", xaisim.Options{}, func(b *bench) {
			b.createFirstKey("max_age: 20d\nretire: {overlap: 24h, soak: 24h}\n", targetA)
			old := b.key()
			b.freeze("2026-03-10", "2026-04-05", false)
			b.until("2026-03-20 12:00")
			replaced(b, old, true, "before it would be too old")
			b.until("2026-03-21 12:00")
			if b.deletions() != 1 {
				b.violated("a key that works is older than max_age")
			}
			if b.gone(old) {
				b.violated("a key that is off was deleted in the freeze")
			}
		}},
		{"max_age waits for a hard one", xaisim.Options{}, func(b *bench) {
			b.createFirstKey("max_age: 20d\nretire: {overlap: 24h, soak: 24h}\n", targetA)
			old := b.key()
			b.freeze("2026-03-10", "2026-04-05", true)
			b.until("2026-04-05 23:00")
			replaced(b, old, false, "in the freeze")
			b.until("2026-04-06 02:00")
			replaced(b, old, true, "after the freeze")
		}},
	})
}

// TestWindows: a scheduled rotation begins in a window, and an order at once. 2026-03-31 is a Tuesday.
func TestWindows(t *testing.T) {
	play(t, []liar{
		{"the schedule waits", xaisim.Options{}, func(b *bench) {
			b.createFirstKey("windows: [\"Thu 08:00-10:00\"]\n"+quick, targetA)
			old := b.key()
			b.until("2026-04-02 07:30")
			b.waits("chat", reason.WaitWindow, false)
			if b.key() != old {
				b.violated("it was rotated outside of its window")
			}
			b.until("2026-04-02 09:00")
			if b.key() == old {
				b.violated("it was not rotated in its window")
			}
			b.runUntilIdle()
			b.checkEnded()
		}},
		{"an order does not", xaisim.Options{}, func(b *bench) {
			b.createFirstKey("windows: [\"Thu 08:00-10:00\"]\n"+quick, targetA)
			old := b.key()
			b.rotates()
			if b.key() == old {
				b.violated("an order waits for a window")
			}
		}},
	})
}
