package rotation_test

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"rotator/rotation"
	"rotator/rotation/health"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/xai/xaisim"
)

const days = 24 * time.Hour

// neverDies checks that no key that consumers read expires while time passes, with the team's keys listed twice a day.
func (b *bench) neverDies(d time.Duration) {
	b.t.Helper()
	for end := b.clock.Add(d); b.clock.Before(end); b.run(min(12*time.Hour, end.Sub(b.clock))) {
		b.lists()
		b.live()
	}
	b.live()
}

// lists has the team's keys listed, where that is due.
func (b *bench) lists() {
	b.t.Helper()
	var group errgroup.Group
	b.engine.Chores(b.t.Context(), &group)
	if err := group.Wait(); err != nil {
		b.t.Fatal(err)
	}
}

// seldom makes a bench that is watched every hour.
func seldom(t *testing.T, o xaisim.Options) *bench {
	b := newBench(t, o)
	b.limits = rotation.Limits{Watch: time.Hour}
	b.birth()
	return b
}

// A key is made with an expiry; with rotations in time it is never moved.
func TestKeysExpire(t *testing.T) {
	for name, o := range map[string]xaisim.Options{"full API": {}, "guides alone": guidesOnly} {
		t.Run(name, func(t *testing.T) {
			b := seldom(t, o)
			b.load(keyed(justChat+", expires_after: 60d", quick, targetA))
			b.run(time.Hour)
			if is := b.truth(b.key()); is.Expires.Sub(is.Created).Round(time.Hour) != 60*days {
				b.violated("the key expires %s after its creation", is.Expires.Sub(is.Created))
			}
			if at := b.record("chat").Policy.KeyExpires; !at.Equal(b.truth(b.key()).Expires) {
				b.violated("the journal says %s", at)
			}
			b.neverDies(65 * days)
			if b.sim.Calls()["update"] > 3+b.count(journal.KeyDisabled) || b.count(journal.KeyUpdated) > 0 || b.count(journal.Promoted) != 3 {
				b.violated("%d updates, %d told, %d promoted", b.sim.Calls()["update"], b.count(journal.KeyUpdated), b.count(journal.Promoted))
			}
			b.granted()
			b.settled()
			b.check()
		})
	}
}

// Under a hold the expiry is moved on, so that consumers keep their key. Where xAI does not move it, people are notified days before, and
// the key is replaced in time once the hold lets it.
func TestExpiryMoves(t *testing.T) {
	for name, o := range map[string]xaisim.Options{
		"moved": {}, "moved, guides alone": guidesOnly, "refused": {ExpireTimeFixed: true}, "ignored": {Ignored: []string{"expireTime"}},
	} {
		for _, scope := range []journal.Scope{journal.HoldAll, journal.HoldRotations} {
			t.Run(fmt.Sprint(name, ", hold of ", scope), func(t *testing.T) {
				b := seldom(t, o)
				b.load(keyed(justChat+", expires_after: 40d", quick, targetA))
				b.run(time.Hour)
				id := b.key()
				fixed := o.ExpireTimeFixed || len(o.Ignored) > 0
				b.hold(journal.Hold{Reason: "long", By: "me", At: b.clock, Scope: scope})
				b.neverDies(36 * days)
				if fixed {
					b.is(health.Degraded, health.ExpiryNear)
				}
				b.neverDies(3*days + 18*time.Hour)
				switch {
				case !fixed:
					b.neverDies(40 * days)
					if b.key() != id || b.count(journal.KeyUpdated) != 2 {
						b.violated("the key in use is %s, moved %d times", b.key(), b.count(journal.KeyUpdated))
					}
				case scope == journal.HoldRotations: // which a key that expires does not wait for
					b.neverDies(10 * days)
					if b.key() == id {
						b.violated("the key was not replaced in time: %s", b.record("chat").Policy.Error)
					}
				default:
					b.neverDies(3 * time.Hour)
					b.is(health.ActionRequired, reason.DueUnderHold)
					b.hold(journal.Hold{})
					b.neverDies(10 * days)
					if b.key() == id || b.count(journal.KeyUpdateRefused) != 1 {
						b.violated("key %s, told %d times that the expiry stays", b.key(), b.count(journal.KeyUpdateRefused))
					}
				}
				b.check()
			})
		}
	}
}

// An expiry that is set, changed and taken away in the policy follows; where xAI fixes it, rotations are in time.
func TestExpiryEdited(t *testing.T) {
	for name, o := range map[string]xaisim.Options{"full API": {}, "guides alone": guidesOnly, "fixed": {ExpireTimeFixed: true}} {
		t.Run(name, func(t *testing.T) {
			b := seldom(t, o)
			b.load(keyed(justChat, quick, targetA))
			b.run(time.Hour)
			for _, after := range []string{", expires_after: 35d", ", expires_after: 60d", "", ", expires_after: 50d"} {
				b.load(keyed(justChat+after, quick, targetA))
				b.run(time.Minute)
				if !o.ExpireTimeFixed {
					b.granted()
				}
			}
			b.neverDies(50 * days)
			b.granted()
			b.settled()
			b.check()
		})
	}
}

// An adopted key keeps its own expiry, and is replaced before it.
func TestAdoptedKeyKeepsItsExpiry(t *testing.T) {
	b := seldom(t, xaisim.Options{})
	id := b.byHand("b", plain, "chat")
	at := b.clock.Add(9 * days)
	b.sim.SetExpires(id, at)
	b.load(keyed(justChat+", expires_after: 60d, qps: 4", "adopt: true"+quick, targetB))
	b.run(time.Hour)
	if is := b.truth(id); !is.Expires.Equal(at) || is.QPS != nil || b.key() != id {
		b.violated("the adopted key is %+v", is)
	}
	b.load(keyed(justChat+", expires_after: 60d, qps: 6", "adopt: true"+quick, targetB))
	b.run(time.Hour)
	if is := b.truth(id); !is.Expires.Equal(at) || is.QPS == nil || *is.QPS != 6 {
		b.violated("after an edit the adopted key is %+v", is)
	}
	b.neverDies(10 * days)
	if b.key() == id {
		b.violated("the adopted key was not replaced")
	}
	b.granted()
	b.check()
}

// Where xAI creates keys without the expiry, it is set by an update; where that is refused too, it is told and all else goes on.
func TestExpiryNotKept(t *testing.T) {
	for _, fixed := range []bool{false, true} {
		b := seldom(t, xaisim.Options{NoExpiry: true, ExpireTimeFixed: fixed})
		b.load(keyed(justChat+", expires_after: 60d", quick, targetA))
		b.run(2 * time.Hour)
		b.neverDies(12 * time.Hour)
		if !fixed {
			b.granted()
		} else if n := b.count(journal.KeyUpdateRefused); n != 1 {
			b.violated("told %d times", n)
		}
		b.neverDies(65 * days)
		if b.count(journal.Promoted) != 3 {
			b.violated("%d promoted", b.count(journal.Promoted))
		}
		b.settled()
		b.check()
	}
}
