package rotation_test

import (
	"strings"
	"testing"
	"time"

	"rotator/rotation/health"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/xai/xaisim"
)

// decommission ends the policy chat; its keys may be cut off once they are proved idle, or at once.
func (b *bench) decommission(outage bool) int64 {
	return b.order(journal.Order{Policy: "chat", Kind: journal.OrderDecommission, AcceptOutage: outage, Why: "the service ends"})
}

// chats makes a call with a key, as a consumer would, so that billing names it.
func (b *bench) chats(id string) {
	b.t.Helper()
	if err := b.infer.Chat(b.t.Context(), b.secretOf(id), "grok-4"); err != nil {
		b.t.Fatal(err)
	}
}

// billed has another key of the team be used from now on, once an hour for so long, so that billing is known to be up to date.
func (b *bench) billed(d time.Duration, used ...string) {
	b.t.Helper()
	other, _ := b.sim.AddKey(teamID, "another service", "api-key:model:grok-4", "api-key:endpoint:chat")
	b.strange[other] = true
	b.run(time.Minute)
	for range int(d / time.Hour) {
		b.chats(other)
		for _, id := range used {
			if b.accepts(id) {
				b.chats(id)
			}
		}
		b.run(time.Hour)
	}
}

// end accepts that consumers are cut off from the keys of chat.
func (b *bench) end() {
	for _, k := range b.record("chat").Keys {
		b.exempt[k.ID] = true
	}
}

// left checks that nothing of chat is left at xAI, and that this was reported.
func (b *bench) left() {
	b.t.Helper()
	r := b.record("chat")
	if len(r.Keys)+len(r.Effects) > 0 || r.Rotation != nil {
		b.violated("left are %v, %v, %v: %s %s", r.Keys, r.Effects, r.Rotation, r.Policy.Reason, r.Policy.Error)
	}
	if n := b.count(journal.DecommissionEnded); n < 1 { // again where the answer of a commit was lost
		b.violated("the end was told %d times", n)
	}
	for _, k := range b.sim.Live(teamID) {
		if strings.HasPrefix(k.Name, "rotator-chat-") {
			b.violated("xAI still has %s", k.Name)
		}
	}
}

func TestDecommission(t *testing.T) {
	removed := func(b *bench) { b.load(policyDoc("another", quick, targetC)) }
	play(t, []liar{
		{"an idle key goes, and no other is made", xaisim.Options{}, func(b *bench) {
			b.createFirstKey("retire: {overlap: 2h, soak: 20h}", targetA, targetB)
			b.run(3 * 24 * time.Hour)
			id := b.key()
			b.decommission(false)
			b.run(time.Hour)
			if !b.accepts(id) {
				b.violated("a key was turned off while billing said nothing")
			}
			if p := b.record("chat").Policy; p.Reason != reason.WaitIdle || p.Health != health.Progressing {
				b.violated("it waits for %q: %s; %s", p.Reason, p.Error, p.Health)
			}
			b.end()
			b.billed(3 * time.Hour)
			if !b.ended(id) || b.gone(id) {
				b.violated("off %t, gone %t: it is to be off, in its soak", b.ended(id), b.gone(id))
			}
			b.run(21 * time.Hour)
			b.left()
			b.run(60 * 24 * time.Hour) // the policy is still in its file, and its schedule would be due
			b.left()
			if p := b.record("chat").Policy; p.Health != health.OK || !p.Leaving() {
				b.violated("afterwards it is %s %s", p.Health, p.HealthReason)
			}
		}},
		{"a key in use stays, and people are notified", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			id := b.key()
			b.decommission(false)
			b.billed(50*time.Hour, id)
			if !b.accepts(id) {
				b.violated("a key in use was turned off")
			}
			b.run(7 * 24 * time.Hour)
			if p := b.record("chat").Policy; p.Reason != reason.RetireOverdue || p.Health != health.ActionRequired || !strings.Contains(p.Error, "--accept-outage") {
				b.violated("after a week: %s %s %s", p.Health, p.Reason, p.Error)
			}
			b.end()
			b.decommission(true)
			b.run(4 * time.Hour)
			b.left()
		}},
		{"max_wait cuts nobody off", xaisim.Options{}, func(b *bench) {
			b.createFirstKey("retire: {overlap: 2h, soak: 1h, require_idle: 6h, max_wait: 24h}", targetA)
			id := b.key()
			b.decommission(false)
			b.billed(30*time.Hour, id)
			if !b.accepts(id) {
				b.violated("a key in use was turned off")
			}
		}},
		{"at once with the outage accepted; held until released", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA, targetB)
			id := b.key()
			b.hold(journal.Hold{Reason: "not now", By: "eve", At: b.clock})
			b.decommission(true)
			b.run(5 * time.Hour)
			if !b.accepts(id) {
				b.violated("a hold was passed over")
			}
			b.end()
			b.hold(journal.Hold{})
			b.run(5 * time.Hour)
			b.left()
		}},
		{"a removed policy whose keys remain", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			removed(b)
			b.run(time.Hour)
			if p := b.record("chat").Policy; p.HealthReason != health.Removed {
				b.violated("removed, it is %s %s", p.Health, p.HealthReason)
			}
			b.end()
			b.decommission(true)
			b.run(5 * time.Hour)
			b.left()
			if p := b.record("chat").Policy; p.Health != health.OK || p.Leaving() {
				b.violated("afterwards it is %s %s", p.Health, p.HealthReason)
			}
			clear(b.exempt)
			b.exempt["an unknown value"] = true
			b.stores["a"].Delete("chat")
			b.load(policyDoc("chat", quick, targetA)) // back, it is a new policy
			b.runUntilIdle()
			b.checkEnded()
		}},
		{"removed while it goes", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			b.end()
			b.decommission(true)
			b.run(30 * time.Second)
			removed(b)
			b.run(5 * time.Hour)
			b.left()
		}},
		{"during an overlap: both keys go", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA, targetB)
			b.reach(journal.Live)
			b.end()
			b.decommission(true)
			b.run(8 * time.Hour)
			b.left()
		}},
		{"while a key is staged, and promoted", xaisim.Options{}, func(b *bench) {
			for _, s := range []journal.State{journal.Staged, journal.Promoting} {
				b.load(policyDoc("chat", quick, targetA, targetB))
				b.order(journal.Order{Policy: "chat", Kind: journal.OrderAbort}) // of the round before
				b.run(10 * time.Minute)
				b.hold(journal.Hold{})
				b.run(time.Hour)
				b.reach(s)
				b.end()
				b.decommission(true)
				b.run(8 * time.Hour)
			}
			if n := b.count(journal.DecommissionEnded); n != 2 {
				b.violated("the end was told %d times", n)
			}
		}},
		{"another policy's target holds the key", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			id := b.key()
			b.stores["c"].Set("talk", b.secretOf(id).Reveal())
			b.load(policyDoc("chat", quick, targetA), policyDoc("talk", quick, `{store: c, path: talk}`))
			b.run(time.Hour)
			b.decommission(true)
			b.run(24 * time.Hour)
			if !b.accepts(id) {
				b.violated("a key was turned off that another policy's target holds")
			}
			b.waits("chat", reason.TargetHoldsKey, true)
		}},
		{"a target that the policy no longer names holds the key", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA, targetB)
			id := b.key()
			b.load(policyDoc("chat", quick, targetA))
			b.run(time.Hour)
			b.decommission(true)
			b.run(24 * time.Hour)
			if !b.accepts(id) {
				b.violated("a key was turned off that a former target holds")
			}
		}},
		{"xAI turns no keys off", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			b.sim.Inject(xaisim.Fault{Call: "update", Count: -1, Kind: xaisim.Status, Status: 400, Body: `{"code":3,"message":"disabled cannot be set"}`})
			b.end()
			b.decommission(true)
			b.run(30 * time.Minute)
			if b.deletions() > 0 {
				b.violated("the soak was not waited out")
			}
			b.run(3 * time.Hour)
			b.left()
		}},
		{"nothing else is carried out meanwhile", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			b.decommission(false)
			b.run(time.Minute)
			for _, k := range []journal.OrderKind{journal.OrderRotate, journal.OrderRollback, journal.OrderRevive} {
				id := b.order(journal.Order{Policy: "chat", Kind: k, Trigger: journal.ByHand})
				b.run(time.Minute)
				if got := b.refusal(id); !strings.Contains(got, "rotator abort chat") {
					b.violated("%s: refused with %q", k, got)
				}
			}
		}},
	})
}

// TestDecommissionTakenBack: until the delete, abort has consumers read a key that works again.
func TestDecommissionTakenBack(t *testing.T) {
	abort := func(b *bench) {
		id := b.order(journal.Order{Policy: "chat", Kind: journal.OrderAbort, Why: "still needed"})
		b.run(time.Minute)
		if got := b.refusal(id); got != "" {
			b.violated("not taken back: %s", got)
		}
		b.run(time.Hour)
		b.runUntilIdle()
		clear(b.exempt)
		b.live()
		b.checkEnded()
		if p := b.record("chat").Policy; p.Leaving() || p.Health != health.OK {
			b.violated("afterwards it is %s %s %s", p.Health, p.HealthReason, p.Error)
		}
	}
	play(t, []liar{
		{"while the key is on", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			id := b.key()
			b.decommission(false)
			b.run(time.Hour)
			abort(b)
			if b.key() != id {
				b.violated("the key in use is %s", b.key())
			}
		}},
		{"while the key is off", xaisim.Options{}, func(b *bench) {
			b.createFirstKey("retire: {overlap: 2h, soak: 5h}", targetA, targetB)
			id := b.key()
			b.end()
			b.decommission(true)
			b.run(time.Hour)
			if b.accepts(id) {
				b.violated("the key is on")
			}
			abort(b)
			if b.key() != id {
				b.violated("the key in use is %s", b.key())
			}
		}},
		{"while the key is off and its value is gone", xaisim.Options{}, func(b *bench) {
			b.createFirstKey("retire: {overlap: 2h, soak: 5h}", targetA)
			b.end()
			b.exempt["an unknown value"] = true
			b.decommission(true)
			b.run(time.Hour)
			b.wrapped["a"] = forgetful{b.stores["a"]}
			b.stores["a"].Delete("chat")
			b.order(journal.Order{Policy: "chat", Kind: journal.OrderAbort})
			b.run(time.Minute)
			b.resolve(atA, journal.Overwrite)
			b.runUntilIdle()
			b.checkEnded()
		}},
		{"when all is gone: a new key is made", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			b.end()
			b.decommission(true)
			b.run(8 * time.Hour)
			b.left()
			b.order(journal.Order{Policy: "chat", Kind: journal.OrderAbort})
			b.run(time.Minute)
			if p := b.record("chat").Policy; p.Reason == reason.DriftFound {
				b.resolve(atA, journal.Overwrite)
			}
			b.runUntilIdle()
			b.checkEnded()
		}},
		{"a disable without an answer is undone", xaisim.Options{}, func(b *bench) {
			b.observed()
			b.createFirstKey(quick, targetA)
			id := b.key()
			b.end()
			b.sim.Late("update", 5*time.Minute)
			b.decommission(true)
			b.run(time.Second)
			abort(b)
			if !b.accepts(id) || b.key() != id {
				b.violated("the key in use is %s", b.key())
			}
		}},
	})
}
