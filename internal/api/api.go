// Package api is how people see the rotator and talk to it: one HTTP API for the commands, and a page, metrics and
// health for everyone else on this machine.
//
// [Server.Control] is the whole API. It is served on the unix socket, whose file mode says who may give orders, and by
// [InProcess] to a command that works without a daemon, so that both take the same path. [Server.Public] only looks:
// it has no route that changes anything, and answers no method but GET and HEAD.
//
// Everything shown comes from the journal, which never holds a secret. This package and everything below it cannot even
// see the type that secrets live in; a test on the import graph keeps it so.
package api

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"golang.org/x/sync/singleflight"

	"rotator/rotation/journal"
)

// ReasonInfo is one line of the closed list of reasons why a policy waits.
type ReasonInfo struct {
	Reason journal.Reason
	Human  bool // trying again alone is unlikely to help
	Means  string
	Do     string
}

// View is the current state, by the journal. The methods are those of [journal.Reader].
type View interface {
	Summaries(ctx context.Context, policies ...string) ([]journal.Summary, error)
	Rotations(ctx context.Context, policy string, limit int) ([]journal.Rotation, error)
	Events(ctx context.Context, after int64, limit int) ([]journal.Event, error)
	Teams(ctx context.Context) ([]journal.Team, error)
	Replicas(ctx context.Context) ([]journal.Replica, error)
}

// Marks are single facts of the journal. The methods are those of [journal.Journal].
type Marks interface {
	LastEvent(ctx context.Context) (int64, error)
	Loads(ctx context.Context) ([]journal.Load, error)
	Meta(ctx context.Context, key string) (string, error)
	Size(ctx context.Context) (int64, error)
	Lease() time.Duration
}

// Map is what targets were last seen to hold. The method is that of [journal.Reader].
type Map interface {
	Targets(ctx context.Context, policies ...string) ([]journal.Target, error)
}

// Inbox takes what people say. The methods are those of [journal.Words].
type Inbox interface {
	Place(ctx context.Context, o journal.Order) (int64, error)
	OrderByID(ctx context.Context, id int64) (journal.Order, error)
	HoldOf(ctx context.Context, policy string) (journal.Hold, error)
	SetHold(ctx context.Context, now time.Time, policy string, h journal.Hold, e journal.Event) error
	Forget(ctx context.Context, now time.Time, policy string, target *journal.TargetID, e journal.Event) error
}

// Keys are single keys, and what may hold them. The methods are those of [journal.Reader].
type Keys interface {
	Key(ctx context.Context, id string) (journal.Key, error)
	SightingsOf(ctx context.Context, keyID, fingerprint string) ([]journal.Sighting, error)
}

// Journal is the part of the journal that the server needs. It can neither claim a policy nor commit.
type Journal interface {
	View
	Map
	Marks
	Keys
	Inbox
}

// Scheduler is the part of the engine that the server needs: it is woken after every word of a human, and tells
// from its last looks whether it lives and may act.
type Scheduler interface {
	Wake()
	// LastLook is when the journal last answered it.
	LastLook() time.Time
	// LastTry is when it last asked the journal, and what prevented an answer: then it acts for no policy.
	LastTry() (time.Time, error)
}

// AtXAI is what only xAI knows of teams. A team that cannot be asked then is a row with an error.
type AtXAI interface {
	// Keys lists the keys of a team, of every team when none is named.
	Keys(ctx context.Context, q KeysQuery) ([]KeyRow, error)
	// ACLs lists what policies of a team, of every team for "", may name in their ACLs, and what they name beside that.
	ACLs(ctx context.Context, team string) ([]ACLRow, error)
	// Identify says which key a value is, or has the fingerprint or the id. Nothing of the value is kept.
	Identify(ctx context.Context, q IdentifyRequest) ([]IdentityRow, error)
}

// Actions is what only the program itself can do: it needs the stores, the teams or the files.
type Actions interface {
	AtXAI
	// Plan predicts what would happen to the policies named, all when none is: the next rotation of each or, with until,
	// every one that begins before then. It touches nothing.
	Plan(ctx context.Context, policies []string, until time.Time) ([]PlanRow, error)
	// Adoptions says which keys the policies, all when there are none, would adopt after the journal was lost, and touches
	// nothing.
	Adoptions(ctx context.Context, policies []string) ([]AdoptionRow, error)
	// Check tries configuration, policies, management keys and rights in stores.
	Check(ctx context.Context) ([]CheckRow, error)
	// Reload reads configuration and policies again. What an error (policies.Problems) names stays as it was, and all else is
	// in force; after any other error nothing changed.
	Reload(ctx context.Context) error
}

// Options are what a Server is made of.
type Options struct {
	Journal Journal
	// Scheduler is nil in a program that schedules nothing; it then never counts as healthy.
	Scheduler Scheduler
	// Actions is nil where they cannot be done; asking for them is then refused.
	Actions Actions
	// Reasons is the closed list of reasons.
	Reasons []ReasonInfo
	// Teams returns the teams of the configuration, each of which must have been validated before the daemon is ready;
	// nil: none has to be. Teams that the journal knows from former configurations are not reported.
	Teams func() []string
	// Hosts are names by which Public may be asked for besides localhost and any IP address.
	Hosts []string
	// Stores returns the names of the stores of the configuration, whose last answers readiness reports; nil: none.
	Stores func() []string
	// Loaded returns how this process last read its files; nil: it reads none.
	Loaded func() Loading
	// Spans returns how many spans of traces had which outcome; nil: no traces are made.
	Spans func() map[string]uint64
	// Unlogged returns how many lines of the log were dropped; nil: none ever are.
	Unlogged func() uint64
	// Mode returns the mode of this process, rotate or observe; nil: rotate.
	Mode func() string
	// Version of the program, and the commit that it was built from.
	Version, Commit string
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	Log *slog.Logger
}

// Server answers what people ask. It is safe for concurrent use.
type Server struct {
	o       Options
	reasons map[journal.Reason]ReasonInfo
	started time.Time
	meters  *meters
	seen    *snapshots
	asking  singleflight.Group // of the journal, by /readyz
	answers lastAnswers
}

// New makes a server. It asks nothing of the journal yet.
func New(o Options) *Server {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Mode == nil {
		o.Mode = func() string { return ModeRotate }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	c := &Server{o: o, reasons: make(map[journal.Reason]ReasonInfo, len(o.Reasons)), started: o.Now()}
	for _, r := range o.Reasons {
		c.reasons[r.Reason] = r
	}
	c.seen = &snapshots{server: c}
	c.answers.of = make(map[string]lastAnswer)
	c.meters = newMeters(c)
	return c
}

func (c *Server) needsHuman(r journal.Reason) bool { return c.reasons[r].Human }

// wake makes the scheduler see at once what a human said.
func (c *Server) wake() {
	if c.o.Scheduler != nil {
		c.o.Scheduler.Wake()
	}
}

// Control is the whole API: see the routes in control.go.
func (c *Server) Control() http.Handler { return c.control() }

// Public is the API, the page, metrics and health for looking only. To other machines it answers with metrics and health
// alone. The history is read from past; nil is the server's journal: give one with connections of its own, so that who reads
// history takes none from the rotations.
func (c *Server) Public(past Past) http.Handler {
	if past == nil {
		past = c.o.Journal
	}
	return c.public(past)
}
