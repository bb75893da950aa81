package journaltest

import (
	"fmt"
	"sync"
	"time"

	"rotator/rotation/journal"
)

// claimsOf takes the named policies, which are due.
func (k *kit) claimsOf(who string, names ...string) map[string]journal.Claim {
	k.Helper()
	all, err := k.j.Claim(k.Context(), who, now(), len(names), names...)
	k.ok(err)
	of := make(map[string]journal.Claim)
	for _, c := range all {
		of[c.Policy] = c
	}
	if len(of) != len(names) {
		k.Fatalf("claimed %v, want %v", of, names)
	}
	return of
}

// takes wants that a claim takes a place, or does not.
func (k *kit) takes(c journal.Claim, place string, want bool) {
	k.Helper()
	got, err := k.j.TakePlace(k.Context(), now(), c, place)
	k.ok(err)
	if got != want {
		k.Fatalf("%s took %s: %t, want %t", c.Policy, place, got, want)
	}
}

// places are the promises to policies that write at one place.
var places = []promise{
	{"a place is one policy's at a time", func(k *kit) {
		k.policies("a", "b")
		of := k.claimsOf(owner, "a", "b")
		k.takes(of["a"], "secret", true)
		k.takes(of["b"], "secret", false)
		k.takes(of["b"], "another", true)
		k.takes(of["a"], "secret", true)
		k.ok(k.j.FreePlace(k.Context(), of["b"], "secret")) // not theirs
		k.takes(of["b"], "secret", false)
		k.ok(k.j.FreePlace(k.Context(), of["a"], "secret"))
		k.ok(k.j.FreePlace(k.Context(), of["a"], "secret"))
		k.takes(of["b"], "secret", true)
		k.takes(of["a"], "secret", false)
	}},
	{"a place ends with its claim", func(k *kit) {
		k.policies("a", "b")
		of := k.claimsOf(owner, "a", "b")
		k.takes(of["a"], "secret", true)
		k.ok(k.j.FreePlace(k.Context(), of["a"], "secret"))
		k.ok(k.j.Release(k.Context(), of["a"], now()))
		for _, place := range []string{"secret", "another"} {
			_, err := k.j.TakePlace(k.Context(), now(), of["a"], place)
			k.refused(err, journal.ErrLost)
		}
		again := k.claimsOf("replica-2", "a")["a"]
		k.takes(again, "secret", true)
		k.ok(k.j.FreePlace(k.Context(), of["a"], "secret")) // of an older claim
		k.takes(of["b"], "secret", false)
		k.ok(k.j.Release(k.Context(), again, now().Add(time.Hour)))
		if k.j.Lease() == 0 {
			k.takes(of["b"], "secret", true)
		} // else it ends with the lease, at the latest
	}},
	{"a place is taken over by a newer claim of its policy", func(k *kit) {
		k.policies("a", "b")
		of := k.claimsOf(owner, "a", "b")
		k.takes(of["a"], "secret", true)
		k.ok(k.j.Release(k.Context(), of["a"], now()))
		again := k.claimsOf("replica-2", "a")["a"]
		k.takes(again, "secret", true)
		k.takes(of["b"], "secret", false)
	}},
	{"of many that ask at once one has a place", func(k *kit) {
		const n = 16
		var names []string
		for i := range n {
			names = append(names, fmt.Sprintf("policy-%02d", i))
		}
		k.policies(names...)
		of := k.claimsOf(owner, names...)
		var mu sync.Mutex
		var wg sync.WaitGroup
		within, turns := 0, 0
		for _, name := range names {
			wg.Go(func() {
				for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
					taken, err := k.j.TakePlace(k.Context(), now(), of[name], "secret")
					if err != nil {
						k.Error(err)
						return
					}
					if !taken {
						continue
					}
					mu.Lock()
					if within++; within > 1 {
						k.Error("two had the place")
					}
					mu.Unlock()
					time.Sleep(time.Millisecond)
					mu.Lock()
					within--
					turns++
					mu.Unlock()
					if err := k.j.FreePlace(k.Context(), of[name], "secret"); err != nil {
						k.Error(err)
					}
					return
				}
			})
		}
		wg.Wait()
		k.equal("turns", turns, n)
	}},
}
