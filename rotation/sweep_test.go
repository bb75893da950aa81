package rotation_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"rotator/xai/xaisim"
)

// errFault is what a store or the journal answers when it is broken on purpose.
var errFault = errors.New("the connection broke")

// fault is one thing that goes wrong in a scenario.
type fault struct {
	what string
	arm  func(*bench)
}

// points lives the scenario without a fault and returns the points that it passes, in order.
func (s scenario) points(t *testing.T, from *kept) []string {
	t.Helper()
	var seen []string
	b := s.run(from, func(b *bench) {
		b.keep = true
		b.trap = func(int) error { seen = b.trace; return nil }
	})
	b.report(t, "no fault")
	return seen
}

// deaths are all places where the engine can die: after every call and commit, which is before the next one, and before
// the first.
func deaths(points []string) []fault {
	var out []fault
	for i, p := range points {
		if i > 0 && strings.HasSuffix(p, "before") {
			continue
		}
		out = append(out, fault{fmt.Sprintf("death at point %d, %s", i+1, p), func(b *bench) { b.trap = dieAt(i + 1) }})
	}
	return out
}

func dieAt(k int) func(int) error {
	return func(n int) error {
		if n == k {
			panic(crash{})
		}
		return nil
	}
}

// failures are all ways in which a call can go wrong: each call to a store and each commit before and after its effect,
// each call to xAI in every way.
func failures(points []string) []fault {
	var out []fault
	nth := map[string]int{}  // operation of xAI → calls so far
	met := map[string]bool{} // operations since the last commit: another one of the kind fails just like the first
	for i, p := range points {
		if p == "commit after" {
			clear(met)
		}
		if readsStore.MatchString(p) {
			continue // the same as before it
		}
		op, isXAI := strings.CutPrefix(p, "xai ")
		if !isXAI {
			out = append(out, fault{fmt.Sprintf("fault at point %d, %s", i+1, p), func(b *bench) {
				b.trap = func(n int) error {
					if n == i+1 {
						return errFault
					}
					return nil
				}
			}})
			continue
		}
		op, before := strings.CutSuffix(op, " before")
		if !before {
			continue
		}
		for name, f := range wrongAnswers {
			if met[op] || !writes[op] && !readsToo[name] {
				continue
			}
			f.Call, f.Skip = op, nth[op]
			for _, count := range counts(op) {
				f.Count = count
				out = append(out, fault{fmt.Sprintf("%s at %d of xai %s, number %d", name, count, op, nth[op]+1),
					func(b *bench) { b.sim.Inject(f) }})
			}
		}
		nth[op]++
		met[op] = true
	}
	return out
}

// readsStore are the points after a store was read.
var readsStore = regexp.MustCompile(`^store \S+ (current|staged|check|previous) after$`)

// readsToo are the ways that a read is broken in: a failed read has no effect in any case.
var readsToo = map[string]bool{"refused connection": true, "503 text": true, "half a body": true, "empty object": true, "429": true}

// writes are the operations that change something.
var writes = map[string]bool{"create": true, "update": true, "delete": true}

// counts says how often in a row an operation must go wrong: so often that the client gives up, and, for what changes
// something and is tried again, also once, so that it is done twice.
func counts(op string) []int {
	switch op {
	case "create", "chat":
		return []int{1}
	case "whoami", "models":
		return []int{2}
	case "update", "delete":
		return []int{1, 3}
	}
	return []int{3}
}

// wrongAnswers are the ways in which a call to xAI goes wrong.
var wrongAnswers = map[string]xaisim.Fault{
	"refused connection": {When: xaisim.Before, Kind: xaisim.Reset},
	"answer lost":        {When: xaisim.After, Kind: xaisim.Reset},
	"timeout, effect":    {When: xaisim.After, Kind: xaisim.Timeout},
	"timeout, late":      {When: xaisim.Late, Kind: xaisim.Timeout, Delay: 5 * time.Minute},
	"500":                {When: xaisim.Before, Kind: xaisim.Status, Status: 500, Body: `{"code":13,"message":"internal"}`},
	"503 text":           {When: xaisim.Before, Kind: xaisim.Status, Status: 503, Body: "upstream connect error"},
	"503 text, effect":   {When: xaisim.After, Kind: xaisim.Status, Status: 503, Body: "upstream connect error"},
	"502 html, effect":   {When: xaisim.After, Kind: xaisim.Status, Status: 502, Body: "<html>bad gateway</html>"},
	"half a body":        {When: xaisim.After, Kind: xaisim.HalfBody},
	"empty object":       {When: xaisim.After, Kind: xaisim.EmptyObject},
	"429":                {When: xaisim.Before, Kind: xaisim.Status, Status: 429, Body: `{"code":8,"message":"Too many requests"}`},
}

// sweep lives every scenario once with each fault that choose picks.
func sweep(t *testing.T, choose func(*rand.Rand, []string) []fault) {
	t.Parallel()
	seed := uint64(20260301) // the same cases for every change; others with ROTATOR_SOAK=1 and ROTATOR_SEED
	if os.Getenv("ROTATOR_SOAK") == "1" {
		seed = rand.Uint64()
	}
	if s := os.Getenv("ROTATOR_SEED"); s != "" {
		if _, err := fmt.Sscan(s, &seed); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("seed %d", seed) // ROTATOR_SEED=… takes it again
	var cases atomic.Int64
	t.Cleanup(func() { t.Logf("%d cases", cases.Load()) })
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			from := s.keep(t)
			for _, f := range choose(rand.New(rand.NewPCG(seed, 1)), s.points(t, from)) {
				s.run(from, f.arm).report(t, f.what)
				cases.Add(1)
			}
		})
	}
}

// How many deaths and how many failures of each scenario are taken by default. ROTATOR_SOAK=1 takes all of them.
const (
	deathSample   = 30
	failureSample = 60
)

// sample keeps n of the faults, and a tenth of that under -short.
func sample(r *rand.Rand, all []fault, n int) []fault {
	if os.Getenv("ROTATOR_SOAK") == "1" {
		return all
	}
	if testing.Short() {
		n /= 10
	}
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:min(n, len(all))]
}

// TestEveryCrash kills the engine before and after calls and commits of every scenario: each of them with ROTATOR_SOAK=1.
func TestEveryCrash(t *testing.T) {
	sweep(t, func(r *rand.Rand, points []string) []fault { return sample(r, deaths(points), deathSample) })
}

// TestEveryFault breaks the calls of every scenario in every way: each of them with ROTATOR_SOAK=1.
func TestEveryFault(t *testing.T) {
	sweep(t, func(r *rand.Rand, points []string) []fault { return sample(r, failures(points), failureSample) })
}

// pairs are two faults after one another: the second strikes while the engine recovers from the first.
func pairs(r *rand.Rand, points []string, n int) []fault {
	all := append(deaths(points), failures(points)...)
	var out []fault
	for range n {
		first, second := all[r.IntN(len(all))], r.IntN(len(points))+1
		dies := r.IntN(2) == 0
		out = append(out, fault{fmt.Sprintf("%s, then at %d points after a death %t", first.what, second, dies), func(b *bench) {
			first.arm(b)
			b.trap = then(b, b.trap, second, dies)
		}})
	}
	return out
}

// then has a second fault strike so many points after the engine was born again, or after the first point when the first
// fault kills nothing.
func then(b *bench, first func(int) error, after int, dies bool) func(int) error {
	deaths, from := b.deaths, 0
	return func(n int) error {
		var err error
		if first != nil {
			err = first(n)
		}
		if from == 0 && (b.deaths > deaths || err != nil || first == nil) {
			from = n
		}
		if from > 0 && n == from+after/3 {
			if dies {
				panic(crash{})
			}
			return errFault
		}
		return err
	}
}

// TestTwoFaults strikes twice, at random; ROTATOR_SOAK=1 has it do so for long.
func TestTwoFaults(t *testing.T) {
	n := 12
	if os.Getenv("ROTATOR_SOAK") != "" {
		n = 2000
	}
	sweep(t, func(r *rand.Rand, points []string) []fault { return pairs(r, points, n) })
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
