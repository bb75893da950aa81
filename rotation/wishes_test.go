package rotation_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"rotator/rotation"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/stores/memstore"
	"rotator/xai/xaisim"
)

// wishes is a random life in which people ask for everything that they can, while all else goes wrong. What it knows of the
// engine is only what each order promises: it is achieved, refused with a reason, or taken back by a later one.
type wishes struct {
	chaos
	asked []wish
	steps int
}

// wish is an order that was given.
type wish struct {
	journal.Order
	key string // that it speaks of
}

// TestWishes lives random lives of orders. ROTATOR_SOAK=1 lives 100,000 steps.
func TestWishes(t *testing.T) {
	soak := os.Getenv("ROTATOR_SOAK") == "1"
	t.Parallel()
	total, lives, failed := 0, 0, false
	live := func(r *rapid.T) {
		if lives++; lives > 15 && !soak && !failed {
			return // enough for every change
		}
		b := newBench(t, xaisim.Options{
			ListLag:    rapid.SampledFrom([]time.Duration{0, 20 * time.Second}).Draw(r, "list lag"),
			DisableLag: rapid.SampledFrom([]time.Duration{0, time.Minute}).Draw(r, "disable lag"),
		})
		b.stranger("someone else's")
		b.limits = rotation.Limits{Watch: 30 * time.Minute}
		b.exempt["an unknown value"] = true
		b.observed()
		b.birth()
		w := &wishes{chaos: chaos{bench: b, r: r, targets: map[string]int{}, retire: map[string]string{}}}
		w.edit("p1")
		w.run(time.Minute)
		acts := []func(){w.pass, w.pass, w.wish, w.wish, w.wish, w.fail, w.late, w.change, w.hold, w.release, w.takeover}
		for range rapid.IntRange(4, 24).Draw(r, "acts") {
			rapid.SampledFrom(acts).Draw(r, "act")()
			w.steps++
			w.excuse()
			if len(b.broken) > 0 {
				break
			}
		}
		total += w.steps
		if len(b.broken) == 0 {
			w.end()
		}
		if len(b.broken) > 0 {
			failed = true
			b.dump()
			r.Fatalf("%s", strings.Join(b.broken, "\n"))
		}
	}
	for round := 0; ; round++ {
		if f := flag.Lookup("rapid.seed"); f.Value.String() == "0" && !soak {
			_ = f.Value.Set("20260301") // the same lives for every change
		}
		rapid.Check(t, live)
		if !soak || total >= 100_000 || t.Failed() {
			break
		}
	}
	t.Logf("%d steps", total)
}

// pass lets time pass, less than until the schedule is due: watches take most of a long life.
func (w *wishes) pass() {
	w.run(rapid.SampledFrom([]time.Duration{time.Second, 2 * time.Second, time.Minute, time.Hour, 5 * time.Hour}).Draw(w.r, "time"))
}

// wish gives an order of any kind.
func (w *wishes) wish() {
	p := w.policy()
	if !slices.Contains(w.known(), p) {
		return
	}
	o := journal.Order{Policy: p, Why: "a wish", Kind: rapid.SampledFrom([]journal.OrderKind{
		journal.OrderRotate, journal.OrderRotate, journal.OrderAbort, journal.OrderRollback, journal.OrderRevive,
		journal.OrderRevoke, journal.OrderResolve, journal.OrderDecommission,
	}).Draw(w.r, "order")}
	key := ""
	switch o.Kind {
	case journal.OrderRotate:
		o.Trigger = rapid.SampledFrom([]journal.Trigger{journal.ByHand, journal.ByCompromise}).Draw(w.r, "trigger")
		o.Supersede = rapid.Bool().Draw(w.r, "supersede")
	case journal.OrderRollback:
		o.FalseAlarm = rapid.Bool().Draw(w.r, "false alarm")
	case journal.OrderRevoke:
		var ids []string
		for _, k := range w.record(p).Keys {
			if k.ID != "" {
				ids = append(ids, k.ID)
			}
		}
		if len(ids) == 0 {
			return
		}
		key = rapid.SampledFrom(ids).Draw(w.r, "key")
		o.KeyIDs, o.AcceptOutage = journal.IDs(key), true
		w.exempt[key] = true
	case journal.OrderResolve:
		if w.specs[p] == nil { // it was removed
			return
		}
		pt := rapid.SampledFrom(w.specs[p].Targets).Draw(w.r, "target")
		o.Target, o.Decision = journal.TargetID{Store: pt.Store, Path: pt.Path, Field: pt.Field}, journal.Overwrite
	case journal.OrderDecommission:
		o.AcceptOutage = rapid.IntRange(0, 3).Draw(w.r, "outage") > 0
	}
	o.At = w.clock
	o.ID = w.order(o)
	w.asked = append(w.asked, wish{o, key})
	w.excuse()
}

// excuse notes keys that people accepted an outage of.
func (w *wishes) excuse() {
	for _, p := range w.known() {
		r := w.record(p)
		ending := r.Policy.Leaving() || slices.ContainsFunc(r.Orders, func(o journal.Order) bool { return o.Kind == journal.OrderDecommission })
		for _, k := range r.Keys {
			if ending || k.Revoked() {
				w.exempt[k.ID] = true
			}
		}
	}
}

// late has the next change of a kind land late.
func (w *wishes) late() {
	delay := rapid.SampledFrom([]time.Duration{2 * time.Second, 5 * time.Minute, 10*time.Minute + 30*time.Second}).Draw(w.r, "delay")
	if op := rapid.SampledFrom([]string{"update", "delete", "create", "promote", "stage"}).Draw(w.r, "late"); op == "promote" || op == "stage" {
		w.stores["a"].Late(op, delay)
	} else {
		w.sim.Late(op, delay)
	}
}

// takeover has another process go on, which knows only the journal.
func (w *wishes) takeover() { w.deaths++; w.birth() }

// hold holds a policy, against rotations alone or against all.
func (w *wishes) hold() {
	h := journal.Hold{Reason: "a while", By: "tester", At: w.clock, Scope: rapid.SampledFrom([]journal.Scope{journal.HoldAll, journal.HoldRotations}).Draw(w.r, "scope")}
	_ = w.journal.SetHold(w.t.Context(), w.clock, w.policy(), h, journal.Event{At: w.clock, Kind: journal.HoldSet}) // there may be no such policy
}

func (w *wishes) release() {
	_ = w.journal.SetHold(w.t.Context(), w.clock, w.policy(), journal.Hold{}, journal.Event{At: w.clock, Kind: journal.HoldReleased})
}

// end ends all faults and holds, answers what people are asked, and checks every order.
func (w *wishes) end() {
	w.trap = nil
	w.sim.ClearFaults()
	for _, s := range w.stores {
		s.OnCall(func(memstore.Call) error { w.live(); return nil })
	}
	for round := range 6 {
		if round > 1 && w.isIdle() && !slices.ContainsFunc(w.known(), func(p string) bool { return w.record(p).Policy.Reason != "" }) {
			break
		}
		for _, p := range w.known() {
			_ = w.journal.SetHold(w.t.Context(), w.clock, p, journal.Hold{}, journal.Event{At: w.clock, Kind: journal.HoldReleased})
			r := w.record(p)
			if r.Policy.Leaving() && r.Policy.Reason == reason.RetireOverdue || r.Policy.Reason == reason.WaitIdle {
				w.asked = append(w.asked, wish{Order: journal.Order{ID: w.order(journal.Order{Policy: p, Kind: journal.OrderDecommission, AcceptOutage: true, Why: "now"}), Policy: p, Kind: journal.OrderDecommission, At: w.clock}})
			}
			if w.specs[p] != nil && (r.Policy.Reason == reason.DriftFound || r.Policy.Reason == reason.TargetMissing || r.Policy.Reason == reason.NoOldValue || r.Policy.Reason == reason.OldKeyBad) {
				if r.Rotation != nil && r.Rotation.Trigger == journal.ByRollback {
					w.order(journal.Order{Policy: p, Kind: journal.OrderRotate, Trigger: journal.ByHand, Supersede: true})
				}
				for _, pt := range w.specs[p].Targets {
					w.order(journal.Order{Policy: p, Kind: journal.OrderResolve, Decision: journal.Overwrite, Target: journal.TargetID{Store: pt.Store, Path: pt.Path, Field: pt.Field}})
				}
			}
		}
		w.excuse()
		w.run(15 * time.Minute)
		w.runUntil(60*time.Hour, w.isIdle)
	}
	for i, o := range w.asked {
		if why := w.unkept(i, o); why != "" {
			w.violated("order %d, %s of %s at %s: %s", o.ID, o.Kind, o.Policy, o.At.Format("01-02 15:04:05"), why)
		}
	}
	for _, p := range w.known() {
		if r := w.record(p); len(r.Orders) > 0 {
			w.violated("%s has orders that nobody answered: %v", p, r.Orders)
		}
	}
}

// unkept says what is wrong with how an order ended; "" when it was achieved, refused or taken back.
func (w *wishes) unkept(i int, o wish) string {
	done, err := w.journal.OrderByID(w.t.Context(), o.ID)
	if err != nil {
		return err.Error()
	}
	r := w.record(o.Policy)
	p := r.Policy
	switch {
	case done.DoneAt.IsZero():
		return "it was never answered"
	case done.Refused != "":
		return "" // with a reason
	case o.Kind == journal.OrderRevoke:
		if w.accepts(o.key) && !w.later(i, o.Policy, func(l journal.Order) bool { return l.Kind == journal.OrderRollback && l.FalseAlarm }) {
			return "the key works"
		}
	case o.Kind == journal.OrderDecommission:
		back := w.later(i, o.Policy, func(l journal.Order) bool { return l.Kind == journal.OrderAbort })
		if !back && p.RemovedAt.IsZero() && (!p.Leaving() || p.DecommissionedAt.IsZero()) {
			return fmt.Sprintf("it is forgotten, or its keys are not gone: %s %s; %v", p.Reason, p.Error, r.Keys)
		}
		if !back && len(r.Keys) > 0 && p.Leaving() {
			return fmt.Sprintf("keys are left: %s %s; %v", p.Reason, p.Error, r.Keys)
		}
	case o.Kind == journal.OrderRotate:
		if !w.rotatedAfter(o) && p.RemovedAt.IsZero() && !w.later(i, o.Policy, func(l journal.Order) bool {
			return l.Kind == journal.OrderAbort || l.Kind == journal.OrderRollback || l.Kind == journal.OrderDecommission
		}) && !w.wasRemoved(o) && o.Trigger != journal.ByCompromise {
			return fmt.Sprintf("no key that was made since is live: wanted %v, %s %s", !p.WantedAt.IsZero(), p.Reason, p.Error)
		}
	case o.Kind == journal.OrderRollback:
		back := func(rot journal.Rotation) bool {
			return rot.Trigger == journal.ByRollback && !rot.LiveAt.IsZero() && !rot.LiveAt.Before(o.At)
		}
		if !slices.ContainsFunc(w.history(o.Policy), back) && p.RemovedAt.IsZero() && !w.wasRemoved(o) && r.Rotation == nil {
			gave := func(rot journal.Rotation) bool {
				return rot.Trigger == journal.ByRollback && rot.Error != "" && !rot.EndedAt.Before(o.At)
			}
			if !slices.ContainsFunc(w.history(o.Policy), gave) {
				return "it never ended: " + p.Error
			}
		}
	}
	for _, k := range r.Keys {
		if k.Compromised() && p.RemovedAt.IsZero() && k.ID != "" && w.accepts(k.ID) {
			return fmt.Sprintf("key %s was reported compromised at %s and works: %s %s", k.ID, k.CompromisedAt.Format("01-02 15:04:05"), k.Reason, k.Error)
		}
	}
	return ""
}

// later reports whether an order of that kind was given after the ith one, and carried out.
func (w *wishes) later(i int, policy string, is func(journal.Order) bool) bool {
	return slices.ContainsFunc(w.asked[i+1:], func(o wish) bool {
		done, err := w.journal.OrderByID(w.t.Context(), o.ID)
		return err == nil && o.Policy == policy && is(o.Order) && done.Refused == ""
	})
}

func (w *wishes) history(policy string) []journal.Rotation {
	all, err := w.journal.Rotations(w.t.Context(), policy, 1000)
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// rotatedAfter reports whether a new key became live after an order.
func (w *wishes) rotatedAfter(o wish) bool {
	return slices.ContainsFunc(w.history(o.Policy), func(rot journal.Rotation) bool {
		return !rot.Existing && !rot.LiveAt.IsZero() && !rot.LiveAt.Before(o.At)
	})
}

// wasRemoved reports whether the policy was out of its file since an order.
func (w *wishes) wasRemoved(o wish) bool {
	events, err := w.journal.Events(w.t.Context(), 0, 10_000)
	if err != nil {
		w.t.Fatal(err)
	}
	return slices.ContainsFunc(events, func(e journal.Event) bool {
		return e.Kind == journal.PolicyRemoved && !e.At.Before(o.At) && strings.Contains(e.Data["policies"], o.Policy)
	})
}
