package rotation_test

import (
	"strings"
	"testing"
	"time"

	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/xai/xaisim"
)

// A key that consumers may still read never expires under them, whatever becomes of its policy: an old key under a hold, whose policy
// asks for no expiry any more or is another team's; and the key of a decommissioned policy that waits until it is idle.
func TestNeededKeyNeverExpires(t *testing.T) {
	expiring := keyed(justChat+", expires_after: 40d", quick, targetA)
	hold := func(b *bench) {
		b.hold(journal.Hold{Reason: "long", By: "me", At: b.clock, Scope: journal.HoldAll})
	}
	for name, then := range map[string]func(*bench){
		"no edit":        hold,
		"no expiry":      func(b *bench) { hold(b); b.load(keyed(justChat, quick, targetA)) },
		"a later expiry": func(b *bench) { hold(b); b.load(keyed(justChat+", expires_after: 45d", quick, targetA)) },
		"another team":   func(b *bench) { hold(b); b.load(strings.Replace(expiring, "team: research", "team: other", 1)) },
		"another team, no expiry": func(b *bench) {
			hold(b)
			b.load(strings.Replace(keyed(justChat, quick, targetA), "team: research", "team: other", 1))
		},
		"decommissioned": func(b *bench) {
			b.order(journal.Order{Policy: "chat", Kind: journal.OrderDecommission, Why: "gone", By: "me"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := seldom(t, xaisim.Options{UsageUnavailable: true})
			b.load(expiring)
			b.run(time.Hour)
			old := b.key()
			if name != "decommissioned" {
				b.reach(journal.Live)
			}
			then(b)
			b.neverDies(90 * days)
			for _, id := range []string{old, b.key()} {
				if is := b.truth(id); !b.sim.Accepts(is.Secret) {
					b.violated("key %s is refused: %+v; %s", id, is, b.record("chat").Policy.Error)
				}
			}
			b.check()
		})
	}
}

// Under a hold of everything an edit of the expiry waits like every other, as long as no one needs it.
func TestExpiryEditedUnderHold(t *testing.T) {
	b := seldom(t, xaisim.Options{})
	b.load(keyed(justChat, quick, targetA))
	b.run(time.Hour)
	b.hold(journal.Hold{Reason: "long", By: "me", At: b.clock, Scope: journal.HoldAll})
	b.load(keyed(justChat+", expires_after: 40d", quick, targetA))
	b.run(2 * time.Hour)
	if is := b.truth(b.key()); !is.Expires.IsZero() || b.sim.Calls()["update"] > 0 {
		b.violated("under a hold the key got an expiry: %s", is.Expires)
	}
	b.hold(journal.Hold{})
	b.run(time.Hour)
	b.granted()
	b.check()
}

// Where xAI fixes the expiry of a key that goes and that nothing replaces, people are notified before it ends.
func TestFixedExpiryOfAKeyThatGoes(t *testing.T) {
	b := seldom(t, xaisim.Options{UsageUnavailable: true, ExpireTimeFixed: true})
	b.load(keyed(justChat+", expires_after: 40d", quick, targetA))
	b.run(time.Hour)
	id := b.key()
	b.order(journal.Order{Policy: "chat", Kind: journal.OrderDecommission, Why: "gone", By: "me"})
	b.neverDies(40*days - 2*time.Hour)
	k := b.record("chat").KeyByID(id)
	if b.count(journal.KeyUpdateRefused) != 1 || k.UpdateReason != reason.UpdateRefused {
		b.violated("told %d times, the key's row says %q", b.count(journal.KeyUpdateRefused), k.UpdateReason)
	}
	b.check()
}
