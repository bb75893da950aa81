package rotation_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"rotator/internal/secret"
	"rotator/policies"
	"rotator/rotation/health"
	"rotator/rotation/journal"
	"rotator/stores"
	"rotator/stores/memstore"
	"rotator/xai/xaisim"
)

// trouble is one kind of trouble in a fleet. Each policy of it has a target in store a, at its own name.
type trouble struct {
	name   string
	model  string                   // in place of grok-4
	extra  string                   // lines of its policies
	also   string                   // another target: a format of the policy's name
	before func(b *bench, p string) // before the first contact
	then   func(b *bench, p string) // an hour later
	is     health.Health            // three hours later
	why    journal.Reason
}

// of is a key's value that the target of a policy holds.
func (b *bench) of(p string) secret.Text {
	return b.stores["a"].Read(stores.Target{Path: p, Field: "api_key"})
}

func (b *bench) asks(p string, o journal.Order) {
	o.Policy = p
	b.order(o)
}

func (b *bench) holds(p string, h journal.Hold) {
	h.By, h.Reason, h.At = "ann", "audit", b.clock
	if err := b.journal.SetHold(b.t.Context(), b.clock, p, h, journal.Event{At: b.clock, Policy: p, Kind: journal.HoldSet}); err != nil {
		b.t.Fatal(err)
	}
}

// madeByHand puts a key that a human made into a policy's target.
func (b *bench) madeByHand(p, name string, acls ...string) (id string, value secret.Text) {
	id, value = b.sim.AddKey(teamID, name, acls...)
	b.stores["a"].Set(p, `{"api_key":"`+value.Reveal()+`"}`)
	return id, value
}

var (
	chatOnly = []string{"api-key:model:grok-4", "api-key:endpoint:chat"}
	byHand   = journal.Order{Kind: journal.OrderRotate, Trigger: journal.ByHand}
)

// troubles are the kinds. dying is a store that answers for an hour, dead one that never does.
var troubles = []trouble{
	{name: "well", is: health.OK},
	{name: "well, in two stores", also: "{store: b, path: %s}", is: health.OK},
	{name: "adopted", extra: "adopt: true", before: func(b *bench, p string) { b.madeByHand(p, "by hand", chatOnly...) }, is: health.OK},
	{name: "not adopted", before: func(b *bench, p string) { b.madeByHand(p, "by hand", chatOnly...) }, is: health.Degraded, why: health.NeverRotated},
	{name: "a store that never answers", also: "{store: dead, path: %s}", is: health.Overdue, why: health.RotationLate},
	{name: "a store that dies", also: "{store: dying, path: %s}", is: health.Degraded, why: "store_unavailable"},
	{name: "a password at first contact", before: func(b *bench, p string) { b.stores["a"].Set(p, `{"api_key":"hunter2"}`) }, is: health.ActionRequired, why: "foreign_value"},
	{name: "a text that is no JSON", before: func(b *bench, p string) { b.stores["a"].Set(p, "hunter2") }, is: health.ActionRequired, why: "target_invalid"},
	{name: "drift", then: func(b *bench, p string) { b.stores["a"].Set(p, `{"api_key":"hunter2"}`) }, is: health.ActionRequired, why: "drift"},
	{name: "emptied", then: func(b *bench, p string) { b.stores["a"].Set(p, "") }, is: health.ActionRequired, why: "target_missing"},
	{name: "another policy's key", then: func(b *bench, p string) {
		b.stores["a"].Set(p, `{"api_key":"`+b.of("well-0").Reveal()+`"}`)
	}, is: health.ActionRequired, why: "other_policy"},
	{name: "another rotator's key", extra: "adopt: true", before: func(b *bench, p string) {
		b.madeByHand(p, "rotator-elsewhere-01a22d5f-9d95-7bdc-8163-a818ebeeee9a", chatOnly...)
	}, is: health.ActionRequired, why: "other_rotator"},
	{name: "a wide key", extra: "adopt: true", before: func(b *bench, p string) { b.madeByHand(p, "by hand", "api-key:model:*", "api-key:endpoint:*") },
		is: health.ActionRequired, why: "narrowing"},
	{name: "a model that xAI lacks", model: "grok-0", is: health.Overdue, why: health.RotationLate},
	{name: "different keys", extra: "adopt: true", also: "{store: b, path: %s}", before: func(b *bench, p string) {
		b.madeByHand(p, "by hand", chatOnly...)
		_, v := b.sim.AddKey(teamID, "also by hand", chatOnly...)
		b.stores["b"].Set(p, v.Reveal())
	}, is: health.ActionRequired, why: "different_keys"},
	{name: "every target dropped", then: func(b *bench, p string) {
		b.asks(p, journal.Order{Kind: journal.OrderResolve, Decision: journal.Drop, Target: journal.TargetID{Store: "a", Path: p, Field: "api_key"}})
	}, is: health.Degraded, why: health.Unproved},
	{name: "held", then: func(b *bench, p string) { b.holds(p, journal.Hold{}) }, is: health.Degraded, why: "held"},
	{name: "held and too old", extra: "adopt: true\nmax_age: 30d", before: func(b *bench, p string) { b.madeByHand(p, "old", chatOnly...) },
		is: health.Overdue, why: health.OverAge},
	{name: "aborted", then: func(b *bench, p string) { b.asks(p, journal.Order{Kind: journal.OrderAbort}) }, is: health.OK},
	{name: "rolled back", then: func(b *bench, p string) {
		b.asks(p, byHand)
		b.run(time.Minute)
		b.asks(p, journal.Order{Kind: journal.OrderRollback})
	}, is: health.Degraded, why: "held"},
	{name: "in its overlap", then: func(b *bench, p string) { b.asks(p, byHand) }, is: health.Progressing, why: "overlap"},
	{name: "a canary", also: "{store: b, path: %s}", extra: "canary: {target: \"a:POLICY#api_key\", for: 6h}", then: func(b *bench, p string) { b.asks(p, byHand) },
		is: health.Progressing, why: "canary"},
	{name: "wanted, and a store is dead", also: "{store: dying, path: %s}", then: func(b *bench, p string) { b.asks(p, byHand) },
		is: health.Overdue, why: health.RotationLate},
	{name: "leaked, and a store is dead", also: "{store: dying, path: %s}", then: func(b *bench, p string) {
		b.asks(p, journal.Order{Kind: journal.OrderRotate, Trigger: journal.ByCompromise, Why: "leaked"})
	}, is: health.Overdue, why: health.CompromisedAccepted},
	{name: "leaked", then: func(b *bench, p string) {
		b.asks(p, journal.Order{Kind: journal.OrderRotate, Trigger: journal.ByCompromise, Why: "leaked"})
	}, is: health.Progressing, why: "soak"},
	{name: "its key died", then: func(b *bench, p string) { b.human(b.record(p).Policy.KeyID, b.sim.DeleteKey) }, is: health.Progressing, why: "overlap"},
	{name: "its key died, and a store is dead", also: "{store: dying, path: %s}", then: func(b *bench, p string) { b.human(b.record(p).Policy.KeyID, b.sim.DeleteKey) },
		is: health.Overdue, why: health.RotationLate},
	{name: "removed", is: health.ActionRequired, why: health.Removed},
	{name: "decommissioned", then: func(b *bench, p string) {
		b.asks(p, journal.Order{Kind: journal.OrderDecommission, Why: "over", AcceptOutage: true})
	},
		is: health.Progressing, why: "soak"},
	{name: "revoked", then: func(b *bench, p string) {
		b.asks(p, journal.Order{Kind: journal.OrderRevoke, KeyIDs: journal.IDs(b.record(p).Policy.KeyID), Why: "leaked", AcceptOutage: true})
	}, is: health.Progressing, why: "soak"},
}

// TestHealthOfAFleet: a fleet with thirty kinds of trouble at once, of ten policies each with ROTATOR_SOAK=1. Each is named rightly, and none is ok that is
// not.
func TestHealthOfAFleet(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{})
	b.limits.Concurrency = 64
	for _, store := range []string{"dying", "dead"} {
		b.stores[store] = memstore.New()
	}
	b.down("dead")
	each := 1 // of each kind
	if os.Getenv("ROTATOR_SOAK") == "1" {
		each = 10
	}
	var names, docs, stay []string
	of := make(map[string]trouble)
	b.clock = b.clock.Add(-40 * 24 * time.Hour)
	for _, kind := range troubles {
		for i := range each {
			p := fmt.Sprintf("%s-%d", strings.NewReplacer(",", "", "'", "", " ", "-").Replace(strings.ToLower(kind.name)), i)
			if kind.before != nil {
				kind.before(b, p)
			}
			targets := []string{fmt.Sprintf("{store: a, path: %s, field: api_key}", p)}
			if kind.also != "" {
				targets = append(targets, fmt.Sprintf(kind.also, p))
			}
			doc := policyDoc(p, strings.ReplaceAll(kind.extra, "POLICY", p)+"\nretire: {overlap: 6h, soak: 6h}", targets...)
			if kind.model != "" {
				doc = strings.ReplaceAll(doc, "grok-4", kind.model)
			}
			docs, names, of[p] = append(docs, doc), append(names, p), kind
			if kind.name != "removed" {
				stay = append(stay, doc)
			}
		}
	}
	b.clock = b.clock.Add(40 * 24 * time.Hour)
	b.load(docs...)
	for _, p := range names {
		if of[p].name == "held and too old" {
			b.holds(p, journal.Hold{})
		}
	}
	b.specs = map[string]*policies.Policy{} // who reads what is not this test's matter
	b.run(time.Hour)
	b.down("dying")
	b.load(stay...)
	b.specs = map[string]*policies.Policy{}
	for _, p := range names {
		if then := of[p].then; then != nil {
			then(b, p)
		}
	}
	b.run(3 * time.Hour)
	count := map[health.Health]int{}
	for _, p := range names {
		r := b.record(p)
		got, why := health.Shown(&r.Policy, r.Hold, b.clock)
		count[got]++
		if kind := of[p]; got != kind.is || why != kind.why {
			t.Errorf("%s is %s (%s: %s), want %s (%s)", p, got, why, r.Policy.Error, kind.is, kind.why)
		}
	}
	t.Logf("%d policies: %v", len(names), count)
}
