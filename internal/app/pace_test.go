package app

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rotator/internal/testenv/postgrestest"
	"rotator/rotation"
	"rotator/rotation/journal"
	"rotator/rotation/journal/sqldb"
	"rotator/xai"
	"rotator/xai/xaisim"
)

// paced is a team as a replica of its own sees it: with a journal and clients that nothing else uses.
func (s *scenery) paced(pacer journal.Pacer) rotation.Team {
	s.t.Helper()
	h := noHooks()
	h.pacer = pacer
	team, err := s.hooked(`{research: {management_key: "file:key"}}`, nil, h).Team(s.t.Context(), "research")
	if err != nil {
		s.t.Fatal(err)
	}
	return team
}

func openShared(t testing.TB, url string) *sqldb.DB {
	t.Helper()
	j, err := sqldb.Open(t.Context(), url, sqldb.Options{Program: "test", Lease: 15 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	return j
}

// flood has each team ask its xAI as often as it may for d, with 8 callers, and returns how many calls of each went well
// and how many were refused.
func flood(ctx context.Context, d time.Duration, teams ...rotation.Team) (served []int, refused int) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	served = make([]int, len(teams))
	var mu sync.Mutex
	var group sync.WaitGroup
	for i, team := range teams {
		for range 8 {
			group.Go(func() {
				for ctx.Err() == nil {
					_, err := team.Keys.ListKeys(ctx, team.ID)
					mu.Lock()
					if err == nil {
						served[i]++
					} else if xai.ClassOf(err) == xai.ClassRateLimited {
						refused++
					}
					mu.Unlock()
				}
			})
		}
	}
	group.Wait()
	return served, refused
}

// TestSharedPaceOfReplicas: three replicas with a journal in PostgreSQL keep together to a limit that none was told of,
// share it fairly, and leave all of it to the one that wants it.
func TestSharedPaceOfReplicas(t *testing.T) {
	t.Parallel()
	const limit = 12.0
	s := newScenery(t)
	s.key("key", "team-1")
	url := postgrestest.Start(t).Database(t)
	var teams []rotation.Team
	for range 3 {
		teams = append(teams, s.paced(openShared(t, url)))
	}
	s.sim.SetRateLimit(xaisim.RateLimit{PerSecond: limit, Burst: limit})
	for range 10 { // until they found it: how far they go below it at first hangs on how slow this machine is
		served, _ := flood(t.Context(), 2*time.Second, teams...)
		if served[0]+served[1]+served[2] > limit {
			break
		}
	}
	// Shares to the percent are measured in virtual time, in package xai. Here others use the machine meanwhile, and a
	// measurement that they spoil is made again: an unfair pace spoils them all.
	for tries := 1; ; tries++ {
		problem := s.measure(limit, teams)
		if problem == "" {
			return
		}
		if t.Log(problem); tries == 5 {
			t.Fatalf("%d measurements, and never did they share the limit", tries)
		}
	}
}

// measure has the teams call together for a while, and then the first one alone, and says what was wrong with that.
func (s *scenery) measure(limit float64, teams []rotation.Team) (problem string) {
	s.t.Helper()
	const d = 6 * time.Second
	before, begun := s.sim.Calls()["list"], time.Now()
	served, refused := flood(s.t.Context(), d, teams...)
	sent, took := s.sim.Calls()["list"]-before, time.Since(begun) // longer than d where the machine stalled
	total := served[0] + served[1] + served[2]
	s.t.Logf("three: %v served, %d requests in %v against %v a second, %d refused", served, sent, took, limit, refused)
	if want := limit * took.Seconds(); float64(total) < want/6 || float64(sent) > 1.2*want+limit {
		return fmt.Sprintf("%d of %d requests served in %v, want up to %v", total, sent, took, want)
	}
	if slices.Min(served) < total/8 || slices.Max(served) > total*2/3 {
		return fmt.Sprintf("unfair: %v", served)
	}
	alone, _ := flood(s.t.Context(), d, teams[0])
	s.t.Logf("one alone: %v served", alone)
	if alone[0] < total/2 {
		return fmt.Sprintf("one alone was served %d times, three together %d times", alone[0], total)
	}
	return ""
}

// asked counts the questions to a journal.
type asked struct {
	journal.Pacer
	takes atomic.Int64
}

func (a *asked) Take(ctx context.Context, now time.Time, name string, calls int, b journal.PaceBounds) (time.Duration, float64, error) {
	a.takes.Add(1)
	return a.Pacer.Take(ctx, now, name, calls, b)
}

// BenchmarkSharedPace is 20 calls to xAI one after the other, as a rotation has: with a pace of the process's own, and
// with one that it shares in PostgreSQL, which is asked questions for it.
func BenchmarkSharedPace(b *testing.B) {
	s := sceneryOf(b, xaisim.Options{Latency: 20 * time.Millisecond})
	s.key("key", "team-1")
	shared := &asked{Pacer: openShared(b, postgrestest.Start(b).Database(b))}
	for name, pacer := range map[string]journal.Pacer{"own": nil, "shared": shared} {
		b.Run(name, func(b *testing.B) {
			team := s.paced(pacer)
			shared.takes.Store(0)
			for b.Loop() {
				for range 20 {
					if _, err := team.Keys.ListKeys(b.Context(), team.ID); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(shared.takes.Load())/float64(b.N), "questions/op")
		})
	}
}
