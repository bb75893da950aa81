package rotation_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rotator/internal/secret"
	"rotator/policies"
	"rotator/rotation"
	"rotator/rotation/journal"
	"rotator/rotation/journal/sqldb"
	"rotator/stores"
	"rotator/stores/memstore"
	"rotator/xai"
	"rotator/xai/xaisim"
)

const teamID = "team-1"

// crash is what a simulated process death panics with.
type crash struct{}

// bench is a world in one process: xAI, stores and a journal that outlive the engine, which may die at any call.
// Time moves only in the waits, which pass at once.
type bench struct {
	t       testing.TB
	clock   time.Time
	sim     *xaisim.Sim
	token   secret.Text
	stores  map[string]*memstore.Store
	journal *sqldb.DB
	engine  *engine
	mgmt    *xai.Management
	infer   *xai.Inference
	specs   map[string]*policies.Policy
	docs    []string // as last loaded
	limits  rotation.Limits
	log     *slog.Logger
	observe func(context.Context, rotation.Step) (context.Context, func(rotation.Step))

	real     bool                    // time is time.Now: that of a bubble
	mu       sync.Mutex              // held at a point
	others   sync.Mutex              // held by what others do meanwhile
	skew     time.Duration           // how far xAI's clock is ahead of ours
	wrapped  map[string]stores.Store // by name: what is before a store, to lie
	dieAt    string                  // the engine dies at the next point of that name
	dieIn    journal.State           // the engine dies once a rotation's arrival in this state is written
	upcoming *time.Time              // when the next turn but a watch is due; nil: not asked since the last
	calls    int                     // points passed since the engine's birth was last reset
	trap     func(int) error         // asked at every point with its number; may panic with crash{}
	trace    []string                // the points, when kept
	keep     bool
	deaths   int
	broken   []string        // violations of invariants
	exempt   map[string]bool // key ids that a human broke: I1 does not speak of them
	strange  map[string]bool // key ids of someone else: never to be touched (I3)

	freezes  []policies.Freeze
	files    map[string]string // policy → the file that it is read from, where that matters
	apart    bool              // an adopted key concerns the policies of its own folder alone
	looksTo  time.Time         // until then the mode is observe
	teamless error             // why the team is not to be had
	without  string            // the rule of the gate that every engine of this bench lacks
	rereads  bool              // every record is compared with its rows
	seen     *observer         // nil: nothing compares the journal with what arrives outside
}

// TestMain lets memory be: the lives are short and many.
func TestMain(m *testing.M) {
	debug.SetGCPercent(400)
	os.Exit(m.Run())
}

// journals are those of running tests: opening one costs more than a rotation, so that every life of a test has the same.
var journals sync.Map // testing.TB → *sqldb.DB

// journalOf returns the test's journal, emptied.
func journalOf(t testing.TB) *sqldb.DB {
	t.Helper()
	if j, ok := journals.Load(t); ok {
		if err := j.(*sqldb.DB).Clear(t.Context()); err != nil {
			t.Fatal(err)
		}
		return j.(*sqldb.DB)
	}
	j, err := sqldb.Open(t.Context(), "sqlite::memory:", sqldb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	journals.Store(t, j)
	t.Cleanup(func() { journals.Delete(t); _ = j.Close() })
	return j
}

// newBench makes a world. A test that makes another one has ended the first.
func newBench(t testing.TB, o xaisim.Options) *bench {
	t.Helper()
	j := journalOf(t)
	b := &bench{
		journal: j,
		t:       t, clock: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		stores: map[string]*memstore.Store{}, specs: map[string]*policies.Policy{},
		wrapped: map[string]stores.Store{}, exempt: map[string]bool{}, strange: map[string]bool{}, log: slog.New(slog.DiscardHandler),
	}
	o.Now = b.xaiNow
	b.sim = xaisim.New(o)
	b.token = b.sim.NewManagementKey(teamID)
	for _, name := range []string{"a", "b", "c"} {
		b.stores[name] = memstore.New()
	}
	b.connect()
	return b
}

// connect makes the clients of the simulator and an engine, and has every call pass a point.
func (b *bench) connect() {
	b.t.Helper()
	sleep := func(ctx context.Context, d time.Duration) error {
		if b.real {
			return b.pause(ctx, d)
		}
		b.clock = b.clock.Add(d)
		return ctx.Err()
	}
	hc := &http.Client{Transport: b.sim.Transport()}
	var err error
	b.mgmt, err = xai.NewManagement(xai.ManagementOptions{
		URL: "http://127.0.0.1:1", HTTP: hc, Now: b.now, Sleep: sleep, Timeout: time.Minute,
		Key: func(context.Context) (secret.Text, error) { return b.token, nil },
	})
	if err != nil {
		b.t.Fatal(err)
	}
	b.infer, err = xai.NewInference(xai.InferenceOptions{URL: "http://127.0.0.1:1", HTTP: hc, Now: b.now, Sleep: sleep, Timeout: time.Minute})
	if err != nil {
		b.t.Fatal(err)
	}
	b.sim.OnCall(func(c xaisim.Call) {
		if c.Op == "" {
			return
		}
		_ = b.point(fmt.Sprintf("xai %s %s", c.Op, when(c.Done))) // a simulator's call cannot be failed from here
	})
	for name, s := range b.stores {
		s.OnCall(func(c memstore.Call) error { return b.point(fmt.Sprintf("store %s %s %s", name, c.Op, when(c.Done))) })
	}
	b.birth()
}

// xaiNow is the time at xAI.
func (b *bench) xaiNow() time.Time { return b.now().Add(b.skew) }

func when(done bool) string {
	if done {
		return "after"
	}
	return "before"
}

// now is the time of the engine's machine.
func (b *bench) now() time.Time {
	if b.real {
		return time.Now().UTC()
	}
	return b.clock
}

// point is passed before and after every call to anything outside the engine.
func (b *bench) point(what string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls++
	b.onlyLooks(what)
	if b.keep {
		b.trace = append(b.trace, what)
	}
	if strings.HasSuffix(what, "after") || b.seen.landed() { // before the next call all is as it was after the last
		b.live()
	}
	if what == b.dieAt {
		b.dieAt = ""
		panic(crash{})
	}
	if b.trap != nil {
		return b.trap(b.calls)
	}
	return nil
}

// live checks I1: every value that a consumer would read now is a key that xAI accepts.
func (b *bench) live() {
	for _, p := range b.specs {
		refused := false
		for _, pt := range p.Targets {
			v := b.stores[pt.Store].Read(stores.Target{Path: pt.Path, Field: pt.Field})
			if v.Empty() || b.sim.Accepts(v.Trimmed()) {
				continue
			}
			refused = true
			if !b.exempt[b.idOf(v)] {
				b.violated("I1: %s:%s holds %s, which xAI refuses", pt.Store, pt.Path, b.idOf(v))
			}
		}
		b.seen.reads(p.Name, refused)
	}
}

func (b *bench) idOf(v secret.Text) string {
	for _, k := range b.sim.Keys(teamID) {
		if k.Secret.Equal(v.Trimmed()) {
			return k.ID
		}
	}
	return "an unknown value"
}

func (b *bench) violated(format string, args ...any) {
	if s := fmt.Sprintf(format, args...); !slices.Contains(b.broken, s) {
		b.broken = append(b.broken, s)
	}
}

// birth starts a new engine on what the last one left behind.
func (b *bench) birth() {
	b.engine = newEngine(fmt.Sprint("engine-", b.deaths), rotation.Options{
		Journal: faultyJournal{b.journal, b}, Environment: b, Limits: b.limits, Log: b.log,
		Now: b.now, Pause: b.pause, Observe: b.observe, Rights: b.rights,
	})
	b.engine.Without(b.without)
}

// load makes the policies in docs the ones there are.
func (b *bench) load(docs ...string) {
	b.t.Helper()
	ps, problems := policies.Parse("test.yaml", []byte(strings.Join(docs, "\n---\n")), policies.Options{})
	if len(problems) > 0 {
		b.t.Fatal(problems)
	}
	var specs []journal.Spec
	b.docs = docs
	b.specs = map[string]*policies.Policy{}
	for _, p := range ps {
		b.specs[p.Name] = p
		spec := journal.Spec{Name: p.Name, Team: p.Team, Owner: p.Owner, RenamedFrom: p.RenamedFrom, File: b.files[p.Name], Canonical: string(p.Canonical())}
		for _, pt := range p.Targets {
			spec.Targets = append(spec.Targets, journal.TargetID{Store: pt.Store, Path: pt.Path, Field: pt.Field})
		}
		specs = append(specs, spec)
	}
	if err := b.journal.SetPolicies(b.t.Context(), b.clock, specs); err != nil {
		b.t.Fatal(err)
	}
}

// run lets d pass: every turn that comes due is taken, and an engine that dies is born again.
func (b *bench) run(d time.Duration) {
	b.t.Helper()
	b.runUntil(d, func() bool { return false })
}

// runUntil stops early when done says so after a turn.
func (b *bench) runUntil(d time.Duration, done func() bool) bool {
	b.t.Helper()
	end := b.clock.Add(d)
	var next, rest time.Time
	passed := false // since the journal was asked only time has passed, which changes nothing in it
	for turns := 0; ; turns++ {
		if turns > 20_000 {
			b.dump()
			b.t.Fatalf("the engine spins at %s", b.clock)
		}
		if !passed {
			var err error
			if next, rest, err = b.journal.Next(b.t.Context()); err != nil {
				b.t.Fatal(err)
			}
		}
		passed = false
		b.upcoming = &next
		over := done()
		if b.upcoming = nil; over {
			return true
		}
		due := func(t time.Time) bool { return !t.IsZero() && !t.After(b.clock) }
		if due(next) || due(rest) {
			claim := b.journal.Claim
			if !due(next) {
				claim = b.journal.ClaimResting
			}
			claims, err := claim(b.t.Context(), "bench", b.clock, 1)
			if err != nil {
				b.t.Fatal(err)
			}
			if len(claims) > 0 {
				b.turn(claims[0])
				if os.Getenv("TURNS") != "" {
					p := b.record(claims[0].Policy).Policy
					fmt.Println("took:", b.clock.Format("02 15:04:05.000"), p.Name, p.Reason, p.Failures, p.NextRunAt.Sub(b.clock), p.WatchAt.Sub(b.clock), p.Error)
				}
				continue
			}
		}
		then := next
		if then.IsZero() || !rest.IsZero() && rest.Before(then) {
			then = rest
		}
		if then.After(b.clock.Add(journal.Horizon)) { // as the scheduler's chores do
			if err := b.journal.Hasten(b.t.Context(), b.clock, journal.Horizon); err != nil {
				b.t.Fatal(err)
			}
			continue
		}
		if then.IsZero() || then.After(end) {
			b.pass(end)
			return false
		}
		b.pass(then)
		passed = true
	}
}

// pass lets time pass until t, and looks whenever something lands meanwhile.
func (b *bench) pass(t time.Time) {
	for t.After(b.clock) {
		b.clock = b.seen.nextLanding(t)
		b.live()
	}
}

func (b *bench) turn(c journal.Claim) {
	defer func() {
		if p := recover(); p != nil {
			if _, ok := p.(crash); !ok {
				panic(p)
			}
			b.deaths++
			b.clock = b.clock.Add(time.Second)
			// What a new process does first: the claims of the dead one are void.
			if err := b.journal.Release(b.t.Context(), c, b.clock); err != nil && !errors.Is(err, journal.ErrLost) {
				b.t.Fatal(err)
			}
			b.birth()
		}
	}()
	if err := b.engine.Turn(b.t.Context(), c); err != nil {
		if os.Getenv("TRACE") != "" {
			fmt.Println("turn:", b.clock, err)
		}
		// As the scheduler does.
		if err := b.journal.Release(b.t.Context(), c, b.clock.Add(time.Minute)); err != nil && !errors.Is(err, journal.ErrLost) {
			b.t.Fatal(err)
		}
	}
}
