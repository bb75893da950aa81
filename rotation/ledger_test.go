package rotation_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"rotator/rotation"
	"rotator/rotation/journal"
)

// ledger is a journal that counts what it is asked, and may answer in place of the one behind it.
type ledger struct {
	journal.Journal
	mu     sync.Mutex
	asked  map[string]int                               // guarded by mu: by the name of the method
	held   map[string]time.Time                         // guarded by mu: policy → when it was claimed
	leases bool                                         // its claims end by themselves, as with replicas
	woken  chan struct{}                                // someone else woke a policy
	refuse func(method string, policies []string) error // asked one at a time
}

func newLedger(j journal.Journal) *ledger {
	return &ledger{Journal: j, asked: make(map[string]int), held: make(map[string]time.Time), woken: make(chan struct{})}
}

func (l *ledger) ask(method string, policies ...string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked[method]++
	if l.refuse == nil {
		return nil
	}
	return l.refuse(method, policies)
}

// since returns what was asked since the last call.
func (l *ledger) since() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.asked
	l.asked = make(map[string]int)
	return was
}

func (l *ledger) claimedAt(policy string) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held[policy]
}

func (l *ledger) lend(claims []journal.Claim) []journal.Claim {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range claims {
		l.held[claims[i].Policy] = time.Now()
		if l.leases {
			claims[i].Until = claims[i].Now.Add(l.Lease())
		}
	}
	return claims
}

func (l *ledger) Lease() time.Duration {
	if l.leases {
		return 15 * time.Second
	}
	return 0
}

func (l *ledger) Claim(ctx context.Context, owner string, now time.Time, limit int, only ...string) ([]journal.Claim, error) {
	if err := l.ask("Claim"); err != nil {
		return nil, err
	}
	claims, err := l.Journal.Claim(ctx, owner, now, limit, only...)
	return l.lend(claims), err
}

func (l *ledger) ClaimResting(ctx context.Context, owner string, now time.Time, limit int, only ...string) ([]journal.Claim, error) {
	if err := l.ask("ClaimResting"); err != nil {
		return nil, err
	}
	claims, err := l.Journal.ClaimResting(ctx, owner, now, limit, only...)
	return l.lend(claims), err
}

func (l *ledger) Next(ctx context.Context) (due, rest time.Time, err error) {
	if err := l.ask("Next"); err != nil {
		return due, rest, err
	}
	return l.Journal.Next(ctx)
}

func (l *ledger) Load(ctx context.Context, policy string) (*journal.Record, error) {
	if err := l.ask("Load", policy); err != nil {
		return nil, err
	}
	return l.Journal.Load(ctx, policy)
}

func (l *ledger) LoadAll(ctx context.Context, policies []string) ([]*journal.Record, error) {
	if err := l.ask("LoadAll", policies...); err != nil {
		return nil, err
	}
	return l.Journal.LoadAll(ctx, policies)
}

func (l *ledger) Renew(ctx context.Context, now time.Time, c journal.Claim) (journal.Claim, error) {
	return c, l.ask("Renew", c.Policy)
}

func (l *ledger) Release(ctx context.Context, c journal.Claim, at time.Time) error {
	if err := l.ask("Release", c.Policy); err != nil {
		return err
	}
	return l.Journal.Release(ctx, c, at)
}

func (l *ledger) Commit(ctx context.Context, c journal.Claim, rec *journal.Record, release bool, ev ...journal.Event) error {
	if err := l.ask("Commit", c.Policy); errors.Is(err, journal.ErrLost) { // who took it over is done with it
		return errors.Join(err, l.Journal.Release(ctx, c, c.Now.Add(time.Minute)))
	} else if err != nil {
		return err
	}
	return l.Journal.Commit(ctx, c, rec, release, ev...)
}

func (l *ledger) CommitAll(ctx context.Context, done []journal.Outcome) ([]error, error) {
	names := make([]string, len(done))
	for i, d := range done {
		names[i] = d.Claim.Policy
	}
	if err := l.ask("CommitAll", names...); err != nil {
		return nil, err
	}
	return l.Journal.CommitAll(ctx, done)
}

func (l *ledger) Beat(ctx context.Context, now time.Time, r journal.Replica) error {
	if err := l.ask("Beat"); err != nil {
		return err
	}
	return l.Journal.Beat(ctx, now, r)
}

func (l *ledger) Wakes(ctx context.Context, wake func()) error {
	for {
		select {
		case <-l.woken:
			wake()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// atRest puts a ledger before the journal of a world with n policies p0, p1, … that have their keys and rest. Those
// with a number in other live in store b, the rest in store a.
func (b *bench) atRest(n int, other ...int) *ledger {
	b.t.Helper()
	var docs []string
	for i := range n {
		store := "a"
		if slices.Contains(other, i) {
			store = "b"
		}
		docs = append(docs, policyDoc(fmt.Sprint("p", i), quick, targetOf(store, i)))
	}
	b.load(docs...)
	b.runs(17 * time.Minute) // the first watch closes the effects of the rotations
	for name := range b.specs {
		if b.record(name).Policy.KeyID == "" {
			b.t.Fatalf("%s has no key", name)
		}
	}
	l := newLedger(b.journal)
	b.engine = newEngine("engine", rotation.Options{Journal: l, Environment: b, Limits: b.limits, Now: b.now})
	return l
}

// watched fails the test unless every policy but those excepted was watched within the last d.
func (b *bench) watched(d time.Duration, except ...string) {
	b.t.Helper()
	for name := range b.specs {
		if row := b.record(name).Targets[0]; b.clock.Sub(row.SeenAt) > d && !slices.Contains(except, name) {
			b.violated("%s was last looked at %s ago", name, b.clock.Sub(row.SeenAt))
		}
	}
}
