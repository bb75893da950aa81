package rotation_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"rotator/rotation/health"
	"rotator/rotation/journal"
	"rotator/stores"
	"rotator/stores/memstore"
	"rotator/xai/xaisim"
)

// is checks how the policy chat is shown now, and why.
func (b *bench) is(h health.Health, why journal.Reason) {
	b.t.Helper()
	r := b.record("chat")
	if got, because := health.Shown(&r.Policy, r.Hold, b.clock); got != h || because != why {
		b.violated("chat is %s (%s: %s), want %s (%s)", got, because, r.Policy.Error, h, why)
	}
}

// told checks which changes of health people were notified of, in order.
func (b *bench) told(want ...string) {
	b.t.Helper()
	ev, err := b.journal.Events(b.t.Context(), 0, 1000)
	if err != nil {
		b.t.Fatal(err)
	}
	var got []string
	for _, e := range ev {
		if e.Kind == journal.HealthChanged {
			got = append(got, e.Data["to"]+" "+e.Data["reason"])
		}
	}
	if strings.Join(got, ", ") != strings.Join(want, ", ") {
		b.violated("people were notified of %q, want %q", got, want)
	}
}

// down makes a store fail every call.
func (b *bench) down(store string) {
	b.stores[store].OnCall(func(c memstore.Call) error {
		if c.Done {
			return nil
		}
		return errors.New("connection refused")
	})
}

// up makes a store answer again.
func (b *bench) up(store string) { b.stores[store].OnCall(func(memstore.Call) error { return nil }) }

func (b *bench) hold(h journal.Hold) {
	b.t.Helper()
	if err := b.journal.SetHold(b.t.Context(), b.clock, "chat", h, journal.Event{At: b.clock, Policy: "chat", Kind: journal.HoldSet}); err != nil {
		b.t.Fatal(err)
	}
}

// TestHealthOfTroubles lives through troubles of many kinds: each is named rightly and told once, and nothing that is not well is
// ok.
func TestHealthOfTroubles(t *testing.T) {
	const day = 24 * time.Hour
	noCreate := xaisim.Fault{Call: "create", Count: -1, Kind: xaisim.Status, Status: 503}
	play(t, []liar{
		{"quiet for a week", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA, targetB)
			for range 7 * 24 * 6 {
				b.run(10 * time.Minute)
				b.is(health.OK, "")
			}
			b.told()
		}},
		{"nobody acts any more", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			b.is(health.OK, "")
			b.pass(b.clock.Add(31 * time.Minute))
			b.is(health.Degraded, health.NotWatched)
			b.pass(b.clock.Add(31 * day))
			b.is(health.Overdue, health.RotationLate)
		}},
		{"the store of a new policy does not answer", xaisim.Options{}, func(b *bench) {
			b.down("a")
			b.load(policyDoc("chat", quick, targetA))
			b.is(health.Degraded, health.NotWatched)
			for range 12 {
				b.run(10 * time.Minute)
				b.is(health.Degraded, map[bool]journal.Reason{true: health.NeverRotated, false: "store_unavailable"}[b.record("chat").Policy.Failures < 3])
			}
		}},
		{"the store of one target dies", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA, targetB)
			b.down("b")
			b.run(2 * time.Hour)
			b.is(health.Degraded, "store_unavailable")
			b.up("b")
			b.run(30 * time.Minute)
			b.is(health.OK, "")
			b.told()
		}},
		{"a key made by hand, not adopted and not due", xaisim.Options{}, func(b *bench) {
			b.byHand("a", field, "chat")
			b.load(policyDoc("chat", quick, targetA))
			b.run(day)
			b.is(health.Degraded, health.NeverRotated)
		}},
		{"a key made by hand is adopted", xaisim.Options{}, func(b *bench) {
			b.byHand("a", field, "chat")
			b.load(policyDoc("chat", quick+"\nadopt: true", targetA))
			b.run(day)
			b.is(health.OK, "")
		}},
		{"a value that is no key", xaisim.Options{}, func(b *bench) {
			b.stores["a"].Set("chat", `{"api_key":"hunter2"}`)
			b.exempt["an unknown value"] = true
			b.load(policyDoc("chat", quick, targetA))
			b.run(day)
			b.is(health.ActionRequired, "foreign_value")
			b.told("action_required foreign_value")
		}},
		{"drift", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			value := b.stores["a"].Read(stores.Target{Path: "chat"}).Reveal()
			b.stores["a"].Set("chat", `{"api_key":"hunter2"}`)
			b.exempt["an unknown value"] = true
			b.run(day)
			b.is(health.ActionRequired, "drift")
			b.told("action_required drift")
			b.stores["a"].Set("chat", value)
			b.run(time.Hour)
			b.is(health.OK, "")
			b.told("action_required drift", "ok ")
		}},
		{"held for three days", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			b.hold(journal.Hold{Reason: "freeze", By: "ada", At: b.clock, Until: b.clock.Add(3 * day)})
			b.is(health.Degraded, "held")
			b.run(2 * day)
			b.is(health.Degraded, "held")
			b.run(2 * day)
			b.is(health.OK, "")
			b.told()
		}},
		{"due while held", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			b.hold(journal.Hold{Reason: "freeze", By: "ada", At: b.clock})
			b.run(40 * day)
			b.is(health.Degraded, "held")
			b.hold(journal.Hold{})
			b.run(time.Minute)
			b.is(health.Progressing, "overlap")
			b.told()
		}},
		{"xAI makes no keys", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			b.sim.Inject(noCreate)
			b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand})
			b.run(50 * time.Minute)
			b.is(health.Degraded, "xai_unavailable")
			b.run(11 * time.Minute)
			b.is(health.Overdue, health.RotationLate)
			b.run(day)
			b.told("action_required unresolved_attempts", "degraded xai_unavailable", "overdue rotation_late")
			b.sim.ClearFaults()
			b.run(40 * time.Minute)
			if h, _ := health.Shown(&b.record("chat").Policy, journal.Hold{}, b.clock); h != health.Progressing && h != health.OK {
				b.is(health.Progressing, "")
			}
		}},
		{"the key in use dies and is replaced", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			b.human(b.key(), b.sim.DeleteKey)
			b.run(31 * time.Minute)
			b.run(6 * time.Hour)
			b.is(health.OK, "")
			if ev := b.count(journal.HealthChanged); ev != 2 {
				b.violated("people were notified %d times, want once that the key is dead and once that it is replaced", ev)
			}
		}},
		{"the key in use dies and cannot be replaced", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			b.sim.Inject(noCreate)
			b.human(b.key(), b.sim.DeleteKey)
			b.run(31 * time.Minute)
			b.is(health.ActionRequired, health.KeyDead)
			b.run(2 * time.Hour)
			b.is(health.Overdue, health.RotationLate)
			b.sim.ClearFaults()
		}},
		{"the policy is removed", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			b.load(policyDoc("another", quick, targetC))
			b.run(time.Hour)
			b.is(health.ActionRequired, health.Removed)
			b.told("action_required policy_removed")
			b.load(policyDoc("chat", quick, targetA), policyDoc("another", quick, targetC))
			b.run(time.Hour)
			b.is(health.OK, "")
		}},
		{"a compromised key cannot be turned off", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			b.load(policyDoc("chat", quick, targetA, targetB))
			b.run(time.Hour)
			b.load(policyDoc("chat", quick, targetA))
			b.run(time.Hour)
			b.down("b")
			b.leak()
			b.run(16 * time.Minute)
			b.is(health.Overdue, health.CompromisedAccepted)
			b.up("b")
			b.runUntilIdle()
		}},
		{"an old key is in use forever", xaisim.Options{}, func(b *bench) {
			b.sim.Inject(xaisim.Fault{Call: "usage", Count: -1, Kind: xaisim.Status, Status: 403, Body: `{"code":7,"message":"forbidden","details":[]}`})
			b.createFirstKey("retire: {overlap: 2h, soak: 1h, require_idle: 6h}", targetA)
			b.reach(journal.Live)
			b.run(5 * day)
			b.is(health.Progressing, "old_key_in_use")
			b.run(3 * day)
			b.is(health.Overdue, health.RetirementLate)
			b.told("action_required retirement_overdue", "overdue retirement_late")
			b.sim.ClearFaults()
			b.runUntilIdle()
		}},
	})
}
