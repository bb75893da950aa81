package schedule_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/errgroup"

	"rotator/rotation/journal"
	"rotator/rotation/schedule"
	"rotator/rotation/turn"
)

// book is a journal of claims in memory. A policy that is released is not due again within a test.
type book struct {
	mu       sync.Mutex
	due      []string                 // guarded by mu: not claimed yet
	resting  []string                 // guarded by mu: at rest, not claimed yet
	lease    time.Duration            // 0: claims do not end by themselves
	renew    error                    // what a renewal answers
	released map[string]time.Duration // guarded by mu: policy → how long it is put off
	batches  [][]string               // guarded by mu: released by one CommitAll
	beats    int                      // guarded by mu
	others   []journal.Replica        // that are known
	left     bool                     // guarded by mu
}

func (b *book) claim(of *[]string, limit int) (claims []journal.Claim) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := min(limit, len(*of))
	for _, name := range (*of)[:n] {
		c := journal.Claim{Policy: name, Now: time.Now()}
		if b.lease > 0 {
			c.Until = c.Now.Add(b.lease)
		}
		claims = append(claims, c)
	}
	*of = (*of)[n:]
	return claims
}

func (b *book) Claim(_ context.Context, _ string, _ time.Time, limit int, _ ...string) ([]journal.Claim, error) {
	return b.claim(&b.due, limit), nil
}

func (b *book) ClaimResting(_ context.Context, _ string, _ time.Time, limit int, _ ...string) ([]journal.Claim, error) {
	return b.claim(&b.resting, limit), nil
}

func (b *book) Next(context.Context) (due, rest time.Time, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.due) > 0 {
		due = time.Now()
	}
	if len(b.resting) > 0 {
		rest = time.Now()
	}
	return due, rest, nil
}

func (b *book) Replicas(context.Context) ([]journal.Replica, error) { return b.others, nil }

func (b *book) Hasten(context.Context, time.Time, time.Duration) error { return nil }

func (b *book) Wakes(ctx context.Context, _ func()) error { <-ctx.Done(); return ctx.Err() }

func (b *book) Lease() time.Duration { return b.lease }

func (b *book) Renew(_ context.Context, _ time.Time, c journal.Claim) (journal.Claim, error) {
	return c, b.renew
}

func (b *book) Release(_ context.Context, c journal.Claim, at time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.released[c.Policy] = time.Until(at).Round(time.Millisecond)
	return nil
}

func (b *book) Commit(context.Context, journal.Claim, *journal.Record, bool, ...journal.Event) error {
	return nil
}

func (b *book) CommitAll(_ context.Context, done []journal.Outcome) ([]error, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var names []string
	for _, d := range done {
		names = append(names, d.Record.Policy.Name)
	}
	slices.Sort(names)
	b.batches = append(b.batches, names)
	return make([]error, len(done)), nil
}

func (b *book) LoadAll(_ context.Context, names []string) ([]*journal.Record, error) {
	records := make([]*journal.Record, len(names))
	for i, name := range names {
		records[i] = &journal.Record{Policy: journal.Policy{Name: name}}
	}
	return records, nil
}

func (b *book) Beat(context.Context, time.Time, journal.Replica) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.beats++
	return nil
}

func (b *book) Leave(context.Context, string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left = true
	return nil
}

// work is a runner that takes turns as it is reported, and notes what else it is asked.
type work struct {
	turn func(ctx context.Context, t *turn.Task) error
	fail error // what Fail answers

	mu     sync.Mutex
	failed map[string]string // guarded by mu: policy → the cause
	lost   []string          // guarded by mu
}

func (w *work) Turn(ctx context.Context, t *turn.Task) error { return w.turn(ctx, t) }

func (w *work) Fail(_ context.Context, t *turn.Task, cause error, _ time.Duration) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed[t.Claim.Policy] = cause.Error()
	return w.fail
}

func (w *work) Lost(policy string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lost = append(w.lost, policy)
}

func (w *work) Moving(context.Context) (bool, error) { return false, nil }

// world is a scheduler with its book and its runner.
type world struct {
	*testing.T
	*book
	*work
	concurrency int
	chores      int
	tidied      int
	observes    bool // the mode
}

// bubble runs a test in a synctest bubble.
func bubble(t *testing.T, test func(w *world)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		test(&world{
			T: t, book: &book{released: make(map[string]time.Duration)}, work: &work{failed: make(map[string]string)}, concurrency: 4,
		})
	})
}

// run lets the scheduler run for d.
func (w *world) run(d time.Duration) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), d)
	defer cancel()
	begun := time.Now()
	s := schedule.New(schedule.Options{
		Claims: w.book, Leases: w.book, Records: w.book, Replicas: w.book, Runner: w.work,
		Chores:      func(context.Context, *errgroup.Group) { w.chores++ },
		Tidy:        func(context.Context) { w.tidied++ },
		Owner:       "test",
		Observes:    func() bool { return w.observes },
		Concurrency: w.concurrency, Watch: 15 * time.Minute, Park: 25 * time.Second,
		Log: slog.New(slog.DiscardHandler), Now: time.Now, Boot: func() time.Duration { return time.Since(begun) },
	})
	if err := s.Run(ctx); err != nil {
		w.Fatal(err)
	}
}

func names(prefix string, n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprint(prefix, i))
	}
	return all
}

// TestObserverYields: a replica that only observes leaves all policies to one that acts, as long as that is alive.
func TestObserverYields(t *testing.T) {
	acts := journal.Replica{Name: "another"}
	observes, silent := acts, acts
	observes.Observes, silent.Unseen = true, journal.StaleAfter+time.Second
	for name, c := range map[string]struct {
		observes bool
		others   []journal.Replica
		claims   bool
	}{
		"it observes alone":                {true, nil, true},
		"it observes beside one that acts": {true, []journal.Replica{{Name: "test"}, observes, acts}, false},
		"it observes beside another":       {true, []journal.Replica{observes}, true},
		"the other one is gone":            {true, []journal.Replica{silent}, true},
		"it acts":                          {false, []journal.Replica{acts}, true},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				w.due, w.resting, w.lease = names("d", 3), names("r", 3), 15*time.Second
				w.observes, w.others = c.observes, c.others
				w.run(time.Minute)
				if left := len(w.due) + len(w.resting); left != 0 == c.claims {
					w.Errorf("%d policies are not claimed", left)
				}
			})
		})
	}
}

// Turns of a batch in which nothing happened are released by one statement; one that failed is released alone.
func TestBatch(t *testing.T) {
	bubble(t, func(w *world) {
		w.resting = names("p", 20)
		w.turn = func(_ context.Context, t *turn.Task) error {
			if t.Record == nil || t.Record.Policy.Name != t.Claim.Policy {
				w.Errorf("%s was given the record %+v", t.Claim.Policy, t.Record)
			}
			if err := t.Admit([]turn.Resource{{Name: "store a", Share: 4}}); err != nil {
				return err
			}
			if t.Claim.Policy == "p7" {
				return errors.New("no answer")
			}
			if !t.ReleaseTogether() {
				w.Errorf("%s is in no batch", t.Claim.Policy)
			}
			return nil
		}
		w.run(59 * time.Second)
		want := slices.DeleteFunc(names("p", 20), func(s string) bool { return s == "p7" })
		slices.Sort(want)
		if len(w.batches) != 1 || !slices.Equal(w.batches[0], want) {
			w.Errorf("released together: %v", w.batches)
		}
		if len(w.released) != 1 || w.released["p7"] != 5*time.Second {
			w.Errorf("released alone: %v", w.released)
		}
	})
}

// A due policy is in no batch: its turn ends the claim itself.
func TestDueIsReleasedByItsTurn(t *testing.T) {
	bubble(t, func(w *world) {
		w.due = names("p", 3)
		turns := 0
		w.turn = func(_ context.Context, t *turn.Task) error {
			turns++
			if t.Record != nil || t.ReleaseTogether() || t.Guard() != nil {
				w.Errorf("task %+v, guard %v", t, t.Guard())
			}
			return nil
		}
		w.concurrency = 1
		w.run(59 * time.Second)
		if turns != 3 || len(w.batches)+len(w.released) > 0 || w.chores != 2 || w.tidied != 2 {
			w.Errorf("%d turns, released %v %v, chores %d times", turns, w.batches, w.released, w.chores)
		}
	})
}

// A turn that fails in any way costs its policy a pause, and the others nothing.
func TestTurnThatFails(t *testing.T) {
	for name, c := range map[string]struct {
		turn   func() error
		fail   error
		failed string
		pause  time.Duration // 0: Fail released it
	}{
		"panics":                 {func() error { panic("a defect") }, nil, "a step panicked; the log says where", 0},
		"defect":                 {func() error { return &turn.Defect{Err: errors.New("no spec")} }, nil, "no spec", 0},
		"forbidden":              {func() error { return fmt.Errorf("commit: %w", journal.ErrForbidden) }, nil, "commit: " + journal.ErrForbidden.Error(), 0},
		"failure not recordable": {func() error { panic("a defect") }, errors.New("down"), "a step panicked; the log says where", time.Minute},
		"journal down":           {func() error { return errors.New("down") }, nil, "", 5 * time.Second},
		"crowded":                {func() error { return &turn.Crowded{Resource: "store a", Pause: 7 * time.Second} }, nil, "", 7 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				w.due, w.fail = []string{"bad", "good"}, c.fail
				good := false
				w.turn = func(_ context.Context, t *turn.Task) error {
					if t.Claim.Policy == "bad" {
						return c.turn()
					}
					good = true
					return nil
				}
				w.run(59 * time.Second)
				if pause, released := w.released["bad"]; !good || w.failed["bad"] != c.failed || released != (c.pause > 0) || pause != c.pause {
					w.Errorf("good: %t; bad failed with %q and was put off: %t, by %s", good, w.failed["bad"], released, pause)
				}
			})
		})
	}
}

// A turn whose claim another replica took is canceled, is refused by its guard from then on, and releases nothing.
func TestLostClaim(t *testing.T) {
	bubble(t, func(w *world) {
		w.lease, w.renew, w.due = 15*time.Second, journal.ErrLost, []string{"p"}
		w.turn = func(ctx context.Context, t *turn.Task) error {
			if err := t.Guard(); err != nil {
				w.Errorf("at first: %v", err)
			}
			begun := time.Now()
			<-ctx.Done()
			if took := time.Since(begun); took != 5*time.Second {
				w.Errorf("canceled after %s", took)
			}
			time.Sleep(5 * time.Second)
			if err := t.Guard(); !errors.Is(err, journal.ErrLost) {
				w.Errorf("after the lease: %v", err)
			}
			return ctx.Err()
		}
		w.run(59 * time.Second)
		if !slices.Equal(w.lost, []string{"p"}) || len(w.released)+len(w.failed) > 0 {
			w.Errorf("lost %v, released %v, failed %v", w.lost, w.released, w.failed)
		}
		if w.beats != 6 || !w.left {
			w.Errorf("%d beats, left %t", w.beats, w.left)
		}
	})
}

// A turn whose call takes long gives its slot up, and is counted for nothing but what it waits for.
func TestSlowCall(t *testing.T) {
	bubble(t, func(w *world) {
		w.due, w.concurrency = []string{"slow", "other"}, 1
		begun := time.Now()
		var other time.Duration
		w.turn = func(_ context.Context, t *turn.Task) error {
			resources := []turn.Resource{{Name: "team a", Share: 1}}
			if t.Claim.Policy == "slow" {
				resources = append(resources, turn.Resource{Name: "store a", Share: 1})
			}
			if err := t.Admit(resources); err != nil {
				return err
			}
			if t.Claim.Policy == "other" {
				other = time.Since(begun)
				return nil
			}
			defer t.Slow("store a")()
			time.Sleep(20 * time.Second)
			return nil
		}
		w.run(59 * time.Second)
		if other < 2*time.Second || other > 3*time.Second {
			w.Errorf("the other turn began after %s", other)
		}
	})
}

// A turn in hand is told that the process is to stop, and canceled when it does not end in time.
func TestRunParks(t *testing.T) {
	bubble(t, func(w *world) {
		w.due = []string{"p"}
		begun := time.Now()
		w.turn = func(ctx context.Context, t *turn.Task) error {
			time.Sleep(11 * time.Second)
			if !t.Stopping() || ctx.Err() != nil {
				w.Errorf("stopping %t, canceled %v", t.Stopping(), ctx.Err())
			}
			<-ctx.Done()
			return ctx.Err()
		}
		w.run(10 * time.Second)
		if took := time.Since(begun); took != 35*time.Second {
			w.Errorf("it stopped after %s", took)
		}
		if _, ok := w.released["p"]; !ok {
			w.Error("the claim was not released")
		}
	})
}
