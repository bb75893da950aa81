package rotation_test

import (
	"strings"
	"testing"
	"time"

	"rotator/rotation/journal"
	"rotator/stores"
	"rotator/stores/memstore"
	"rotator/xai/xaisim"
)

// consumersServed checks that every target holds a key that xAI accepts, and that none ever held another.
func (b *bench) consumersServed() {
	b.t.Helper()
	b.live()
	b.check()
}

// reads returns the id of the key that consumers of chat read in a store.
func (b *bench) reads(store string) string {
	b.t.Helper()
	for _, pt := range b.specs["chat"].Targets {
		if pt.Store == store {
			return b.idOf(b.stores[store].Read(stores.Target{Path: pt.Path, Field: pt.Field}))
		}
	}
	b.t.Fatalf("chat has no target in store %s", store)
	return ""
}

// refusal returns what the engine answered to an order, or "" when it was carried out.
func (b *bench) refusal(id int64) string {
	b.t.Helper()
	o, err := b.journal.OrderByID(b.t.Context(), id)
	if err != nil || o.DoneAt.IsZero() {
		b.t.Fatalf("order %d is not done: %v", id, err)
	}
	return o.Refused
}

// A daemon stops before the first write of a promotion, and the new key dies before it starts again.
func TestDeadSuccessorIsNotPromoted(t *testing.T) {
	for name, kill := range map[string]func(*bench, string){
		"disabled": func(b *bench, id string) { b.sim.DisableKey(id) },
		"deleted":  func(b *bench, id string) { b.sim.DeleteKey(id) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, xaisim.Options{})
			b.createFirstKey(quick, targetA, targetB)
			b.reach(journal.Promoting)
			dead := b.successor()
			b.clock = b.clock.Add(3 * 24 * time.Hour)
			kill(b, dead)
			b.run(time.Hour)
			b.consumersServed()
			if k := b.key(); k == dead || b.reads("a") != k || b.reads("b") != k {
				t.Errorf("in use is %s, a holds %s, b %s; %s was dead", k, b.reads("a"), b.reads("b"), dead)
			}
		})
	}
}

// One target is written, the other's store fails; the new key dies before that store is back.
func TestDeadSuccessorIsNotPromotedFurther(t *testing.T) {
	b := newBench(t, xaisim.Options{})
	b.createFirstKey(quick, targetA, targetB)
	old := b.key()
	b.reach(journal.Promoting)
	dead := b.successor()
	b.stores["b"].OnCall(func(c memstore.Call) error {
		if c.Op == "promote" {
			return errFault
		}
		return nil
	})
	b.run(10 * time.Minute)
	if b.reads("a") != dead || b.reads("b") != old {
		t.Fatalf("a holds %s, b %s", b.reads("a"), b.reads("b"))
	}
	b.exempt[dead] = true
	b.sim.DisableKey(dead)
	b.stores["b"].OnCall(func(memstore.Call) error {
		if b.reads("b") == dead {
			t.Error("the dead key was written to b")
		}
		return nil
	})
	b.run(time.Hour)
	if k := b.key(); k == dead || b.reads("a") != k || b.reads("b") != k || !b.accepts(k) {
		t.Errorf("in use is %s, a holds %s, b %s", k, b.reads("a"), b.reads("b"))
	}
}

// A delete was sent and its answer lost. It lands later, so that no one may go back to the key.
func TestKeyBeingDeletedIsNotUsedAgain(t *testing.T) {
	for name, retire := range map[string]string{"after the soak": quick, "without a soak": "retire: {overlap: 2h, soak: 0s}"} {
		for _, kind := range []journal.OrderKind{journal.OrderRollback, journal.OrderRevive} {
			t.Run(name+"/"+string(kind), func(t *testing.T) {
				b := newBench(t, xaisim.Options{})
				b.createFirstKey(retire, targetA, targetB)
				old := b.key()
				b.reach(journal.Live)
				b.sim.Inject(xaisim.Fault{Call: "delete", Count: -1, When: xaisim.Late, Delay: 5 * time.Minute, Kind: xaisim.Timeout})
				sent := func() bool {
					k, err := b.journal.Key(t.Context(), old)
					return err == nil && k.State == journal.DeletingKey
				}
				if !b.runUntil(5*time.Hour, sent) {
					t.Fatal("no delete was sent")
				}
				b.sim.ClearFaults()
				id := b.order(journal.Order{Policy: "chat", Kind: kind, Why: "consumers fail"})
				b.run(time.Minute)
				if s := b.refusal(id); !strings.Contains(s, "the deletion of key "+old+" was sent at") || !strings.Contains(s, "rotate chat --supersede") {
					t.Errorf("answered %q", s)
				}
				b.run(12 * time.Hour)
				b.consumersServed()
				if !b.gone(old) || b.state() != "" {
					t.Errorf("old key gone: %v; state %s", b.gone(old), b.state())
				}
			})
		}
	}
}

// --propagation was said of one key. The next key has to be reported by xAI, or spoken of itself.
func TestPropagationWordEndsWithItsKey(t *testing.T) {
	b := newBench(t, xaisim.Options{})
	b.createFirstKey(quick, targetA)
	old := b.key()
	b.sim.Inject(xaisim.LieNotPropagated(-1))
	b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand})
	b.run(time.Hour)
	first := b.successor()
	b.stores["a"].OnCall(func(c memstore.Call) error {
		if c.Op == "staged" {
			return errFault
		}
		return nil
	})
	b.order(journal.Order{Policy: "chat", Kind: journal.OrderPropagation})
	b.run(time.Minute)
	b.stores["a"].OnCall(nil)
	for _, l := range b.stores["a"].Leftovers() {
		_, attempt, _ := strings.Cut(l, " ")
		if err := b.stores["a"].Discard(t.Context(), stores.Target{Path: "chat", Field: "api_key"}, attempt); err != nil {
			t.Fatal(err)
		}
	}
	b.birth() // the value in memory is lost too
	b.run(2 * time.Hour)
	if b.state() != journal.Staged || b.key() != old || b.successor() == first {
		t.Fatalf("state %s, in use %s, successor %s", b.state(), b.key(), b.successor())
	}
	second := b.successor()
	b.order(journal.Order{Policy: "chat", Kind: journal.OrderPropagation})
	b.run(time.Hour)
	if b.key() != second {
		t.Errorf("a word said of %s did not promote it: in use is %s", second, b.key())
	}
	b.check()
}

// A target that the policy once named remembers an older key. A rollback goes back one key, not two.
func TestRollbackGoesToTheReplacedKey(t *testing.T) {
	const slow = "retire: {overlap: 24h, soak: 24h}"
	for name, then := range map[string][]string{"target dropped": {targetA}, "same targets": {targetA, targetB}} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, xaisim.Options{})
			b.createFirstKey(slow, targetA, targetB)
			b.reach(journal.Live)
			second := b.key()
			b.load(policyDoc("chat", slow, then...))
			b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand, Supersede: true})
			if !b.runUntil(time.Hour, func() bool { return b.state() == journal.Live && b.key() != second }) {
				t.Fatal("no third key is live")
			}
			b.order(journal.Order{Policy: "chat", Kind: journal.OrderRollback})
			b.run(time.Minute)
			if b.key() != second || b.reads("a") != second {
				t.Errorf("rolled back to %s, a holds %s; %s was replaced", b.key(), b.reads("a"), second)
			}
			b.check()
		})
	}
}

// The policy moved to another model, which the old key may not call. It is proved by its identity.
func TestRollbackToAKeyOfAnotherModel(t *testing.T) {
	b := newBench(t, xaisim.Options{})
	b.createFirstKey(quick, targetA)
	old := b.key()
	b.load(strings.Replace(policyDoc("chat", quick, targetA), `"api-key:model:grok-4", `, `"api-key:model:grok-3-mini", `, 1))
	b.reach(journal.Live)
	young := b.key()
	b.order(journal.Order{Policy: "chat", Kind: journal.OrderRollback, Why: "consumers use grok-4"})
	b.run(24 * time.Hour)
	if b.reads("a") != old || b.state() != "" || !b.gone(young) {
		t.Errorf("a holds %s; state %s; the newer key gone: %v; %s", b.reads("a"), b.state(), b.gone(young), b.record("chat").Policy.Error)
	}
	b.consumersServed()
}

// xAI stops offering the model during the overlap. That says nothing about the key, so that the old one is retired.
func TestModelRetiredDuringTheOverlap(t *testing.T) {
	b := newBench(t, xaisim.Options{})
	b.createFirstKey(quick, targetA)
	old := b.key()
	b.reach(journal.Live)
	b.sim.Inject(xaisim.Fault{Call: "chat", Count: -1, Kind: xaisim.Status, Status: 404,
		Body: `{"code":"Some requested entity was not found","error":"The model grok-4 does not exist or your team does not have access to it."}`})
	b.run(24 * time.Hour)
	if !b.gone(old) || b.state() != "" {
		t.Errorf("the old key is gone: %v; state %s; %s", b.gone(old), b.state(), b.record("chat").Policy.Error)
	}
	b.consumersServed()
}
