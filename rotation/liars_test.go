package rotation_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"rotator/internal/secret"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/stores"
	"rotator/stores/memstore"
	"rotator/xai/xaisim"
)

// liar is a life in which someone answers wrongly, or a human meddles.
type liar struct {
	name string
	sim  xaisim.Options
	play func(*bench)
}

// play lives each with a key of someone else's beside, which must never be touched.
func play(t *testing.T, liars []liar) {
	t.Helper()
	t.Parallel()
	for _, l := range liars {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, l.sim)
			b.stranger("someone else's")
			l.play(b)
			b.check()
		})
	}
}

// stranger adds a key that is not ours.
func (b *bench) stranger(name string) string {
	id, _ := b.sim.AddKey(teamID, name, "api-key:model:*", "api-key:endpoint:*")
	b.strange[id] = true
	return id
}

// createFirstKey has the policy chat make its first key.
func (b *bench) createFirstKey(extra string, targets ...string) {
	b.t.Helper()
	b.load(policyDoc("chat", extra, targets...))
	b.run(time.Hour)
	if b.record("chat").Policy.KeyID == "" {
		b.t.Fatal("no key is live")
	}
}

// rotates asks for a rotation and lets it end.
func (b *bench) rotates() {
	b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand})
	b.runUntilIdle()
}

// waits checks that a policy waits for a reason with a message that says what to do, and for a human or not.
func (b *bench) waits(policy string, r journal.Reason, human bool) {
	b.t.Helper()
	p := b.record(policy).Policy
	if p.Reason != r || reason.NeedsHuman(r) != human || human && p.Error == "" {
		b.t.Errorf("%s waits for %q (%s), want %q", policy, p.Reason, p.Error, r)
	}
}

// checkEnded checks that all has ended well: what is in use works everywhere, and nothing is left behind.
func (b *bench) checkEnded() {
	b.t.Helper()
	b.settled()
	inUse(b)
}

// deletions counts what was destroyed at xAI.
func (b *bench) deletions() (n int) {
	for _, k := range b.sim.Keys(teamID) {
		if k.Deleted || k.Disabled {
			n++
		}
	}
	return n
}

func (b *bench) count(k journal.Kind) (n int) {
	ev, err := b.journal.Events(b.t.Context(), 0, 1000)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, e := range ev {
		if e.Kind == k {
			n++
		}
	}
	return n
}

func (b *bench) resolve(target journal.TargetID, d journal.Decision) {
	b.order(journal.Order{Policy: "chat", Kind: journal.OrderResolve, Target: target, Decision: d})
	b.run(time.Minute)
}

// human lets a human break a key: consumers of it are his to answer for.
func (b *bench) human(id string, do func(string) bool) {
	b.exempt[id] = true
	if !do(id) {
		b.t.Fatalf("there is no key %s", id)
	}
}

// successor is the key of the rotation in flight, else the one that it made live.
func (b *bench) successor() string {
	r := b.record("chat")
	if r.Rotation != nil {
		return r.Rotation.KeyID
	}
	return r.Policy.KeyID
}

func (b *bench) key() string { return b.record("chat").Policy.KeyID }

var (
	atA = journal.TargetID{Store: "a", Path: "chat", Field: "api_key"}
	atB = journal.TargetID{Store: "b", Path: "chat"}
)

// coat is a store that lies: each function that is set stands in for the store's own.
type coat struct {
	*memstore.Store
	promote func(context.Context, stores.Target, string, secret.Text, secret.Fingerprint) error
	stage   func(context.Context, stores.Target, string, secret.Text) error
}

func (c coat) Promote(ctx context.Context, at stores.Target, attempt string, v secret.Text, want secret.Fingerprint) error {
	if c.promote != nil {
		return c.promote(ctx, at, attempt, v, want)
	}
	return c.Store.Promote(ctx, at, attempt, v, want)
}

func (c coat) Stage(ctx context.Context, at stores.Target, attempt string, v secret.Text) error {
	if c.stage != nil {
		return c.stage(ctx, at, attempt, v)
	}
	return c.Store.Stage(ctx, at, attempt, v)
}

// lateCluster lets the second of two clusters know each key ten seconds later than the first.
func lateCluster() func(*rand.Rand) time.Duration {
	late := true
	return func(*rand.Rand) time.Duration {
		if late = !late; late {
			return 10 * time.Second
		}
		return 0
	}
}

func TestXAILies(t *testing.T) {
	play(t, []liar{
		{"another key's id at whoami", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand})
			b.sim.Inject(xaisim.LieOtherKey(-1, b.stranger("a third")))
			b.run(time.Hour)
			b.waits("chat", reason.WrongIdentity, true)
			b.sim.ClearFaults()
			b.runUntilIdle()
			b.checkEnded()
		}},
		{"a propagation map that flips back", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			b.reach(journal.Verified)
			b.sim.Inject(xaisim.LieNotPropagated(-1))
			b.runUntilIdle()
			b.checkEnded()
		}},
		{"a propagation map that does not know all clusters yet", xaisim.Options{Clusters: []string{"early.api.x.ai", "late.api.x.ai"}, Propagation: lateCluster()}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			b.sim.Inject(xaisim.Lie("propagation", 1, func(o map[string]any) { delete(o["icPropagation"].(map[string]any), "late.api.x.ai") }))
			b.rotates()
			b.checkEnded()
		}},
		{"propagation stuck until a human's word", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			b.sim.Inject(xaisim.LieNotPropagated(-1))
			b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand})
			b.run(2 * time.Hour)
			b.waits("chat", reason.PropagationStuck, true)
			if n := b.sim.Calls()["propagation"]; n > 1000 {
				b.violated("%d questions about propagation", n)
			}
			b.order(journal.Order{Policy: "chat", Kind: journal.OrderPropagation})
			b.runUntilIdle()
			b.checkEnded()
		}},
		{"a cursor that repeats while a create is in doubt", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			b.sim.Inject(xaisim.LieSameCursor(-1), xaisim.Fault{Call: "create", When: xaisim.After, Kind: xaisim.Reset})
			b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand})
			b.run(time.Hour)
			if len(unsettled(b.record("chat"))) == 0 {
				b.violated("an attempt was settled by half a list")
			}
			b.sim.ClearFaults()
			b.runUntilIdle()
			b.checkEnded()
		}},
		{"a key object without id", xaisim.Options{}, func(b *bench) {
			b.sim.Inject(xaisim.LieWithout("create", 1, "apiKeyId"))
			b.createFirstKey(quick, targetA)
			b.runUntilIdle()
			b.checkEnded()
		}},
		{"a key object without its secret", xaisim.Options{}, func(b *bench) {
			b.sim.Inject(xaisim.LieWithout("create", 1, "apiKey"))
			b.createFirstKey(quick, targetA)
			b.runUntilIdle()
			b.checkEnded()
		}},
		{"not found as a page, and for another team", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			b.reach(journal.Soaking)
			old := b.oldKey()
			b.sim.Inject(xaisim.Fault{Call: "delete", Count: -1, When: xaisim.Before, Kind: xaisim.Status, Status: 404, Body: "<html>not found</html>"})
			b.run(3 * time.Hour)
			b.waits("chat", reason.XAIRefused, true)
			b.sim.ClearFaults()
			b.sim.Inject(xaisim.Fault{Call: "delete", Count: -1, When: xaisim.Before, Kind: xaisim.Status, Status: 404, Body: `{"code":5,"message":"Cannot find API key","details":[]}`})
			b.run(3 * time.Hour)
			if k, err := b.journal.Key(b.t.Context(), old); err != nil || !k.DeletedAt.IsZero() {
				b.violated("a key that xAI lists counts as deleted: %v", err)
			}
			b.sim.ClearFaults()
			b.runUntilIdle()
			b.checkEnded()
		}},
		{"yes to a delete, and the key stays", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			b.exempt[b.key()] = true
			b.strange[b.key()] = true // never touched again: it counts as deleted
			b.sim.Inject(xaisim.Fault{Call: "delete", When: xaisim.Before, Kind: xaisim.EmptyObject})
			b.reach(journal.Soaking)
			b.sim.EnableKey(b.oldKey())
			b.runUntilIdle()
			b.clock = b.clock.Add(time.Hour)
			if err := b.engine.scheduler.RunOnce(b.t.Context()); err != nil {
				b.t.Fatal(err)
			}
			if n := b.count(journal.OrphansSeen); n != 1 {
				b.violated("a key that outlived its delete was told %d times", n)
			}
			b.checkEnded()
		}},
		{"a name of ours on a key we never made", xaisim.Options{}, func(b *bench) {
			b.stranger("rotator-chat-0198c5f2-0000-7000-8000-000000000000")
			b.createFirstKey(quick, targetA)
			for range 2 {
				b.clock = b.clock.Add(time.Hour)
				if err := b.engine.scheduler.RunOnce(b.t.Context()); err != nil {
					b.t.Fatal(err)
				}
			}
			if n := b.count(journal.OrphansSeen); n != 1 {
				b.violated("the orphan was told %d times", n)
			}
			b.rotates()
			b.checkEnded()
		}},
		{"two keys of an attempt's name", xaisim.Options{}, func(b *bench) {
			b.sim.Inject(xaisim.Fault{Call: "create", When: xaisim.After, Kind: xaisim.Reset}, xaisim.Fault{Call: "list", Count: 3})
			b.load(policyDoc("chat", quick, targetA))
			b.runUntil(time.Hour, func() bool { return b.count(journal.KeyInDoubt) > 0 })
			twin := b.stranger(unsettled(b.record("chat"))[0].Name)
			b.run(time.Hour)
			b.waits("chat", reason.AmbiguousName, true)
			if b.deletions() > 0 {
				b.violated("one of two keys of the same name was destroyed")
			}
			b.sim.DeleteKey(twin) // the human says whose it was
			b.exempt[twin] = true
			b.runUntilIdle()
			b.checkEnded()
		}},
		{"keys cannot be disabled: refused", xaisim.Options{}, func(b *bench) {
			b.sim.Inject(xaisim.Fault{Call: "update", Count: -1, Kind: xaisim.Status, Status: 400, Body: `{"code":3,"message":"Invalid field mask","details":[]}`})
			b.createFirstKey(quick, targetA)
			b.rotates()
			b.checkEnded()
			if b.count(journal.KeyNotDisabled) != 1 {
				b.violated("nobody was told")
			}
		}},
		{"keys cannot be disabled, and the old one is wanted back", xaisim.Options{}, func(b *bench) {
			b.sim.Inject(xaisim.Fault{Call: "update", Count: -1, Kind: xaisim.Status, Status: 400, Body: `{"code":3,"message":"Invalid field mask","details":[]}`})
			b.createFirstKey(quick, targetA)
			old := b.key()
			b.reach(journal.Live)
			if !b.runUntil(5*time.Hour, func() bool { return b.count(journal.KeyNotDisabled) > 0 }) {
				b.violated("the refusal is not told")
			}
			b.order(journal.Order{Policy: "chat", Kind: journal.OrderRevive})
			b.run(time.Minute)
			if b.state() != journal.Live {
				b.violated("the old key was not revived: the rotation is %s", b.state())
			}
			b.order(journal.Order{Policy: "chat", Kind: journal.OrderRollback})
			b.run(30 * time.Minute)
			if b.key() != old {
				b.violated("the old key was not given back: %s", b.record("chat").Policy.Error)
			}
			inUse(b)
		}},
		{"a key is off, and neither said so nor turned on", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			b.reach(journal.Live)
			b.sim.Inject(xaisim.Fault{Call: "update", Count: 1, When: xaisim.After, Kind: xaisim.Status, Status: 400, Body: `{"code":3,"message":"Invalid field mask","details":[]}`})
			b.runUntil(5*time.Hour, func() bool { return b.state() == journal.Soaking })
			b.sim.Inject(xaisim.Fault{Call: "update", Count: -1, Kind: xaisim.Status, Status: 400, Body: `{"code":3,"message":"Invalid field mask","details":[]}`})
			b.order(journal.Order{Policy: "chat", Kind: journal.OrderRevive})
			b.run(time.Minute)
			if n := b.count(journal.KeyEnabled); n > 0 || b.state() != journal.Soaking {
				b.violated("a key that is off is said to be revived: the rotation is %s", b.state())
			}
			b.sim.ClearFaults()
			b.run(time.Hour)
			if b.count(journal.KeyEnabled) != 1 || b.state() != journal.Live {
				b.violated("the old key was not revived: the rotation is %s", b.state())
			}
		}},
		{"keys cannot be disabled: ignored", xaisim.Options{}, func(b *bench) {
			b.sim.Inject(xaisim.Fault{Call: "update", Count: -1, When: xaisim.After, Kind: xaisim.Rewrite, Rewrite: func(o map[string]any) { o["disabled"] = false }})
			b.createFirstKey(quick, targetA)
			b.rotates()
			b.checkEnded()
		}},
		{"the clocks differ", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			b.reach(journal.Live)
			b.skew = 6 * time.Minute
			b.run(4 * time.Hour)
			b.waits("chat", reason.ClockSkew, true)
			if b.deletions() > 0 {
				b.violated("a key was destroyed by a wrong clock")
			}
			b.skew = 0
			b.runUntilIdle()
			b.checkEnded()
		}},
		{"the management key is revoked halfway", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			b.reach(journal.Staged)
			b.sim.RevokeManagementKey(b.token)
			b.run(24 * time.Hour)
			b.waits("chat", reason.ManagementKey, true)
			b.token = b.sim.NewManagementKey(teamID)
			b.runUntilIdle()
			b.checkEnded()
		}},
		{"the management key is of another team", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			b.reach(journal.Live)
			right := b.token
			b.token = b.sim.NewManagementKey("team-2")
			b.run(24 * time.Hour)
			b.waits("chat", reason.ManagementKey, true)
			if b.deletions() > 0 {
				b.violated("a key was destroyed with another team's management key")
			}
			b.token = right
			b.runUntilIdle()
			b.checkEnded()
		}},
	})
}
