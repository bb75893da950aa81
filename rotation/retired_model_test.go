package rotation_test

import (
	"strings"
	"testing"
	"time"

	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/stores/memstore"
	"rotator/xai/xaisim"
)

// retireGrok4 has xAI offer the other model alone.
func (b *bench) retireGrok4() {
	b.sim.Set(func(o *xaisim.Options) { o.Models = []string{"grok-3-mini"} })
}

// anyModel is a policy whose key may use every model, and is proved with one.
func anyModel(model string) string {
	doc := strings.Replace(policyDoc("chat", quick, targetA, targetB), `"api-key:model:grok-4"`, `"api-key:model:*"`, 1)
	return doc + "\nverify: {model: " + model + "}\n"
}

// TestRetiredModel: xAI retires the model that `verify` names, during an overlap. The old key is retired in time. The next
// rotation waits with its new key unexposed, and names the model. Naming another model in the policy lets a rotation go live.
func TestRetiredModel(t *testing.T) {
	b := newBench(t, xaisim.Options{})
	b.load(anyModel("grok-4"))
	b.run(time.Hour)
	old := b.key()
	b.reach(journal.Live)
	second := b.key()
	b.retireGrok4()
	b.run(24 * time.Hour)
	if !b.gone(old) || b.state() != "" {
		t.Errorf("the old key is gone: %v; state %s; %s", b.gone(old), b.state(), b.record("chat").Policy.Error)
	}

	b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand})
	b.run(6 * time.Hour)
	p := b.record("chat").Policy
	third := b.successor()
	if b.key() != second || b.reads("a") != second || b.state() == "" || third == "" {
		t.Fatalf("in use is %s, a holds %s, state %s", b.key(), b.reads("a"), b.state())
	}
	if p.Reason != reason.VerifyModel || !strings.Contains(p.Error, "model grok-4: ") {
		t.Errorf("it waits for %s: %s", p.Reason, p.Error)
	}
	if k := b.record("chat").Key(b.record("chat").Rotation.KeyRef); k == nil || k.State != journal.CandidateKey || k.BadAnswers != 0 {
		t.Errorf("that the model is gone counts against the new key: %+v", k)
	}

	b.load(anyModel("grok-3-mini"))
	if !b.runUntil(time.Hour, func() bool { return b.state() == journal.Live && b.key() != second }) {
		t.Errorf("another model is named, and it waits: state %s, %s", b.state(), b.record("chat").Policy.Error)
	}
	b.run(24 * time.Hour)
	if !b.gone(second) || b.key() != third && !b.gone(third) || b.state() != "" || b.record("chat").Policy.Error != "" {
		t.Errorf("state %s; %s", b.state(), b.record("chat").Policy.Error)
	}
	b.consumersServed()
}

// TestRollbackWithARetiredModel: a rollback in that overlap does not depend on the model.
func TestRollbackWithARetiredModel(t *testing.T) {
	b := newBench(t, xaisim.Options{})
	b.load(anyModel("grok-4"))
	b.run(time.Hour)
	old := b.key()
	b.reach(journal.Live)
	young := b.key()
	b.retireGrok4()
	b.run(20 * time.Minute)
	b.order(journal.Order{Policy: "chat", Kind: journal.OrderRollback, Why: "consumers fail"})
	b.run(24 * time.Hour)
	if b.key() != old || b.reads("a") != old || b.reads("b") != old || b.state() != "" || !b.gone(young) {
		t.Errorf("in use is %s, a holds %s; state %s; the newer key gone: %v; %s", b.key(), b.reads("a"), b.state(), b.gone(young), b.record("chat").Policy.Error)
	}
	b.consumersServed()
}

// TestModelRetiredWhilePromoting: the model goes after the point of no return. As long as no target has the new key, it waits
// and names the model, and the edit takes effect there too; once one target has it, it goes on with a key that says who it is.
func TestModelRetiredWhilePromoting(t *testing.T) {
	for name, written := range map[string]bool{"nothing is written": false, "one target is written": true} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, xaisim.Options{})
			b.load(anyModel("grok-4"))
			b.run(time.Hour)
			old := b.key()
			b.reach(journal.Promoting)
			young := b.successor()
			if written {
				b.stores["b"].OnCall(func(c memstore.Call) error {
					if c.Op == "promote" {
						return errFault
					}
					return nil
				})
				b.run(10 * time.Minute)
				b.stores["b"].OnCall(nil)
				if b.reads("a") != young || b.reads("b") != old {
					t.Fatalf("a holds %s, b %s", b.reads("a"), b.reads("b"))
				}
			}
			b.retireGrok4()
			b.run(24 * time.Hour)
			if !written {
				if p := b.record("chat").Policy; p.Reason != reason.VerifyModel || b.reads("a") != old || b.reads("b") != old {
					t.Errorf("it waits for %s: %s; a holds %s, b %s", p.Reason, p.Error, b.reads("a"), b.reads("b"))
				}
				b.load(anyModel("grok-3-mini"))
				b.run(24 * time.Hour)
			}
			if b.key() != young || !b.gone(old) || b.state() != "" {
				t.Errorf("in use is %s; the old key is gone: %v; state %s; %s", b.key(), b.gone(old), b.state(), b.record("chat").Policy.Error)
			}
			b.consumersServed()
		})
	}
}
