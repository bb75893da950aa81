package rotation_test

import (
	"testing"
	"time"

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
