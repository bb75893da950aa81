// Package journaltest is the suite that every journal passes: each promise of package journal, tried.
//
// No test here relies on an injected clock: a journal that replicas share goes by its database's clock.
package journaltest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"rotator/rotation/journal"
)

// Run tries every promise of a journal. Each call of open returns a new, empty journal, which open closes in the end.
func Run(t *testing.T, open func(t *testing.T) journal.Journal) {
	t.Helper()
	for _, group := range [][]promise{claims, commits, rules, keyRules, effectRules, words, lists, installations, loader, readings, reading, rests, together, places} {
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
	// A journal links events as it likes.
	if d := cmp.Diff(want, got, cmpopts.IgnoreFields(journal.Policy{}, "Chain")); d != "" {
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

// events returns the kinds of all events, oldest first, but for those of the audit trail alone.
func (k *kit) events() []journal.Kind {
	k.Helper()
	var kinds []journal.Kind
	for _, e := range k.news() {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

// news returns all events, but for those of the audit trail alone.
func (k *kit) news() []journal.Event {
	k.Helper()
	found, err := k.j.Events(k.Context(), 0, 0)
	k.ok(err)
	return slices.DeleteFunc(found, func(e journal.Event) bool { return e.Kind.TrailOnly() })
}

// trail returns the kinds of the events of a policy that are of the audit trail alone, oldest first.
func (k *kit) trail(policy string) (kinds []journal.Kind) {
	k.Helper()
	found, err := k.j.Events(k.Context(), 0, 0)
	k.ok(err)
	for _, e := range found {
		if e.Policy == policy && e.Kind.TrailOnly() {
			kinds = append(kinds, e.Kind)
		}
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
			r.KeyRef, r.KeyID, r.Fingerprint = "ref-of-"+r.ID, "key-of-"+r.ID, "print-of-"+r.ID
		case journal.MarkPromoting:
			r.PromotingAt, r.CanaryFrom, r.CanaryOver = at, at.Add(time.Second), at.Add(time.Minute)
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
			r.KeyRef = ""
		case journal.MarkPromoting:
			r.PromotingAt = time.Time{}
		case journal.MarkLive:
			r.LiveAt = time.Time{}
		case journal.MarkEnded:
			r.EndedAt = time.Time{}
		}
	}
}

// key is one in a state, with the marks that the state needs.
func (k *kit) key(policy string, s journal.KeyState) journal.Key {
	ref := k.id("ref")
	key := journal.Key{
		Ref: ref, Policy: policy, Team: "research", Name: "rotator-" + policy + "-" + ref, Fingerprint: "print-of-" + ref, Spec: "{}",
		Origin: journal.OfAttempt, State: s, CreatedAt: now(),
	}
	markKey(&key, s.Info().Needs, now())
	return key
}

// markKey gives a key marks.
func markKey(k *journal.Key, marks []journal.KeyMark, at time.Time) {
	for _, m := range marks {
		switch m {
		case journal.MarkKeyID:
			k.ID = "id-of-" + k.Ref
		case journal.MarkExposed:
			k.ExposedAt = at
		case journal.MarkDisabled:
			k.DisabledAt = at
		case journal.MarkDeleted:
			k.DeletedAt = at
		}
	}
}

// unmarkKey takes marks away.
func unmarkKey(k *journal.Key, marks []journal.KeyMark) {
	for _, m := range marks {
		switch m {
		case journal.MarkKeyID:
			k.ID = ""
		case journal.MarkExposed:
			k.ExposedAt = time.Time{}
		case journal.MarkDisabled:
			k.DisabledAt = time.Time{}
		case journal.MarkDeleted:
			k.DeletedAt = time.Time{}
		}
	}
}

// move brings a key to another state, with the marks of that.
func move(k *journal.Key, to journal.KeyState) {
	k.State = to
	markKey(k, to.Info().Needs, now())
	unmarkKey(k, to.Info().Never)
}

// effect is one that was just intended.
func (k *kit) effect(policy, key string, kind journal.EffectKind) journal.Effect {
	e := journal.Effect{
		ID: k.id("effect"), Policy: policy, Key: key, Kind: kind, State: journal.EffectOpen, At: now(), QuietAt: now().Add(time.Minute),
	}
	if kind.OnTarget() {
		e.Target = target(policy, "one").TargetID
	}
	return e
}

func sighting(g journal.Target, fingerprint string) journal.Sighting {
	return journal.Sighting{TargetID: g.TargetID, Policy: g.Policy, Fingerprint: fingerprint, FirstSeen: now()}
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
