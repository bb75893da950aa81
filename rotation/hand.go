package rotation

import (
	"context"
	"errors"
	"maps"
	"sync"

	"rotator/internal/secret"
	"rotator/rotation/journal"
)

// values are the values of keys that this process holds in memory, by ref: from the create until the key is live. Until a
// value is staged there is no other copy on earth. It is safe for concurrent use.
type values struct {
	mu   sync.Mutex
	kept map[string]kept // guarded by mu
}

type kept struct {
	policy string
	value  secret.Text
	lost   bool // with the claim: another owner may have given the key up
}

func (vs *values) keep(policy, ref string, v secret.Text) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	if vs.kept == nil {
		vs.kept = make(map[string]kept)
	}
	vs.kept[ref] = kept{policy: policy, value: v}
}

func (vs *values) get(ref string) (secret.Text, bool) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	k, ok := vs.kept[ref]
	return k.value, ok
}

func (vs *values) drop(ref string) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	delete(vs.kept, ref)
}

// lose marks the values of a policy whose claim was lost.
func (vs *values) lose(policy string) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	for ref, k := range vs.kept {
		if k.policy == policy {
			k.lost = true
			vs.kept[ref] = k
		}
	}
}

// dropDead drops the values of keys that can't be resumed: another owner gave the key up, between two turns of ours or
// after a claim that was lost, or will, since the key was not recorded as made when the claim was lost. One that is still
// carried by its rotation is kept: this process may be the next to claim its policy, and would go on with it.
func (vs *values) dropDead(ctx context.Context, j journal.Reader) {
	vs.mu.Lock()
	held := maps.Clone(vs.kept)
	vs.mu.Unlock()
	for ref, k := range held {
		rec, err := j.Load(ctx, k.policy)
		if err == nil && !carries(rec, ref, k.lost) || errors.Is(err, journal.ErrNotFound) {
			vs.drop(ref)
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
