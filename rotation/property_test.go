package rotation_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"rotator/rotation"
	"rotator/rotation/journal"
	"rotator/stores/memstore"
	"rotator/xai/xaisim"
)

// chaos is a random life: policies come, change and go, people give orders, everything fails now and then, and time
// jumps. The invariants hold at every point; when it ends and is left in peace, everything settles.
type chaos struct {
	*bench
	r       *rapid.T
	targets map[string]int // policy → how many of its targets it names; 0: removed
	retire  map[string]string
}

// TestChaos lives random lives. A failing one is minimized and kept by rapid; what it found has a test of its own.
func TestChaos(t *testing.T) {
	if f := flag.Lookup("rapid.seed"); f.Value.String() == "0" && os.Getenv("ROTATOR_SOAK") != "1" {
		_ = f.Value.Set("20260301") // the same lives for every change; ROTATOR_SOAK=1 and -rapid.seed live others
	}
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		b := newBench(t, xaisim.Options{
			ListLag:    rapid.SampledFrom([]time.Duration{0, 20 * time.Second}).Draw(r, "list lag"),
			DeleteLag:  rapid.SampledFrom([]time.Duration{0, time.Minute}).Draw(r, "delete lag"),
			DisableLag: rapid.SampledFrom([]time.Duration{0, time.Minute}).Draw(r, "disable lag"),
		})
		b.stranger("someone else's")
		b.limits = rotation.Limits{Watch: 30 * time.Minute}
		b.birth()
		c := &chaos{bench: b, r: r, targets: map[string]int{}, retire: map[string]string{}}
		c.edit("p1")
		acts := []func(){c.pass, c.pass, c.speak, c.speak, c.fail, c.fail, c.change, c.hold, c.jump}
		for range rapid.IntRange(2, 14).Draw(r, "acts") {
			rapid.SampledFrom(acts).Draw(r, "act")()
			if len(b.broken) > 0 {
				break
			}
		}
		c.peace()
		if len(b.broken) > 0 {
			b.dump()
			r.Fatalf("%s", strings.Join(b.broken, "\n"))
		}
	})
}

func (c *chaos) policy() string {
	return rapid.SampledFrom([]string{"p1", "p1", "p2"}).Draw(c.r, "policy")
}

// pass lets time pass.
func (c *chaos) pass() {
	c.run(rapid.SampledFrom([]time.Duration{time.Second, 2 * time.Second, time.Minute, time.Hour, 5 * time.Hour, 31 * 24 * time.Hour}).Draw(c.r, "time"))
}

// speak gives an order.
func (c *chaos) speak() {
	o := journal.Order{Policy: c.policy(), Kind: rapid.SampledFrom([]journal.OrderKind{
		journal.OrderRotate, journal.OrderRotate, journal.OrderRotate, journal.OrderAbort, journal.OrderRollback, journal.OrderRevive,
	}).Draw(c.r, "order")}
	if o.Kind == journal.OrderRotate {
		o.Trigger = rapid.SampledFrom([]journal.Trigger{journal.ByHand, journal.ByHand, journal.ByCompromise}).Draw(c.r, "trigger")
		o.Supersede = rapid.Bool().Draw(c.r, "supersede")
	}
	if slices.Contains(c.known(), o.Policy) {
		c.order(o)
	}
}

// fail breaks a call to come, or kills the engine at a point to come.
func (c *chaos) fail() {
	at := rapid.IntRange(1, 60).Draw(c.r, "at") + c.calls
	switch rapid.SampledFrom([]string{"xai", "store", "death"}).Draw(c.r, "what") {
	case "xai":
		f := wrongAnswers[rapid.SampledFrom(slices.Sorted(maps.Keys(wrongAnswers))).Draw(c.r, "answer")]
		f.Call = rapid.SampledFrom([]string{"create", "create", "list", "update", "delete", "propagation", "whoami", "chat", "validate"}).Draw(c.r, "call")
		f.Skip, f.Count = rapid.IntRange(0, 3).Draw(c.r, "skip"), rapid.IntRange(1, 9).Draw(c.r, "count")
		c.sim.Inject(f)
	case "store":
		c.trap = func(n int) error {
			if n >= at && n < at+4 {
				return errFault
			}
			return nil
		}
	case "death":
		c.trap = dieAt(at)
	}
}

// change edits a policy, removes it or brings it back.
func (c *chaos) change() { c.edit(c.policy()) }

func (c *chaos) edit(name string) {
	n := max(rapid.IntRange(c.targets[name], 3).Draw(c.r, "targets"), 1)
	if c.targets[name] > 0 && len(c.specs) > 1 && rapid.IntRange(0, 3).Draw(c.r, "remove") == 0 {
		n = 0
	}
	c.targets[name] = n
	c.retire[name] = rapid.SampledFrom([]string{quick, "retire: {overlap: 0s, soak: 0s}", "retire: {overlap: 1h, soak: 0s}", "retire: {overlap: 0s, soak: 1h}"}).Draw(c.r, "retire")
	c.write()
}

// write loads the policies as they are.
func (c *chaos) write() {
	var docs []string
	for _, p := range slices.Sorted(maps.Keys(c.targets)) {
		var targets []string
		for i, store := range []string{"a", "b", "c"}[:c.targets[p]] {
			targets = append(targets, fmt.Sprintf("{store: %s, path: %s-%d, field: key}", store, p, i))
		}
		if len(targets) > 0 {
			docs = append(docs, policyDoc(p, c.retire[p], targets...))
		}
	}
	c.load(docs...)
}

func (c *chaos) hold() {
	h := journal.Hold{Reason: "a while", By: "tester", At: c.clock, Until: c.clock.Add(2 * time.Hour)}
	_ = c.journal.SetHold(c.t.Context(), c.clock, c.policy(), h, journal.Event{At: c.clock, Kind: journal.HoldSet}) // there may be no such policy
}

// jump sets our clock wrong, and later right again.
func (c *chaos) jump() {
	by := rapid.SampledFrom([]time.Duration{-26 * time.Hour, -time.Hour, 3 * time.Hour, 50 * time.Hour}).Draw(c.r, "jump")
	c.clock, c.skew = c.clock.Add(by), c.skew-by
	c.run(10 * time.Minute)
	c.clock, c.skew = c.clock.Add(-by), c.skew+by
}

// peace ends all faults and holds, and checks that everything settles.
func (c *chaos) peace() {
	c.trap = nil
	c.sim.ClearFaults()
	for _, s := range c.stores {
		s.OnCall(func(memstore.Call) error { c.live(); return nil })
	}
	for range 4 {
		for _, p := range c.known() {
			if err := c.journal.SetHold(c.t.Context(), c.clock, p, journal.Hold{}, journal.Event{At: c.clock, Kind: journal.HoldReleased}); err != nil {
				c.t.Fatal(err)
			}
		}
		c.runUntil(60*time.Hour, c.isIdle)
		c.runUntilIdle()
	}
	c.settled()
}
