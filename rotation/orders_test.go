package rotation_test

import (
	"testing"
	"time"

	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/stores"
	"rotator/stores/memstore"
	"rotator/xai/xaisim"
)

// TestHoldReleasedWithinATurn: a hold that the gate met and a human released before the turn was over stays released.
func TestHoldReleasedWithinATurn(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{})
	b.createFirstKey(quick, targetA)
	b.reach(journal.Live)
	hold := func(h journal.Hold) {
		if err := b.journal.SetHold(t.Context(), b.clock, "chat", h, journal.Event{At: b.clock, Kind: journal.HoldSet}); err != nil {
			t.Error(err)
		}
	}
	b.keep = true
	said := 0
	b.trap = func(int) error {
		switch what := b.trace[len(b.trace)-1]; {
		case said == 0 && what == "xai validate before": // between the gate's two questions
			said++
			hold(journal.Hold{Reason: "wait", By: "tester", At: b.clock})
		case said == 1 && what == "commit before":
			said++
			hold(journal.Hold{})
		}
		return nil
	}
	b.runUntilIdle()
	if h := b.record("chat").Hold; said != 2 || !h.At.IsZero() {
		b.violated("said %d words, and the policy is held: %q", said, h.Reason)
	}
	b.checkEnded()
	b.check()
}

// TestHeardBetweenSteps: what is said while a turn is under way is heard before its next step, and not when all is done.
func TestHeardBetweenSteps(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		say  journal.OrderKind
		ends journal.State
	}{
		{journal.OrderAbort, journal.Aborted},
		{journal.OrderRotate, journal.Live}, // it joins the rotation that is being made
	} {
		t.Run(string(c.say), func(t *testing.T) {
			t.Parallel()
			b := newBench(t, xaisim.Options{})
			b.createFirstKey(quick, targetA)
			var id int64
			b.keep = true
			b.trap = func(int) error {
				if b.trace[len(b.trace)-1] == "store a staged after" && id == 0 {
					id = b.order(journal.Order{Policy: "chat", Kind: c.say, Trigger: journal.ByHand})
				}
				return nil
			}
			b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand})
			b.runUntilIdle()
			if why := b.refused(id); why != "" {
				b.violated("refused: %s", why)
			}
			if all, err := b.journal.Rotations(t.Context(), "chat", 1); err != nil || all[0].State != c.ends {
				b.violated("rotation %+v, %v", all, err)
			}
			b.check()
		})
	}
}

// TestRetireEditedWhileItWaits: overlap and soak last as long as the policy says now, and not as it said when they began.
func TestRetireEditedWhileItWaits(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{})
	b.createFirstKey("retire: {overlap: 100m, soak: 100m}", targetA)
	old := b.key()
	retire := func(what string) { b.load(policyDoc("chat", "retire: "+what, targetA)) }
	b.reach(journal.Live)
	b.run(time.Minute)
	retire("{overlap: 20m, soak: 100m}")
	b.run(20 * time.Minute)
	if s := b.state(); s != journal.Soaking {
		b.violated("20 minutes after the promote it is %q", s)
	}
	retire("{overlap: 20m, soak: 50m}")
	b.run(48 * time.Minute)
	if b.gone(old) {
		b.violated("the old key is deleted after 48 minutes of 50")
	}
	b.run(3 * time.Minute)
	if !b.gone(old) {
		b.violated("the old key is still there after 50 minutes")
	}
	b.check()
}

// TestOrderThatCannotBeCarriedOutYet: an order that waits for an answer from outside is tried at the pace of every other
// step, and holds up neither the watch nor the sweep.
func TestOrderThatCannotBeCarriedOutYet(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{})
	b.createFirstKey(quick, targetA)
	old := b.key()
	b.reach(journal.Live)
	b.stores["a"].OnCall(func(memstore.Call) error { return errFault })
	b.order(journal.Order{Policy: "chat", Kind: journal.OrderRollback})
	turns := 0
	b.runUntil(time.Hour, func() bool { turns++; return turns > 500 })
	if p := b.record("chat").Policy; turns > 200 || !p.WatchAt.After(b.clock) {
		b.violated("%d turns in an hour, the next watch is at %s, and it is %s", turns, p.WatchAt, b.clock)
	}
	b.stores["a"].OnCall(nil)
	b.run(time.Hour)
	if b.key() != old {
		b.violated("the order was forgotten")
	}
	b.runUntilIdle()
	b.check()
}

// TestOverdueRetirementIsToldOnce: that an old key is retired although it is in use is told when it happens, and not each
// time that the gate refuses it.
func TestOverdueRetirementIsToldOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{})
	b.sim.Inject(xaisim.Fault{Call: "usage", Count: -1, Kind: xaisim.Status, Status: 403, Body: `{"code":7}`}) // its use is not known
	b.createFirstKey("retire: {overlap: 2h, soak: 1h, require_idle: 6h, max_wait: 2d}", targetA)
	b.reach(journal.Live)
	b.skew = time.Hour // the gate refuses
	b.run(4 * 24 * time.Hour)
	b.waits("chat", reason.ClockSkew, true)
	if n := b.count(journal.Unretired); n > 1 {
		b.violated("told %d times", n)
	}
	b.skew = 0
	b.runUntilIdle()
	if n := b.count(journal.Unretired); n != 1 {
		b.violated("told %d times in the end", n)
	}
	b.checkEnded()
	b.check()
}

// TestWorryIsToldOnce: a target that cannot be read tells people once, and not after every other step of the rotation.
func TestWorryIsToldOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{})
	b.createFirstKey(quick, targetA, targetB)
	b.load(policyDoc("chat", quick, targetA))
	b.sim.Inject(xaisim.Fault{Call: "propagation", Count: -1, Kind: xaisim.EmptyObject})
	b.stores["b"].OnCall(func(memstore.Call) error { return stores.ErrDenied }) // its target is not the policy's any more
	b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand})
	b.run(25 * time.Minute)
	b.waits("chat", reason.StoreDenied, true)
	if n := b.count(journal.WaitsForHuman); n != 1 {
		b.violated("told %d times", n)
	}
	b.stores["b"].OnCall(nil)
	b.run(2 * time.Minute)
	b.waits("chat", reason.WaitPropagation, false)
	b.sim.ClearFaults()
	b.runUntilIdle()
	b.check()
}

// TestUnknownDecision: a word that this program does not know, of a later version perhaps, is refused and changes nothing.
func TestUnknownDecision(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{})
	b.createFirstKey(quick, targetA)
	before := b.record("chat").Targets[0]
	order := b.order(journal.Order{Policy: "chat", Kind: journal.OrderResolve, Target: atA, Decision: "shelve"})
	b.run(time.Minute)
	if o, err := b.journal.OrderByID(t.Context(), order); err != nil || o.Refused == "" || b.record("chat").Targets[0] != before {
		t.Errorf("%v: %+v, the target is %+v", err, o, b.record("chat").Targets[0])
	}
	b.runUntilIdle()
	b.checkEnded()
	b.check()
}

// TestOldKeysOfTheNext: a rotation that begins in the moment in which another ends does not count the key that was just
// deleted among its old ones.
func TestOldKeysOfTheNext(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{})
	b.createFirstKey(quick, targetA)
	b.reach(journal.Soaking)
	held := b.clock.Add(60 * 24 * time.Hour) // the schedule's time comes meanwhile
	if err := b.journal.SetHold(t.Context(), b.clock, "chat", journal.Hold{Reason: "wait", At: b.clock, Until: held}, journal.Event{At: b.clock, Kind: journal.HoldSet}); err != nil {
		t.Fatal(err)
	}
	current := b.key()
	b.runUntil(90*24*time.Hour, func() bool { return b.state() == journal.Live })
	if r := b.last(); r.OldKeyIDs != journal.IDs(current) {
		b.violated("the next rotation is %+v, want %s as its only old key", r, current)
	}
	b.runUntilIdle()
	b.checkEnded()
	b.check()
}
