package rotation_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"rotator/stores/memstore"
	"rotator/xai/xaisim"
)

// landing is what becomes of a change after its sender heard nothing of it.
type landing struct {
	what   string
	lost   bool          // it takes effect, and its answer is lost
	delay  time.Duration // it takes effect so much later
	chases bool          // it takes effect right after the next change of the same object, or after delay if there is none
}

var landings = []landing{
	{what: "fails"},
	{what: "loses its answer", lost: true},
	{what: "lands after a second", delay: time.Second},
	{what: "lands after five minutes", delay: 5 * time.Minute},
	{what: "lands just before it cannot any more", delay: 10*time.Minute + 50*time.Second},
	{what: "lands right after the next change", delay: 10*time.Minute + 50*time.Second, chases: true},
}

// change is the nth call of one kind to xAI or to a store that changes something.
type change struct {
	place string // xai, or a store's name
	op    string
	n     int
}

// blow is one change that goes wrong.
type blow struct {
	change
	landing
	dies bool // the process dies before it hears anything
}

func (x blow) String() string {
	then := "the process lives"
	if x.dies {
		then = "the process dies"
	}
	return fmt.Sprintf("%s at %s, number %d, %s, and %s", x.op, x.place, x.n, x.what, then)
}

// striker strikes blows, and notes the changes that are made.
type striker struct {
	b       *bench
	blows   []blow
	struck  int
	count   map[change]int // with n 0 → calls so far
	made    []change
	landed  int    // changes that stores had made before the call in hand
	hit     *blow  // strikes the call in hand
	chasing string // place and object that a late change waits for
	fresh   bool   // the call in hand is the one that is late itself
}

// strike arms the blows for the calls from now on.
func (b *bench) strike(blows ...blow) *striker {
	s := &striker{b: b, blows: blows, count: map[change]int{}}
	b.sim.OnCall(func(c xaisim.Call) {
		if writes[c.Op] {
			_ = s.pass("xai", c.Op, c.ID, c.Done)
		}
	})
	for name, store := range b.stores {
		store.OnCall(func(c memstore.Call) error {
			if err := b.point(fmt.Sprintf("store %s %s %s", name, c.Op, when(c.Done))); err != nil {
				return err
			}
			switch c.Op {
			case "stage", "promote", "discard", "fence":
				return s.pass(name, c.Op, c.Path, c.Done)
			}
			return nil
		})
	}
	return s
}

// pass is passed before and after every call that changes something.
func (s *striker) pass(place, op, object string, done bool) error {
	if s.b.seen == nil || s.count == nil {
		return nil
	}
	if !done {
		return s.before(place, op, object)
	}
	return s.after(place, op, object)
}

func (s *striker) before(place, op, object string) error {
	at := change{place: place, op: op}
	s.count[at]++
	at.n = s.count[at]
	s.landed, s.hit, s.fresh = s.b.seen.stored, nil, false
	for i := range s.blows {
		if s.blows[i].change == at {
			s.hit = &s.blows[i]
		}
	}
	x := s.hit
	if x == nil {
		return nil
	}
	s.struck++
	if x.chases {
		s.chasing, s.fresh = place+" "+object, true
	}
	switch {
	case place == "xai" && x.delay > 0:
		s.b.sim.Inject(xaisim.Fault{Call: op, When: xaisim.Late, Delay: x.delay, Kind: xaisim.Reset})
	case place == "xai" && x.lost:
		s.b.sim.Inject(xaisim.Fault{Call: op, When: xaisim.After, Kind: xaisim.Reset})
	case place == "xai":
		s.b.sim.Inject(xaisim.Fault{Call: op, When: xaisim.Before, Kind: xaisim.Reset})
	case x.delay > 0:
		s.b.stores[place].Late(op, x.delay)
	case x.lost: // after the call
	case x.dies:
		panic(crash{})
	default:
		return errFault
	}
	return nil
}

func (s *striker) after(place, op, object string) error {
	if place == "xai" || s.b.seen.stored > s.landed {
		s.made = append(s.made, change{place, op, s.count[change{place: place, op: op}]})
		if s.chasing == place+" "+object && !s.fresh {
			s.chasing = ""
			if place == "xai" {
				s.b.sim.LandAll()
			} else {
				s.b.stores[place].LandAll()
			}
		}
	}
	x := s.hit
	s.hit, s.fresh = nil, false
	switch {
	case x == nil:
	case x.dies:
		panic(crash{})
	case place != "xai" && x.lost:
		return errFault
	}
	return nil
}

// end has every call go well from now on. What is late still lands.
func (s *striker) end() { s.blows = nil; s.b.sim.ClearFaults() }

// lateLife lives a scenario from where it was kept, with the blows and for 26 hours after them. Where followers lag, stores
// show readers the state of two seconds ago, and clusters of xAI's learn of a disable one by one, also of one that was
// taken back meanwhile.
func (s scenario) lateLife(from *kept, lag, plain bool, blows ...blow) (*bench, *striker) {
	b := from.bench()
	if lag {
		b.sim.Set(func(o *xaisim.Options) {
			o.LateDisableWins = true
			o.DisableLag, o.DisableSpread, o.EnableSpread = 3*time.Minute, time.Minute, 10*time.Second
		})
		for _, store := range b.stores {
			store.Lag(2 * time.Second)
		}
		for i := range blows { // xAI acts on it only so much later
			if x := &blows[i]; x.op == "update" && x.delay > lagOfDisable {
				x.delay -= lagOfDisable
			}
		}
	}
	for _, store := range b.stores {
		store.Plain = plain
	}
	b.rereads = len(blows) == 0
	x := b.strike(blows...)
	s.act(b)
	x.end()
	b.peace()
	b.settled()
	if s.after != nil {
		s.after(b)
	}
	return b, x
}

// lagOfDisable is how long the last cluster takes to learn of a disable, where clusters lag.
const lagOfDisable = 5 * time.Minute

// everyBlow is all that can become of the changes.
func everyBlow(made []change) (all []blow) {
	for _, c := range made {
		for _, l := range landings {
			all = append(all, blow{c, l, false}, blow{c, l, true})
		}
	}
	return all
}

// latePairs is how many cases with two blows are taken of each scenario, with and without lag each, and soakPairs how many
// with ROTATOR_SOAK=1.
const (
	latePairs = 23
	soakPairs = 500
)

// TestLandsLater has every change of every scenario fail, lose its answer, or land later, while the process lives on or
// dies, with and without followers that lag; and a sample of pairs of them. In every other life the stores cannot compare before
// they write, nor fence.
func TestLandsLater(t *testing.T) {
	t.Parallel()
	seed, singles, pairs := uint64(20260301), 1<<30, latePairs
	if os.Getenv("ROTATOR_SOAK") == "1" {
		seed, pairs = rand.Uint64(), soakPairs
	}
	if s := os.Getenv("ROTATOR_SEED"); s != "" {
		if _, err := fmt.Sscan(s, &seed); err != nil {
			t.Fatal(err)
		}
	}
	if testing.Short() {
		singles, pairs = 3, 0
	}
	t.Logf("seed %d", seed) // ROTATOR_SEED=… takes it again
	var cases, possible atomic.Int64
	t.Cleanup(func() {
		t.Logf("%d cases; of %d changes that go wrong alone all, unless short", cases.Load(), possible.Load())
	})
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 1))
			from := s.keep(t)
			for _, lag := range []bool{false, true} {
				b, x := s.lateLife(from, lag, false)
				b.report(t, fmt.Sprintf("no fault, lag %t", lag))
				all := everyBlow(x.made)
				possible.Add(int64(len(all)))
				r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
				for i, one := range all[:min(singles, len(all))] {
					plain := i%2 > 0
					b, x := s.lateLife(from, lag, plain, one)
					b.report(t, fmt.Sprintf("%s, lag %t, plain %t", one, lag, plain))
					cases.Add(1)
					if x.struck == 0 {
						t.Errorf("%s struck nothing", one)
					}
				}
				for i := range pairs {
					one, two := all[r.IntN(len(all))], all[r.IntN(len(all))]
					two.n += r.IntN(3) // it is made again after the first
					b, _ := s.lateLife(from, lag, i%2 > 0, one, two)
					b.report(t, fmt.Sprintf("%s; %s; lag %t, plain %t", one, two, lag, i%2 > 0))
					cases.Add(1)
				}
			}
		})
	}
}
