package api

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// lastAnswers are the last answers of stores, for readiness.
type lastAnswers struct {
	mu sync.Mutex
	of map[string]lastAnswer // guarded by mu: store → its last answer
}

// lastAnswer is how a store's last answer was.
type lastAnswer struct {
	outcome string
	since   time.Time // of the first that was of no use in a row; zero: it was of use
}

// useless are outcomes of calls after which a store may as well not be there. All others are answers: also that a secret
// does not exist, or that another changed it.
var useless = []string{"denied", "timeout", "unknown"}

func (a *lastAnswers) note(store, outcome string, now time.Time) {
	if outcome == "canceled" { // by ourselves: it says nothing of the store
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	next := lastAnswer{outcome: outcome}
	if slices.Contains(useless, outcome) {
		next.since = now
		if was := a.of[store]; !was.since.IsZero() {
			next.since = was.since
		}
	}
	a.of[store] = next
}

// givenUp is how long a store gives no answer of use before it counts as gone: one denied path is not the whole store.
const givenUp = time.Minute

// troubled says of each of stores whose last answer was of no use what it was, and whether all of them are gone. One that
// was not asked yet is in no trouble.
func (a *lastAnswers) troubled(stores []string, now time.Time) (words []string, gone bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	gone = len(stores) > 0
	for _, name := range stores {
		last := a.of[name]
		if last.since.IsZero() {
			gone = false
			continue
		}
		ago := now.Sub(last.since)
		gone = gone && ago >= givenUp
		words = append(words, fmt.Sprintf("store %s: %s for %s", name, last.outcome, ago.Round(time.Second)))
	}
	return words, gone
}

// asked reports whether a store answered, or failed to, since this process began.
func (a *lastAnswers) asked(store string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, asked := a.of[store]
	return asked
}
