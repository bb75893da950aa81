package rotation_test

import (
	"testing"
	"time"

	"rotator/rotation/journal"
	"rotator/stores"
	"rotator/xai/xaisim"
)

const (
	targetA = `{store: a, path: chat, field: api_key}`
	targetB = `{store: b, path: chat}`
	targetC = `{store: c, path: other, field: key}`
)

func TestFirstRotation(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{})
	b.keep = true
	b.stores["a"].Set("chat", `{"db":"kept"}`)
	b.load(policyDoc("chat", "", targetA, targetB))
	b.run(time.Minute)
	r := b.record("chat")
	if r.Policy.KeyID == "" {
		t.Fatalf("no key is live: %s %s", r.Policy.Reason, r.Policy.Error)
	}
	if v := b.stores["a"].Read(stores.Target{Path: "chat", Field: "api_key"}); !b.sim.Accepts(v) {
		t.Error("the target holds no live key")
	}
	if v := b.stores["a"].Read(stores.Target{Path: "chat", Field: "db"}); v.Reveal() != "kept" {
		t.Error("another field was changed")
	}
	b.settled()
	b.check()
	t.Logf("%d points", b.calls)
	if testing.Verbose() {
		b.dump()
	}
}

func TestOrdinaryRotation(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{})
	b.load(policyDoc("chat", "", targetA, targetB, targetC))
	b.run(time.Minute)
	first := b.record("chat").Policy.KeyID
	b.run(30*24*time.Hour + time.Minute)
	r := b.record("chat")
	if shown(r) != journal.Live {
		t.Fatalf("after 30 days: %s", shown(r))
	}
	b.run(24 * time.Hour)
	if r = b.record("chat"); shown(r) != journal.Soaking {
		t.Fatalf("after the overlap: %s", shown(r))
	}
	b.run(24 * time.Hour)
	if r = b.record("chat"); r.Rotation != nil || r.Policy.KeyID == first {
		t.Fatalf("after the soak: %+v", r.Rotation)
	}
	b.settled()
	b.check()
}

// TestAbortBeforeTheFirstAttempt: a plan that never got to a create is turned back as well.
func TestAbortBeforeTheFirstAttempt(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{})
	b.stores["a"].Set("chat", `{"api_key":"a password"}`)
	b.exempt["an unknown value"] = true
	b.load(policyDoc("chat", "", targetA))
	b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand})
	b.run(time.Minute)
	if r := b.record("chat").Rotation; r == nil || r.State != journal.Planned {
		t.Fatalf("the rotation waits for no human: %+v", r)
	}
	id := b.order(journal.Order{Policy: "chat", Kind: journal.OrderAbort})
	b.run(time.Minute)
	o, err := b.journal.OrderByID(t.Context(), id)
	if r := b.record("chat"); err != nil || o.DoneAt.IsZero() || o.Refused != "" || r.Rotation != nil || r.Hold.At.IsZero() {
		t.Errorf("the abort was not carried out: %+v, %v; %+v", o, err, r.Rotation)
	}
	b.settled()
	b.check()
}

// TestQuarantineGoesByXAIsClock: a clock that jumps ahead does not end the quarantine of a create whose answer was lost
// while xAI's lists still lack the key.
func TestQuarantineGoesByXAIsClock(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{ListLag: 20 * time.Second})
	b.sim.Inject(xaisim.Fault{Call: "create", When: xaisim.After, Kind: xaisim.Reset})
	b.load(policyDoc("chat", quick, targetA))
	b.run(2 * time.Second)
	b.clock, b.skew = b.clock.Add(50*time.Hour), b.skew-50*time.Hour
	b.run(5 * time.Second)
	b.clock, b.skew = b.clock.Add(-50*time.Hour), b.skew+50*time.Hour
	b.run(12 * time.Hour)
	b.settled()
	b.check()
}

// What a process that froze in the middle of staging writes when it thaws does not stay, though others gave the attempt up
// meanwhile.
func TestStagedByOneThatWasFrozen(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{})
	b.load(policyDoc("chat", quick, targetA))
	b.dieAt = "store a stage before"
	if !b.runUntil(time.Hour, func() bool { return b.deaths > 0 }) {
		t.Fatal("nothing was staged")
	}
	given := unsettled(b.record("chat"))[0]
	value := b.sim.Live(teamID)[0].Secret
	b.run(5 * time.Minute)
	if b.sim.Accepts(value) || b.record("chat").Policy.KeyID == "" {
		t.Fatal("the attempt was not given up")
	}
	if err := b.stores["a"].Stage(t.Context(), stores.Target{Path: "chat", Field: "api_key"}, given.Ref, value); err != nil {
		t.Fatal(err)
	}
	b.run(time.Hour)
	b.settled()
	b.check()
}
