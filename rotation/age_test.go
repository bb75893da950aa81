package rotation_test

import (
	"testing"
	"time"

	"rotator/xai/xaisim"
)

// TestNoKeyOutlivesMaxAge lives through ten days of a policy whose max_age leaves it little time: no key that xAI accepts gets
// older than was promised, also where the policy has soaks, and where xAI turns no keys off.
func TestNoKeyOutlivesMaxAge(t *testing.T) {
	tight := func(promised time.Duration, known time.Duration) func(b *bench) {
		return func(b *bench) {
			b.load(policyDoc("chat", "max_age: "+promised.String()+"\nretire: {overlap: 24h, soak: 24h}", targetA))
			oldest, made := time.Duration(0), b.clock
			for end := b.clock.Add(12 * 24 * time.Hour); b.clock.Before(end); b.run(30 * time.Minute) {
				for _, k := range b.sim.Keys(teamID) {
					if b.sim.Accepts(k.Secret) && k.Created.After(made.Add(known)) {
						oldest = max(oldest, b.clock.Sub(k.Created))
					}
				}
			}
			if oldest > promised {
				b.violated("a key that xAI accepts got %s old, promised are %s", oldest, promised)
			}
			if oldest < promised-3*time.Hour {
				b.violated("rotations are too many: the oldest key got %s old, promised are %s", oldest, promised)
			}
		}
	}
	play(t, []liar{
		{"a soak as long as the overlap", xaisim.Options{}, tight(50*time.Hour, 0)},
		{"xAI turns no keys off", xaisim.Options{}, func(b *bench) {
			b.sim.Inject(xaisim.Fault{Call: "update", Count: -1, Kind: xaisim.Status, Status: 400, Body: `{"code":3,"message":"Invalid field mask","details":[]}`})
			tight(75*time.Hour, 80*time.Hour)(b) // of the first keys that is not known yet
		}},
	})
}
