// Package rotation rotates keys.
//
// A turn is one owner's work at one policy, from its claim to the release of it. It runs six jobs in order, again and again
// until all of them wait: commands.go carries out what people say; settle.go and switches.go find out what became of changes whose answer
// was lost; observe.go reads targets and asks keys who they are; heal.go sees to it that consumers read a key that works;
// rotate.go takes the rotation in flight a step further (create.go, verify.go, promote.go) or begins one that is due; and
// retire.go takes each old key a step closer to its end. run.go is the turn. In observe mode all of them only look, and say
// what they would do: mode.go.
//
// Every change outside goes through package effect: the intent is committed, then the call is made, then its outcome is
// recorded. A crash between any two of them leaves a row from which the next turn finds out what happened. Every disable and
// every delete passes gate.go. reconcile.go compares a journal that may not be the newest with what is outside. When a
// policy has its turn, and how its claim is kept and ended, is for package schedule to say; runner.go connects the two.
package rotation

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"rotator/internal/secret"
	"rotator/policies"
	"rotator/rotation/inventory"
	"rotator/rotation/journal"
	"rotator/stores"
	"rotator/xai"

	"golang.org/x/sync/errgroup"
)

//go:generate go test . -run ^TestDocs$ -update

// KeyAPI is what the engine uses of xAI's Management API. Only CreateKey is never repeated blindly.
type KeyAPI interface {
	CreateKey(ctx context.Context, teamID string, r xai.CreateRequest) (xai.CreatedKey, error)
	ListKeys(ctx context.Context, teamID string) (xai.KeyList, error)
	UpdateKey(ctx context.Context, teamID, keyID string, u xai.KeyUpdate) (xai.Key, error)
	DeleteKey(ctx context.Context, keyID string) error
	Propagation(ctx context.Context, keyID string) (xai.Propagation, error)
}

// TeamAPI is what the engine asks about a team besides its keys.
type TeamAPI interface {
	Validate(ctx context.Context) (xai.ManagementKey, error)
	Usage(ctx context.Context, teamID string, q xai.UsageQuery) (xai.Usage, error)
	Offered(ctx context.Context, teamID string) (xai.Offered, error)
}

// ProbeAPI asks xAI with an API key of its own.
type ProbeAPI interface {
	WhoAmI(ctx context.Context, key secret.Text) (xai.Identity, error)
	Models(ctx context.Context, key secret.Text) ([]string, error)
	Chat(ctx context.Context, key secret.Text, model string) error
}

// Team is one team of xAI with the management key that speaks for it.
type Team struct {
	ID    string
	Keys  KeyAPI
	About TeamAPI
	Probe ProbeAPI
}

// Environment is what the configuration names: stores and teams. A reload swaps the whole of it.
type Environment interface {
	// Store returns the store of that name; false when the configuration has none.
	Store(name string) (stores.Store, bool)
	// Team returns the team of that name. An error means that its id is not known yet (xAI did not answer).
	Team(ctx context.Context, name string) (Team, error)
	// Teams returns the names of the teams, sorted.
	Teams() []string
	// Stores returns the names of the stores.
	Stores() []string
	Restraints
}

// Restraints are what the configuration keeps the engine from.
type Restraints interface {
	// Freezes returns the times in which nothing is changed that can wait.
	Freezes() []policies.Freeze
	// Observes reports observe mode: nothing may be changed at xAI or in a store.
	Observes() bool
	// AdoptedWithin says of which policies, by the files that they were read from, the targets must have been read before a key is
	// disabled or deleted that a policy of this file adopted. Nil: of all.
	AdoptedWithin(file string) (within func(file string) bool)
}

// Ledger is what a turn uses of the journal.
type Ledger interface {
	Commit(ctx context.Context, c journal.Claim, rec *journal.Record, release bool, events ...journal.Event) error
	journal.Reader
	journal.Places
	Meta(ctx context.Context, key string) (string, error)
	Explanations(ctx context.Context, ref string) ([]journal.Chained, error)
}

// Limits are the engine's paces. The zero value of each means its default.
type Limits struct {
	Quarantine  time.Duration // how long a key of a lost create may still appear: 10 minutes
	Watch       time.Duration // between two looks at targets and keys: 15 minutes, at most half the journal's horizon
	Concurrency int           // turns at once: 16. A wait is a timer and takes no slot
	MaxBackoff  time.Duration // between two tries of a failing step: 15 minutes
	Stuck       time.Duration // after which an incomplete propagation waits for a human: 30 minutes
	Unresolved  int           // attempts a policy may have unsettled before no more keys are made: 3
	BadAnswers  int           // answers in a row that prove a key bad: 5
	BadSpan     time.Duration // over at least: 2 minutes
	Proofs      int           // answers in a row of the key itself that show it propagated: 3
	ClockSkew   time.Duration // between our clock and xAI's, beyond which nothing is destroyed: 5 minutes
	Call        time.Duration // for one call to a store: 60 seconds
}

func (l Limits) withDefaults() Limits {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&l.Quarantine, 10*time.Minute)
	def(&l.Watch, 15*time.Minute)
	def(&l.MaxBackoff, 15*time.Minute)
	def(&l.Stuck, 30*time.Minute)
	def(&l.BadSpan, 2*time.Minute)
	def(&l.ClockSkew, 5*time.Minute)
	def(&l.Call, time.Minute)
	for p, v := range map[*int]int{&l.Concurrency: 16, &l.Unresolved: 3, &l.BadAnswers: 5, &l.Proofs: 3} {
		if *p == 0 {
			*p = v
		}
	}
	l.Watch = min(l.Watch, journal.Horizon/2)
	return l
}

// Options are what an Engine is made of.
type Options struct {
	Journal     journal.Journal
	Environment Environment
	Limits      Limits
	Log         *slog.Logger
	// Only names the policies to act for; the others are left to the next process. None named: all.
	Only []string
	// Rights returns what the policies of a team name in their ACLs, and which policies do: ACL → names. Nil: no one is told
	// when xAI does not offer something any more.
	Rights func(team string) map[string][]string
	// Unclaimed: the journal belongs to another installation, and everything is only compared.
	Unclaimed bool
	// Ordered: no rotation begins but one that was ordered. A command that carries out an order without a daemon leaves the others
	// to one.
	Ordered bool
	// Now is the clock; nil is time.Now. Within a turn the journal's clock at the claim leads.
	Now func() time.Time
	// Pause waits within a turn, which only a rehearsal does; nil is a timer.
	Pause func(ctx context.Context, d time.Duration) error
	// Observe is told of every step before it is taken. It returns the context that the step is taken in, and what is
	// told of the step when it has ended. It must not block. Nil is nothing.
	Observe func(ctx context.Context, s Step) (context.Context, func(Step))
}

// Step reports one step of one policy.
type Step struct {
	Policy   string
	Rotation string        // id of the one in flight; "" when there was none, at the step's end the one that it began
	State    journal.State // before the step; "" when no rotation was in flight

	// Known at its end.
	Outcome string             // moved, waits, failed, or ended: a rotation is over
	After   journal.State      // of the rotation in flight, "" when there is none
	Reason  journal.Reason     // why it did not go on, or ""
	Ended   []journal.Rotation // what it brought to an end
	Took    time.Duration
}

// Engine rotates keys. It is safe for concurrent use.
type Engine struct {
	journal journal.Journal
	ledger  Ledger // of turns: the same
	limits  Limits
	log     *slog.Logger
	only    []string
	ordered bool
	foreign bool // the journal belongs to another installation
	without rule // of the gate: turned off by a test
	now     func() time.Time
	observe func(context.Context, Step) (context.Context, func(Step))
	pause   func(context.Context, time.Duration) error

	hand  values           // of keys that are not live yet
	lists *inventory.Lists // of the teams' keys
	specs specs            // of policies
	idle  idleKeys         // that need no update

	mu  sync.Mutex
	env Environment // guarded by mu
}

// New makes an engine. It does nothing before Turn: see package schedule, which hands out turns.
func New(o Options) *Engine {
	e := &Engine{
		journal: o.Journal,
		ledger:  o.Journal,
		env:     o.Environment,
		foreign: o.Unclaimed,
		limits:  o.Limits.withDefaults(),
		log:     o.Log,
		only:    o.Only,
		ordered: o.Ordered,
		now:     o.Now,
		observe: o.Observe,
		pause:   o.Pause,
	}
	if e.now == nil {
		e.now = time.Now
	}
	if e.pause == nil {
		e.pause = pause
	}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	if e.observe == nil {
		e.observe = func(ctx context.Context, _ Step) (context.Context, func(Step)) { return ctx, func(Step) {} }
	}
	e.lists = inventory.New(inventory.Options{
		Book: o.Journal, Rights: o.Rights, Names: o.Journal, Notes: o.Journal, World: func() inventory.World { return world{e.environment()} },
		Every: e.limits.Watch, Quarantine: e.limits.Quarantine, Log: e.log, Now: e.now,
	})
	return e
}

// world is what the inventory sees of an environment.
type world struct{ Environment }

// Team implements inventory.World.
func (w world) Team(ctx context.Context, name string) (inventory.Team, error) {
	t, err := w.Environment.Team(ctx, name)
	return inventory.Team{ID: t.ID, Keys: t.Keys, About: t.About}, err
}

// Lists says what the keys in a team's list are to the rotator.
func (e *Engine) Lists() *inventory.Lists { return e.lists }

// Chores begins in group what is to be done beside turns, where it is due.
func (e *Engine) Chores(ctx context.Context, group *errgroup.Group) { e.lists.Begin(ctx, group) }

// Reload swaps the stores and teams. Turns in hand end with those they began with; others begin with the new ones.
func (e *Engine) Reload(env Environment) {
	e.mu.Lock()
	e.env = env
	e.mu.Unlock()
}

// Limits are the engine's, with the defaults filled in.
func (e *Engine) Limits() Limits { return e.limits }

// Tidy drops what is kept in memory and no one needs any more.
func (e *Engine) Tidy(ctx context.Context) { e.hand.dropDead(ctx, e.journal) }

func (e *Engine) environment() Environment {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.env
}

// unclaimed reports that the journal belongs to another installation.
func (e *Engine) unclaimed() bool { return e.foreign }

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
