package rotation_test

import (
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/xai/xaisim"
)

// guidesOnly is an xAI that serves what its two public guides describe, and nothing else.
var guidesOnly = xaisim.Options{GuidesOnly: true}

const (
	monthly = "\nretire: {overlap: 2h, soak: 1h}"
	noSoak  = "\nretire: {overlap: 2h, soak: 0s}"
)

// unasked checks that nothing was asked of xAI again and again that it does not offer.
func (b *bench) unasked() {
	b.t.Helper()
	if n := b.sim.Calls()[""]; n > 400 { // a few routes a day, over months
		b.violated("%d calls of what xAI does not offer", n)
	}
}

// alone checks that the team has one key, which consumers read, besides those of others.
func (b *bench) alone() {
	b.t.Helper()
	inUse(b)
	if n := len(b.sim.Live(teamID)) - len(b.strange); n != 1 {
		b.violated("%d keys are left", n)
	}
	b.live()
}

// With the guides alone a policy rotates by its schedule, and its old keys leave.
func TestGuidesAlone(t *testing.T) {
	for name, retire := range map[string]string{"with a soak": monthly, "without a soak": noSoak} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, guidesOnly)
			b.createFirstKey(retire, targetA, targetB)
			for range 3 {
				before := b.key()
				b.run(31 * 24 * time.Hour)
				if b.key() == before || !b.gone(before) {
					b.violated("after a month key %s is in use, or not gone: %s %s", before, b.record("chat").Policy.Reason, b.record("chat").Policy.Error)
				}
			}
			b.settled()
			b.alone()
			b.unasked()
			b.check()
		})
	}
}

// A create whose answer is lost leaves no key behind.
func TestGuidesAloneLostCreate(t *testing.T) {
	for name, when := range map[string]xaisim.When{"after its effect": xaisim.After, "five minutes before its effect": xaisim.Late} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, guidesOnly)
			b.createFirstKey(monthly, targetA)
			b.sim.Inject(xaisim.Fault{Call: "create", When: when, Kind: xaisim.Reset, Delay: 5 * time.Minute})
			b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand})
			b.runUntilIdle()
			b.settled()
			b.alone()
			if n := b.count(journal.KeyFound); n != 1 {
				b.violated("%d keys were found by their name", n)
			}
			b.check()
		})
	}
}

// A dead key is recognized by the answers to chat, and healed by a new one.
func TestGuidesAloneDeadKey(t *testing.T) {
	b := newBench(t, guidesOnly)
	b.createFirstKey(monthly, targetA)
	dead := b.key()
	b.exempt[dead] = true
	b.sim.DeleteKey(dead)
	b.runUntilIdle()
	if b.key() == dead {
		b.violated("a dead key is in use: %s", b.record("chat").Policy.Reason)
	}
	b.settled()
	b.alone()
	b.check()
}

// A model that xAI retires says nothing against a key: the old one is retired on the identity of the live one.
func TestGuidesAloneRetiredModel(t *testing.T) {
	b := newBench(t, guidesOnly)
	b.createFirstKey(monthly, targetA)
	old := b.key()
	b.reach(journal.Live)
	b.sim.Set(func(o *xaisim.Options) { o.Models = []string{"grok-5"} })
	b.run(12 * time.Hour)
	if !b.gone(old) || b.record("chat").Rotation != nil {
		b.violated("the old key is not retired: %s %s", b.record("chat").Policy.Reason, b.record("chat").Policy.Error)
	}
	b.alone()
	b.check()
}

// Where xAI does not say which key a value is, a human names it.
func TestGuidesAloneAdoption(t *testing.T) {
	t.Run("nobody named it", func(t *testing.T) {
		b := newBench(t, guidesOnly)
		id := b.byHand("b", plain, "chat")
		b.load(policyDoc("chat", "adopt: true"+monthly, targetB))
		b.run(time.Hour)
		b.waits("chat", reason.NotOffered, true)
		if b.reads("b") != id {
			b.violated("a key that was to be adopted was replaced")
		}
		b.load(policyDoc("chat", "adopt: {key_id: "+id+"}"+monthly, targetB))
		b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand})
		b.runUntilIdle()
		if !b.gone(id) {
			b.violated("the adopted key was not retired: %s", b.record("chat").Policy.Reason)
		}
		b.settled()
		b.alone()
		b.check()
	})
	t.Run("not adopted", func(t *testing.T) {
		b := newBench(t, guidesOnly)
		id := b.byHand("b", plain, "chat")
		b.strange[id] = true
		b.load(policyDoc("chat", monthly, targetB))
		b.rotates()
		b.settled()
		b.alone()
		b.check()
	})
	t.Run("two keys", func(t *testing.T) {
		b := newBench(t, guidesOnly)
		id := b.byHand("b", plain, "chat")
		other := b.byHand("c", plain, "chat")
		b.strange[other] = true
		b.load(policyDoc("chat", "adopt: {key_id: "+id+"}"+monthly, targetB, "{store: c, path: chat}"))
		b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand})
		b.runUntilIdle()
		if !b.gone(id) {
			b.violated("the adopted key was not retired: %s", b.record("chat").Policy.Reason)
		}
		b.settled()
		b.alone()
		b.check()
	})
}

// Where xAI says which key a value is, naming one leaves the others alone.
func TestAdoptsOnlyTheKeyThatIsNamed(t *testing.T) {
	b := newBench(t, xaisim.Options{})
	b.strange[b.byHand("b", plain, "chat")] = true
	b.load(policyDoc("chat", "adopt: {key_id: another}"+monthly, targetB))
	b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand})
	b.runUntilIdle()
	b.settled()
	b.alone()
	b.check()
}

// A rehearsal says of what xAI does not offer that it was not asked, and looks at the rest.
func TestGuidesAloneRehearsal(t *testing.T) {
	b := newBench(t, guidesOnly)
	b.createFirstKey(monthly, targetA)
	for what, answer := range rehearsed(b) {
		want := "confirmed"
		if strings.HasPrefix(what, "/v1/api-key") {
			want = "not asked"
		}
		if answer != want {
			t.Errorf("%s: %s, want %s", what, answer, want)
		}
	}
	b.settled()
	b.check()
}

// The team chore goes on with a list, and says what it lists.
func TestGuidesAloneTeam(t *testing.T) {
	b := newBench(t, guidesOnly)
	b.createFirstKey(monthly, targetA)
	got := b.inventory()
	if got.Error != "" || got.ListedAt.IsZero() || got.ValidatedAt.IsZero() || got.Managed != 1 || got.ManagementKeyID != "" {
		t.Errorf("the team is %+v", got)
	}
	if calls, err := b.journal.Meta(t.Context(), "not_offered/research"); err != nil || calls != "GET /auth/management-keys/validation" {
		t.Errorf("xAI is said not to offer %q: %v", calls, err)
	}
}

// A key of which only the name is known, and a target that holds a value of which xAI does not say what it is: it may be that
// key.
func TestGuidesAloneLostJournal(t *testing.T) {
	b := newBench(t, guidesOnly)
	b.createFirstKey(monthly, targetA)
	old := b.key()
	b.lose()
	b.load(policyDoc("chat", monthly, targetA))
	b.agree("chat", journal.IDs(old))
	b.run(time.Hour)
	b.live()
	b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand})
	b.runUntilIdle()
	b.settled()
	b.alone()
	b.check()
}

// guidesScenarios are those of all scenarios that the guides alone serve: a list of the team does not say which key a target
// holds, so that a lost journal and a key made by hand are other stories.
func guidesScenarios() (out []scenario) {
	for _, s := range scenarios() {
		switch s.name {
		case "first rotation, one target", "ordinary rotation, one target", "ordinary rotation, three targets", "abort, one target",
			"rollback from live, one target", "rollback from promoting, three targets", "rollback from retiring, one target",
			"revive, one target", "compromised, one target", "superseded, one target", "successor bad after the promote, one target",
			"limits edited", "rights narrowed, then widened", "key edited, staged", "key edited, promoting", "keys that expire, and limits edited":
			before := s.before
			s.before = func(b *bench) {
				b.sim.Set(func(o *xaisim.Options) { o.GuidesOnly = true })
				before(b)
			}
			out = append(out, s)
		}
	}
	return out
}

// TestGuidesAloneEveryCrash kills the engine before and after every call, with an xAI that serves the guides alone.
func TestGuidesAloneEveryCrash(t *testing.T) {
	t.Parallel()
	var cases atomic.Int64
	t.Cleanup(func() { t.Logf("%d cases", cases.Load()) })
	for _, s := range guidesScenarios() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			from := s.keep(t)
			for _, f := range sample(rand.New(rand.NewPCG(20261130, 1)), deaths(s.points(t, from)), deathSample) {
				s.run(from, f.arm).report(t, f.what)
				cases.Add(1)
			}
		})
	}
}
