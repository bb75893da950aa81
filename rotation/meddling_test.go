package rotation_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rotator/internal/secret"
	"rotator/rotation/journal"
	"rotator/rotation/journal/sqldb"
	"rotator/rotation/reason"
	"rotator/stores"
	"rotator/xai/xaisim"
)

// before and beyond are the states on either side of the point of no return.
var (
	before = []journal.State{journal.Planned, journal.Staged, journal.Verified}
	beyond = []journal.State{journal.Promoting, journal.Live, journal.Soaking}
)

func TestStoresLie(t *testing.T) {
	play(t, []liar{
		{"yes to a write, and the old value served", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			b.wrapped["a"] = coat{Store: b.stores["a"], promote: func(context.Context, stores.Target, string, secret.Text, secret.Fingerprint) error { return nil }}
			b.rotates()
			if b.state() != journal.Promoting || b.deletions() > 0 {
				b.violated("the rotation is %q, %d keys were destroyed", b.state(), b.deletions())
			}
			b.waits("chat", reason.StoreLags, false)
			delete(b.wrapped, "a")
			b.runUntilIdle()
			b.checkEnded()
		}},
		{"a version that jumps", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			n := 0
			b.wrapped["a"] = coat{Store: b.stores["a"], promote: func(ctx context.Context, at stores.Target, attempt string, v secret.Text, want secret.Fingerprint) error {
				if n++; n < 4 {
					return stores.ErrConflict
				}
				return b.stores["a"].Promote(ctx, at, attempt, v, want)
			}}
			b.rotates()
			b.checkEnded()
		}},
		{"a target vanishes", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA, targetB)
			b.stores["b"].Delete("chat")
			b.run(time.Hour)
			b.waits("chat", reason.TargetMissing, true)
			b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand})
			b.run(time.Hour)
			b.waits("chat", reason.TargetMissing, true)
			b.resolve(atB, journal.Overwrite)
			b.runUntilIdle()
			b.checkEnded()
		}},
		{"a target vanishes in the overlap", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA, targetB)
			b.reach(journal.Live)
			b.stores["b"].Delete("chat")
			b.run(5 * time.Hour)
			b.waits("chat", reason.TargetMissing, true)
			if b.deletions() > 0 {
				b.violated("a key was destroyed while a target was missing")
			}
			b.resolve(atB, journal.Leave)
			b.runUntilIdle()
			b.settled()
		}},
		{"a store restored from a backup", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA, targetB)
			doc, _ := b.stores["a"].Doc("chat")
			b.exempt[b.key()] = true
			b.rotates()
			b.stores["a"].Set("chat", doc)
			b.run(6 * time.Hour)
			b.waits("chat", reason.DriftFound, true)
			b.resolve(atA, journal.Overwrite)
			b.runUntilIdle()
			b.checkEnded()
		}},
		{"the journal restored from a backup", xaisim.Options{}, func(b *bench) {
			path := filepath.Join(b.t.TempDir(), "backup.db")
			b.journal = openJournal(b.t, filepath.Join(b.t.TempDir(), "journal.db"))
			b.birth()
			b.createFirstKey(quick, targetA, targetB)
			if err := b.journal.Backup(b.t.Context(), path); err != nil {
				b.t.Fatal(err)
			}
			b.rotates()
			b.checkEnded()
			now := b.sim.Live(teamID)
			b.journal = openJournal(b.t, path)
			b.birth()
			b.run(time.Hour)
			b.waits("chat", reason.RestoredJournal, true) // at once, and not as a drift that someone made
			b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand})
			b.run(40 * 24 * time.Hour)
			b.waits("chat", reason.RestoredJournal, true)
			if got := b.sim.Live(teamID); len(got) != len(now) || b.sim.Calls()["create"] != 2 {
				b.violated("keys were made or destroyed by a restored journal: %d, then %d", len(now), len(got))
			}
			for _, k := range now { // what the journal does not know is no one's to destroy
				b.strange[k.ID] = true
			}
			b.resolve(atA, journal.Overwrite)
			b.resolve(atB, journal.Overwrite)
			b.runUntilIdle()
			b.checkEnded()
		}},
	})
}

func openJournal(t testing.TB, path string) *sqldb.DB {
	t.Helper()
	j, err := sqldb.Open(t.Context(), "sqlite:"+path, sqldb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func TestTargetRewrittenBetweenStageAndPromote(t *testing.T) {
	var liars []liar
	for _, targets := range [][]string{one, three} {
		for _, d := range []journal.Decision{journal.Overwrite, journal.Leave, journal.Drop} {
			liars = append(liars, liar{fmt.Sprintf("%s, %d targets", d, len(targets)), xaisim.Options{}, func(b *bench) {
				b.createFirstKey(quick, targets...)
				b.reach(journal.Verified)
				b.stores["a"].Set("chat", `{"api_key":"a-password"}`)
				b.exempt["an unknown value"] = true
				b.run(3 * time.Hour)
				b.waits("chat", reason.DriftFound, true)
				if b.state() == journal.Promoting && len(targets) > 1 || b.deletions() > 0 {
					b.violated("a drifted target did not stop the rotation: %s", b.state())
				}
				b.resolve(atA, d)
				b.runUntilIdle()
				v := b.stores["a"].Read(stores.Target{Path: "chat", Field: "api_key"}).Reveal()
				if (v == "a-password") != (d != journal.Overwrite) {
					b.violated("the target holds another value")
				}
				if d != journal.Overwrite && len(targets) == 1 {
					b.waits("chat", reason.NoTargets, true)
				} else {
					b.settled()
				}
			}})
		}
	}
	play(t, liars)
}

// What a human lets go of after the promote is written again at once: no promote comes by any more, and until every target
// holds the key in use the old one stays. Where nothing holds the key any more, the policy says how to go on.
func TestTargetGivenBackAfterThePromote(t *testing.T) {
	edits := map[string]func(*bench){
		"a password": func(b *bench) { b.stores["a"].Set("chat", `{"api_key":"a-password"}`) },
		"nothing":    func(b *bench) { b.stores["a"].Delete("chat") },
	}
	var liars []liar
	for _, targets := range [][]string{one, three} {
		for _, s := range []journal.State{journal.Live, journal.Soaking, journal.RollingBack} {
			for what, edit := range edits {
				liars = append(liars, liar{fmt.Sprintf("%s, %d targets, %s", s, len(targets), what), xaisim.Options{}, func(b *bench) {
					b.createFirstKey(quick, targets...)
					b.reach(journal.Live)
					if s == journal.RollingBack {
						b.order(journal.Order{Policy: "chat", Kind: journal.OrderRollback})
						b.run(time.Minute)
					}
					b.runUntil(5*time.Hour, func() bool { return b.state() == s })
					want, off := b.key(), b.deletions()
					edit(b)
					b.exempt["an unknown value"] = true
					b.run(5 * time.Hour)
					why := reason.DriftFound
					if what == "nothing" {
						why = reason.TargetMissing
					}
					b.waits("chat", why, true)
					if b.deletions() > off {
						b.violated("a key was destroyed while a target held something else")
					}
					b.resolve(atA, journal.Overwrite)
					b.run(time.Hour)
					v := b.stores["a"].Read(stores.Target{Path: "chat", Field: "api_key"})
					if id := b.idOf(v); id != b.key() || len(targets) > 1 && id != want { // a value that no store has is replaced by a new key
						b.violated("the target does not hold the key in use again: %s", b.record("chat").Policy.Error)
					}
					b.runUntilIdle()
					b.checkEnded()
				}})
			}
		}
	}
	play(t, liars)
}

// A target that the policy names only since the promote, and that holds an old key, blocks its retirement.
func TestTargetNamedAfterThePromote(t *testing.T) {
	play(t, []liar{{"it holds the old key", xaisim.Options{}, func(b *bench) {
		b.createFirstKey(quick, targetA)
		old := b.stores["a"].Read(stores.Target{Path: "chat", Field: "api_key"})
		b.reach(journal.Live)
		b.stores["b"].Set("chat", old.Reveal())
		b.load(policyDoc("chat", quick, targetA, targetB))
		b.run(5 * time.Hour)
		if v := b.stores["b"].Read(stores.Target{Path: "chat"}); b.idOf(v) != b.key() {
			b.violated("the new target holds %s", b.idOf(v))
		}
		b.runUntilIdle()
		b.checkEnded()
	}}})
}

func TestHumansMeddle(t *testing.T) {
	var liars []liar
	add := func(name string, play func(*bench)) { liars = append(liars, liar{name, xaisim.Options{}, play}) }
	for _, s := range append(append([]journal.State{}, before...), beyond...) {
		add(fmt.Sprintf("hold while %s", s), func(b *bench) {
			b.createFirstKey(quick, targetA, targetB)
			b.reach(s)
			off := b.deletions()
			hold := journal.Hold{Reason: "a fair", By: "tester", At: b.clock}
			if err := b.journal.SetHold(b.t.Context(), b.clock, "chat", hold, journal.Event{At: b.clock, Kind: journal.HoldSet}); err != nil {
				b.t.Fatal(err)
			}
			b.run(24 * time.Hour)
			b.waits("chat", reason.Held, false)
			want := s
			if s == journal.Promoting {
				want = journal.Live
			}
			if b.state() != want || b.deletions() != off {
				b.violated("held while %s it went to %s and destroyed %d keys", s, b.state(), b.deletions()-off)
			}
			if err := b.journal.SetHold(b.t.Context(), b.clock, "chat", journal.Hold{}, journal.Event{At: b.clock, Kind: journal.HoldReleased}); err != nil {
				b.t.Fatal(err)
			}
			b.runUntilIdle()
			b.checkEnded()
		})
		add(fmt.Sprintf("compromised while %s", s), func(b *bench) {
			b.createFirstKey(quick, targetA, targetB)
			first := b.key()
			b.reach(s)
			b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByCompromise, KeyIDs: journal.IDs(first), Why: "leaked"})
			b.run(15 * time.Minute)
			for _, k := range b.sim.Live(teamID) {
				if k.ID == first && !k.Disabled {
					b.violated("%s: the leaked key still works after a quarter of an hour", s)
				}
			}
			b.runUntilIdle()
			b.checkEnded()
		})
		edits := map[string]func(*bench){
			"rights":     func(b *bench) { b.load(policyDoc("chat", quick+"\nverify: {method: whoami}", targetA, targetB)) },
			"targets":    func(b *bench) { b.load(policyDoc("chat", quick, targetA, targetB, targetC)) },
			"retirement": func(b *bench) { b.load(policyDoc("chat", "retire: {overlap: 3h, soak: 0s}", targetA, targetB)) },
			"nothing but its name": func(b *bench) {
				b.load(strings.Replace(policyDoc("chat", "renamed_from: talk"+quick, targetA, targetB), "@every 720h", "@every 700h", 1))
			},
			"removed, and back": func(b *bench) {
				doc := policyDoc("chat", quick, targetA, targetB)
				b.load(policyDoc("another", quick, `{store: c, path: own}`))
				b.run(20 * time.Minute)
				b.load(doc, policyDoc("another", quick, `{store: c, path: own}`))
			},
		}
		for what, edit := range edits {
			add(fmt.Sprintf("edited while %s: %s", s, what), func(b *bench) {
				b.createFirstKey(quick, targetA, targetB)
				b.reach(s)
				id := b.last().ID
				edit(b)
				b.runUntilIdle()
				b.checkEnded()
				r := b.rotation(id)
				if aborted := r.State == journal.Aborted; aborted != (s.CanAbort() && what != "retirement" && what != "nothing but its name") {
					b.violated("edited while %s, %s: the rotation ended as %s", s, what, r.State)
				} else if aborted && r.Reached() != s {
					b.violated("edited while %s, %s: the rotation is said to have reached %s", s, what, r.Reached())
				}
			})
		}
		add(fmt.Sprintf("removed while %s", s), func(b *bench) {
			b.createFirstKey(quick, targetA)
			b.reach(s)
			b.load(policyDoc("another", quick, targetB))
			b.runUntilIdle()
			if r := b.record("chat"); r.Rotation != nil || r.Policy.RemovedAt.IsZero() || len(unsettled(r)) > 0 {
				b.violated("removed while %s: %+v", s, r.Rotation)
			}
			if n := len(b.sim.Live(teamID)); n != 3 {
				b.violated("removed while %s: %d keys, want the stranger's and two in use", s, n)
			}
		})
		add(fmt.Sprintf("renamed while %s", s), func(b *bench) {
			b.createFirstKey(quick, targetA, targetB)
			b.reach(s)
			b.load(policyDoc("talk", "renamed_from: chat"+quick, targetA, targetB))
			b.runUntilIdle()
			b.settled()
			if n := len(b.sim.Live(teamID)); n != 2 {
				b.violated("renamed while %s: %d keys", s, n)
			}
		})
		for _, how := range []string{"disables", "deletes"} {
			do := func(b *bench) func(string) bool {
				if how == "disables" {
					return b.sim.DisableKey
				}
				return b.sim.DeleteKey
			}
			add(fmt.Sprintf("a human %s the old key while %s", how, s), func(b *bench) {
				b.createFirstKey(quick, targetA, targetB)
				b.reach(s)
				b.human(b.oldKey(), do(b))
				b.runUntilIdle()
				b.checkEnded()
			})
			if s == journal.Planned {
				continue // there is no new key yet
			}
			add(fmt.Sprintf("a human %s the new key while %s", how, s), func(b *bench) {
				b.createFirstKey(quick, targetA, targetB)
				b.reach(s)
				b.human(b.successor(), do(b))
				b.runUntilIdle()
				b.checkEnded()
			})
		}
	}
	play(t, liars)
}

// rotation is what the journal keeps of one.
func (b *bench) rotation(id string) journal.Rotation {
	all, err := b.journal.Rotations(b.t.Context(), "", 100)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, r := range all {
		if r.ID == id {
			return r
		}
	}
	return journal.Rotation{}
}
