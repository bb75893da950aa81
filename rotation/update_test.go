package rotation_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"rotator/rotation/health"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/xai/xaisim"
)

// keyed is policyDoc with another key.
func keyed(key, extra string, targets ...string) string {
	return strings.Replace(policyDoc("chat", extra, targets...), `key: {acls: ["api-key:model:grok-4", "api-key:endpoint:chat"]}`, "key: {"+key+"}", 1)
}

const (
	justChat = `acls: ["api-key:model:grok-4", "api-key:endpoint:chat"]`
	wider    = `acls: ["api-key:model:grok-4", "api-key:model:grok-3-mini", "api-key:endpoint:chat"]`
)

// truth is a key as it really is.
func (b *bench) truth(id string) xaisim.KeyTruth {
	for _, k := range b.sim.Keys(teamID) {
		if k.ID == id {
			return k
		}
	}
	return xaisim.KeyTruth{}
}

// granted checks that the key in use of every policy may do at xAI what its policy says, no more and no less.
func (b *bench) granted() {
	for _, name := range b.known() {
		r, p := b.record(name), b.specs[name]
		k := r.Live()
		if p == nil || k == nil || k.Origin != journal.OfAttempt || r.Policy.Leaving() || r.Hold.Active(b.clock) {
			continue
		}
		is, want := b.truth(k.ID), p.Key
		acls, have := slices.Sorted(slices.Values(want.ACLs)), slices.Sorted(slices.Values(is.ACLs))
		fits := !slices.ContainsFunc(acls, func(a string) bool { return !slices.Contains(have, a) }) && (!p.AllowNarrowing || len(acls) == len(have))
		if !fits || !equalTo(is.QPS, want.QPS) || !equalTo(is.QPM, want.QPM) || !equalTo(is.TPM, want.TPM) || is.Name != k.ListedName() ||
			is.Expires.IsZero() != (want.ExpiresAfter == 0) {
			b.violated("key %s of %s is %v %s %s, its policy says %s; %s %s", k.ID, name, have, limitsText(is), is.Name, p.Canonical(), k.UpdateReason, k.UpdateError)
		}
	}
}

func equalTo[T comparable](a, b *T) bool { return a == b || a != nil && b != nil && *a == *b }

func limitsText(k xaisim.KeyTruth) string {
	text := ""
	if k.QPS != nil {
		text += "qps "
	}
	if k.QPM != nil {
		text += "qpm "
	}
	return text + k.Expires.String()
}

// editScenarios edit the key of a policy in every state of a rotation.
func editScenarios() (out []scenario) {
	edit := func(doc string) func(*bench) {
		return func(b *bench) {
			b.load(doc)
			b.runUntilIdle()
		}
	}
	live := func(b *bench) {
		b.load(keyed(justChat, "allow_narrowing: true"+quick, targetA))
		b.run(time.Hour)
	}
	for _, s := range []journal.State{journal.Staged, journal.Verified, journal.Promoting, journal.Live, journal.Soaking} {
		out = append(out, scenario{"key edited, " + string(s), func(b *bench) {
			live(b)
			b.reach(s)
		}, edit(keyed(wider+", qps: 7, tpm: \"900\"", "allow_narrowing: true"+quick, targetA)), inUse})
	}
	return append(out,
		scenario{"limits edited", live, edit(keyed(justChat+", qps: 7, qpm: 70", "allow_narrowing: true"+quick, targetA)), inUse},
		scenario{"rights widened, then narrowed", live, func(b *bench) {
			b.load(keyed(wider, "allow_narrowing: true"+quick, targetA))
			b.run(time.Minute)
			b.load(keyed(justChat, "allow_narrowing: true"+quick, targetA))
			b.runUntilIdle()
		}, inUse},
		scenario{"rights narrowed, then widened", func(b *bench) {
			b.load(keyed(wider, "allow_narrowing: true"+quick, targetA))
			b.run(time.Hour)
		}, func(b *bench) {
			b.load(keyed(justChat, "allow_narrowing: true"+quick, targetA))
			b.run(time.Minute)
			b.load(keyed(wider+", qpm: 9", "allow_narrowing: true"+quick, targetA))
			b.runUntilIdle()
		}, inUse},
		scenario{"keys that expire, and limits edited", func(b *bench) {
			b.load(keyed(justChat+", expires_after: 35d, qps: 3", quick, targetA))
			b.run(time.Hour)
		}, func(b *bench) {
			b.load(keyed(justChat+", expires_after: 40d", quick, targetA))
			b.runUntilIdle()
		}, inUse})
}

// An edit of limits and of rights that widen is applied to the key in use within two watches, without a new key; by either path.
func TestEditsFollow(t *testing.T) {
	for name, o := range map[string]xaisim.Options{"full API": {}, "guides alone": guidesOnly} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, o)
			b.load(keyed(justChat+", qps: 5", quick, targetA))
			b.run(time.Hour)
			id := b.key()
			for _, key := range []string{justChat + ", qps: 6", wider + ", qps: 6, qpm: 60", wider + ", tpm: \"10\"", wider} {
				before := b.count(journal.KeyUpdated)
				b.load(keyed(key, quick, targetA))
				b.run(time.Second)
				b.granted()
				if b.key() != id || b.count(journal.KeyUpdated) == before {
					b.violated("key %s is in use, told %d", b.key(), b.count(journal.KeyUpdated)-before)
				}
			}
			b.run(24 * time.Hour)
			if n := b.sim.Calls()["update"]; n != 5 {
				b.violated("%d updates were sent", n)
			}
			b.settled()
			b.alone()
			b.check()
		})
	}
}

// Rights that narrow come with the next rotation, or at once with allow_narrowing.
func TestNarrowerRights(t *testing.T) {
	b := newBench(t, xaisim.Options{})
	b.load(keyed(wider, quick, targetA))
	b.run(time.Hour)
	old := b.key()
	b.load(keyed(justChat, quick, targetA))
	b.run(24 * time.Hour)
	if n := len(b.truth(old).ACLs); n != 3 || b.sim.Calls()["update"] > 0 || b.key() != old {
		b.violated("the key has %d rights after %d updates", n, b.sim.Calls()["update"])
	}
	b.is(health.OK, "")
	b.rotates()
	b.runUntilIdle()
	if k := b.key(); k == old || len(b.truth(k).ACLs) != 2 {
		b.violated("the next key has %d rights", len(b.truth(k).ACLs))
	}
	b.load(keyed(wider, quick, targetA))
	b.run(time.Minute)
	b.load(keyed(justChat, quick, targetA))
	b.run(time.Minute)
	id := b.key()
	if n := len(b.truth(id).ACLs); n != 3 {
		b.violated("%d rights", n)
	}
	b.load(keyed(justChat, "allow_narrowing: true"+quick, targetA))
	b.run(time.Minute)
	if n := len(b.truth(id).ACLs); n != 2 || b.key() != id {
		b.violated("%d rights with allow_narrowing", n)
	}
	b.granted()
	b.settled()
	b.check()
}

// What someone changes at xAI is reported, and set right with key.enforce alone.
func TestKeyDrift(t *testing.T) {
	for name, o := range map[string]xaisim.Options{"full API": {}, "guides alone": guidesOnly} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, o)
			b.load(keyed(justChat+", qps: 5", quick, targetA))
			b.run(time.Hour)
			b.inventory()
			id := b.key()
			nine := 9
			b.sim.ChangeKey(id, func(k *xaisim.KeyTruth) {
				k.QPS, k.QPM, k.Name = &nine, &nine, "mine"
				k.ACLs = append(k.ACLs, "api-key:model:grok-3-mini")
			})
			b.passes(26 * time.Hour)
			r := b.record("chat")
			k := r.Live()
			for _, text := range []string{"qps 9 instead of qps 5", "qpm 9 instead of no qpm", `name: "mine"`, "grok-3-mini added"} {
				if !strings.Contains(k.Drift, text) {
					b.violated("the key's row says %q, not %q", k.Drift, text)
				}
			}
			b.is(health.Degraded, reason.KeyDrift)
			if n := b.count(journal.KeyDrifted); n != 1 || b.sim.Calls()["update"] > 0 {
				b.violated("told %d times, %d updates", n, b.sim.Calls()["update"])
			}
			// An edit of another limit leaves it.
			b.load(keyed(justChat+", qps: 5, tpm: \"8\"", quick, targetA))
			b.run(time.Minute)
			if is := b.truth(id); is.TPM == nil || *is.QPS != 9 || is.Name != "mine" {
				b.violated("after an edit the key is %+v", is)
			}
			b.load(keyed(justChat+", qps: 5, tpm: \"8\", enforce: true", quick, targetA))
			b.run(time.Minute)
			b.granted()
			if is := b.truth(id); is.QPM != nil || len(is.ACLs) != 2 || is.Name == "mine" {
				b.violated("with enforce the key is %+v", is)
			}
			b.sim.ChangeKey(id, func(k *xaisim.KeyTruth) { k.QPS = nil })
			b.passes(12 * time.Hour)
			b.granted()
			if n := b.count(journal.KeyDrifted); n < 2 {
				b.violated("told %d times", n)
			}
			b.is(health.OK, "")
			b.settled()
			b.check()
		})
	}
}

// Where an update is refused, or has no effect, it is reported once, and the next rotation brings the edit.
func TestUpdateRefused(t *testing.T) {
	for name, o := range map[string]xaisim.Options{
		"refused": {Fixed: []string{""}}, "refused, guides alone": {Fixed: []string{""}, GuidesOnly: true}, "ignored": {Ignored: []string{"qps", "aclStrings"}},
		"not offered": {NotOffered: []string{"update"}, DisableUnsupported: true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, o)
			b.load(keyed(justChat+", qps: 5", quick, targetA))
			b.run(time.Hour)
			id := b.key()
			b.load(keyed(wider+", qps: 6", quick, targetA))
			b.run(24 * time.Hour)
			b.is(health.Degraded, reason.UpdateRefused)
			if n := b.count(journal.KeyUpdateRefused); n != 2 || b.key() != id {
				b.violated("told %d times", n)
			}
			if name == "not offered" { // then no old key is turned off either
				b.check()
				return
			}
			b.rotates()
			b.runUntilIdle()
			b.granted()
			if b.key() == id || b.count(journal.KeyUpdateRefused) != 2 {
				b.violated("key %s, told %d times", b.key(), b.count(journal.KeyUpdateRefused))
			}
			// A rotation in flight takes another key.
			b.reach(journal.Staged)
			b.load(keyed(wider+", qps: 7", quick, targetA))
			b.run(5 * time.Minute)
			b.runUntilIdle()
			b.granted()
			b.settled()
			b.check()
		})
	}
}

// A late narrowing never undoes a widening that people were notified of.
func TestLateNarrowing(t *testing.T) {
	for _, delay := range []time.Duration{time.Second, 5 * time.Minute, 10*time.Minute + 50*time.Second} {
		for name, o := range map[string]xaisim.Options{"full API": {}, "guides alone": guidesOnly} {
			t.Run(delay.String()+", "+name, func(t *testing.T) {
				b := newBench(t, o)
				b.observed()
				b.load(keyed(wider, "allow_narrowing: true"+quick, targetA))
				b.run(time.Hour)
				b.sim.Late("update", delay)
				b.load(keyed(justChat, "allow_narrowing: true"+quick, targetA))
				b.run(500 * time.Millisecond)
				b.load(keyed(wider+", qpm: 3", "allow_narrowing: true"+quick, targetA))
				told := -1
				b.runUntil(time.Hour, func() bool {
					if n := b.count(journal.KeyUpdated); n > 0 && told < 0 {
						told = n
						b.granted()
					}
					if told > 0 {
						b.granted()
					}
					return false
				})
				b.granted()
				if told < 0 {
					b.violated("the widening was never told")
				}
				b.settled()
				b.check()
			})
		}
	}
}

// Under a hold of everything nothing is updated; under one of rotations it is.
func TestUpdateUnderHold(t *testing.T) {
	b := newBench(t, xaisim.Options{})
	b.load(keyed(justChat, quick, targetA))
	b.run(time.Hour)
	b.hold(journal.Hold{Reason: "stop", By: "me", At: b.clock, Scope: journal.HoldAll})
	b.load(keyed(justChat+", qps: 8", quick, targetA))
	b.run(2 * time.Hour)
	if b.sim.Calls()["update"] > 0 {
		b.violated("updated under a hold")
	}
	b.hold(journal.Hold{Reason: "no rotation", By: "me", At: b.clock, Scope: journal.HoldRotations})
	b.run(time.Minute)
	if is := b.truth(b.key()); is.QPS == nil {
		b.violated("not updated under a hold of rotations")
	}
	b.check()
}

// Observe mode and a freeze: the first changes nothing, the second keeps rights from being taken away.
func TestUpdateWaits(t *testing.T) {
	b := newBench(t, xaisim.Options{})
	b.load(keyed(wider, "allow_narrowing: true"+quick, targetA))
	b.run(time.Hour)
	b.observes(24 * time.Hour)
	b.load(keyed(justChat+", qps: 8", "allow_narrowing: true"+quick, targetA))
	b.run(2 * time.Hour)
	if b.sim.Calls()["update"] > 0 || !strings.Contains(b.record("chat").Policy.Error, "would update key") {
		b.violated("%d updates; %q", b.sim.Calls()["update"], b.record("chat").Policy.Error)
	}
	b.freeze("2026-03-01", "2026-03-05", false)
	b.run(24 * time.Hour)
	if is := b.truth(b.key()); is.QPS == nil || len(is.ACLs) != 3 {
		b.violated("in a freeze the key is %+v", is)
	}
	b.run(5 * 24 * time.Hour)
	b.granted()
	b.settled()
	b.check()
}

// A list that does not know of an update yet is taken for no change by someone else.
func TestUpdateIsListedLate(t *testing.T) {
	b := newBench(t, xaisim.Options{UpdateLag: 90 * time.Second})
	b.load(keyed(justChat+", qps: 5, enforce: true", quick, targetA))
	b.run(16 * time.Minute)
	b.lists()
	b.run(14*time.Minute + 59*time.Second)
	b.load(keyed(wider+", qps: 6, enforce: true", quick, targetA))
	b.run(time.Second)
	b.lists()
	b.run(20 * time.Minute)
	b.lists()
	b.run(time.Hour)
	if n := b.sim.Calls()["update"]; n != 2 || b.count(journal.KeyDrifted) > 0 {
		b.violated("%d updates, %d times told that someone changed the key", n, b.count(journal.KeyDrifted))
	}
	b.granted()
	b.is(health.OK, "")
	b.settled()
	b.check()
}
