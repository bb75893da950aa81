package rotation

import (
	"context"
	"errors"

	"rotator/internal/secret"
	"rotator/rotation/journal"
)

// kept is the value of an attempt's key. Until it is staged there is no other copy on earth.
type kept struct {
	policy string
	value  secret.Text
	lost   bool // with the claim: another owner may have given the attempt up
}

// keep holds the value of an attempt's key in memory.
func (e *Engine) keep(policy, attempt string, v secret.Text) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.hand[attempt] = kept{policy: policy, value: v}
}

func (e *Engine) inHand(attempt string) (secret.Text, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	k, ok := e.hand[attempt]
	return k.value, ok
}

func (e *Engine) drop(attempt string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.hand, attempt)
}

// loseClaim marks the values of a policy whose claim was lost.
func (e *Engine) loseClaim(policy string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for id, k := range e.hand {
		if k.policy == policy {
			k.lost = true
			e.hand[id] = k
		}
	}
}

// dropLost drops the values of attempts that can't be resumed: the claim was lost before the key was recorded as made, or
// another owner gave the attempt up since. One that is recorded and still carried by its rotation is kept: this process
// may be the next to claim its policy, and would go on with it.
func (e *Engine) dropLost(ctx context.Context) {
	e.mu.Lock()
	lost := make(map[string]string)
	for id, k := range e.hand {
		if k.lost {
			lost[id] = k.policy
		}
	}
	e.mu.Unlock()
	for id, policy := range lost {
		rec, err := e.journal.Load(ctx, policy)
		if err == nil && !carries(rec, id) || errors.Is(err, journal.ErrNotFound) {
			e.drop(id)
		}
	}
}

// carries reports whether the rotation in flight goes on with the attempt.
func carries(rec *journal.Record, attempt string) bool {
	if rec.Rotation == nil || rec.Rotation.Attempt != attempt {
		return false
	}
	for _, a := range rec.Attempts {
		if a.ID == attempt {
			return a.State == journal.Created
		}
	}
	return false
}
