package rotation_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"rotator/rotation/journal"
	"rotator/xai/xaisim"
)

// revoke says that a key ends now, and returns the order.
func (b *bench) revoke(id string) int64 {
	b.exempt[id] = true // people accepted the outage
	return b.order(journal.Order{Policy: "chat", Kind: journal.OrderRevoke, KeyIDs: journal.IDs(id), AcceptOutage: true, Why: "leaked"})
}

// ended reports whether xAI refuses a key.
func (b *bench) ended(id string) bool { return b.gone(id) || !b.accepts(id) }

// killed checks that a revoked key stops working within d, and that consumers get another one without help.
func (b *bench) killed(id string, d time.Duration) {
	b.t.Helper()
	if !b.runUntil(d, func() bool { return b.ended(id) }) {
		b.violated("key %s works %s after it was revoked: %s %s", id, d, b.record("chat").Policy.Reason, b.record("chat").Policy.Error)
	}
}

// keyIn returns the id of a key in a state.
func (b *bench) keyIn(s journal.KeyState) string {
	b.t.Helper()
	for _, k := range b.record("chat").Keys {
		if k.State == s {
			return k.ID
		}
	}
	b.t.Fatalf("no key is %s", s)
	return ""
}

// TestRevokeInEveryState: whatever the state of a key, revoked it is off or gone within seconds, and consumers end with a key
// that works.
func TestRevokeInEveryState(t *testing.T) {
	t.Parallel()
	live := func(b *bench) { b.createFirstKey(quick, targetA, targetB) }
	reached := func(s journal.State, k journal.KeyState) func(*bench) string {
		return func(b *bench) string {
			live(b)
			b.reach(s)
			return b.keyIn(k)
		}
	}
	for state, c := range map[journal.KeyState]struct {
		reach   func(*bench) string
		refused string
	}{
		journal.CandidateKey: {reached(journal.Staged, journal.CandidateKey), ""},
		journal.PromotingKey: {reached(journal.Promoting, journal.PromotingKey), ""},
		journal.LiveKey:      {func(b *bench) string { live(b); return b.key() }, ""},
		journal.RetiringKey:  {reached(journal.Live, journal.RetiringKey), ""},
		journal.DisabledKey:  {reached(journal.Soaking, journal.DisabledKey), ""},
		journal.RejectedKey: {func(b *bench) string {
			live(b)
			b.reach(journal.Staged)
			b.sim.Inject(xaisim.Fault{Call: "delete", Count: 1000, Kind: xaisim.Status, Status: 503, Body: "down"})
			id := b.keyIn(journal.CandidateKey)
			b.order(journal.Order{Policy: "chat", Kind: journal.OrderAbort})
			b.run(time.Minute)
			b.sim.ClearFaults()
			return id
		}, ""},
		journal.DeletingKey: {func(b *bench) string {
			live(b)
			b.reach(journal.Soaking)
			id := b.keyIn(journal.DisabledKey)
			b.sim.Inject(xaisim.Fault{Call: "delete", Count: 1000, Kind: xaisim.Status, Status: 503, Body: "down"})
			b.run(2 * time.Hour)
			b.hold(journal.Hold{Reason: "wait", By: "eve", At: b.clock}) // the delete waits for people now
			b.sim.ClearFaults()
			if got := b.keyIn(journal.DeletingKey); got != id {
				b.t.Fatalf("key %s is being deleted", got)
			}
			return id
		}, ""},
		journal.DeletedKey: {func(b *bench) string {
			live(b)
			b.reach(journal.Soaking)
			id := b.keyIn(journal.DisabledKey)
			b.runUntilIdle()
			return id
		}, "was deleted at"},
	} {
		for _, hand := range []string{"", "held", "every store is down", "disable refused", "disable not offered"} {
			t.Run(strings.TrimSpace(fmt.Sprint(state, " ", hand)), func(t *testing.T) {
				t.Parallel()
				b := newBench(t, xaisim.Options{})
				b.observed()
				b.stranger("someone else's")
				id := c.reach(b)
				switch hand {
				case "held":
					b.hold(journal.Hold{Reason: "nothing may change", By: "eve", At: b.clock})
				case "every store is down":
					for name := range b.stores {
						b.down(name)
					}
				case "disable refused":
					b.sim.Inject(xaisim.Fault{Call: "update", Count: 1, Kind: xaisim.Status, Status: 400, Body: `{"code":3,"message":"disabled cannot be set"}`})
				case "disable not offered":
					b.sim.Inject(xaisim.Fault{Call: "update", Count: 1, Kind: xaisim.Status, Status: 405, Body: `no`})
				}
				order := b.revoke(id)
				b.run(2 * time.Second)
				b.killed(id, 20*time.Second)
				if refused := b.refusal(order); c.refused == "" && refused != "" || !strings.Contains(refused, c.refused) {
					b.violated("the order was refused: %q", refused)
				}
				if hand == "every store is down" {
					for name := range b.stores {
						b.up(name)
					}
					b.connect()
				}
				if hand == "held" && state == journal.LiveKey && !b.runUntil(time.Hour, func() bool { return b.key() != "" && b.key() != id && b.accepts(b.key()) }) {
					b.violated("no other key became live under the hold")
				}
				b.hold(journal.Hold{})
				b.runUntilIdle()
				b.runUntilIdle()
				inUse(b)
				b.settled()
				if !b.ended(id) {
					b.violated("the key works again")
				}
				b.check()
			})
		}
	}
}

// TestRevokeStaysWanted: a revoked key ends through a death at any call, and whatever becomes of its policy.
func TestRevokeStaysWanted(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{})
	b.createFirstKey(quick, targetA)
	b.calls = 0
	id := b.key()
	b.revoke(id)
	b.killed(id, time.Minute)
	b.runUntilIdle()
	inUse(b)
	b.check()
	for at := 1; at <= min(b.calls, 60); at++ {
		for name, then := range map[string]func(*bench){
			"dies": func(*bench) {},
			"dies, and the policy is removed": func(b *bench) {
				b.load(policyDoc("another", quick, targetC))
			},
			"dies, and xAI is down for a while": func(b *bench) {
				b.sim.Inject(xaisim.Fault{Call: "update", Count: 3, Kind: xaisim.Status, Status: 503, Body: "down"})
				b.sim.Inject(xaisim.Fault{Call: "list", Count: 2, Kind: xaisim.Status, Status: 503, Body: "down"})
			},
		} {
			b := newBench(t, xaisim.Options{})
			b.observed()
			b.stranger("someone else's")
			b.createFirstKey(quick, targetA)
			id := b.key()
			b.revoke(id)
			b.calls = 0
			b.trap = func(n int) error {
				if n == at {
					b.trap = nil
					then(b)
					panic(crash{})
				}
				return nil
			}
			b.killed(id, 3*time.Minute)
			b.trap = nil
			b.runUntilIdle()
			if len(b.broken) > 0 {
				t.Errorf("%s at call %d:", name, at)
				b.check()
				return
			}
			if !b.ended(id) {
				t.Errorf("%s at call %d: the key works again", name, at)
			}
		}
	}
}

// TestRevokeUndoesALateEnable: an enable that was sent before the key was revoked turns it on later; it is turned off again,
// and once more when none can land.
func TestRevokeUndoesALateEnable(t *testing.T) {
	t.Parallel()
	for _, delay := range []time.Duration{10 * time.Second, 5 * time.Minute, 10*time.Minute + 50*time.Second} {
		t.Run(delay.String(), func(t *testing.T) {
			t.Parallel()
			b := newBench(t, xaisim.Options{})
			b.observed()
			b.createFirstKey(quick, targetA)
			b.reach(journal.Soaking)
			id := b.keyIn(journal.DisabledKey)
			b.sim.Late("update", delay)
			b.order(journal.Order{Policy: "chat", Kind: journal.OrderRollback})
			b.run(2 * time.Second)
			b.revoke(id)
			b.run(delay + time.Minute)
			b.run(12 * time.Minute)
			if !b.ended(id) {
				b.violated("the key works again: the late enable was not undone")
			}
			b.runUntilIdle()
			inUse(b)
			b.check()
		})
	}
}

// TestRevokeAsksWhoseTheKeyIs: a key whose name is another one's than recorded is not touched, whatever people accept; and a
// journal of another installation ends none.
func TestRevokeAsksWhoseTheKeyIs(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{})
	b.createFirstKey(quick, targetA)
	stranger := b.stranger("someone else's")
	b.forge(func(r *journal.Record) {
		for i := range r.Keys {
			r.Keys[i].ID = stranger
		}
	})
	b.order(journal.Order{Policy: "chat", Kind: journal.OrderRevoke, KeyIDs: journal.IDs(stranger), AcceptOutage: true, Why: "leaked"})
	b.run(time.Hour)
	if !b.accepts(stranger) {
		b.violated("I3: a stranger's key was ended")
	}
	b.check()
}

// TestRevokeTakenBack: a key that was revoked and is off can be rolled back to when the report was wrong.
func TestRevokeTakenBack(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{})
	b.createFirstKey("retire: {overlap: 2h, soak: 5h}", targetA)
	id := b.key()
	b.revoke(id)
	b.run(30 * time.Minute)
	delete(b.exempt, id)
	order := b.order(journal.Order{Policy: "chat", Kind: journal.OrderRollback, FalseAlarm: true})
	b.run(time.Hour)
	if b.key() != id || !b.accepts(id) {
		b.violated("the key in use is %s; refused: %s", b.key(), b.refusal(order))
	}
	b.check()
}
