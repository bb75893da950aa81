package rotation_test

import (
	"testing"
	"time"

	"rotator/rotation/health"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/xai/xaisim"
)

// A hold that begins while an update has no answer: the policy waits, and does not spin once nothing can land.
func TestHoldOverAnUpdateWithoutAnswer(t *testing.T) {
	b := newBench(t, xaisim.Options{})
	b.load(keyed(justChat+", qps: 5", quick, targetA))
	b.run(time.Hour)
	b.sim.Inject(xaisim.Fault{Call: "update", Count: 1, Kind: xaisim.Reset, When: xaisim.Before})
	b.load(keyed(justChat+", qps: 6", quick, targetA))
	b.run(100 * time.Millisecond)
	b.hold(journal.Hold{Reason: "stop", By: "me", At: b.clock, Scope: journal.HoldAll})
	for range 6 {
		b.run(5 * time.Minute)
		if r := b.record("chat"); r.Policy.Reason != reason.Held || r.Policy.Failures > 0 {
			b.violated("%s: %s", r.Policy.Reason, r.Policy.Error)
			break
		}
	}
	if n, lists := b.sim.Calls()["update"], b.sim.Calls()["list"]; n != 1 || lists > 40 {
		b.violated("%d updates under a hold, %d lists", n, lists)
	}
	b.hold(journal.Hold{})
	b.run(20 * time.Minute)
	b.granted()
	b.settled()
	b.check()
}

// A list that lags hides what landed just before nothing could land any more.
func TestLateNarrowingBehindALaggingList(t *testing.T) {
	b := newBench(t, xaisim.Options{UpdateLag: 30 * time.Second})
	b.observed()
	b.load(keyed(wider, "allow_narrowing: true"+quick, targetA))
	b.run(time.Hour)
	b.sim.Late("update", 10*time.Minute+50*time.Second)
	b.load(keyed(justChat, "allow_narrowing: true"+quick, targetA))
	b.run(500 * time.Millisecond)
	b.load(keyed(wider+", qpm: 3", "allow_narrowing: true"+quick, targetA))
	b.runUntil(time.Hour, func() bool {
		if b.count(journal.KeyUpdated) > 0 {
			b.granted()
		}
		return false
	})
	b.granted()
	b.settled()
	b.check()
}

// Lists that round the time of a change, or leave it out, keep no edit from the key in use.
func TestEditsWhereListsTellNoTime(t *testing.T) {
	for name, round := range map[string]time.Duration{"left out": -1, "in seconds": time.Second, "in minutes": time.Minute} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, xaisim.Options{ListedModified: round})
			b.load(keyed(justChat+", qps: 5", quick, targetA))
			b.run(time.Hour + 1500*time.Millisecond)
			for _, key := range []string{justChat + ", qps: 6", wider + ", qps: 6, qpm: 60", justChat + ", qps: 7"} {
				b.load(keyed(key, "allow_narrowing: true"+quick, targetA))
				b.run(2*time.Hour + 1500*time.Millisecond)
				b.lists()
				b.run(time.Hour)
				b.granted()
			}
			if n := b.count(journal.KeyDrifted); n > 0 {
				b.violated("told %d times that someone changed the key", n)
			}
			b.settled()
			b.check()
		})
	}
}

// In a freeze nothing is taken from consumers, also not what someone added at xAI and key.enforce takes away.
func TestEnforceWaitsForTheFreeze(t *testing.T) {
	b := newBench(t, xaisim.Options{})
	b.load(keyed(justChat+", enforce: true", quick, targetA))
	b.run(time.Hour)
	b.freeze("2026-03-01", "2026-03-05", false)
	nine := 9
	b.sim.ChangeKey(b.key(), func(k *xaisim.KeyTruth) {
		k.ACLs, k.QPM = append(k.ACLs, "api-key:model:grok-3-mini"), &nine
	})
	b.passes(24 * time.Hour)
	if is := b.truth(b.key()); len(is.ACLs) != 3 || is.QPM != nil {
		b.violated("in a freeze the key is %+v", is)
	}
	b.is(health.Degraded, reason.KeyDrift)
	b.freezes = nil
	b.passes(24 * time.Hour)
	if is := b.truth(b.key()); len(is.ACLs) != 2 {
		b.violated("after the freeze the key is %+v", is)
	}
	b.granted()
	b.settled()
	b.check()
}
