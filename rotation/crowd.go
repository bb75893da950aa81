package rotation

import (
	"errors"
	"sync"
	"time"

	"rotator/rotation/journal"
)

// A store that hangs must not keep the others waiting. A turn gives its place among the turns up once a call to a store
// takes long; and when as many turns hang in a store as there are places, the next that needs it is put off.

// slowCall is how long a call to a store may take before the turn gives its place up.
const slowCall = 2 * time.Second

// crowdedPause is the pause of a policy that needs a store in which turns hang.
const crowdedPause = 10 * time.Second

// errCrowded: turns hang in a store that the policy needs.
var errCrowded = errors.New("too many turns wait for a store of the policy")

// crowd counts the turns that hang in each store.
type crowd struct {
	mu   sync.Mutex
	hung map[string]int // guarded by mu: store → calls that take long
}

func (c *crowd) add(store string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hung == nil {
		c.hung = make(map[string]int)
	}
	c.hung[store] += n
}

func (c *crowd) at(store string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hung[store]
}

// patience watches a call of this turn to a store until the returned function is called.
func (t *turn) patience(store string) (done func()) {
	timer := time.AfterFunc(slowCall, func() {
		t.crowd.add(store, 1)
		t.place()
	})
	return func() {
		if !timer.Stop() {
			t.crowd.add(store, -1)
		}
	}
}

// crowded reports whether turns hang in a store that the policy or its rotation needs.
func (t *turn) crowded() bool {
	for _, row := range t.rec.Targets {
		if row.Decision != journal.Drop && t.crowd.at(row.Store) >= t.limits.Concurrency {
			return true
		}
	}
	for _, pt := range t.policy.Targets {
		if t.crowd.at(pt.Store) >= t.limits.Concurrency {
			return true
		}
	}
	return false
}
