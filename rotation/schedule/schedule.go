// Package schedule hands out turns: it claims policies that are due, gives each claim to a turn, and sees to it that the
// claim ends.
//
// loop.go claims what is due and begins its turns; batch.go claims policies at rest, many at once, and releases those in
// which nothing happened together. task.go is one claim with what its turn may ask, and what becomes of it when the turn
// fails. lease.go keeps a claim that ends by itself, and stops the turn once another replica may have the policy.
// limiter.go keeps a slow store or team from holding up the others. replica.go says that this process is alive, and
// chores.go runs what is to be done beside turns.
//
// The package knows nothing of keys, stores or xAI. A crash at any line leaves claims: those of a single process are void
// when the next one opens the journal, and those of a replica end by themselves.
package schedule

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"rotator/rotation/journal"
	"rotator/rotation/turn"
)

// Claims hands out policies, each to one owner at a time. The methods are those of [journal.Claimer].
type Claims interface {
	Claim(ctx context.Context, owner string, now time.Time, limit int, only ...string) ([]journal.Claim, error)
	ClaimResting(ctx context.Context, owner string, now time.Time, limit int, only ...string) ([]journal.Claim, error)
	Next(ctx context.Context) (due, rest time.Time, err error)
	Hasten(ctx context.Context, now time.Time, beyond time.Duration) error
	Wakes(ctx context.Context, wake func()) error
}

// Leases keeps claims and ends them. The methods are those of [journal.Journal].
type Leases interface {
	Lease() time.Duration
	Renew(ctx context.Context, now time.Time, c journal.Claim) (journal.Claim, error)
	Release(ctx context.Context, c journal.Claim, at time.Time) error
	Commit(ctx context.Context, c journal.Claim, rec *journal.Record, release bool, events ...journal.Event) error
	CommitAll(ctx context.Context, done []journal.Outcome) ([]error, error)
}

// Records loads what the turns of a batch act on. The method is that of [journal.Reader].
type Records interface {
	LoadAll(ctx context.Context, policies []string) ([]*journal.Record, error)
}

// Replicas records which processes are alive. The methods are those of [journal.Journal].
type Replicas interface {
	Replicas(ctx context.Context) ([]journal.Replica, error)
	Beat(ctx context.Context, now time.Time, r journal.Replica) error
	Leave(ctx context.Context, name string) error
}

// Runner takes turns. It is safe for concurrent use.
type Runner interface {
	// Turn acts for the task's policy until it has to wait, and ends the claim: by a commit that releases it, or by
	// ReleaseTogether of its hooks. After an error the scheduler ends it.
	Turn(ctx context.Context, t *turn.Task) error
	// Fail records in the policy's row a failure that its turn could not record, and releases the claim; the policy is
	// tried again after pause.
	Fail(ctx context.Context, t *turn.Task, cause error, pause time.Duration) error
	// Lost is told when the claim on a policy was lost, before its turn counts as ended.
	Lost(policy string)
	// Moving reports whether any policy is on its way and will go on without a human or a long wait: RunOnce waits for it.
	Moving(ctx context.Context) (bool, error)
}

// Options are what a Scheduler is made of.
type Options struct {
	Claims   Claims
	Leases   Leases
	Records  Records
	Replicas Replicas
	Runner   Runner
	// Chores begins in group what is to be done beside turns, where it is due. It is called at a steady pace; group is
	// limited to Concurrency at once.
	Chores func(ctx context.Context, group *errgroup.Group)
	// Tidy drops what is kept in memory and no one needs any more. Run calls it before Chores; RunOnce does not, since its
	// process ends.
	Tidy func(ctx context.Context)

	// Owner names this process in the journal: unique among all that share it. Host and Version are for people to see.
	Owner, Host, Version string
	// Observes reports that the runner changes nothing outside at present. While another process that does is alive, this one
	// claims nothing: a policy that it claims is paused. nil: it never does.
	Observes func() bool
	// Only names the policies to act for. None named: all.
	Only []string

	Concurrency int           // turns at once
	Watch       time.Duration // between two looks at a policy at rest
	Park        time.Duration // that turns have to finish when Run stops; 0: 25 seconds

	Log  *slog.Logger         // nil: nothing reads it
	Now  func() time.Time     // this machine's clock; nil: time.Now
	Boot func() time.Duration // what leases are measured on; nil: [SinceBoot]
}

// Scheduler hands out turns. It is safe for concurrent use.
type Scheduler struct {
	claims   Claims
	leases   Leases
	records  Records
	replicas Replicas
	runner   Runner
	chores   func(context.Context, *errgroup.Group)
	tidy     func(context.Context)

	owner, host, version string
	observes             func() bool
	only                 []string

	concurrency int
	watch, park time.Duration

	log  *slog.Logger
	now  func() time.Time
	boot func() time.Duration

	limiter *limiter
	wake    chan struct{} // one buffered token: someone changed when a policy is due

	mu        sync.Mutex
	lastLook  time.Time        // guarded by mu: when it last looked for due policies, and the journal answered
	lastTry   time.Time        // guarded by mu: when it last looked, answered or not
	lookError error            // guarded by mu: of the last look
	restError error            // guarded by mu: of the last batch
	stranded  map[string]error // guarded by mu: policy → why its claim could not be released yet
}

// New makes a scheduler. It does nothing before Run, RunOnce or Turn.
func New(o Options) *Scheduler {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Boot == nil {
		o.Boot = SinceBoot
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Observes == nil {
		o.Observes = func() bool { return false }
	}
	return &Scheduler{
		claims: o.Claims, leases: o.Leases, records: o.Records, replicas: o.Replicas, runner: o.Runner, chores: o.Chores, tidy: o.Tidy,
		owner: o.Owner, host: o.Host, version: o.Version, observes: o.Observes, only: o.Only,
		concurrency: o.Concurrency, watch: o.Watch, park: cmp.Or(o.Park, 25*time.Second),
		log: o.Log, now: o.Now, boot: o.Boot,
		limiter: newLimiter(o.Now), wake: make(chan struct{}, 1), stranded: make(map[string]error),
	}
}

// Wake makes the scheduler look at once.
func (s *Scheduler) Wake() {
	select {
	case s.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// LastLook is when the journal last answered the scheduler's question for due policies: the dead man's switch.
func (s *Scheduler) LastLook() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lastLook
}

// LastTry is when the scheduler last asked the journal for due policies, and what prevented an answer, then or when it
// last asked for those at rest, or what keeps a claim from being released: while that is not nil, nothing is acted on, or
// nothing for that policy.
func (s *Scheduler) LastTry() (time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lookError != nil {
		return s.lastTry, s.lookError
	}
	for _, err := range s.stranded {
		return s.lastTry, err
	}
	return s.lastTry, s.restError
}

// strand notes why a policy's claim could not be released; nil: it was.
func (s *Scheduler) strand(policy string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.stranded, policy)
	if err != nil {
		s.stranded[policy] = err
	}
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
