package rotation_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"rotator/internal/secret"
	"rotator/rotation"
	"rotator/rotation/journal"
	"rotator/stores"
	"rotator/stores/memstore"
	"rotator/xai/xaisim"
)

// bubble gives a test a world whose time is that of a synctest bubble.
func bubble(t *testing.T, test func(*bench)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, xaisim.Options{})
		b.real, b.clock = true, time.Now()
		test(b)
		b.check()
	})
}

// runs lets the scheduler run for d. What others did meanwhile happened before it returns.
func (b *bench) runs(d time.Duration) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), d)
	defer cancel()
	begun := time.Now()
	b.engine.boot = func() time.Duration { return time.Since(begun) } // the machine's own goes on outside of the bubble
	if err := b.engine.scheduler.Run(ctx); err != nil {
		b.t.Fatal(err)
	}
	synctest.Wait()
	b.clock = time.Now()
}

// after has someone else do something once d has passed; two of them, one after the other.
func (b *bench) after(d time.Duration, do func()) {
	time.AfterFunc(d, func() {
		b.others.Lock()
		defer b.others.Unlock()
		do()
	})
}

func TestRun(t *testing.T) {
	bubble(t, func(b *bench) {
		var docs []string
		for i := range 5 {
			doc := policyDoc(fmt.Sprint("p", i), quick, fmt.Sprintf("{store: a, path: p%d}", i), targetOf("b", i))
			docs = append(docs, strings.Replace(doc, "@every 720h", "@every 4h", 1))
		}
		b.load(docs...)
		b.runs(time.Minute)
		for name := range b.specs {
			if b.record(name).Policy.KeyID == "" {
				b.violated("%s has no key", name)
			}
		}
		b.runs(8*time.Hour - 10*time.Minute)
		b.settled()
		if n := b.count(journal.Promoted); n != 10 {
			b.violated("%d rotations, want two of each", n)
		}
	})
}

func targetOf(store string, i int) string {
	return fmt.Sprintf("{store: %s, path: p%d, field: key}", store, i)
}

// TestStopParks stops the scheduler at every point of a rotation: each time it ends by itself, and the next one goes on
// without another key.
func TestStopParks(t *testing.T) {
	t.Parallel()
	rotate := func(b *bench) {
		b.load(policyDoc("chat", quick, targetA, targetB))
		b.runs(time.Minute)
		b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand})
		b.calls = 0
	}
	points := 0
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, xaisim.Options{})
		b.real = true
		rotate(b)
		b.trap = func(n int) error { points = n; return nil }
		b.runs(10 * time.Second)
	})
	for k := 1; k <= points; k += 3 {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, xaisim.Options{})
			b.real = true
			rotate(b)
			ctx, cancel := context.WithCancel(t.Context())
			b.trap = func(n int) error {
				if n == k {
					cancel()
				}
				return nil
			}
			if err := b.engine.scheduler.Run(ctx); err != nil {
				t.Error(err)
			}
			cancel()
			if n := b.record("chat").Policy.Failures; n > 0 {
				b.violated("stopping counts as a failure: %s", b.record("chat").Policy.Error)
			}
			b.birth()
			b.runs(10 * time.Second)
			b.real = false
			b.runUntilIdle()
			b.checkEnded()
			if n := b.sim.Calls()["create"]; n != 2 {
				b.violated("%d keys were made", n)
			}
			b.report(t, fmt.Sprintf("stopped at point %d of %d", k, points))
		})
	}
	t.Logf("%d points", points)
}

// A step that panics costs its policy a pause, and no other policy anything.
func TestPanicCostsOnePolicyAPause(t *testing.T) {
	bubble(t, func(b *bench) {
		var tries atomic.Int64
		b.wrapped["c"] = coat{Store: b.stores["c"], stage: func(context.Context, stores.Target, string, secret.Text) error {
			tries.Add(1)
			panic("a defect")
		}}
		b.load(policyDoc("good", quick, targetA), policyDoc("bad", quick, targetC))
		b.runs(10*time.Minute + 30*time.Second)
		if b.record("good").Policy.KeyID == "" {
			b.violated("a healthy policy suffered")
		}
		if n := tries.Load(); n < 8 || n > 12 {
			b.violated("%d tries in ten minutes", n)
		}
		delete(b.wrapped, "c")
		b.runs(time.Hour)
		b.settled()
	})
}

// deaf is a journal that does not answer for a while.
type deaf struct {
	journal.Journal
	deaf            atomic.Bool
	claims, glances atomic.Int64
}

func (d *deaf) Claim(ctx context.Context, owner string, now time.Time, limit int, only ...string) ([]journal.Claim, error) {
	d.claims.Add(1)
	if d.deaf.Load() {
		return nil, errFault
	}
	return d.Journal.Claim(ctx, owner, now, limit, only...)
}

func (d *deaf) Next(ctx context.Context) (due, rest time.Time, err error) {
	d.glances.Add(1)
	if d.deaf.Load() {
		return time.Time{}, time.Time{}, errFault
	}
	return d.Journal.Next(ctx)
}

func TestJournalThatDoesNotAnswer(t *testing.T) {
	bubble(t, func(b *bench) {
		d := &deaf{Journal: b.journal}
		b.engine = newEngine("deaf", rotation.Options{Journal: d, Environment: b})
		b.load(policyDoc("chat", quick, targetA))
		d.deaf.Store(true)
		look := b.engine.scheduler.LastLook()
		b.runs(10 * time.Minute)
		if n := d.claims.Load() + d.glances.Load(); b.sim.Calls()["create"] > 0 || n > 700 || n < 100 {
			b.violated("%d looks, %d creates without a journal", n, b.sim.Calls()["create"])
		}
		if b.engine.scheduler.LastLook() != look {
			b.violated("a look that failed counts as one")
		}
		d.deaf.Store(false)
		b.runs(10 * time.Second)
		b.checkEnded()
		// Idle, it asks one cheap question a second.
		claims, glances := d.claims.Load(), d.glances.Load()
		b.runs(5 * time.Minute)
		if c, g := d.claims.Load()-claims, d.glances.Load()-glances; c > 5 || g > 310 {
			b.violated("%d claims and %d glances in five idle minutes", c, g)
		}
	})
}

// full is a journal on a full disk: it answers, and what claims something fails.
type full struct {
	journal.Journal
	full atomic.Bool
}

func (f *full) ClaimResting(ctx context.Context, owner string, now time.Time, limit int, only ...string) ([]journal.Claim, error) {
	if f.full.Load() {
		return nil, errFault
	}
	return f.Journal.ClaimResting(ctx, owner, now, limit, only...)
}

// A round that cannot begin blocks readiness, although nothing else is due.
func TestRoundThatCannotBeginIsTold(t *testing.T) {
	bubble(t, func(b *bench) {
		f := &full{Journal: b.journal}
		b.engine = newEngine("full", rotation.Options{Journal: f, Environment: b})
		b.load(policyDoc("chat", quick, targetA))
		b.runs(30 * time.Minute)
		b.checkEnded()
		for _, is := range []bool{true, false} {
			f.full.Store(is)
			b.runs(20 * time.Minute)
			if _, err := b.engine.scheduler.LastTry(); (err != nil) != is {
				b.violated("full: %t, and the last look ended with %v", is, err)
			}
		}
	})
}

// A claim that cannot be given back, on a full disk say, blocks readiness although nothing else is due: until it is
// written nothing acts for its policy.
func TestTurnThatCannotEndIsTold(t *testing.T) {
	bubble(t, func(b *bench) {
		l := newLedger(b.journal)
		failing, releases := true, 0
		l.refuse = func(method string, _ []string) error {
			if method == "Release" {
				if _, err := b.engine.scheduler.LastTry(); releases > 0 && err == nil {
					b.violated("after %d tries to give a claim back nothing is told", releases)
				}
				releases++
				failing = releases < 10
			}
			if failing && (method == "Release" || method == "Commit") {
				return errFault
			}
			return nil
		}
		b.engine = newEngine("full", rotation.Options{Journal: l, Environment: b})
		b.load(policyDoc("chat", quick, targetA))
		b.runs(time.Hour)
		if _, err := b.engine.scheduler.LastTry(); releases < 10 || err != nil {
			b.violated("it is over, after %d tries, and told is %v", releases, err)
		}
		b.settled()
	})
}

// A journal that fails in the middle of a turn costs its policy a few seconds.
func TestJournalThatFailsATurn(t *testing.T) {
	bubble(t, func(b *bench) {
		l := newLedger(b.journal)
		failing := true
		l.refuse = func(method string, _ []string) error {
			if method == "Load" && failing {
				failing = false
				return errFault
			}
			return nil
		}
		b.engine = newEngine("unlucky", rotation.Options{Journal: l, Environment: b})
		b.load(policyDoc("chat", quick, targetA))
		b.runs(4 * time.Second)
		if b.sim.Calls()["create"] > 0 {
			b.violated("it was tried again at once")
		}
		b.runs(4 * time.Second)
		if b.sim.Calls()["create"] == 0 {
			b.violated("it was not tried again")
		}
		b.runs(time.Hour)
		b.settled()
	})
}

// A store that never answers takes no place from policies that do not need it.
func TestHangingStoreStarvesNobody(t *testing.T) {
	bubble(t, func(b *bench) {
		b.limits = rotation.Limits{Concurrency: 4}
		b.birth()
		b.wrapped["b"] = hanging{b.stores["b"]}
		var docs []string
		for i := range 60 {
			docs = append(docs, policyDoc(fmt.Sprintf("a-stuck-%02d", i), quick, targetOf("b", i)))
		}
		for i := range 10 {
			docs = append(docs, policyDoc(fmt.Sprint("well-", i), quick, targetOf("a", i)))
		}
		b.load(docs...)
		b.runs(20 * time.Second)
		for i := range 10 {
			if p := b.record(fmt.Sprint("well-", i)).Policy; p.KeyID == "" {
				b.violated("%s has no key: %s", p.Name, p.Reason)
			}
		}
		delete(b.wrapped, "b")
		b.engine.Reload(b)
		b.runs(30 * time.Minute)
		b.settled()
	})
}

// hanging is a store whose reads end with the caller's patience.
type hanging struct{ *memstore.Store }

func (hanging) Current(ctx context.Context, _ stores.Target) (secret.Text, error) {
	<-ctx.Done()
	return secret.Text{}, ctx.Err()
}

// TestStopLeavesOrdersOpen: what people asked for and could not be carried out because the process was told to stop is
// carried out by the next.
func TestStopLeavesOrdersOpen(t *testing.T) {
	for _, kind := range []journal.OrderKind{journal.OrderRollback, journal.OrderResolve} {
		t.Run(string(kind), func(t *testing.T) {
			bubble(t, func(b *bench) {
				b.load(policyDoc("chat", quick, targetA))
				b.runs(time.Minute)
				b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand})
				b.runs(time.Minute)
				b.wrapped["a"] = hanging{b.stores["a"]} // both orders read it
				order := b.order(journal.Order{Policy: "chat", Kind: kind, Target: atA, Decision: journal.Overwrite})
				b.runs(5 * time.Second)
				if o, err := b.journal.OrderByID(b.t.Context(), order); err != nil || !o.DoneAt.IsZero() {
					b.violated("%v: the order was closed: %q", err, o.Refused)
				}
				delete(b.wrapped, "a")
				b.runs(10 * time.Minute)
				if o, err := b.journal.OrderByID(b.t.Context(), order); err != nil || o.DoneAt.IsZero() || o.Refused != "" {
					b.violated("%v: the order was not carried out: %q", err, o.Refused)
				}
			})
		})
	}
}
