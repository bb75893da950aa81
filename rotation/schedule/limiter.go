package schedule

import (
	"context"
	"slices"
	"sync"
	"time"

	"rotator/rotation/turn"
)

// One slow store or team must not keep the others waiting. A turn gives its slot up once a call takes long. And one team and
// one store have a share at most, where there are several, of the turns that have a slot or gave theirs up waiting for it: a
// turn that finds no room is put off until about when there is, by how fast room was made lately.

// The bounds of the pause of a policy that is put off.
const (
	leastPause = 250 * time.Millisecond
	mostPause  = time.Minute
)

// limiter counts the turns of each resource.
type limiter struct {
	now   func() time.Time
	mu    sync.Mutex
	by    map[string]*load // guarded by mu
	moved chan struct{}    // guarded by mu: closed when a turn leaves
}

func newLimiter(now func() time.Time) *limiter {
	return &limiter{now: now, by: make(map[string]*load), moved: make(chan struct{})}
}

// load is the turns that are counted for one resource.
type load struct {
	turns int
	moved time.Time     // when its share was taken, or when it last had room again
	every time.Duration // how long it takes lately until there is room for one more
	until time.Time     // when the last of those that were put off comes back
}

// permit is one turn, counted for what it may call.
type permit struct {
	in        *limiter
	resources []turn.Resource // guarded by in.mu
}

// enter counts a turn in until it leaves. It refuses with *turn.Crowded where a share is taken.
func (l *limiter) enter(resources []turn.Resource) (*permit, error) {
	if full, _ := l.tryEnter(resources); full != "" {
		return nil, l.putOff(full)
	}
	return &permit{l, resources}, nil
}

// await is enter for a caller that can wait for room until ctx ends.
func (l *limiter) await(ctx context.Context, resources []turn.Resource) (*permit, error) {
	for {
		full, moved := l.tryEnter(resources)
		if full == "" {
			return &permit{l, resources}, nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return nil, l.putOff(full)
		}
	}
}

// tryEnter counts a turn in, or names what there is no room at, and what is closed when there may be.
func (l *limiter) tryEnter(resources []turn.Resource) (full string, moved <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range resources {
		if t := l.by[r.Name]; t != nil && t.turns >= r.Share {
			return r.Name, l.moved
		}
	}
	for _, r := range resources {
		t := l.by[r.Name]
		if t == nil {
			t = new(load)
			l.by[r.Name] = t
		}
		if t.turns++; t.turns == r.Share {
			t.moved = l.now()
		}
	}
	return "", nil
}

// waitFor counts the turn for nothing but what it waits for.
func (p *permit) waitFor(name string) {
	if p == nil { // a turn that was not admitted
		return
	}
	p.in.mu.Lock()
	defer p.in.mu.Unlock()
	i := slices.IndexFunc(p.resources, func(r turn.Resource) bool { return r.Name == name })
	if i < 0 {
		return
	}
	p.in.leave(slices.Delete(slices.Clone(p.resources), i, i+1))
	p.resources = p.resources[i : i+1]
}

// leave counts the turn out. A call that is just being found to take long finds nothing to wait for any more.
func (p *permit) leave() {
	if p == nil {
		return
	}
	p.in.mu.Lock()
	defer p.in.mu.Unlock()
	p.in.leave(p.resources)
	p.resources = nil
}

// leave runs under mu.
func (l *limiter) leave(resources []turn.Resource) {
	now := l.now()
	for _, r := range resources {
		t := l.by[r.Name]
		if t.turns >= r.Share {
			t.every, t.moved = (3*t.every+now.Sub(t.moved))/4, now
		}
		t.turns--
	}
	close(l.moved)
	l.moved = make(chan struct{})
}

// putOff says how long one more waits for room, behind those who were put off before.
func (l *limiter) putOff(name string) *turn.Crowded {
	l.mu.Lock()
	defer l.mu.Unlock()
	t, now := l.by[name], l.now()
	if t.until.Before(now) {
		t.until = now
	}
	t.until = t.until.Add(max(t.every, now.Sub(t.moved)))
	if most := now.Add(mostPause); t.until.After(most) {
		t.until = most
	}
	return &turn.Crowded{Resource: name, Pause: max(t.until.Sub(now), leastPause)}
}
