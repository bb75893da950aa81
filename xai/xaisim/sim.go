// Package xaisim simulates xAI's Management and inference APIs in memory, for tests and rehearsals.
//
// It is strict: what the real APIs are known to refuse, it refuses, with the statuses and bodies that were seen. It is
// also as unhelpful as they are: requests land on a random cluster, keys reach clusters one by one, lists lag and come in
// no order, deletes and disables may take effect late, and any call can fail before its effect, after it, or have it
// while nobody looks any more. It shares no code with the client, so that the two cannot agree on a mistake.
//
// Nothing happens by itself: there are no goroutines and no timers, all lateness is worked out from [Options.Now] when
// somebody asks. With the same seed, clock and order of calls, everything that is random happens again.
package xaisim

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"rotator/internal/secret"
)

// Bounds of what is kept in memory.
const (
	maxKeys    = 250_000 // that are not deleted
	maxDeleted = 5_000   // the oldest are forgotten first
	maxEvents  = 10_000
)

// Options shape a simulator. The zero value is a patient, healthy xAI with three clusters and two models.
type Options struct {
	Now     func() time.Time // nil: time.Now
	Seed    uint64           // of everything that is random
	Latency time.Duration    // a real wait before each answer; 0: none

	Clusters    []string                         // host names; nil: three of them
	Propagation func(r *rand.Rand) time.Duration // how late a cluster learns of a new secret; nil: 0.5 to 1.5 s
	ListLag     time.Duration                    // how late lists learn of a create or a delete
	DeleteLag   time.Duration                    // how much longer a deleted key is accepted
	DisableLag  time.Duration                    // how much longer a disabled key is accepted
	EnableLag   time.Duration                    // how much longer an enabled key is refused
	RateLimit   RateLimit                        // of each management key
	Teams       []string                         // team ids, beside those that management keys name
	Models      []string                         // nil: grok-4 and grok-3-mini
	Management  map[string]ManagementKey         // token → what it may do; see also NewManagementKey

	// LateDisableWins makes a disable land after DisableLag even when the key was enabled meanwhile.
	LateDisableWins bool
	// WhoAmIAnswersDisabled makes GET /v1/api-key of a disabled key answer 200 with api_key_disabled true rather than 403.
	// Which of the two xAI does is not known.
	WhoAmIAnswersDisabled bool
}

// RateLimit is a token bucket. The zero value is no limit.
type RateLimit struct {
	PerSecond  float64
	Burst      int
	RetryAfter time.Duration // sent as a header, in whole seconds; 0: no header
}

// ManagementKey is what a management token is allowed to do.
type ManagementKey struct {
	ID, Name     string   // made up when empty
	Teams        []string // the first is its own
	Organization bool     // every team
	Ops          []string // the operations it may call (see Call.Op); nil: all
}

// Billing is a team's account.
type Billing int

const (
	BillingFine   Billing = iota
	NoCredits             // 403 on each chat
	SpendingLimit         // 429 on each chat
)

// Sim is a simulated xAI. Its methods are safe for concurrent use; hooks run without its lock, and may call it.
type Sim struct {
	o      Options
	routes []route

	mu         sync.Mutex // guards what follows
	rng        *rand.Rand
	teams      map[string]*team
	keys       map[string]*key        // key id → key, deleted ones included
	secrets    map[string]*credential // plaintext → credential
	deleted    []string               // key ids, oldest first
	management map[string]*manager    // token → its rights and pace
	pending    []pendingEffect        // what lands later, in order of time
	faults     []*Fault
	calls      map[string]int
	hooks      []func(Call)
}

type team struct {
	id        string
	keys      []*key // by order
	billing   Billing
	blocked   bool
	throttled bool
	events    []event
}

type manager struct {
	ManagementKey
	limit *rate.Limiter // nil: none
	retry time.Duration
}

// pendingEffect is a request whose effect comes after its answer was lost.
type pendingEffect struct {
	at  time.Time
	run func(at time.Time)
}

// New returns a simulator.
func New(o Options) *Sim {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Clusters == nil {
		o.Clusters = []string{"cloud9.api.x.ai", "us-east-1.api.x.ai", "eu-west-1.api.x.ai"}
	}
	if o.Propagation == nil {
		o.Propagation = func(r *rand.Rand) time.Duration {
			return 500*time.Millisecond + time.Duration(r.Int64N(int64(time.Second)))
		}
	}
	if o.Models == nil {
		o.Models = []string{"grok-4", "grok-3-mini"}
	}
	s := &Sim{
		o: o, routes: routes(), rng: rand.New(rand.NewPCG(o.Seed, 0x7261696c)),
		teams: map[string]*team{}, keys: map[string]*key{}, secrets: map[string]*credential{},
		management: map[string]*manager{}, calls: map[string]int{},
	}
	for _, id := range o.Teams {
		s.AddTeam(id)
	}
	for token, k := range o.Management {
		s.AddManagementKey(secret.New(token), k)
	}
	return s
}

// now returns the time, after everything that was due by then has landed. s.mu is held.
func (s *Sim) now() time.Time {
	now := s.o.Now()
	for len(s.pending) > 0 && !s.pending[0].at.After(now) {
		next := s.pending[0]
		s.pending = s.pending[1:]
		next.run(next.at)
	}
	return now
}

// later has run called at the time at, which is when it is first looked for after it.
func (s *Sim) later(at time.Time, run func(time.Time)) {
	s.pending = append(s.pending, pendingEffect{at, run})
	slices.SortStableFunc(s.pending, func(a, b pendingEffect) int { return a.at.Compare(b.at) })
}

func (s *Sim) alphanumerics(n int) string {
	const set = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	b := make([]byte, n)
	for i := range b {
		b[i] = set[s.rng.IntN(len(set))]
	}
	return string(b)
}

func (s *Sim) uuid() string {
	hi, lo := s.rng.Uint64(), s.rng.Uint64()
	return fmt.Sprintf("%08x-%04x-4%03x-%04x-%012x", hi>>32, hi>>16&0xffff, hi&0xfff, 0x8000|lo>>48&0x3fff, lo&0xffffffffffff)
}

// ServeHTTP serves both APIs on one address.
func (s *Sim) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.serve(w, r, bothAPIs) }

// Management serves the Management API alone.
func (s *Sim) Management() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, managementAPI) })
}

// Inference serves the inference API alone.
func (s *Sim) Inference() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, inferenceAPI) })
}
