package rotation_test

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"time"

	"rotator/rotation/health"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/xai/xaisim"
)

// changing are the points before calls that change something outside, or try whether they could.
var changing = regexp.MustCompile(`^(xai (create|update|delete|rotate)|store \S+ (stage|promote|discard|fence|check)) before$`)

// Observes implements rotation.Environment.
func (b *bench) Observes() bool { return b.now().Before(b.looksTo) }

// onlyLooks holds every test to it that nothing is changed in observe mode.
func (b *bench) onlyLooks(what string) {
	if b.Observes() && changing.MatchString(what) {
		b.violated("%s in observe mode", what)
	}
}

// observes has the mode be observe for so long.
func (b *bench) observes(d time.Duration) { b.looksTo = b.now().Add(d) }

// says checks what the policy chat says that it would do.
func (b *bench) says(want string) {
	b.t.Helper()
	b.waits("chat", reason.ObserveMode, false)
	if got := b.record("chat").Policy.Error; !strings.HasPrefix(got, "would "+want) {
		b.violated("chat says %q, want %q", got, "would "+want)
	}
}

// TestObserveModeAtEveryStep: the mode becomes observe in the middle of each scenario, at any of its points. Nothing is sent any more.
// When the mode is rotate again, all goes on and ends as ever.
func TestObserveModeAtEveryStep(t *testing.T) {
	sweep(t, func(r *rand.Rand, points []string) []fault {
		var all []fault
		for i, p := range points {
			all = append(all, fault{fmt.Sprintf("observe mode from point %d, %s", i+1, p), func(b *bench) {
				b.trap = func(n int) error {
					if n == i+1 {
						b.observes(40 * time.Minute)
					}
					return nil
				}
			}})
		}
		return sample(r, all, deathSample/3)
	})
}

// TestObserveModeStopsARotation: a rotation stays for a day where it was when the mode became observe, and goes on afterwards.
func TestObserveModeStopsARotation(t *testing.T) {
	t.Parallel()
	for _, s := range []journal.State{journal.Planned, journal.Staged, journal.Verified, journal.Promoting, journal.Live, journal.Soaking} {
		t.Run(string(s), func(t *testing.T) {
			t.Parallel()
			b := newBench(t, xaisim.Options{})
			b.createFirstKey(quick, targetA, targetB)
			old := b.key()
			b.reach(s)
			b.observes(24 * time.Hour)
			for range 24*2 - 1 {
				b.run(30 * time.Minute)
				if b.state() != s {
					b.violated("it is %s in observe mode", b.state())
				}
				b.is(health.Degraded, reason.ObserveMode)
			}
			if !b.accepts(old) && s != journal.Soaking {
				b.violated("the old key was disabled")
			}
			switch s {
			case journal.Live:
				b.says("disable key " + old)
			case journal.Soaking:
				b.says("delete key " + old)
			default:
				b.says("continue rotation " + b.last().ID + ", which is " + string(s))
			}
			b.told() // no promise is broken
			b.runUntilIdle()
			if b.key() == old {
				b.violated("the rotation did not go on")
			}
			b.checkEnded()
			b.check()
		})
	}
}

// TestObserveMode: whatever goes wrong is reported, and nothing is changed.
func TestObserveMode(t *testing.T) {
	order := func(k journal.OrderKind, t journal.Trigger) journal.Order {
		return journal.Order{Policy: "chat", Kind: k, Trigger: t, Why: "it leaked"}
	}
	const nobodys = "an unknown value" // which a human put there
	const forever = 10 * 365 * 24 * time.Hour
	byHand := func(b *bench) (id string) { // a key that is in a target since before
		id, v := b.sim.AddKey(teamID, "made by hand", "api-key:model:grok-4", "api-key:endpoint:chat")
		b.stores["a"].Set("chat", `{"api_key":"`+v.Reveal()+`"}`)
		return id
	}
	slow := func(b *bench) { // looks less often: nothing here depends on it
		b.limits.Watch = time.Hour
		b.birth()
	}
	play(t, []liar{
		{"a new policy without a key", xaisim.Options{}, func(b *bench) {
			b.observes(forever)
			b.load(policyDoc("chat", quick, targetA))
			b.run(24 * time.Hour)
			b.says("rotate, due since 2026-03-01T12:00:00Z (new_target)")
			b.is(health.Degraded, health.NeverRotated)
			b.told()
		}},
		{"a key to be adopted", xaisim.Options{}, func(b *bench) {
			slow(b)
			b.observes(forever)
			id := byHand(b)
			b.load(policyDoc("chat", "adopt: true"+quick, targetA))
			b.run(time.Hour)
			b.is(health.OK, reason.ObserveMode)
			if b.key() != id || b.count(journal.KeyAdopted) != 1 {
				b.violated("%s is not adopted", id)
			}
			b.run(31 * 24 * time.Hour)
			b.is(health.OK, reason.ObserveMode)
			b.says("rotate, due since 2026-03-31T12:00:00Z (schedule), and retire key " + id + ", which was adopted")
			b.told()
		}},
		{"a key that is not to be adopted", xaisim.Options{}, func(b *bench) {
			b.observes(forever)
			byHand(b)
			b.load(policyDoc("chat", quick, targetA))
			b.run(time.Hour)
			b.is(health.Degraded, health.NeverRotated) // nothing watches it
			if b.key() != "" {
				b.violated("%s is adopted", b.key())
			}
		}},
		{"a key that gets too old", xaisim.Options{}, func(b *bench) {
			slow(b)
			b.createFirstKey("max_age: 20d\nretire: {overlap: 24h, soak: 24h}\n", targetA)
			b.observes(forever)
			b.run(19 * 24 * time.Hour)
			b.is(health.OK, reason.ObserveMode)
			b.run(2 * 24 * time.Hour)
			b.is(health.Overdue, health.OverAge)
			b.says("rotate, due since")
			if b.count(journal.AgeOverLimit) == 0 {
				b.violated("its age is not told")
			}
		}},
		{"drift", xaisim.Options{}, func(b *bench) {
			b.createFirstKey("max_age: 2d"+quick, targetA)
			b.observes(forever)
			b.exempt[nobodys] = true
			b.stores["a"].Set("chat", `{"api_key":"xai-someone-wrote-this-value-here"}`)
			b.run(time.Hour)
			b.waits("chat", reason.DriftFound, true)
			b.run(2 * 24 * time.Hour) // also when a rotation is due
			b.waits("chat", reason.DriftFound, true)
			b.resolve(journal.TargetID{Store: "a", Path: "chat", Field: "api_key"}, journal.Overwrite)
			b.says("rotate")
		}},
		{"a foreign value", xaisim.Options{}, func(b *bench) {
			b.observes(forever)
			b.exempt[nobodys] = true
			b.stores["a"].Set("chat", `{"api_key":"a password"}`)
			b.load(policyDoc("chat", quick, targetA))
			b.run(time.Hour)
			b.waits("chat", reason.ForeignValue, true)
		}},
		{"a key that dies", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA, targetB)
			b.observes(forever)
			b.human(b.key(), b.sim.DeleteKey)
			b.run(24 * time.Hour)
			b.is(health.ActionRequired, health.KeyDead)
			b.says("give consumers a key that works")
		}},
		{"a key that expires", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			b.observes(forever)
			b.sim.SetExpires(b.key(), b.clock.Add(8*time.Hour))
			b.passes(6 * time.Hour)
			b.says("rotate, due since")
		}},
		{"a policy that is removed", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			b.order(order(journal.OrderRotate, journal.ByHand))
			b.run(30 * time.Minute) // the old key is in its overlap
			b.observes(forever)
			b.load(policyDoc("another", quick, targetB))
			b.run(24 * time.Hour)
			b.is(health.ActionRequired, health.Removed)
		}},
		{"a key that is known to others", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			b.order(order(journal.OrderRotate, journal.ByCompromise))
			b.observes(forever)
			b.run(time.Hour)
			if why := b.refused(1); !strings.Contains(why, "observe mode") {
				b.violated("the order was not refused: %q", why)
			}
		}},
		{"orders", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			b.reach(journal.Staged)
			b.observes(forever)
			for _, o := range []journal.Order{
				order(journal.OrderRotate, journal.ByHand), order(journal.OrderRollback, ""), order(journal.OrderRevive, ""), order(journal.OrderRehearse, ""),
				{Policy: "chat", Kind: journal.OrderResolve, Decision: journal.Adopt},
			} {
				id := b.order(o)
				b.run(time.Minute)
				if why := b.refused(id); !strings.Contains(why, "observe mode") {
					b.violated("%s %s: %q", o.Kind, o.Decision, why)
				}
			}
			id := b.order(order(journal.OrderAbort, "")) // which changes nothing outside
			b.run(time.Minute)
			if why := b.refused(id); why != "" || b.last().State != journal.Aborted {
				b.violated("abort: %q, and the rotation is %s", why, b.last().State)
			}
			b.run(24 * time.Hour)
			b.observes(0)
			b.runUntilIdle()
			b.checkEnded()
		}},
		{"nothing is late for it afterwards", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			slow(b)
			old := b.key()
			b.observes(31 * 24 * time.Hour)
			b.run(31*24*time.Hour - time.Minute)
			b.is(health.OK, reason.ObserveMode)
			b.run(30 * time.Minute)
			if b.key() == old {
				b.violated("it does not rotate")
			}
			b.told()
			b.runUntilIdle()
			b.checkEnded()
		}},
	})
}

// TestObserveModeDoesNotSpin: a policy that may not act takes no more turns than one that has nothing to do.
func TestObserveModeDoesNotSpin(t *testing.T) {
	t.Parallel()
	turns := 0
	b := newBench(t, xaisim.Options{})
	b.createFirstKey(quick, targetA)
	b.reach(journal.Live)
	b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand, Supersede: true})
	b.dieIn = journal.Verified
	b.runUntil(time.Hour, func() bool { return b.state() == journal.Verified })
	b.observes(10 * 24 * time.Hour)
	b.run(3 * time.Hour) // what may still land is looked after
	b.runUntil(24*time.Hour, func() bool { turns++; return false })
	if most := 24 * 4 * 3; turns > most {
		t.Errorf("%d looks in a day, want at most %d", turns, most)
	}
	b.check()
}
