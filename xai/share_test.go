package xai_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rotator/xai"
	"rotator/xai/xaisim"
)

// keeper keeps a pace for several clients, as the journal does for several processes.
type keeper struct {
	mu      sync.Mutex
	rate    float64   // calls a second
	fixed   bool      // the rate is never given back
	free    time.Time // when the next call may begin
	changed time.Time
	takes   int
	granted int   // calls
	down    error // of every question
	mute    error // of Slow
}

var _ xai.SharedPace = (*keeper)(nil)

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func (k *keeper) Take(_ context.Context, calls int) (time.Duration, float64, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	k.takes++
	if k.down != nil {
		return 0, 0, k.down
	}
	if !k.fixed && k.rate < xai.PaceTop && now.Sub(k.changed) >= xai.PaceCalm {
		k.rate, k.changed = min(k.rate+xai.PaceStep, xai.PaceTop), now
	}
	saved := now
	if k.rate == xai.PaceTop {
		saved = now.Add(-seconds(xai.PaceBurst / k.rate))
	}
	if k.free.Before(saved) {
		k.free = saved
	}
	delay := max(0, k.free.Sub(now))
	if delay > xai.PaceWait {
		return delay, k.rate, nil
	}
	k.free = k.free.Add(seconds(float64(calls) / k.rate))
	k.granted += calls
	return delay, k.rate, nil
}

func (k *keeper) Slow(_ context.Context, retryAfter time.Duration) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	if k.mute == nil && now.Sub(k.changed) >= xai.PaceWave {
		k.rate, k.changed = max(k.rate/2, xai.PaceFloor), now
	}
	if until := now.Add(retryAfter); until.After(k.free) {
		k.free = until
	}
	return errors.Join(k.down, k.mute)
}

func (k *keeper) set(change func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	change()
}

// team of clients, each in the place of a process, before one xAI; inside a bubble of synctest.
type crowd struct {
	*keeper
	sim     *xaisim.Sim
	clients []*xai.Management
}

func newCrowd(t *testing.T, clients int, o xaisim.Options) *crowd {
	t.Helper()
	c := &crowd{keeper: &keeper{rate: xai.PaceTop}, sim: xaisim.New(o)}
	token := c.sim.NewManagementKey(team)
	for range clients {
		m, err := xai.NewManagement(xai.ManagementOptions{URL: "https://h", Key: fixed(token), HTTP: &http.Client{Transport: c.sim.Transport()}, Pace: c.keeper})
		if err != nil {
			t.Fatal(err)
		}
		c.clients = append(c.clients, m)
	}
	return c
}

// call has the first clients call as often as they may for d, each with so many callers, and returns how often each did.
func (c *crowd) call(ctx context.Context, d time.Duration, callers ...int) []int {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	calls := make([]int, len(c.clients))
	var mu sync.Mutex
	var group sync.WaitGroup
	for i, n := range callers {
		for range n {
			group.Go(func() {
				for ctx.Err() == nil {
					_, err := c.clients[i].Models(ctx, team)
					mu.Lock()
					if err == nil {
						calls[i]++
					}
					mu.Unlock()
					if away := xai.RetryAfter(err); away > 0 {
						time.Sleep(away)
					}
				}
			})
		}
	}
	group.Wait()
	return calls
}

// Processes that all want more share a rate fairly, one alone has all of it, and it is asked for in blocks.
func TestSharedPace(t *testing.T) {
	t.Parallel()
	for _, rate := range []float64{1, 5, 20, 100} {
		t.Run(fmt.Sprint(rate), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := newCrowd(t, 3, xaisim.Options{})
				c.set(func() { c.rate, c.fixed = rate, true })
				const d = time.Minute
				want, burst := rate*d.Seconds(), 3*max(1, rate*0.15)
				alone := c.call(t.Context(), d, 16)
				if n := float64(alone[0]); n < 0.95*want || n > want+burst {
					t.Errorf("one alone made %v calls of %v", n, want)
				}
				if asks := float64(c.takes) / d.Seconds(); asks > min(rate, 8)+1 {
					t.Errorf("%.1f questions a second", asks)
				}
				time.Sleep(d)
				before := c.takes
				time.Sleep(d)
				if c.takes != before {
					t.Error("a question while nobody calls")
				}
				all := c.call(t.Context(), d, 16, 4, 8)
				if n := float64(all[0] + all[1] + all[2]); n < 0.9*want || n > want+burst {
					t.Errorf("three made %v calls of %v", all, want)
				}
				for _, n := range all {
					if math.Abs(float64(n)-want/3) > 0.1*want/3+2 {
						t.Errorf("unfair: %v of %v", all, want)
					}
				}
			})
		})
	}
}

// Three processes find together what one would, and go past it by little.
func TestSharedPaceFindsTheLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 3, xaisim.Options{})
		c.sim.SetRateLimit(xaisim.RateLimit{PerSecond: 20, Burst: 20})
		var mu sync.Mutex
		second := map[int64]int{} // second → requests
		c.sim.OnCall(func(call xaisim.Call) {
			if !call.Done {
				mu.Lock()
				second[time.Now().Unix()]++
				mu.Unlock()
			}
		})
		c.call(t.Context(), 30*time.Second, 16, 4, 8)
		clear(second)
		const d = time.Minute
		calls := c.call(t.Context(), d, 16, 4, 8)
		most := 0
		for _, n := range second {
			most = max(most, n)
		}
		t.Logf("%v calls in %v, at most %d requests in a second", calls, d, most)
		if n := calls[0] + calls[1] + calls[2]; n < 60*10 || n > 60*20+20 || most > 30 {
			t.Errorf("%v calls in %v against 20 a second, up to %d requests in one", calls, d, most)
		}
		for _, n := range calls {
			if third := (calls[0] + calls[1] + calls[2]) / 3; n < third*4/5 || n > third*6/5 {
				t.Errorf("unfair: %v", calls)
			}
		}
	})
}

// From the top, many callers at once are slowed to the limit, and not far below it.
func TestSharedPaceComesDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, limit := range []float64{5, 12, 40} {
			c := newCrowd(t, 3, xaisim.Options{Latency: 20 * time.Millisecond, RateLimit: xaisim.RateLimit{PerSecond: limit, Burst: int(limit)}})
			c.call(t.Context(), 4*time.Second, 8, 8, 8)
			low := c.rate
			calls := c.call(t.Context(), 20*time.Second, 8, 8, 8)
			t.Logf("%v a second: at %v after 4 s, then %v calls in 20 s", limit, low, calls)
			if n := float64(calls[0] + calls[1] + calls[2]); n < limit*20/3 {
				t.Errorf("%v calls in 20 s against %v a second", n, limit)
			}
		}
	})
}

// While nothing was slowed, a shared pace costs a call nothing.
func TestSharedPaceAtTop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 1, xaisim.Options{})
		begun := time.Now()
		for i := range 300 {
			if _, err := c.clients[0].CreateKey(t.Context(), team, request(fmt.Sprint("k", i))); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(begun); took != 0 || c.takes > 20 {
			t.Errorf("300 creates took %v and %d questions", took, c.takes)
		}
	})
}

// A Retry-After that one process was told holds for all.
func TestSharedPaceStopsAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 2, xaisim.Options{})
		create := func(i int) error {
			_, err := c.clients[i].CreateKey(t.Context(), team, request("x"))
			return err
		}
		for i := range 20 { // both have calls left of a block
			if err := create(i % 2); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond)
		}
		c.sim.Inject(xaisim.Fault{Call: "create", Kind: xaisim.Status, Status: 429, Body: `{"code":8,"message":"slow"}`, RetryAfter: 20 * time.Second})
		if err := create(0); xai.RetryAfter(err) != 20*time.Second {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // the other's block is over
		for range 3 {           // and no place is taken by a call that goes away
			if err := create(1); xai.RetryAfter(err) != 19*time.Second || c.sim.Calls()["create"] != 21 {
				t.Fatalf("the other process was let through: %v", err)
			}
		}
		time.Sleep(12 * time.Second)
		c.granted = 0
		begun := time.Now()
		if err := create(1); err != nil || time.Since(begun) < 7*time.Second || time.Since(begun) > 8*time.Second {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
		if c.granted != 1 {
			t.Errorf("a call that nobody granted: %d were", c.granted)
		}
	})
}

// A process that calls now and then takes no more than it uses, and leaves the rest to one that wants all.
func TestSharedPaceLeavesTheRest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 3, xaisim.Options{})
		c.set(func() { c.rate, c.fixed = 20, true })
		const d = time.Minute
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		var group sync.WaitGroup
		for _, m := range c.clients[1:] {
			group.Go(func() {
				for ctx.Err() == nil {
					_, _ = m.Models(ctx, team)
					time.Sleep(time.Second)
				}
			})
		}
		if n, want := c.call(t.Context(), d, 16)[0], int(0.95*18*d.Seconds()); n < want {
			t.Errorf("%d calls beside two that call once a second, want %d", n, want)
		}
		group.Wait()
	})
}

// A keeper that hears of no 429 is not believed either.
func TestSharedPaceThatDoesNotSlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 1, xaisim.Options{RateLimit: xaisim.RateLimit{PerSecond: 5, Burst: 5}})
		c.set(func() { c.rate, c.fixed, c.mute = 100, true, errors.New("read-only") })
		const d = time.Minute
		c.call(t.Context(), d, 16)
		if sent := c.sim.Calls()["team_models"]; sent > 10*60 {
			t.Errorf("%d requests in %v against 5 a second", sent, d)
		}
	})
}

// A keeper that does not answer is left alone for a while; its last rate holds.
func TestSharedPaceWithoutAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 1, xaisim.Options{})
		c.set(func() { c.rate, c.fixed = 10, true })
		c.call(t.Context(), time.Second, 16)
		c.set(func() { c.down, c.takes = errors.New("gone"), 0 })
		const d = time.Minute
		if n := c.call(t.Context(), d, 16)[0]; n < 570 || n > 610 {
			t.Errorf("%d calls in %v at 10 a second", n, d)
		}
		if c.takes > 13 {
			t.Errorf("asked %d times in %v", c.takes, d)
		}
		// What xAI says still counts, and is given back up to the last rate that was shared.
		c.sim.SetRateLimit(xaisim.RateLimit{PerSecond: 4, Burst: 4})
		c.call(t.Context(), d, 16)
		c.sim.SetRateLimit(xaisim.RateLimit{})
		c.call(t.Context(), 10*time.Second, 16)
		if n := c.call(t.Context(), d, 16)[0]; n < 570 || n > 610 {
			t.Errorf("%d calls in %v at 10 a second, after a slower time", n, d)
		}
		c.set(func() { c.down, c.rate = nil, 20 })
		time.Sleep(5 * time.Second)
		if n := c.call(t.Context(), d, 16)[0]; n < 1140 || n > 1210 {
			t.Errorf("%d calls in %v at 20 a second, after it answered again", n, d)
		}
	})
}
