package rotation

import (
	"sync"
	"time"

	"rotator/rotation/due"
	"rotator/rotation/grant"
	"rotator/rotation/journal"
)

// idleKeys are keys that needed no update when they were compared last, and all that the comparison looked at: pass after pass,
// nothing of it changes.
type idleKeys struct {
	mu sync.Mutex
	of map[string]compared // key ref → what was compared
}

// compared is all that [grant.Compare] looks at, of a key that has no expiry and is to have none.
type compared struct {
	policy                     string // its canonical form
	asked, spec, listed, shown string // of the key
	name                       string
	expires                    time.Time
	state                      journal.KeyState
	team                       string
	frozen, expiryAlone        bool
}

// idleMost bounds how many are kept.
const idleMost = 4096

func comparedAs(r *run, k *journal.Key) compared {
	_, frozen := due.Frozen(r.env.Freezes(), r.policy, due.Schedule, r.now())
	return compared{r.rec.Policy.Spec, k.Asked, k.Spec, k.Listed, k.Shown, k.ListedName(), k.Expiry(), k.State, k.Team, frozen, grant.ExpiryAlone(k, r.policy, &r.rec.Policy)}
}

func (i *idleKeys) knows(ref string, c compared) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	was, ok := i.of[ref]
	return ok && was == c
}

func (i *idleKeys) keep(ref string, c compared) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.of == nil {
		i.of = make(map[string]compared)
	}
	for other := range i.of {
		if len(i.of) < idleMost {
			break
		}
		delete(i.of, other)
	}
	i.of[ref] = c
}
