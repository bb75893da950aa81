package rotation_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"rotator/rotation/journal"
)

func (b *bench) record(policy string) *journal.Record {
	b.t.Helper()
	r, err := b.journal.Load(b.t.Context(), policy)
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

// reach has the policy chat rotate and stops the world when the rotation is in s.
func (b *bench) reach(s journal.State) {
	b.t.Helper()
	b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand})
	b.dieIn = s
	if !b.runUntil(5*time.Hour, func() bool { return b.state() == s }) {
		b.t.Fatalf("the rotation never was %s", s)
	}
	b.dieIn = ""
}

// state is what status shows of chat: its rotation in flight, else live while an old key works, and soaking while one is off.
func (b *bench) state() journal.State { return shown(b.record("chat")) }

func shown(r *journal.Record) journal.State {
	if rot := r.Rotation; rot != nil {
		if rot.Trigger == journal.ByRollback {
			return journal.RollingBack
		}
		return rot.State
	}
	var s journal.State
	for _, k := range r.Keys {
		switch k.State {
		case journal.RetiringKey:
			return journal.Live
		case journal.DisabledKey, journal.DeletingKey:
			if !k.ExposedAt.IsZero() {
				s = journal.Soaking
			}
		}
	}
	return s
}

func (b *bench) order(o journal.Order) int64 {
	b.t.Helper()
	o.At, o.By = b.clock, "tester"
	id, err := b.journal.Place(b.t.Context(), o)
	if err != nil {
		b.t.Fatal(err)
	}
	return id
}

// last is chat's youngest rotation.
func (b *bench) last() journal.Rotation {
	b.t.Helper()
	all, err := b.journal.Rotations(b.t.Context(), "chat", 1)
	if err != nil || len(all) == 0 {
		b.t.Fatal("no rotation", err)
	}
	return all[0]
}

// oldKey is the first of the keys that chat's youngest rotation replaces.
func (b *bench) oldKey() string { return b.last().OldKeyIDs.List()[0] }

// unsettled are the keys of a policy that are on their way out, or of whose create nothing is known.
func unsettled(r *journal.Record) (keys []journal.Key) {
	for _, k := range r.Keys {
		switch k.State {
		case journal.CreatingKey, journal.RejectedKey, journal.DeletingKey, journal.PromotingKey, journal.CandidateKey:
			keys = append(keys, k)
		}
	}
	return keys
}

// known are the names of all policies in the journal, also of those that were removed.
func (b *bench) known() []string {
	b.t.Helper()
	removed, err := b.journal.Vanished(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	accepted, err := b.journal.Accepted(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	var names []string
	for _, s := range slices.Concat(accepted, removed) {
		names = append(names, s.Name)
	}
	slices.Sort(names)
	return names
}

// settled checks I2 and I3 after everything had time to end: xAI holds exactly the keys that the journal names as in
// use, and those of others as they were; nothing is staged; every target holds the key in use.
func (b *bench) settled() {
	b.t.Helper()
	want := map[string]bool{}
	for _, name := range b.known() {
		r := b.record(name)
		if r.Rotation != nil {
			b.violated("rotation %s of %s is still %s: %s %s", r.Rotation.ID, name, r.Rotation.State, r.Policy.Reason, r.Policy.Error)
		}
		for _, k := range r.Keys {
			switch {
			case k.State.Exposed() || k.State == journal.DisabledKey:
				want[k.ID] = true
			default:
				b.violated("key %s (%s) of %s is still %s: %s %s", k.ID, k.Ref, name, k.State, k.Reason, k.Error)
			}
		}
		for _, e := range r.Effects {
			if e.State == journal.EffectOpen || e.Kind == journal.EffectStage {
				b.violated("effect %s of key %s at %s is still %s", e.Kind, e.Key, e.Target, e.State)
			}
		}
	}
	for id := range b.strange {
		want[id] = true
	}
	for _, k := range b.sim.Keys(teamID) {
		if b.strange[k.ID] && k.Disabled {
			b.violated("I3: %s, someone else's, was disabled", k.ID)
		}
	}
	for _, k := range b.sim.Live(teamID) {
		if !want[k.ID] {
			b.violated("I2: xAI holds %s (%s), which the journal does not name as in use", k.ID, k.Name)
		}
		delete(want, k.ID)
	}
	for id := range want {
		if !b.exempt[id] {
			b.violated("key %s, in use or someone else's, is gone", id)
		}
	}
	for name, s := range b.stores {
		for _, l := range s.Leftovers() {
			b.violated("store %s still has staged %s", name, l)
		}
	}
}

// check fails the test when an invariant was violated.
func (b *bench) check() {
	b.t.Helper()
	if len(b.broken) > 0 {
		b.dump()
	}
	for _, v := range b.broken { // at the end, where it is looked for
		b.t.Error(v)
	}
}

func (b *bench) dump() {
	b.t.Helper()
	ev, _ := b.journal.Events(b.t.Context(), 0, 1000)
	for _, e := range ev {
		b.t.Logf("%s %s %s %v", e.At.Format("01-02 15:04:05"), e.Policy, e.Kind, e.Data)
	}
	for i, p := range b.trace {
		b.t.Logf("%3d %s", i+1, p)
	}
}

// policyDoc is a policy over the given targets.
func policyDoc(name string, extra string, targets ...string) string {
	return fmt.Sprintf(`name: %s
team: research
schedule: "@every 720h"
key: {acls: ["api-key:model:grok-4", "api-key:endpoint:chat"]}
targets: [%s]
%s`, name, strings.Join(targets, ", "), extra)
}
