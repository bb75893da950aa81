// Package journaltest is the suite that every journal passes: each promise of package journal, tried.
//
// No test here relies on an injected clock: a journal that replicas share goes by its database's clock.
package journaltest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rotator/rotation/journal"
)

// Run tries every promise of a journal. Each call of open returns a new, empty journal, which open closes in the end.
func Run(t *testing.T, open func(t *testing.T) journal.Journal) {
	t.Helper()
	for _, group := range [][]promise{claims, commits, rules, words, loader, reading, rests, together} {
		for _, p := range group {
			t.Run(p.name, func(t *testing.T) {
				t.Parallel()
				p.try(&kit{T: t, j: open(t)})
			})
		}
	}
	t.Run("model", func(t *testing.T) {
		t.Parallel()
		model(t, open)
	})
}

// promise is one test of the suite.
type promise struct {
	name string
	try  func(*kit)
}

// kit is a journal under test, with what the tests say in one word.
type kit struct {
	*testing.T
	j   journal.Journal
	ids int
}

// owner is who claims when it does not matter who.
const owner = "replica-1"

// now is the time in the journal's precision.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

func (k *kit) ok(err error) {
	k.Helper()
	if err != nil {
		k.Fatal(err)
	}
}

// refused wants an error of a kind.
func (k *kit) refused(err, want error) {
	k.Helper()
	if !errors.Is(err, want) {
		k.Fatalf("error %v, want: %v", err, want)
	}
}

func (k *kit) equal(what string, got, want any) {
	k.Helper()
	if d := cmp.Diff(want, got); d != "" {
		k.Fatalf("%s (-want +got):\n%s", what, d)
	}
}

// id makes a name that no other test of this journal has.
func (k *kit) id(kind string) string {
	k.ids++
	return fmt.Sprintf("%s-%d", kind, k.ids)
}

func spec(name string) journal.Spec {
	return journal.Spec{Name: name, Team: "research", Owner: "ml@example.com", Canonical: `{"name":"` + name + `"}`}
}

// policies makes these the policies there are.
func (k *kit) policies(names ...string) {
	k.Helper()
	var specs []journal.Spec
	for _, n := range names {
		specs = append(specs, spec(n))
	}
	k.ok(k.j.SetPolicies(k.Context(), now(), specs))
}

// claim takes the one policy that is due.
func (k *kit) claim(policy string) journal.Claim {
	k.Helper()
	c, err := k.j.Claim(k.Context(), owner, now(), 10)
	k.ok(err)
	if len(c) != 1 || c[0].Policy != policy {
		k.Fatalf("claimed %v, want %s alone", c, policy)
	}
	return c[0]
}

// unclaimable wants that nothing is due.
func (k *kit) unclaimable() {
	k.Helper()
	c, err := k.j.Claim(k.Context(), "replica-2", now(), 10)
	k.ok(err)
	if len(c) != 0 {
		k.Fatalf("claimed %v, want nothing to be due", c)
	}
}

// next wants what comes due next, among those that move and among those at rest. A database that was slow to answer looks
// like one whose clock is ahead: then what comes next is said to come earlier, by no more than that.
func (k *kit) next(due, rest time.Time) {
	k.Helper()
	asked := time.Now()
	gotDue, gotRest, err := k.j.Next(k.Context())
	k.ok(err)
	for _, next := range []struct{ got, want time.Time }{{gotDue, due}, {gotRest, rest}} {
		if early := next.want.Sub(next.got); early < 0 || early > time.Since(asked) {
			k.Fatalf("next due %v, next at rest %v; want %v and %v", gotDue, gotRest, due, rest)
		}
	}
}

func (k *kit) load(policy string) *journal.Record {
	k.Helper()
	rec, err := k.j.Load(k.Context(), policy)
	k.ok(err)
	return rec
}

// start makes a policy, claims it and loads it.
func (k *kit) start(policy string) (journal.Claim, *journal.Record) {
	k.Helper()
	k.policies(policy)
	return k.claim(policy), k.load(policy)
}

// events returns the kinds of all events, oldest first.
func (k *kit) events() []journal.Kind {
	k.Helper()
	found, err := k.j.Events(k.Context(), 0, 0)
	k.ok(err)
	var kinds []journal.Kind
	for _, e := range found {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

// rotation is one in a state, with the marks that the state needs.
func (k *kit) rotation(policy string, s journal.State) journal.Rotation {
	at := now()
	r := journal.Rotation{
		ID: k.id("rotation"), Policy: policy, State: s, Trigger: journal.BySchedule, Spec: "{}", StartedAt: at, EnteredAt: at,
	}
	mark(&r, s.Info().Needs, at)
	return r
}

// mark gives a rotation marks.
func mark(r *journal.Rotation, marks []journal.Mark, at time.Time) {
	for _, m := range marks {
		switch m {
		case journal.MarkKey:
			r.KeyID, r.Fingerprint = "key-of-"+r.ID, "print-of-"+r.ID
		case journal.MarkPromoting:
			r.PromotingAt = at
		case journal.MarkLive:
			r.LiveAt = at
		case journal.MarkEnded:
			r.EndedAt = at
		}
	}
}

// unmark takes marks away.
func unmark(r *journal.Rotation, marks []journal.Mark) {
	for _, m := range marks {
		switch m {
		case journal.MarkKey:
			r.KeyID = ""
		case journal.MarkPromoting:
			r.PromotingAt = time.Time{}
		case journal.MarkLive:
			r.LiveAt = time.Time{}
		case journal.MarkEnded:
			r.EndedAt = time.Time{}
		}
	}
}

func (k *kit) attempt(r journal.Rotation, s journal.AttemptState) journal.Attempt {
	id := k.id("attempt")
	a := journal.Attempt{
		ID: id, Rotation: r.ID, Policy: r.Policy, Team: "research", Name: "rotator/" + r.Policy + "/" + id, State: s, CreatedAt: now(),
	}
	if s == journal.Created || s == journal.Lost {
		a.KeyID, a.Fingerprint = "key-of-"+id, "print-of-"+id
	}
	if s == journal.Settled {
		a.SettledAt = now()
	}
	return a
}

func (k *kit) key(policy string) journal.Key {
	id := k.id("key")
	return journal.Key{
		ID: id, Policy: policy, Team: "research", Name: "rotator/" + policy + "/" + id, Fingerprint: "print-of-" + id,
		Origin: journal.OfAttempt, Use: journal.UseSuccessor, CreatedAt: now(),
	}
}

func target(policy, path string) journal.Target {
	return journal.Target{
		TargetID: journal.TargetID{Store: "vault", Path: path, Field: "api_key"}, Policy: policy, Status: journal.TargetOK,
		SeenAt: now(),
	}
}

func event(policy string, kind journal.Kind) journal.Event {
	return journal.Event{At: now(), Policy: policy, Kind: kind, Data: map[string]string{"step": string(kind)}}
}

// copyOf copies a record with its base.
func copyOf(rec *journal.Record) *journal.Record {
	c := rec.Clone()
	if rec.Base != nil {
		c.Base = rec.Base.Clone()
	}
	return c
}
