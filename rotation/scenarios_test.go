package rotation_test

import (
	"time"

	"rotator/rotation/journal"
	"rotator/stores"
)

// scenario is a life of one policy: before is set up without faults, then act runs with one fault somewhere.
type scenario struct {
	name   string
	before func(*bench)
	act    func(*bench)
	after  func(*bench) // what must be true besides the invariants
}

const quick = `
retire: {overlap: 2h, soak: 1h}`

var (
	one   = []string{targetA}
	three = []string{targetA, targetB, targetC}
)

func scenarios() []scenario {
	var out []scenario
	for _, n := range []struct {
		name    string
		targets []string
	}{{"one target", one}, {"three targets", three}} {
		live := func(b *bench) {
			b.load(policyDoc("chat", quick, n.targets...))
			b.run(time.Hour)
		}
		rotate := func(b *bench) {
			b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand})
		}
		midway := func(s journal.State) func(*bench) {
			return func(b *bench) {
				live(b)
				b.reach(s)
			}
		}
		order := func(k journal.OrderKind) func(*bench) {
			return func(b *bench) { b.order(journal.Order{Policy: "chat", Kind: k}); b.runUntilIdle() }
		}
		unhold := func(b *bench) {
			_ = b.journal.SetHold(b.t.Context(), b.clock, "chat", journal.Hold{}, journal.Event{At: b.clock, Kind: journal.HoldReleased})
		}
		out = append(out,
			scenario{"first rotation, " + n.name, func(*bench) {}, func(b *bench) {
				b.load(policyDoc("chat", quick, n.targets...))
				b.runUntilIdle()
			}, inUse},
			scenario{"ordinary rotation, " + n.name, live, func(b *bench) { rotate(b); b.runUntilIdle() }, inUse},
			scenario{"adoption, " + n.name, func(b *bench) {
				_, v := b.sim.AddKey(teamID, "made by hand", "api-key:model:grok-4", "api-key:endpoint:chat")
				b.stores["a"].Set("chat", `{"api_key":"`+v.Reveal()+`","n":1}`)
				if len(n.targets) > 1 {
					b.stores["b"].Set("chat", v.Reveal())
				}
				b.load(policyDoc("chat", "adopt: true"+quick, n.targets...))
			}, func(b *bench) { rotate(b); b.runUntilIdle() }, inUse},
			scenario{"abort, " + n.name, midway(journal.Staged), func(b *bench) {
				order(journal.OrderAbort)(b)
			}, nil},
			scenario{"rollback from live, " + n.name, midway(journal.Live), order(journal.OrderRollback), inUse},
			scenario{"rollback from promoting, " + n.name, midway(journal.Promoting), order(journal.OrderRollback), inUse},
			scenario{"rollback from retiring, " + n.name, midway(journal.Soaking), order(journal.OrderRollback), inUse},
			scenario{"revive, " + n.name, midway(journal.Soaking), func(b *bench) {
				order(journal.OrderRevive)(b)
				unhold(b)
				b.runUntilIdle()
			}, inUse},
			scenario{"compromised, " + n.name, live, func(b *bench) {
				b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByCompromise, Why: "leaked"})
				b.runUntilIdle()
			}, inUse},
			scenario{"revoked, " + n.name, live, func(b *bench) {
				b.revoke(b.key())
				b.runUntilIdle()
			}, inUse},
			scenario{"decommissioned, " + n.name, live, func(b *bench) {
				b.exempt[b.key()] = true
				b.decommission(true)
				b.runUntilIdle()
			}, func(b *bench) { b.left() }},
			scenario{"superseded, " + n.name, midway(journal.Live), func(b *bench) {
				b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand, Supersede: true})
				b.runUntilIdle()
			}, inUse},
			scenario{"journal lost, " + n.name, func(b *bench) { // with a predecessor, and a successor that is staged
				midway(journal.Live)(b)
				b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand, Supersede: true})
				b.runUntil(time.Hour, func() bool { return b.state() == journal.Verified })
				b.lose()
			}, func(b *bench) {
				b.adopt()
				b.run(b.looksTo.Sub(b.clock)) // in observe mode that was refused
				b.adopt()
				b.runUntilIdle()
			}, inUse},
			scenario{"target added, " + n.name, live, func(b *bench) {
				b.load(policyDoc("chat", quick, append([]string{`{store: b, path: added, field: k}`}, n.targets...)...))
				b.runUntilIdle()
			}, inUse},
			scenario{"edited before the promote, " + n.name, midway(journal.Staged), func(b *bench) {
				b.load(policyDoc("chat", quick, append([]string{`{store: b, path: added}`}, n.targets...)...))
				b.runUntilIdle()
			}, inUse},
			scenario{"successor bad after the promote, " + n.name, midway(journal.Live), func(b *bench) {
				id := b.record("chat").Policy.KeyID
				b.exempt[id] = true
				b.sim.DeleteKey(id)
				b.runUntilIdle()
			}, inUse},
		)
	}
	out = append(out, scenario{"rehearsal", func(b *bench) {
		b.load(policyDoc("chat", quick, one...))
		b.run(time.Hour)
	}, func(b *bench) {
		b.order(journal.Order{Policy: "chat", Kind: journal.OrderRehearse})
		b.runUntilIdle()
	}, inUse}, scenario{"target removed", func(b *bench) {
		b.load(policyDoc("chat", quick, three...))
		b.run(time.Hour)
	}, func(b *bench) {
		b.load(policyDoc("chat", quick, one...))
		b.stores["b"].Set("chat", "moved")
		b.stores["c"].Set("other", `{"key":"moved"}`)
		b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand})
		b.runUntilIdle()
	}, inUse}, scenario{"canary", func(b *bench) {
		b.load(policyDoc("chat", withCanary, three...))
		b.run(time.Hour)
	}, func(b *bench) {
		b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand})
		b.runUntilIdle()
	}, inUse}, scenario{"rollback from a canary", func(b *bench) { b.onCanary() }, func(b *bench) {
		b.order(journal.Order{Policy: "chat", Kind: journal.OrderRollback})
		b.runUntilIdle()
	}, inUse})
	return append(out, editScenarios()...)
}

// runUntilIdle lets everything end, with what a fault may have added: a backoff, a quarantine, another try. Once nothing is left
// but to watch, one watch more is taken, which meets what lands late.
func (b *bench) runUntilIdle() {
	end := b.clock.Add(12 * time.Hour)
	b.runUntil(end.Sub(b.clock), b.isIdle)
	b.run(65 * time.Minute)
	b.runUntil(end.Sub(b.clock), b.isIdle)
}

// isIdle reports that nothing is due soon, and that nothing but watches will be.
func (b *bench) isIdle() bool {
	next := b.upcoming
	if next == nil {
		due, _, err := b.journal.Next(b.t.Context())
		if err != nil {
			b.t.Fatal(err)
		}
		next = &due
	}
	if !next.IsZero() && next.Before(b.clock.Add(10*time.Minute)) {
		return false
	}
	if b.seen.restless() {
		return false
	}
	for _, name := range b.known() {
		r := b.record(name)
		if r.Rotation != nil || len(unsettled(r))+len(r.Retired)+len(r.Orders) > 0 || r.Policy.Failures > 0 ||
			r.Policy.NextRunAt.Before(r.Policy.WatchAt) && !r.Policy.NextRunAt.Equal(r.Policy.DueAt) {
			return false
		}
	}
	return true
}

// inUse checks that every target holds the key in use, and that it works and may do what its policy says.
func inUse(b *bench) {
	b.granted()
	r := b.record("chat")
	for _, pt := range b.specs["chat"].Targets {
		v := b.stores[pt.Store].Read(stores.Target{Path: pt.Path, Field: pt.Field})
		if b.idOf(v) != r.Policy.KeyID || !b.sim.Accepts(v) {
			b.violated("%s holds %s, the journal says %s; %s %s", pt, b.idOf(v), r.Policy.KeyID, r.Policy.Reason, r.Policy.Error)
		}
	}
}

// run lives the scenario from where it was kept, with the fault that arm sets up, and checks everything at its end.
func (s scenario) run(from *kept, arm func(*bench)) *bench {
	b := from.bench()
	b.calls, b.trace, b.keep = 0, nil, false
	arm(b)
	s.act(b)
	b.trap, b.keep = nil, false
	b.sim.ClearFaults()
	b.runUntilIdle()
	b.settled()
	if s.after != nil {
		s.after(b)
	}
	return b
}
