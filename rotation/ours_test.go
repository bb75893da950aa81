package rotation_test

import (
	"strings"
	"testing"
	"time"

	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/stores"
	"rotator/xai/xaisim"
)

// cutNames is a policy whose first create lost its answer, at an xAI that keeps names of 12 characters of the ref.
func cutNames(t *testing.T) (b *bench, id string) {
	t.Helper()
	b = newBench(t, xaisim.Options{NameLimit: len("rotator-chat-") + 13})
	b.sim.Inject(xaisim.Fault{Call: "create", When: xaisim.After, Kind: xaisim.Reset, Count: 3})
	b.load(policyDoc("chat", quick, targetA))
	b.run(time.Minute)
	keys := b.sim.Keys(teamID)
	if len(keys) == 0 {
		t.Fatal("no key was made")
	}
	return b, keys[0].ID
}

// TestNamesCutShort: a key under the beginning of a recorded name is left alone, and no more keys are made, until a human
// says that it is ours.
func TestNamesCutShort(t *testing.T) {
	t.Parallel()
	b, id := cutNames(t)
	b.sim.ClearFaults()
	b.run(time.Hour)
	b.waits("chat", reason.NamesCut, true)
	made := len(b.sim.Keys(teamID))
	b.run(24 * time.Hour)
	if n := len(b.sim.Keys(teamID)); n != made || b.gone(id) {
		b.violated("%d keys were made after %d, and %s is gone: %v", n-made, made, id, b.gone(id))
	}
	ours := func(key string) string {
		n := b.order(journal.Order{Policy: "chat", Kind: journal.OrderResolve, Decision: journal.Ours, KeyIDs: journal.IDs("").With(key), Why: "compared"})
		b.run(time.Minute)
		return b.refusal(n)
	}
	if why := ours(b.stranger("made by hand")); !strings.Contains(why, "no lost create of chat can have made key") {
		b.violated("a stranger's key was taken: %q", why)
	}
	for _, k := range b.sim.Keys(teamID)[:made] {
		if why := ours(k.ID); why != "" {
			b.violated("refused: %s", why)
		}
	}
	b.run(24 * time.Hour)
	if !b.gone(id) {
		b.violated("the lost key is still there")
	}
	if b.key() == "" {
		b.violated("no key is live: %s", b.record("chat").Policy.Error)
	}
	old := b.key()
	b.rotates()
	if !b.gone(old) { // the gate knows it under the name that xAI keeps
		b.violated("the old key is still there: %s", b.record("chat").Policy.Error)
	}
	b.checkEnded()
	b.check()
}

// TestAbortSaysHowToGoBack: after the last target was written only a rollback helps.
func TestAbortSaysHowToGoBack(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{})
	b.createFirstKey(quick, targetA)
	n := b.order(journal.Order{Policy: "chat", Kind: journal.OrderAbort})
	b.run(time.Minute)
	if why := b.refusal(n); why != "no rotation is in flight" {
		b.violated("refused: %q", why)
	}
	b.reach(journal.Live)
	n = b.order(journal.Order{Policy: "chat", Kind: journal.OrderAbort})
	b.run(time.Minute)
	if why := b.refusal(n); !strings.Contains(why, "`rotator rollback chat`") {
		b.violated("refused: %q", why)
	}
	b.check()
}

// TestNoOverlapAsksNoClock: a compromised key is off in the turn that makes another key live, also where xAI's clock, which
// has whole seconds, is behind.
func TestNoOverlapAsksNoClock(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{})
	b.createFirstKey("retire: {overlap: 24h, soak: 24h}", targetA)
	b.skew -= 900 * time.Millisecond
	leaked := b.leak()
	if !b.runUntil(time.Hour, func() bool { return b.key() != leaked }) {
		t.Fatal("no other key is live")
	}
	if b.accepts(leaked) {
		b.violated("the key that leaked still works when another is live: %s", b.record("chat").Policy.Error)
	}
	b.check()
}

// TestManagementKeyRefusedWithinACreate: a team that cannot be had when a key is to be made costs a try and nothing more.
func TestManagementKeyRefusedWithinACreate(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{})
	b.createFirstKey(quick, targetA)
	b.teamless = reason.Errorf(reason.ManagementKey, "the management key belongs to another team")
	b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand})
	b.run(time.Minute)
	b.waits("chat", reason.ManagementKey, true)
	b.teamless = nil
	old := b.key()
	b.runUntilIdle()
	if b.key() == old {
		b.violated("no other key is live: %s", b.record("chat").Policy.Error)
	}
	b.checkEnded()
	b.check()
}

// TestEveryRotationIsToldDone: each rotation that became live is told to be done once, under its own id, also when the next
// one took over the keys that it had to retire.
func TestEveryRotationIsToldDone(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{})
	b.createFirstKey(quick, targetA)
	b.reach(journal.Live)
	b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand, Supersede: true})
	b.run(time.Minute)
	b.order(journal.Order{Policy: "chat", Kind: journal.OrderRollback})
	b.runUntilIdle()
	release := journal.Event{At: b.clock, Kind: journal.HoldReleased}
	if err := b.journal.SetHold(t.Context(), b.clock, "chat", journal.Hold{}, release); err != nil {
		t.Fatal(err)
	}
	b.run(time.Hour)
	done := make(map[string]int)
	events, err := b.journal.Events(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		switch {
		case e.Kind == journal.Finished:
			done[e.Rotation]++
		case e.Kind == journal.RollbackEnded && e.Data["reached"] != string(journal.Live):
			b.violated("a rollback ended and reached %q", e.Data["reached"])
		}
	}
	rotations, err := b.journal.Rotations(t.Context(), "chat", 10)
	if err != nil || len(rotations) != 4 {
		t.Fatalf("%d rotations: %v", len(rotations), err)
	}
	for _, r := range rotations {
		if !r.LiveAt.IsZero() && !r.EndedAt.IsZero() && done[r.ID] != 1 {
			b.violated("rotation %s (%s), %s, is told done %d times", r.ID, r.Trigger, r.State, done[r.ID])
		}
	}
	b.check()
}

// TestEffectsCloseAtRest: the rows of changes that can land no more are closed by a policy that has nothing else to do.
func TestEffectsCloseAtRest(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{})
	b.createFirstKey("retire: {overlap: 1m, soak: 1m}", targetA)
	b.rotates()
	b.run(time.Hour)
	for _, e := range b.record("chat").Effects {
		if e.ClosedAt.IsZero() {
			b.violated("%s of key %s is open an hour after it was quiet, at %s", e.Kind, e.Key, e.QuietAt)
		}
	}
	b.checkEnded()
	b.check()
}

// TestComparesAsLongAsEffectsMayLand: a restored journal is compared for as long as what its lost rows had sent may land.
func TestComparesAsLongAsEffectsMayLand(t *testing.T) {
	t.Parallel()
	for name, quarantine := range map[string]time.Duration{"short limits": 4 * time.Second, "the usual limits": 10 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, xaisim.Options{})
			b.limits.Quarantine = quarantine
			b.birth()
			b.createFirstKey(quick, targetA)
			if err := b.journal.SetMeta(t.Context(), journal.MetaRestored, "new"); err != nil {
				t.Fatal(err)
			}
			reconciling := func() bool { return !b.record("chat").Policy.ReconcileFrom.IsZero() }
			if !b.runUntil(time.Hour, reconciling) {
				t.Fatal("it is never compared")
			}
			begun := b.record("chat").Policy.ReconcileFrom
			if !b.runUntil(time.Hour, func() bool { return !reconciling() }) {
				t.Fatalf("it is compared for an hour: %s", b.record("chat").Policy.Error)
			}
			if took, least := b.clock.Sub(begun), time.Minute+quarantine; took < least || took > least+time.Minute {
				b.violated("it was compared for %s, want %s", took, least)
			}
			b.checkEnded()
			b.check()
		})
	}
}

// TestNothingIsWrittenWhileTheJournalIsCompared: a human's word on a target is kept, and acted on when the comparison ends.
func TestNothingIsWrittenWhileTheJournalIsCompared(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{})
	b.createFirstKey(quick, targetA, targetB)
	if err := b.journal.SetMeta(t.Context(), journal.MetaRestored, "new"); err != nil {
		t.Fatal(err)
	}
	if !b.runUntil(time.Hour, func() bool { return !b.record("chat").Policy.ReconcileFrom.IsZero() }) {
		t.Fatal("it is never compared")
	}
	b.exempt["an unknown value"] = true
	b.stores["a"].Set("chat", field("a password"))
	b.resolve(atA, journal.Overwrite)
	if got := b.stores["a"].Read(stores.Target{Path: "chat", Field: "api_key"}); got.Reveal() != "a password" {
		b.violated("the target was written while the journal was compared")
	}
	b.run(2 * time.Hour)
	if got := b.idOf(b.stores["a"].Read(stores.Target{Path: "chat", Field: "api_key"})); got != b.key() || !b.record("chat").Policy.ReconcileFrom.IsZero() {
		b.violated("the target holds %q, in use is %q: %s", got, b.key(), b.record("chat").Policy.Error)
	}
	b.check()
}

// TestAWriteWithoutAnswerIsNoLag: what a process wrote right before it died is no older state than the write before.
func TestAWriteWithoutAnswerIsNoLag(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{})
	b.createFirstKey(quick, targetA)
	b.reach(journal.Live)
	before, deaths := b.key(), b.deaths
	b.dieAt = "store a promote after"
	b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand, Supersede: true})
	if !b.runUntil(time.Minute, func() bool { return b.deaths > deaths }) {
		t.Fatal("it did not die")
	}
	b.clock = b.clock.Add(10 * time.Second) // until another one takes over
	if !b.runUntil(30*time.Second, func() bool { return b.key() != before }) {
		b.violated("what was written is not live: %s", b.record("chat").Policy.Error)
	}
	b.runUntilIdle()
	b.checkEnded()
	b.check()
}
