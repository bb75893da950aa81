package rotation_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"rotator/rotation"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/stores/memstore"
	"rotator/xai/xaisim"
)

// racer is one turn of a race. It runs only between a word on resume and one on paused.
type racer struct {
	resume, paused chan struct{}
	over           bool
}

// race has the turns that are due at one time run at once: at every call to anything outside, and before and after every
// commit, another one may go on.
type race struct {
	*bench
	*rand.Rand
	running *racer // nil while nothing races
}

// newRace makes a bench whose turns race.
func newRace(t testing.TB, seed uint64) *race {
	x := &race{bench: newBench(t, xaisim.Options{}), Rand: rand.New(rand.NewPCG(seed, 4))}
	x.sim.OnCall(func(xaisim.Call) { x.yield() })
	for _, s := range x.stores {
		s.OnCall(func(c memstore.Call) error {
			err := x.point("store " + c.Op + " " + when(c.Done))
			x.yield()
			return err
		})
	}
	x.engine = newEngine("racer", rotation.Options{
		Journal: racedJournal{faultyJournal{x.journal, x.bench}, x}, Environment: x.bench, Log: x.log, Now: x.now, Pause: x.pause,
		Limits: rotation.Limits{Watch: time.Hour},
	})
	return x
}

// yield lets another turn go on.
func (x *race) yield() {
	if me := x.running; me != nil {
		me.paused <- struct{}{}
		<-me.resume
	}
}

// racedJournal lets another turn go on around a commit, and after a question about other policies.
type racedJournal struct {
	faultyJournal
	x *race
}

func (j racedJournal) Commit(ctx context.Context, c journal.Claim, rec *journal.Record, release bool, ev ...journal.Event) error {
	j.x.yield()
	defer j.x.yield()
	return j.faultyJournal.Commit(ctx, c, rec, release, ev...)
}

func (j racedJournal) Key(ctx context.Context, id string) (journal.Key, error) {
	defer j.x.yield()
	return j.faultyJournal.Key(ctx, id)
}

func (j racedJournal) Keys(ctx context.Context, ids []string) ([]journal.Key, error) {
	defer j.x.yield()
	return j.faultyJournal.Keys(ctx, ids)
}

func (j racedJournal) Targets(ctx context.Context, policies ...string) ([]journal.Target, error) {
	defer j.x.yield()
	return j.faultyJournal.Targets(ctx, policies...)
}

func (j racedJournal) SightingsOf(ctx context.Context, keyID, fingerprint string) ([]journal.Sighting, error) {
	defer j.x.yield()
	return j.faultyJournal.SightingsOf(ctx, keyID, fingerprint)
}

// runs lets d pass.
func (x *race) runs(d time.Duration) {
	x.t.Helper()
	for end := x.clock.Add(d); ; {
		claims, err := x.journal.Claim(x.t.Context(), "bench", x.clock, 8)
		if err == nil && len(claims) == 0 {
			claims, err = x.journal.ClaimResting(x.t.Context(), "bench", x.clock, 8)
		}
		if err != nil {
			x.t.Fatal(err)
		}
		if len(claims) > 0 {
			x.together(claims)
			continue
		}
		next, rest, err := x.journal.Next(x.t.Context())
		if err != nil {
			x.t.Fatal(err)
		}
		if next.IsZero() || !rest.IsZero() && rest.Before(next) {
			next = rest
		}
		if next.IsZero() || next.After(end) {
			x.clock = end
			return
		}
		if next.After(x.clock) {
			x.clock = next
			x.live()
		}
	}
}

// together runs the turns in a random order of their steps.
func (x *race) together(claims []journal.Claim) {
	var field []*racer
	for _, c := range claims {
		r := &racer{resume: make(chan struct{}), paused: make(chan struct{})}
		field = append(field, r)
		go func() {
			<-r.resume
			if err := x.engine.Turn(x.t.Context(), c); err != nil {
				if err := x.journal.Release(x.t.Context(), c, x.clock.Add(time.Minute)); err != nil && !errors.Is(err, journal.ErrLost) {
					x.violated("release: %v", err)
				}
			}
			r.over = true
			r.paused <- struct{}{}
		}()
	}
	for len(field) > 0 {
		i := x.IntN(len(field))
		x.running = field[i]
		x.running.resume <- struct{}{}
		<-x.running.paused
		if x.running.over {
			field = append(field[:i], field[i+1:]...)
		}
	}
	x.running = nil
}

// TestTwoPoliciesMeetOneKey: two policies that adopt find one key that was made by hand in their targets, at the same
// moment. It is never destroyed while a target holds it; the one that comes second says why it waits, and keeps its targets.
func TestTwoPoliciesMeetOneKey(t *testing.T) {
	t.Parallel()
	lives := uint64(1000)
	if os.Getenv("ROTATOR_SOAK") == "1" {
		lives = 10_000
	}
	if testing.Short() {
		lives = 50
	}
	docs := []string{
		policyDoc("chat", "adopt: true\nretire: {overlap: 0s, soak: 0s}", `{store: a, path: chat}`),
		policyDoc("talk", "adopt: true\nretire: {overlap: 0s, soak: 0s}", `{store: b, path: talk}`),
	}
	winners := map[string]int{}
	for seed := range lives {
		x := newRace(t, seed)
		id, v := x.sim.AddKey(teamID, "made by hand", "api-key:model:grok-4", "api-key:endpoint:chat")
		x.stores["a"].Set("chat", v.Reveal())
		x.stores["b"].Set("talk", v.Reveal())
		x.load(docs...)
		for _, p := range []string{"chat", "talk"} {
			if seed%2 == 0 {
				x.order(journal.Order{Policy: p, Kind: journal.OrderRotate, Trigger: journal.ByHand})
			}
		}
		x.runs(10 * time.Minute)
		winner, loser := "chat", "talk"
		if k, err := x.journal.Key(t.Context(), id); err != nil {
			x.violated("nobody adopted the key: %v", err)
		} else if k.Policy == "talk" {
			winner, loser = loser, winner
		}
		winners[winner]++
		r := x.record(loser)
		switch r.Policy.Reason {
		case reason.AdoptedElsewhere, reason.OtherPolicy:
			if !strings.Contains(r.Policy.Error, winner) && !strings.Contains(r.Policy.Error, "another policy") {
				x.violated("%s does not say who has the key: %s", loser, r.Policy.Error)
			}
		default:
			x.violated("%s waits for %q: %s", loser, r.Policy.Reason, r.Policy.Error)
		}
		if len(r.Targets) != 1 || r.Targets[0].KeyID != id || r.Targets[0].SeenAt.IsZero() {
			x.violated("the targets of %s: %#v", loser, r.Targets)
		}
		if x.gone(id) || !x.accepts(id) {
			x.violated("the key was destroyed, and %s reads it", loser)
		}
		if len(x.broken) > 0 {
			x.check()
			t.Fatalf("seed %d", seed)
		}
	}
	if len(winners) < 2 {
		t.Errorf("always the same one came first: %v", winners)
	}
}
