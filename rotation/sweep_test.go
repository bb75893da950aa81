package rotation_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"rotator/rotation"
	"rotator/rotation/journal"
	"rotator/stores"
	"rotator/xai/xaisim"
)

// A scenario is a life of one policy: before is set up without faults, then act runs with one fault somewhere.
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
				rotate(b)
				b.runUntil(5*time.Hour, func() bool {
					r := b.record("chat").Rotation
					return r != nil && r.State == s
				})
			}
		}
		order := func(k journal.OrderKind) func(*bench) {
			return func(b *bench) { b.order(journal.Order{Policy: "chat", Kind: k}); b.rest() }
		}
		unhold := func(b *bench) {
			_ = b.journal.SetHold(b.t.Context(), b.clock, "chat", journal.Hold{}, journal.Event{At: b.clock, Kind: journal.HoldReleased})
		}
		out = append(out,
			scenario{"first rotation, " + n.name, func(*bench) {}, func(b *bench) {
				b.load(policyDoc("chat", quick, n.targets...))
				b.rest()
			}, inUse},
			scenario{"ordinary rotation, " + n.name, live, func(b *bench) { rotate(b); b.rest() }, inUse},
			scenario{"adoption, " + n.name, func(b *bench) {
				_, v := b.sim.AddKey(teamID, "made by hand", "api-key:model:*", "api-key:endpoint:*")
				b.stores["a"].Set("chat", `{"api_key":"`+v.Reveal()+`","n":1}`)
				if len(n.targets) > 1 {
					b.stores["b"].Set("chat", v.Reveal())
				}
				b.load(policyDoc("chat", "adopt: true"+quick, n.targets...))
			}, func(b *bench) { rotate(b); b.rest() }, inUse},
			scenario{"abort, " + n.name, midway(journal.Staged), func(b *bench) {
				order(journal.OrderAbort)(b)
			}, nil},
			scenario{"rollback from live, " + n.name, midway(journal.Live), order(journal.OrderRollback), inUse},
			scenario{"rollback from promoting, " + n.name, midway(journal.Promoting), order(journal.OrderRollback), inUse},
			scenario{"rollback from retiring, " + n.name, midway(journal.Retiring), order(journal.OrderRollback), inUse},
			scenario{"revive, " + n.name, midway(journal.Retiring), func(b *bench) {
				order(journal.OrderRevive)(b)
				unhold(b)
				b.rest()
			}, inUse},
			scenario{"compromised, " + n.name, live, func(b *bench) {
				b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByCompromise, Why: "leaked"})
				b.rest()
			}, inUse},
			scenario{"superseded, " + n.name, midway(journal.Live), func(b *bench) {
				b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand, Supersede: true})
				b.rest()
			}, inUse},
			scenario{"target added, " + n.name, live, func(b *bench) {
				b.load(policyDoc("chat", quick, append([]string{`{store: b, path: added, field: k}`}, n.targets...)...))
				b.rest()
			}, inUse},
			scenario{"edited before the promote, " + n.name, midway(journal.Staged), func(b *bench) {
				b.load(policyDoc("chat", quick, append([]string{`{store: b, path: added}`}, n.targets...)...))
				b.rest()
			}, inUse},
		)
	}
	out = append(out, scenario{"target removed", func(b *bench) {
		b.load(policyDoc("chat", quick, three...))
		b.run(time.Hour)
	}, func(b *bench) {
		b.load(policyDoc("chat", quick, one...))
		b.stores["b"].Set("chat", "")
		b.stores["c"].Set("other", `{}`)
		b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand})
		b.rest()
	}, inUse})
	return out
}

// rest lets everything end, with what a fault may have added: a backoff, a quarantine, another try.
func (b *bench) rest() { b.run(8 * time.Hour) }

// inUse checks that every target holds the key in use and that it works.
func inUse(b *bench) {
	r := b.record("chat")
	for _, pt := range b.specs["chat"].Targets {
		v := b.stores[pt.Store].Read(stores.Target{Path: pt.Path, Field: pt.Field})
		if b.idOf(v) != r.Policy.KeyID || !b.sim.Accepts(v) {
			b.violated("%s holds %s, the journal says %s; %s %s", pt, b.idOf(v), r.Policy.KeyID, r.Policy.Reason, r.Policy.Error)
		}
	}
}

// run lives the scenario with the fault that arm sets up once its setting stands, and checks everything at its end.
func (s scenario) run(t *testing.T, arm func(*bench)) *bench {
	b := newBench(t, xaisim.Options{})
	b.limits = rotation.Limits{Watch: time.Hour}
	b.birth()
	_, other := b.sim.AddKey(teamID, "somebody else's", "api-key:model:*")
	b.strange[b.idOf(other)] = true
	s.before(b)
	b.calls = 0
	arm(b)
	s.act(b)
	b.trap = nil
	b.sim.ClearFaults()
	b.rest()
	b.settled()
	if s.after != nil {
		s.after(b)
	}
	_ = b.journal.Close()
	return b
}

// points counts what the scenario does without a fault: the points it passes, and the calls to xAI.
func (s scenario) points(t *testing.T) (points, calls int) {
	t.Helper()
	b := s.run(t, func(b *bench) {
		before := total(b.sim.Calls())
		b.trap = func(n int) error {
			points, calls = n, total(b.sim.Calls())-before
			return nil
		}
	})
	b.report(t, "no fault")
	return points, calls
}

func total(calls map[string]int) (n int) {
	for _, c := range calls {
		n += c
	}
	return n
}

// TestEveryCrash kills the engine before and after every call of every scenario.
func TestEveryCrash(t *testing.T) {
	t.Parallel()
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			points, _ := s.points(t)
			for k := 1; k <= points; k++ {
				b := s.run(t, func(b *bench) { b.trap = dieAt(k) })
				b.report(t, fmt.Sprintf("death at point %d of %d", k, points))
			}
			t.Logf("%d cases", points)
		})
	}
}

func dieAt(k int) func(int) error {
	return func(n int) error {
		if n == k {
			panic(crash{})
		}
		return nil
	}
}

// TestEveryFault breaks every call to xAI in every way, and every call to a store and to the journal before and after
// its effect.
func TestEveryFault(t *testing.T) {
	t.Parallel()
	html := xaisim.Fault{Kind: xaisim.Status, Status: 502, Body: "<html>bad gateway</html>"}
	text := xaisim.Fault{Kind: xaisim.Status, Status: 503, Body: "upstream connect error"}
	kinds := map[string]xaisim.Fault{
		"refused connection": {When: xaisim.Before, Kind: xaisim.Reset},
		"answer lost":        {When: xaisim.After, Kind: xaisim.Reset},
		"time-out, effect":   {When: xaisim.After, Kind: xaisim.Timeout},
		"time-out, late":     {When: xaisim.Late, Kind: xaisim.Timeout, Delay: 5 * time.Minute},
		"500":                {When: xaisim.Before, Kind: xaisim.Status, Status: 500, Body: `{"code":13,"message":"internal"}`},
		"503 text":           {When: xaisim.Before, Kind: text.Kind, Status: text.Status, Body: text.Body},
		"503 text, effect":   {When: xaisim.After, Kind: text.Kind, Status: text.Status, Body: text.Body},
		"502 html, effect":   {When: xaisim.After, Kind: html.Kind, Status: html.Status, Body: html.Body},
		"half a body":        {When: xaisim.After, Kind: xaisim.HalfBody},
		"empty object":       {When: xaisim.After, Kind: xaisim.EmptyObject},
		"429":                {When: xaisim.Before, Kind: xaisim.Status, Status: 429, Body: `{"code":8,"message":"Too many requests"}`},
	}
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			points, calls := s.points(t)
			cases := 0
			for name, f := range kinds {
				for k := range calls {
					f.Skip = k
					b := s.run(t, func(b *bench) { b.sim.Inject(f) })
					b.report(t, fmt.Sprintf("%s at call %d of %d to xAI", name, k+1, calls))
					cases++
				}
			}
			for k := 1; k <= points; k++ {
				b := s.run(t, func(b *bench) {
					b.trap = func(n int) error {
						if n == k {
							return errFault
						}
						return nil
					}
				})
				b.report(t, fmt.Sprintf("fault at point %d of %d", k, points))
				cases++
			}
			t.Logf("%d cases", cases)
		})
	}
}

// report fails the test with the trace of a case that broke an invariant; one case is enough to look at.
func (b *bench) report(t *testing.T, what string) {
	t.Helper()
	if len(b.broken) == 0 {
		return
	}
	b.t = t
	b.dump()
	for _, v := range b.broken {
		t.Errorf("%s: %s", what, v)
	}
	t.FailNow()
}

var errFault = errors.New("the connection broke")
