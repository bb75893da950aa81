package rotation_test

import (
	"strings"
	"testing"
	"time"

	"rotator/rotation/journal"
	"rotator/xai/xaisim"
)

// A rotation is superseded and the next one aborted: the old key is no one's to retire, and is retired anyway.
func TestOldKeysOfASupersededRotationAreRetired(t *testing.T) {
	for name, retire := range map[string]string{
		"with a soak": quick, "without a soak": "\nretire: {overlap: 2h, soak: 0s}",
		"when idle": "\nretire: {overlap: 2h, soak: 1h, require_idle: 3h}",
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, xaisim.Options{})
			b.createFirstKey(retire, targetA)
			first := b.key()
			b.reach(journal.Live)
			b.sim.Inject(xaisim.LieNotPropagated(5))
			b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand, Supersede: true})
			if !b.runUntil(time.Minute, func() bool { return b.state() == journal.Staged }) {
				t.Fatal("no key is staged")
			}
			b.load(strings.Replace(policyDoc("chat", retire, targetA), "key: {", "key: {qps: 7, ", 1))
			b.run(110 * time.Minute)
			if !b.accepts(first) || b.record("chat").Rotation != nil {
				t.Fatalf("in the overlap the old key is accepted: %v; state %s", b.accepts(first), b.state())
			}
			b.run(8 * time.Hour)
			if !b.gone(first) {
				t.Errorf("the old key is still there; %s %s", b.record("chat").Policy.Reason, b.record("chat").Policy.Error)
			}
			inUse(b)
			b.consumersServed()
		})
	}
}

// A disable lands after a human revived the key.
func TestDisableThatLandsAfterARevive(t *testing.T) {
	for name, lag := range map[string]time.Duration{"2 minutes": 2 * time.Minute, "9 minutes": 9 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, xaisim.Options{DisableLag: lag, LateDisableWins: true})
			b.createFirstKey(quick, targetA)
			old := b.key()
			b.reach(journal.Live)
			b.run(2*time.Hour + time.Second)
			b.order(journal.Order{Policy: "chat", Kind: journal.OrderRevive, Why: "a consumer still reads it"})
			b.run(24 * time.Hour)
			if !b.accepts(old) {
				t.Errorf("a day after the revive the key is off; %s %s", b.record("chat").Policy.Reason, b.record("chat").Policy.Error)
			}
			b.check()
		})
	}
}
