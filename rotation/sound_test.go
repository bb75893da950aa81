package rotation_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"rotator/rotation/journal"
	"rotator/xai/xaisim"
)

// TestQuota: xAI refuses to make more keys for a day. Consumers keep theirs, xAI is not flooded, and all goes on afterwards.
func TestQuota(t *testing.T) {
	const full = "Maximum number of API keys reached"
	var lives []liar
	for status, code := range map[int]int{400: 3, 403: 7, 429: 8} {
		for name, trigger := range map[string]journal.Trigger{"by hand": journal.ByHand, "compromised": journal.ByCompromise} {
			lives = append(lives, liar{fmt.Sprint(status, " ", name), xaisim.Options{}, func(b *bench) {
				b.createFirstKey(quick, targetA)
				old, before := b.key(), b.sim.Calls()["create"]
				b.sim.Inject(xaisim.Fault{Call: "create", Count: -1, Kind: xaisim.Status, Status: status, Body: fmt.Sprintf(`{"code":%d,"message":%q}`, code, full)})
				b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: trigger, Why: "leaked"})
				b.run(24 * time.Hour)
				if n := b.sim.Calls()["create"] - before; n > 200 || b.key() != old || b.record("chat").Policy.Error == "" {
					b.violated("%d creates; in use is %s; said %q", n, b.key(), b.record("chat").Policy.Error)
				}
				b.sim.ClearFaults()
				b.runUntilIdle()
				b.checkEnded()
				if b.key() == old {
					b.violated("the rotation that was asked for is forgotten")
				}
			}})
		}
	}
	play(t, lives)
}

// TestCompromisedThenBadSuccessor: the key that is to replace a compromised one is proved bad. Another one follows.
func TestCompromisedThenBadSuccessor(t *testing.T) {
	for name, n := range map[string]int{"once": 8, "again and again": 24} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, xaisim.Options{})
			b.createFirstKey(quick, targetA)
			b.sim.Inject(xaisim.Fault{Call: "chat", Count: n, Kind: xaisim.Status, Status: 400, Body: `{"code":"invalid-argument","error":"Incorrect API key provided: xa***gA"}`})
			leaked := b.leak()
			b.offWithin(3*time.Hour, leaked)
			b.runUntilIdle()
			inUse(b)
			b.consumersServed()
		})
	}
}

// TestTwoDaemons: two daemons, each with a journal of its own, for one team and the same targets, and people who answer what
// each asks. No key that a target holds is destroyed.
func TestTwoDaemons(t *testing.T) {
	var lives []liar
	for _, adopt := range []string{"", "adopt: true"} {
		for _, names := range [][2]string{{"chat", "chat"}, {"chat", "talk"}} {
			for _, fewer := range []bool{false, true} {
				for seed := range uint64(3) {
					lives = append(lives, liar{fmt.Sprint(adopt, " ", names[1], " fewer: ", fewer, " ", seed), xaisim.Options{}, func(b *bench) {
						r := rand.New(rand.NewPCG(seed, 1))
						var ds [2]*installed
						for i := range ds {
							targets := []string{targetA, targetB}
							if i == 1 && fewer {
								targets = targets[:1]
							}
							ds[i] = &installed{b: b, name: fmt.Sprint("daemon-", i), path: filepath.Join(b.t.TempDir(), "journal.db"),
								docs: []string{policyDoc(names[i], adopt+quick, targets...)}}
							ds[i].on()
							b.run(5 * time.Minute)
						}
						for range 40 {
							i := r.IntN(2)
							ds[i].on()
							switch o := (journal.Order{Policy: names[i], Kind: journal.OrderResolve, Decision: journal.Overwrite}); r.IntN(4) {
							case 0:
								b.order(journal.Order{Policy: names[i], Kind: journal.OrderRotate, Trigger: journal.ByHand})
							case 1:
								o.Target = atA
								b.order(o)
							case 2:
								o.Target = atB
								b.order(o)
							}
							b.run(time.Duration(r.IntN(90)) * time.Minute)
							b.live()
						}
					}})
				}
			}
		}
	}
	play(t, lives)
}
