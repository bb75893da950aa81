package rotation

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// One slow store or team must not keep the others waiting. A turn gives its place among the turns up once a call takes
// long. And one team and one store have a share at most, where there are several, of the turns that have a place or gave
// theirs up waiting for it: a turn that finds no room is put off until about when there is, by how fast room was made
// lately.

// slowCall is how long a call to a store or to xAI may take before the turn gives its place up.
const slowCall = 2 * time.Second

// The bounds of the pause of a policy that is put off.
const (
	crowdedLeast = 250 * time.Millisecond
	crowdedMost  = time.Minute
)

// shares are how many turns may be counted for one team and one store, where there are so many of them. A team's is
// smaller, so that none takes all of a store that others need too.
func (l Limits) shares(teams, stores int) (team, store int) {
	team, store = l.Concurrency, l.Concurrency
	if teams > 1 {
		team -= l.Concurrency / 4
	}
	if stores > 1 {
		store -= l.Concurrency / 8
	}
	return team, store
}

// need is a team or a store that a turn may call.
type need struct {
	name  string // with its kind before it
	share int
}

// The kinds of needs.
const (
	teamNeed  = "team "
	storeNeed = "store "
)

// crowded says that the share of a team or a store is taken.
type crowded struct {
	name  string
	pause time.Duration // until there may be room
}

func (c *crowded) Error() string { return fmt.Sprintf("%s: too many turns in hand", c.name) }

// crowd counts the turns of each team and each store.
type crowd struct {
	now   func() time.Time
	mu    sync.Mutex
	by    map[string]*throng // guarded by mu
	moved chan struct{}      // guarded by mu: closed when a turn leaves
}

func newCrowd(now func() time.Time) *crowd {
	return &crowd{now: now, by: make(map[string]*throng), moved: make(chan struct{})}
}

// throng is the turns that are counted for one team or one store.
type throng struct {
	turns int
	moved time.Time     // when its share was taken, or when it last had room again
	every time.Duration // how long it takes lately until there is room for one more
	until time.Time     // when the last of those that were put off comes back
}

// stay is one turn, counted for what it needs.
type stay struct {
	in    *crowd
	needs []need // guarded by in.mu
}

// enter counts a turn in until it leaves. It refuses with *crowded where a share is taken.
func (c *crowd) enter(needs []need) (*stay, error) {
	if full, _ := c.tryEnter(needs); full != "" {
		return nil, c.putOff(full)
	}
	return &stay{c, needs}, nil
}

// await is enter for who can wait for room until ctx ends.
func (c *crowd) await(ctx context.Context, needs []need) (*stay, error) {
	for {
		full, moved := c.tryEnter(needs)
		if full == "" {
			return &stay{c, needs}, nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return nil, c.putOff(full)
		}
	}
}

// tryEnter counts a turn in, or names what there is no room at, and what is closed when there may be.
func (c *crowd) tryEnter(needs []need) (full string, moved <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range needs {
		if t := c.by[n.name]; t != nil && t.turns >= n.share {
			return n.name, c.moved
		}
	}
	for _, n := range needs {
		t := c.by[n.name]
		if t == nil {
			t = new(throng)
			c.by[n.name] = t
		}
		if t.turns++; t.turns == n.share {
			t.moved = c.now()
		}
	}
	return "", nil
}

// waitFor counts the turn for nothing but what it waits for.
func (s *stay) waitFor(name string) {
	if s == nil { // a turn that only looks
		return
	}
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	i := slices.IndexFunc(s.needs, func(n need) bool { return n.name == name })
	if i < 0 {
		return
	}
	s.in.leave(slices.Delete(slices.Clone(s.needs), i, i+1))
	s.needs = s.needs[i : i+1]
}

// leave counts the turn out. A call that is just being found to take long finds nothing to wait for any more.
func (s *stay) leave() {
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	s.in.leave(s.needs)
	s.needs = nil
}

// leave runs under mu.
func (c *crowd) leave(needs []need) {
	now := c.now()
	for _, n := range needs {
		t := c.by[n.name]
		if t.turns >= n.share {
			t.every, t.moved = (3*t.every+now.Sub(t.moved))/4, now
		}
		t.turns--
	}
	close(c.moved)
	c.moved = make(chan struct{})
}

// putOff says how long one more waits for room, behind those who were put off before.
func (c *crowd) putOff(name string) *crowded {
	c.mu.Lock()
	defer c.mu.Unlock()
	t, now := c.by[name], c.now()
	if t.until.Before(now) {
		t.until = now
	}
	t.until = t.until.Add(max(t.every, now.Sub(t.moved)))
	if most := now.Add(crowdedMost); t.until.After(most) {
		t.until = most
	}
	return &crowded{name, max(t.until.Sub(now), crowdedLeast)}
}
