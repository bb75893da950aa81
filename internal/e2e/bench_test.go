package e2e

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"rotator/rotation"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/xai/xaisim"
)

// What a rotation costs, as ratios within one run: xAI simulated with 20 ms a call and 0.5 to 1.5 s until a cluster knows
// a key, Vault's own server core beside it on the same machine.
//
// U is the part of a rotation that nothing can do without: the time until the last cluster knows the key, and the calls
// that must follow each other, at what such a call takes on this machine while nothing else goes on. Of xAI: the create,
// the answer that the key is known, three of the key itself, and a chat with what is staged and with what is promoted.
// Of Vault: read, stage, read staged, read and write to promote, read back, discard.
const (
	neededOfXAI   = 7
	neededOfVault = 7
)

// arena is what contenders meet.
type arena struct {
	*parts
	token string

	mu    sync.Mutex
	known []time.Duration // guarded by mu: until each cluster knew each key, three a key

	xaiCall, vaultCall time.Duration // medians
}

func newArena(b *testing.B, names ...string) *arena {
	b.Helper()
	a := &arena{}
	seed := rand.Uint64()
	b.Logf("the seed is %d", seed)
	a.parts = newParts(b, xaisim.Options{Seed: seed, Latency: 20 * time.Millisecond, Propagation: func(r *rand.Rand) time.Duration {
		d := 500*time.Millisecond + time.Duration(r.Int64N(int64(time.Second)))
		a.mu.Lock()
		defer a.mu.Unlock()
		a.known = append(a.known, d)
		return d
	}})
	a.token = a.vaultToken(b, "llm/*")
	for _, name := range names {
		_, key := a.sim.AddKey(team, "of old", "api-key:model:grok-4", "api-key:endpoint:chat")
		a.vault.Write(b, a.mount, "llm/"+name, fmt.Sprintf(`{"api_key":%q,"other":"kept"}`, key.Reveal()))
	}
	_, key := a.sim.AddKey(team, "probe", "api-key:model:*", "api-key:endpoint:*")
	a.xaiCall = median(b, "Authorization", "Bearer "+key.Reveal(), a.xaiURL+"/v1/api-key")
	a.vaultCall = median(b, "X-Vault-Token", a.token, a.vaultURL()+"/data/llm/"+names[0])
	return a
}

func (a *arena) vaultURL() string { return a.vault.Address + "/v1/" + a.mount }

// median is how long such a call takes.
func median(b *testing.B, header, value, url string) time.Duration {
	b.Helper()
	var took []time.Duration
	for range 31 {
		r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, url, nil)
		if err != nil {
			b.Fatal(err)
		}
		r.Header.Set(header, value)
		began := time.Now()
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			b.Fatalf("%s: %s", url, answer.Status)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took[len(took)/2]
}

// forget begins a new count of U.
func (a *arena) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.known = nil
}

// u is the mean U of the keys that were made since forget.
func (a *arena) u() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	var sum time.Duration
	for key := range slices.Chunk(a.known, 3) {
		sum += slices.Max(key)
	}
	return sum/time.Duration(len(a.known)/3) + neededOfXAI*a.xaiCall + neededOfVault*a.vaultCall
}

func numbered(prefix string, n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("%s-%03d", prefix, i)
	}
	return names
}

// each runs a benchmark for the product and what it is compared with.
func (a *arena) each(b *testing.B, p *product, names func(who string) []string, run func(b *testing.B, c contender, names []string)) {
	for _, c := range []struct {
		who string
		contender
	}{{"rotator", p}, {"bare", bare{a}}, {"script", script{a}}} {
		b.Run(c.who, func(b *testing.B) {
			for range b.N {
				run(b, c.contender, names(c.who))
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkOne is one rotation after the other over U.
func BenchmarkOne(b *testing.B) {
	names := func(who string) []string { return numbered(who, 8) }
	a := newArena(b, slices.Concat(names("rotator"), names("bare"), names("script"))...)
	p := newProduct(b, a, "@every 720h", names("rotator")...)
	a.each(b, p, names, func(b *testing.B, c contender, names []string) {
		var ratios []float64
		var beyond time.Duration
		for _, name := range names {
			a.forget()
			wall, _ := c.rotate(b, []string{name}, 1)
			ratios = append(ratios, float64(wall)/float64(a.u()))
			beyond += wall - a.u()
		}
		slices.Sort(ratios)
		b.ReportMetric(ratios[len(ratios)/2], "×U(median)")
		b.ReportMetric(float64(beyond.Milliseconds())/float64(len(names)), "ms-beyond-U")
	})
}

// fleetSize is the number of keys of a fleet.
const fleetSize = 300

// BenchmarkSixteen is a fleet with at most 16 rotations in flight over U×n/16, and the CPU time of each rotation.
func BenchmarkSixteen(b *testing.B) {
	names := func(who string) []string { return numbered(who, fleetSize) }
	a := newArena(b, slices.Concat(names("rotator"), names("bare"), names("script"))...)
	p := newProduct(b, a, "@every 720h", names("rotator")...)
	spent := map[contender]float64{}
	a.each(b, p, names, func(b *testing.B, c contender, names []string) {
		a.forget()
		wall, cpu := c.rotate(b, names, 16)
		b.ReportMetric(float64(wall)/(float64(a.u())*fleetSize/16), "×U·n/16")
		spent[c] = cpu.Seconds() * 1000 / fleetSize
		b.ReportMetric(spent[c], "CPU-ms/rotation")
		if c != contender(p) && spent[p] > 0 {
			b.ReportMetric(spent[p]/spent[c], "rotator's-CPU-over-this")
		}
	})
}

// BenchmarkAtOnce is a fleet that is due at one instant over U.
func BenchmarkAtOnce(b *testing.B) {
	names := func(who string) []string { return numbered(who, fleetSize) }
	a := newArena(b, slices.Concat(names("rotator"), names("bare"))...)
	b.Run("rotator", func(b *testing.B) {
		p := newProduct(b, a, "@every 20s", names("rotator")...)
		a.forget()
		eventually(b, "all are live", func() bool { return lives(b, p.journal) >= fleetSize })
		all, err := p.journal.Rotations(b.Context(), "", fleetSize)
		if err != nil {
			b.Fatal(err)
		}
		var first, last time.Time
		for _, r := range all {
			if first.IsZero() || r.StartedAt.Before(first) {
				first = r.StartedAt
			}
			if r.LiveAt.After(last) {
				last = r.LiveAt
			}
		}
		b.ReportMetric(float64(last.Sub(first))/float64(a.u()), "×U")
		b.ReportMetric(0, "ns/op")
	})
	b.Run("bare", func(b *testing.B) {
		a.forget()
		wall, _ := bare{a}.rotate(b, names("bare"), fleetSize)
		b.ReportMetric(float64(wall)/float64(a.u()), "×U")
		b.ReportMetric(0, "ns/op")
	})
}

// counted counts the commits of a journal.
type counted struct {
	journal.Journal
	mu      sync.Mutex
	commits int // guarded by mu
}

func (c *counted) Commit(ctx context.Context, cl journal.Claim, rec *journal.Record, release bool, ev ...journal.Event) error {
	c.mu.Lock()
	c.commits++
	c.mu.Unlock()
	return c.Journal.Commit(ctx, cl, rec, release, ev...)
}

func (c *counted) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.commits
}

// BenchmarkCalls counts the calls and commits of one rotation with one target: until the key is live, and from there to
// the end of the old one. A poll is a question for propagation that was answered with "not yet", and the commit after it.
func BenchmarkCalls(b *testing.B) {
	a := newArena(b, "chat")
	proxy := a.vault.Proxy(b)
	j := &counted{Journal: openJournal(b, a.parts)}
	w := newWorld(b, a.parts, proxy.Address)
	load(b, j, "name: chat\nteam: research\nschedule: \"@every 10s\"\nkey: {acls: "+acls+"}\ntargets: [{store: vault, path: llm/chat, field: api_key}]\nadopt: true\nretire: {overlap: 1s, soak: 1s}\n")
	e := newScheduler("bench", rotation.Options{Journal: j, Environment: w, Limits: rotation.Limits{Watch: time.Hour}})
	running, stop := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(running) }()
	state := func() *journal.Record {
		r, err := j.Load(b.Context(), "chat")
		if err != nil {
			b.Fatal(err)
		}
		return r
	}
	take := func(what string, done func(r *journal.Record) bool) {
		before, commits := a.sim.Calls(), j.count()
		proxy.Seen()
		eventually(b, what, func() bool { return done(state()) })
		after, vault := a.sim.Calls(), map[string]int{}
		calls, polls := 0, 0
		for op, n := range after {
			if n -= before[op]; n > 0 {
				b.Logf("%s: xAI %s: %d", what, op, n)
				if op == "propagation" {
					polls, n = n-1, 1
				}
				calls += n
			}
		}
		for _, r := range proxy.Seen() {
			vault[r.Method+" "+r.Path]++
			calls++
		}
		for call, n := range vault {
			b.Logf("%s: Vault %s: %d", what, call, n)
		}
		commits = j.count() - commits
		b.Logf("%s: %d calls beyond %d polls, %d commits", what, calls, polls, commits)
		b.ReportMetric(float64(calls), "calls-to-"+what)
		b.ReportMetric(float64(commits-polls), "commits-to-"+what)
	}
	eventually(b, "the target is met", func() bool { return !state().Policy.DueAt.IsZero() })
	take("live", func(r *journal.Record) bool {
		return r.Rotation == nil && len(r.Retired) > 0 && r.Policy.Reason == reason.WaitOverlap
	})
	take("done", func(r *journal.Record) bool { return r.Rotation == nil && leftOver(r) == 0 })
	stop()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(0, "ns/op")
}
