package rotation_test

import (
	"strings"
	"testing"
	"time"

	"rotator/rotation/journal"
	"rotator/xai/xaisim"
)

// leak reports the key in use as compromised and returns its id.
func (b *bench) leak() string {
	id := b.key()
	b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByCompromise, Why: "leaked"})
	return id
}

// offWithin checks that xAI stops accepting a key in time.
func (b *bench) offWithin(d time.Duration, id string) {
	b.t.Helper()
	if !b.runUntil(d, func() bool { return !b.accepts(id) }) {
		b.t.Errorf("after %s the compromised key is accepted; in use: %v; %s %s", d, b.key() == id, b.state(), b.record("chat").Policy.Error)
	}
}

// A compromised key stays reported through whatever ends the rotation that the report began.
func TestCompromisedKeyStaysReported(t *testing.T) {
	for name, disturb := range map[string]func(*bench){
		"limits edited": func(b *bench) {
			b.load(strings.Replace(policyDoc("chat", quick, targetA), "key: {", "key: {qps: 7, ", 1))
		},
		"verification edited": func(b *bench) { b.load(policyDoc("chat", quick+"\nverify: {method: whoami}", targetA)) },
		"target added":        func(b *bench) { b.load(policyDoc("chat", quick, targetA, targetB)) },
		"removed and back": func(b *bench) {
			b.load(policyDoc("another", quick, targetC))
			b.run(time.Minute)
			b.load(policyDoc("chat", quick, targetA), policyDoc("another", quick, targetC))
		},
		"aborted and released": func(b *bench) {
			b.order(journal.Order{Policy: "chat", Kind: journal.OrderAbort})
			b.run(10 * time.Minute)
			release := journal.Event{At: b.clock, Kind: journal.HoldReleased}
			if err := b.journal.SetHold(b.t.Context(), b.clock, "chat", journal.Hold{}, release); err != nil {
				b.t.Fatal(err)
			}
		},
		"successor deleted": func(b *bench) { b.sim.DeleteKey(b.successor()) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, xaisim.Options{})
			b.createFirstKey(quick, targetA)
			b.sim.Inject(xaisim.LieNotPropagated(5))
			leaked := b.leak()
			if !b.runUntil(time.Minute, func() bool { return b.state() == journal.Staged }) {
				t.Fatal("no key is staged")
			}
			disturb(b)
			b.offWithin(time.Hour, leaked)
			b.runUntilIdle()
			inUse(b)
			b.consumersServed()
		})
	}
}

// The key that replaced a compromised one dies: the compromised key is off and stays off.
func TestCompromisedKeyIsNotTurnedOnAgain(t *testing.T) {
	for name, then := range map[string]func(*bench) string{
		"successor dies": func(b *bench) string {
			b.exempt[b.key()] = true
			b.sim.DeleteKey(b.key())
			return ""
		},
		"rollback": func(b *bench) string {
			id := b.order(journal.Order{Policy: "chat", Kind: journal.OrderRollback})
			b.run(time.Second)
			return b.refusal(id)
		},
		"revive": func(b *bench) string {
			id := b.order(journal.Order{Policy: "chat", Kind: journal.OrderRevive})
			b.run(time.Second)
			return b.refusal(id)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, xaisim.Options{})
			b.createFirstKey("retire: {overlap: 24h, soak: 24h}", targetA)
			leaked := b.leak()
			b.offWithin(time.Hour, leaked)
			b.run(time.Second)
			said := then(b)
			if name != "successor dies" && !strings.Contains(said, "was reported compromised") {
				t.Errorf("answered %q", said)
			}
			if b.runUntil(10*24*time.Hour, func() bool { return b.accepts(leaked) }) {
				t.Errorf("the compromised key was turned on again")
			}
			inUse(b)
			b.consumersServed()
		})
	}
}

// xAI refuses to disable the key: it is deleted at once, once no target holds it.
func TestCompromisedKeyThatCannotBeDisabled(t *testing.T) {
	b := newBench(t, xaisim.Options{})
	b.createFirstKey("", targetA)
	b.sim.Inject(xaisim.Fault{Call: "update", Count: -1, Kind: xaisim.Status, Status: 400, Body: `{"code":3,"message":"Invalid field mask","details":[]}`})
	leaked := b.leak()
	b.offWithin(time.Hour, leaked)
	inUse(b)
	b.consumersServed()
}

// A rollback with --false-alarm that cannot be carried out does not take the report back.
func TestRefusedFalseAlarmChangesNothing(t *testing.T) {
	b := newBench(t, xaisim.Options{})
	b.createFirstKey("retire: {overlap: 24h, soak: 24h}", targetA)
	leaked := b.leak()
	b.offWithin(time.Hour, leaked)
	b.run(time.Second)
	b.wrapped["a"] = forgetful{b.stores["a"]}
	id := b.order(journal.Order{Policy: "chat", Kind: journal.OrderRollback, FalseAlarm: true})
	b.run(time.Second)
	if why := b.refusal(id); !strings.Contains(why, "no store keeps the value") {
		t.Errorf("answered %q", why)
	}
	if k := b.record("chat").KeyByID(leaked); k == nil || !k.Compromised() {
		t.Errorf("the report is gone: %+v", k)
	}
	b.check()
}
