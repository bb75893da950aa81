package rotation

import (
	"context"
	"errors"
	"maps"

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

// dropDead drops the values of attempts that can't be resumed: another owner gave the attempt up, between two turns of
// ours or after a claim that was lost, or will, since the key was not recorded as made when the claim was lost. One that
// is still carried by its rotation is kept: this process may be the next to claim its policy, and would go on with it.
func (e *Engine) dropDead(ctx context.Context) {
	e.mu.Lock()
	hand := maps.Clone(e.hand)
	e.mu.Unlock()
	for id, k := range hand {
		rec, err := e.journal.Load(ctx, k.policy)
		if err == nil && !carries(rec, id, k.lost) || errors.Is(err, journal.ErrNotFound) {
			e.drop(id)
		}
	}
}

// carries reports whether a value may still be needed: its key is not live yet, or the rotation in flight goes back to it.
// A key's row is written before its create is sent; a row that is not there is that of a key that is gone.
func carries(rec *journal.Record, ref string, lost bool) bool {
	k := rec.Key(ref)
	if k == nil {
		return false
	}
	if rot := rec.Rotation; rot != nil && rot.KeyRef == ref {
		return k.State != journal.CreatingKey || !lost
	}
	switch k.State {
	case journal.CreatingKey:
		return !lost
	case journal.CandidateKey, journal.StandbyKey, journal.PromotingKey:
		return true
	}
	return false
}
