package rotation_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"rotator/policies"
	"rotator/rotation"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/stores"
	"rotator/xai"
	"rotator/xai/xaisim"
)

// wide puts a key made by hand into store a that may do more than the policies of these tests.
func (b *bench) wide(acls ...string) (id string) {
	id, v := b.sim.AddKey(teamID, "made by hand", append(acls, "api-key:endpoint:chat")...)
	b.stores["a"].Set("chat", field(v.Reveal()))
	return id
}

// held is the key that consumers of store a read.
func (b *bench) held() string {
	return b.idOf(b.stores["a"].Read(stores.Target{Path: "chat", Field: "api_key"}))
}

// TestNarrowing: a key whose consumers would lose rights with it is taken over only on a human's word.
func TestNarrowing(t *testing.T) {
	const all = "api-key:model:*"
	stopped := func(b *bench, id string, lost ...string) {
		b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand})
		b.run(24 * time.Hour)
		b.waits("chat", reason.Narrowing, true)
		said := b.record("chat").Policy.Error
		for _, acl := range append(lost, id, "allow_narrowing: true") {
			if !strings.Contains(said, acl) {
				b.violated("%q does not say %s", said, acl)
			}
		}
		if n := b.count(journal.WaitsForHuman); n != 1 {
			b.violated("people were notified %d times", n)
		}
		if b.held() != id || b.gone(id) || b.sim.Calls()["create"] > 0 || b.count(journal.KeyAdopted) > 0 {
			b.violated("a key was made or adopted, or %s is not what consumers read", id)
		}
	}
	goes := func(b *bench, id string) {
		b.runUntilIdle()
		b.checkEnded()
		if !b.gone(id) || b.count(journal.KeyAdopted) != 1 {
			b.violated("the key made by hand was not adopted and retired")
		}
	}
	play(t, []liar{
		{"allowed by word", xaisim.Options{}, func(b *bench) {
			id := b.wide(all)
			b.load(policyDoc("chat", "adopt: true"+quick, targetA, targetB))
			stopped(b, id, all)
			b.load(policyDoc("chat", "adopt: true\nallow_narrowing: true"+quick, targetA, targetB))
			goes(b, id)
		}},
		{"the policy gives what the key may", xaisim.Options{}, func(b *bench) {
			id := b.wide("api-key:model:grok-3", "api-key:model:grok-4")
			b.load(policyDoc("chat", "adopt: {key_id: "+id+"}"+quick, targetA))
			stopped(b, id, "api-key:model:grok-3")
			b.load(strings.Replace(policyDoc("chat", "adopt: {key_id: "+id+"}"+quick, targetA), `"api-key:model:grok-4"`, `"api-key:model:*"`, 1) + "\nverify: {model: grok-4}")
			goes(b, id)
		}},
		{"its own acls are edited", xaisim.Options{}, func(b *bench) {
			id := b.wide(all)
			wide := strings.Replace(policyDoc("chat", "adopt: true"+quick, targetA), `"api-key:model:grok-4"`, `"api-key:model:*"`, 1) + "\nverify: {model: grok-4}"
			b.load(wide)
			b.run(time.Hour)
			b.load(policyDoc("chat", "adopt: true"+quick, targetA))
			b.rotates()
			goes(b, id)
		}},
		{"the journal is rebuilt", xaisim.Options{}, func(b *bench) {
			id := b.wide(all)
			b.load(policyDoc("chat", "adopt: true"+quick, targetA))
			rows, _ := b.adoptions("chat")
			if i := slices.IndexFunc(rows, func(a rotation.Adoption) bool { return a.Key.ID == id }); i < 0 || rows[i].As != rotation.AdoptWaits || !strings.Contains(rows[i].Why, all) {
				b.violated("the preview is %+v", rows)
			}
			order := b.agree("chat", journal.IDs(id))
			b.run(time.Minute)
			if why := b.refused(order); !strings.Contains(why, all) || b.count(journal.KeyAdopted) > 0 {
				b.violated("adopted: %q", why)
			}
			b.load(policyDoc("chat", "adopt: true\nallow_narrowing: true"+quick, targetA))
			b.adopt()
			b.rotates()
			goes(b, id)
		}},
		{"not adopted, left alone", xaisim.Options{}, func(b *bench) {
			id := b.wide(all)
			b.strange[id] = true
			b.load(policyDoc("chat", quick, targetA))
			b.rotates()
			b.checkEnded()
		}},
	})
}

// TestNarrowingOfOurOwn: a key that the rotator made for the policy is narrowed by an edit of the policy alone.
func TestNarrowingOfOurOwn(t *testing.T) {
	t.Parallel()
	p := &policies.Policy{Name: "chat", RenamedFrom: "talk", Key: policies.KeySpec{ACLs: []string{"api-key:model:grok-4"}}}
	for name, want := range map[string]int{
		"made by hand": 1, aName: 0, strings.Replace(aName, "chat", "talk", 1): 0, strings.Replace(aName, "chat", "other", 1): 1,
	} {
		if lost := rotation.Narrowing(p, xai.Key{Name: name, ACLs: []string{"api-key:model:*", "api-key:model:grok-4"}}); len(lost) != want {
			t.Errorf("%s loses %v, want %d", name, lost, want)
		}
	}
}
