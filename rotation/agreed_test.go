package rotation_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rotator/rotation"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/stores"
	"rotator/xai/xaisim"
)

func TestAdoptionIsAgreedTo(t *testing.T) {
	lost := func(b *bench) (id string) {
		b.createFirstKey(quick, targetA, targetB)
		id = b.key()
		b.lose()
		return id
	}
	play(t, []liar{
		{"another installation's keys of the same names", xaisim.Options{}, func(b *bench) {
			other := b.stranger(aName)
			id := lost(b)
			if as := b.adopted(); as[id] != rotation.AdoptCurrent || as[other] != rotation.AdoptPredecessor {
				b.violated("the plan is %v", as)
			}
			b.agree("chat", journal.IDs(id)) // a human knows that the other one is in use elsewhere
			b.rotates()
			b.checkEnded()
			b.rotates()
			b.checkEnded()
		}},
		{"another key than was agreed to", xaisim.Options{}, func(b *bench) {
			id := lost(b)
			order := b.agree("chat", "another-id")
			b.run(time.Minute)
			if why := b.refused(order); !strings.Contains(why, "not agreed to") || b.key() != "" {
				b.violated("adopted without a word: %s (%s)", id, why)
			}
		}},
		{"twice is once", xaisim.Options{}, func(b *bench) {
			id := lost(b)
			for range 2 {
				order := b.agree("chat", journal.IDs(id))
				b.run(time.Minute)
				if why := b.refused(order); why != "" {
					b.violated("refused: %s", why)
				}
			}
			order := b.agree("chat", journal.IDs(id).With("no-such-key"))
			b.run(time.Minute)
			if why := b.refused(order); !strings.Contains(why, "no-such-key") {
				b.violated("a key that nobody has was adopted: %q", why)
			}
			b.runUntilIdle()
			b.checkEnded()
			if n := b.count(journal.KeyAdopted); n != 1 || b.key() != id {
				b.violated("adopted %d times", n)
			}
		}},
		{"a password waits for a human", xaisim.Options{}, func(b *bench) {
			b.exempt["an unknown value"] = true
			lost(b)
			b.stores["b"].Set("chat", "hunter2")
			asked := b.sim.Calls()["whoami"]
			rows, _ := b.adoptions("chat")
			if len(rows) != 1 || rows[0].As != rotation.AdoptWaits || b.sim.Calls()["whoami"] != asked+1 {
				b.violated("a password was passed over, or sent to xAI: %v", rows)
			}
			order := b.agree("chat", "any")
			b.run(time.Minute)
			if b.refused(order) == "" {
				b.violated("adopted past a password")
			}
		}},
		{"a key by hand is left where the policy does not adopt", xaisim.Options{}, func(b *bench) {
			id := b.byHand("a", field, "chat")
			b.strange[id] = true
			b.load(policyDoc("chat", quick, targetA))
			if as := b.adopted(); as[id] != rotation.AdoptLeft {
				b.violated("the plan is %v", as)
			}
			b.rotates()
			b.checkEnded()
		}},
		{"a key that another policy's target holds", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			old := b.key()
			b.reach(journal.Live)
			b.load(append(slices.Clone(b.docs), policyDoc("talk", quick, `{store: b, path: talk}`))...)
			b.stores["b"].Set("talk", b.secretOf(old).Reveal())
			b.lose()
			if as := b.adopted(); as[old] != rotation.AdoptLeft {
				b.violated("the plan is %v", as)
			}
			b.run(time.Minute)
			order := b.agree("chat", journal.IDs(old).With(b.idOf(b.stores["a"].Read(stores.Target{Path: "chat", Field: "api_key"}))))
			b.run(time.Minute)
			if why := b.refused(order); !strings.Contains(why, "talk") {
				b.violated("adopted what another policy's consumers read: %q", why)
			}
			b.strange[old] = true
			b.adopt()
			b.runUntilIdle()
			b.checkEnded()
		}},
		{"a target of another policy that cannot be read", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			old := b.key()
			b.reach(journal.Live)
			b.load(append(slices.Clone(b.docs), policyDoc("talk", quick, `{store: c, path: talk}`))...)
			b.lose()
			b.wrapped["c"] = nil
			if as := b.adopted(); as[old] != rotation.AdoptLeft || as[""] != rotation.AdoptWaits {
				b.violated("the plan is %v", as)
			}
			delete(b.wrapped, "c")
			b.adopt()
			b.runUntilIdle()
			b.checkEnded()
		}},
		{"a former name", xaisim.Options{}, func(b *bench) {
			id := lost(b)
			b.load(policyDoc("talk", "renamed_from: chat"+quick, targetA, targetB))
			b.lose()
			b.adopt()
			b.run(time.Minute)
			if got := b.record("talk").Policy.KeyID; got != id {
				b.violated("the key in use is %q", got)
			}
			b.runUntilIdle()
			b.settled()
		}},
		{"a journal that lost its last commits", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA, targetB)
			first := b.key()
			b.lose()
			b.adopt()
			b.runUntilIdle()
			second, v := b.sim.AddKey(teamID, aName, "api-key:model:*", "api-key:endpoint:*") // of a rotation that is forgotten
			b.stores["a"].Set("chat", field(v.Reveal()))
			b.stores["b"].Set("chat", v.Reveal())
			b.run(time.Hour)
			b.waits("chat", reason.DriftFound, true)
			b.adopt("chat")
			b.runUntilIdle()
			b.checkEnded()
			if b.key() != second || !b.gone(first) {
				b.violated("the key in use is %s; the first one is gone: %t", b.key(), b.gone(first))
			}
		}},
		{"a journal restored from an old backup", xaisim.Options{}, func(b *bench) {
			path := filepath.Join(b.t.TempDir(), "backup.db")
			b.journal = openJournal(b.t, filepath.Join(b.t.TempDir(), "journal.db"))
			b.birth()
			b.createFirstKey(quick, targetA, targetB)
			if err := b.journal.Backup(b.t.Context(), path); err != nil {
				b.t.Fatal(err)
			}
			b.rotates()
			b.rotates()
			b.journal = openJournal(b.t, path)
			b.birth()
			b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand})
			b.run(time.Hour)
			b.waits("chat", reason.RestoredJournal, true)
			b.adopt()
			b.runUntilIdle()
			b.checkEnded()
			b.rotates()
			b.checkEnded()
		}},
		{"a backup from the overlap", xaisim.Options{}, func(b *bench) { b.overtakes(journal.Live) }},
		{"a backup from the soak", xaisim.Options{}, func(b *bench) { b.overtakes(journal.Soaking) }},
		{"a rollback to the key that a backup knows", xaisim.Options{}, func(b *bench) {
			path := filepath.Join(b.t.TempDir(), "backup.db")
			b.journal = openJournal(b.t, filepath.Join(b.t.TempDir(), "journal.db"))
			b.birth()
			b.createFirstKey(quick, targetA)
			first := b.key()
			if err := b.journal.Backup(b.t.Context(), path); err != nil {
				b.t.Fatal(err)
			}
			b.reach(journal.Live)
			b.journal = openJournal(b.t, path)
			b.birth()
			b.adopt()
			order := b.order(journal.Order{Policy: "chat", Kind: journal.OrderRollback})
			b.run(time.Hour)
			if why := b.refused(order); why != "" || b.key() != first {
				b.violated("the key in use is %s, want %s: %q %s", b.key(), first, why, b.record("chat").Policy.Error)
			}
			b.runUntilIdle()
			b.checkEnded()
		}},
		{"in flight", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			b.lose()
			b.reach(journal.Staged) // nothing adopted before
			rows, _ := b.adoptions()
			if len(rows) != 1 || rows[0].As != rotation.AdoptWaits {
				b.violated("the plan is %v", rows)
			}
			b.runUntilIdle()
			b.adopt()
			b.runUntilIdle()
			b.checkEnded()
		}},
		{"no rollback, and a revive", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			old := b.key()
			b.reach(journal.Live)
			b.lose()
			b.adopt()
			b.run(time.Minute)
			order := b.order(journal.Order{Policy: "chat", Kind: journal.OrderRollback})
			b.runUntil(5*time.Hour, func() bool { return b.state() == journal.Soaking })
			if b.refused(order) != "there is no old key to go back to" || b.accepts(old) {
				b.violated("rolled back, or the old key is on in the soak")
			}
			b.order(journal.Order{Policy: "chat", Kind: journal.OrderRevive})
			b.run(24 * time.Hour)
			if !b.accepts(old) {
				b.violated("the old key was not revived")
			}
		}},
		{"an old key that was off is turned on again", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			old := b.key()
			b.reach(journal.Soaking)
			b.lose()
			b.adopt()
			b.order(journal.Order{Policy: "chat", Kind: journal.OrderRevive})
			b.run(time.Minute)
			if !b.accepts(old) {
				b.violated("the old key was not revived")
			}
		}},
		{"two keys of one name", xaisim.Options{}, func(b *bench) {
			first, second := b.stranger(aName), b.stranger(aName)
			lost(b)
			if as := b.adopted(); as[first] != rotation.AdoptLeft || as[second] != rotation.AdoptLeft {
				b.violated("the plan is %v", as)
			}
			b.adopt()
			b.runUntilIdle()
			b.checkEnded()
		}},
		{"targets that hold different keys, of which the journal knows one", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA, targetB)
			_, v := b.sim.AddKey(teamID, aName, "api-key:model:*", "api-key:endpoint:*")
			b.stores["b"].Set("chat", v.Reveal())
			rows, _ := b.adoptions("chat")
			if len(rows) != 1 || rows[0].As != rotation.AdoptWaits {
				b.violated("the plan is %v", rows)
			}
			b.resolve(atB, journal.Overwrite)
			b.runUntilIdle() // a rotation gives both targets one key
			b.adopt()
			b.runUntilIdle()
			b.checkEnded()
		}},
		{"empty targets", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			id := b.key()
			b.stores["a"].Delete("chat")
			b.lose()
			b.adopt()
			b.run(90 * time.Minute)
			if !b.accepts(id) {
				b.violated("a key that consumers may still have read is off")
			}
			b.runUntilIdle()
			b.checkEnded()
		}},
		{"the schedule goes on as it was", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			b.run(24 * time.Hour)
			due := b.record("chat").Policy.DueAt
			for _, adopts := range []string{"", "adopt: true"} { // which takes over no key that a Rotator made
				b.load(policyDoc("chat", adopts+quick, targetA))
				b.lose()
				b.adopt()
				b.runUntilIdle()
				if got := b.record("chat").Policy.DueAt; due.Sub(got).Abs() > time.Minute {
					b.violated("due at %s, and before at %s", got, due)
				}
			}
		}},
	})
}
