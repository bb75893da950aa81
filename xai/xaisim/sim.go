// Package xaisim simulates xAI's Management and inference APIs in memory, for tests and rehearsals.
//
// It is strict: what the real APIs are known to refuse, it refuses, with the statuses and bodies that were seen. It is
// also as unhelpful as they are: requests land on a random cluster, keys reach clusters one by one, lists lag and come in
// no order, deletes and disables may take effect late, and any call can fail before its effect, after it, or have it
// while no one looks any more. It shares no code with the client, so that the two cannot agree on a mistake.
//
// Nothing happens by itself: there are no goroutines and no timers, all lateness is worked out from [Options.Now] when
// someone asks. With the same seed, clock and order of calls, everything that is random happens again.
package xaisim

import (
	"fmt"
	"math/rand/v2"
	"net/http"
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

// Sim is a simulated xAI. Its methods are safe for concurrent use; hooks run without its lock, and may call it.
type Sim struct {
	o      Options
	routes []route

	mu         sync.Mutex // guards what follows
	rng        *rand.Rand
	source     *rand.PCG // of rng
	teams      map[string]*team
	keys       map[string]*key        // key id → key, deleted ones included
	secrets    map[string]*credential // plaintext → credential
	deleted    []string               // key ids, oldest first
	management map[string]*manager    // token → its rights and pace
	pending    []pendingEffect        // what lands later, in order of time
	faults     []*Fault
	calls      map[string]int
	hooks      []func(Call)
	observers  []func(Effect)
	landed     []Effect // not yet passed to the observers
	late       bool     // a request whose answer was lost is taking effect
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
	if o.OtherModels == nil {
		o.OtherModels = map[string][]string{"imageGenerationModels": {"grok-2-image"}, "embeddingModels": {"v1"},
			"audioModels": {"grok-voice"}, "videoGenerationModels": {"grok-imagine-video"}}
	}
	source := rand.NewPCG(o.Seed, 0x7261696c)
	s := &Sim{
		o: o, routes: routes(), source: source, rng: rand.New(source),
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
