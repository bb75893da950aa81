package rotation_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"rotator/internal/secret"
	"rotator/rotation"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/stores"
	"rotator/stores/memstore"
	"rotator/xai/xaisim"
)

// crowded is a store whose secrets have versions as AWS has: a promote reads the document, puts a version made from it, and
// makes that current if the one that was read still is.
type crowded struct {
	*memstore.Store
	mu      sync.Mutex
	current map[string]int // guarded by mu: path → version
	puts    int            // guarded by mu
	moved   int            // guarded by mu: of those, how many found another version
	within  map[string]int // guarded by mu: path → calls under way
	most    int            // guarded by mu
}

func newCrowded(s *memstore.Store) *crowded {
	return &crowded{Store: s, current: map[string]int{}, within: map[string]int{}}
}

func (s *crowded) Promote(ctx context.Context, t stores.Target, attempt string, value secret.Text, expected secret.Fingerprint) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.within[t.Path]++
	s.most = max(s.most, s.within[t.Path])
	defer func() { s.within[t.Path]-- }()
	for range 5 {
		base := s.current[t.Path]
		s.mu.Unlock()
		time.Sleep(100 * time.Millisecond)
		s.mu.Lock()
		if s.puts++; s.current[t.Path] != base {
			s.moved++
			continue
		}
		s.current[t.Path]++
		return s.Store.Promote(ctx, t, attempt, value, expected)
	}
	return errors.New("the secret keeps changing")
}

// everyone gives a place to all who ask, as if there were no places.
type everyone struct{ journal.Journal }

func (everyone) TakePlace(context.Context, time.Time, journal.Claim, string) (bool, error) {
	return true, nil
}

// inOneSecret are n policies, each with a field of one secret.
func inOneSecret(n int) (docs []string) {
	for i := range n {
		docs = append(docs, policyDoc(fmt.Sprintf("p%02d", i), quick, fmt.Sprintf("{store: a, path: shared, field: f%02d}", i)))
	}
	return docs
}

// replicas runs two engines on one journal for d.
func (b *bench) replicas(j journal.Journal, d time.Duration) {
	b.t.Helper()
	l := newLedger(j)
	l.leases = true
	other := newEngine("two", rotation.Options{Journal: l, Environment: b, Limits: b.limits, Now: b.now})
	b.engine = newEngine("one", rotation.Options{Journal: l, Environment: b, Limits: b.limits, Now: b.now})
	begun := time.Now()
	other.boot = func() time.Duration { return time.Since(begun) }
	ctx, cancel := context.WithTimeout(b.t.Context(), d)
	defer cancel()
	var running sync.WaitGroup
	running.Go(func() { _ = other.scheduler.Run(ctx) })
	b.runs(d)
	running.Wait()
}

// TestOneWriterPerPlace: thirty policies with one secret, due at once on two replicas, write it one after the other.
func TestOneWriterPerPlace(t *testing.T) {
	const n = 30
	for name, places := range map[string]bool{"places": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(b *bench) {
				s := newCrowded(b.stores["a"])
				b.wrapped["a"] = s
				b.load(inOneSecret(n)...)
				var j journal.Journal = b.journal
				if !places {
					j = everyone{j}
				}
				began := time.Now()
				var last time.Time
				for time.Since(began) < 5*time.Minute && last.IsZero() {
					b.replicas(j, time.Second)
					live := 0
					for name := range b.specs {
						if b.record(name).Policy.KeyID != "" {
							live++
						}
					}
					if live == n {
						last = time.Now()
					}
				}
				b.t.Logf("%d policies live after %v: %d versions, %d of them in vain, %d writers at once at most", n, last.Sub(began), s.puts, s.moved, s.most)
				if !places {
					if s.moved == 0 {
						b.violated("nothing is shown: no write met another without places")
					}
					return
				}
				if last.IsZero() || s.puts != n || s.moved > 0 || s.most > 1 {
					b.violated("live at %v: %d versions, %d in vain, %d at once", last, s.puts, s.moved, s.most)
				}
				if failed := b.count(journal.Failed) + b.count(journal.WaitsForHuman); failed > 0 {
					b.violated("%d alarms", failed)
				}
			})
		})
	}
}

// TestPlacesInAnyOrder: policies that write two secrets, in opposite orders, never wait for each other.
func TestPlacesInAnyOrder(t *testing.T) {
	bubble(t, func(b *bench) {
		s, u := newCrowded(b.stores["a"]), newCrowded(b.stores["b"])
		b.wrapped["a"], b.wrapped["b"] = s, u
		var docs []string
		for i := range 12 {
			targets := []string{fmt.Sprintf("{store: a, path: one, field: f%d}", i), fmt.Sprintf("{store: b, path: two, field: f%d}", i), fmt.Sprintf("{store: c, path: p%d}", i)}
			if i%2 == 1 {
				targets[0], targets[1] = targets[1], targets[0]
			}
			docs = append(docs, policyDoc(fmt.Sprintf("p%02d", i), quick, targets...))
		}
		b.load(docs...)
		b.replicas(b.journal, 30*time.Second)
		for name := range b.specs {
			if p := b.record(name).Policy; p.KeyID == "" {
				b.violated("%s is not live: %s %s", name, p.Reason, p.Error)
			}
		}
		if s.puts+u.puts != 24 || s.most > 1 || u.most > 1 {
			b.violated("%d and %d versions, %d and %d writers at once", s.puts, u.puts, s.most, u.most)
		}
	})
}

// TestWaitingForAPlaceHoldsNoSlot: with two slots and a place that stays taken, others rotate as ever.
func TestWaitingForAPlaceHoldsNoSlot(t *testing.T) {
	bubble(t, func(b *bench) {
		b.limits = rotation.Limits{Concurrency: 2}
		b.load(append(inOneSecret(10), policyDoc("holder", quick, "{store: a, path: shared, field: holder}"))...)
		c, err := b.journal.Claim(b.t.Context(), "another replica", b.now(), 1, "holder")
		if err != nil || len(c) != 1 {
			b.t.Fatal(c, err)
		}
		if taken, err := b.journal.TakePlace(b.t.Context(), b.now(), c[0], "a:shared"); !taken || err != nil {
			b.t.Fatal(taken, err)
		}
		l := newLedger(b.journal)
		b.engine = newEngine("one", rotation.Options{Journal: l, Environment: b, Limits: b.limits, Now: b.now})
		b.runs(time.Minute)
		b.load(append(inOneSecret(10), policyDoc("holder", quick, "{store: a, path: shared, field: holder}"), policyDoc("other", quick, "{store: b, path: other}"))...)
		calls := b.sim.Calls()
		l.since() // counts from here
		b.runs(10 * time.Second)
		if b.record("other").Policy.KeyID == "" {
			b.violated("a policy of another place did not rotate")
		}
		b.runs(5 * time.Minute)
		now := b.sim.Calls()
		if n := now["chat"] - calls["chat"]; n > 10 { // of the other one
			b.violated("%d proofs while the place was taken", n)
		}
		asked := l.since()
		if asked["Claim"] > 1500 {
			b.violated("the engine spins: %v", asked)
		}
		for i := range 10 {
			p := b.record(fmt.Sprintf("p%02d", i)).Policy
			if p.Reason != reason.WaitPlace || p.Failures > 0 || p.Error != "" || p.KeyID != "" {
				b.violated("%s: %q, %d failures, %q", p.Name, p.Reason, p.Failures, p.Error)
			}
		}
		if n := b.count(journal.Failed) + b.count(journal.WaitsForHuman); n > 0 {
			b.violated("%d alarms", n)
		}
		b.t.Logf("in five minutes of waiting: %v", asked)
		if err := b.journal.Release(b.t.Context(), c[0], b.now()); err != nil { // it gave nothing back
			b.t.Fatal(err)
		}
		b.runs(time.Minute)
		for name := range b.specs {
			if p := b.record(name).Policy; p.KeyID == "" {
				b.violated("%s is not live: %s %s", name, p.Reason, p.Error)
			}
		}
	})
}

// TestPlaceOfAName: a secret that is written in two ways is one place; a field of one policy alone is none.
func TestPlaceOfAName(t *testing.T) {
	b := newBench(t, xaisim.Options{})
	b.stores["a"].Alias("arn", "shared")
	var taken []string
	l := &tellingPlaces{Journal: b.journal, tell: func(place string) { taken = append(taken, place) }}
	b.engine = newEngine("one", rotation.Options{Journal: l, Environment: b, Now: b.now, Pause: b.pause})
	b.load(policyDoc("p1", quick, "{store: a, path: arn, field: f1}"), policyDoc("p2", quick, "{store: a, path: shared, field: f2}"),
		policyDoc("p3", quick, "{store: b, path: shared, field: f1}", "{store: b, path: shared, field: f2}"))
	b.run(time.Hour)
	if got := fmt.Sprint(taken); got != "[a:arn a:arn]" {
		t.Errorf("places %v", got)
	}
	b.settled()
	b.check()
}

// tellingPlaces says which places are asked for.
type tellingPlaces struct {
	journal.Journal
	tell func(string)
}

func (l *tellingPlaces) TakePlace(ctx context.Context, now time.Time, c journal.Claim, place string) (bool, error) {
	l.tell(place)
	return l.Journal.TakePlace(ctx, now, c, place)
}
