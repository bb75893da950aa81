package rotation_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rotator/internal/secret"
	"rotator/rotation"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/xai/xaisim"
)

// lose throws the journal away, with the process that had it. The policies' files, the stores and xAI are still there.
func (b *bench) lose() {
	b.t.Helper()
	if err := b.journal.Clear(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	b.seen.forget()
	b.birth()
	b.load(b.docs...)
}

// adoptions asks what would be adopted. done is false when the engine died of it.
func (b *bench) adoptions(only ...string) (rows []rotation.Adoption, done bool) {
	b.t.Helper()
	defer func() {
		if p := recover(); p != nil {
			if _, ok := p.(crash); !ok {
				panic(p)
			}
			b.deaths++
			b.birth()
		}
	}()
	rows, err := b.engine.Adoptions(b.t.Context(), only...)
	return rows, err == nil
}

// adopt agrees to all that is to be adopted, and asks again, as a human would, until nothing is left.
func (b *bench) adopt(only ...string) {
	b.t.Helper()
	for range 10 {
		rows, done := b.adoptions(only...)
		agreed := make(map[string]journal.IDs)
		for _, a := range rows {
			done = done && a.As != rotation.AdoptWaits
			if a.As == rotation.AdoptCurrent || a.As == rotation.AdoptPredecessor {
				agreed[a.Policy] = agreed[a.Policy].With(a.Key.ID)
			}
		}
		if done && len(agreed) == 0 {
			return
		}
		for policy, ids := range agreed {
			b.agree(policy, ids)
		}
		b.run(time.Minute)
	}
}

func (b *bench) agree(policy string, ids journal.IDs) int64 {
	return b.order(journal.Order{Policy: policy, Kind: journal.OrderResolve, Decision: journal.Adopt, KeyIDs: ids})
}

// refused returns why an order was not carried out.
func (b *bench) refused(id int64) string {
	b.t.Helper()
	o, err := b.journal.OrderByID(b.t.Context(), id)
	if err != nil || o.DoneAt.IsZero() {
		b.t.Fatalf("order %d was not looked at: %v", id, err)
	}
	return o.Refused
}

// adopted says what would become of each key.
func (b *bench) adopted() map[string]rotation.AdoptAs {
	rows, _ := b.adoptions()
	as := make(map[string]rotation.AdoptAs)
	for _, a := range rows {
		as[a.Key.ID] = a.As
	}
	return as
}

// secretOf is a key's plaintext, which only xAI's simulator and the stores know.
func (b *bench) secretOf(id string) secret.Text {
	b.t.Helper()
	for _, k := range b.sim.Keys(teamID) {
		if k.ID == id {
			return k.Secret
		}
	}
	b.t.Fatalf("there is no key %s", id)
	return secret.Text{}
}

func (b *bench) accepts(id string) bool { return b.sim.Accepts(b.secretOf(id)) }

const (
	aName  = "rotator-chat-01961f1c-9a5e-7c3b-8f00-0123456789ab"
	noName = "rotator-nobody-01961f1c-9a5e-7c3b-8f00-0123456789ab"
)

// TestJournalLost loses the journal in every phase of a rotation, and has an empty one run for a while or not at all
// before the keys are adopted.
func TestJournalLost(t *testing.T) {
	var lives []liar
	phases := map[string]func(*bench){
		"idle":      func(b *bench) {},
		"planned":   func(b *bench) { b.reach(journal.Planned); b.dieAfter("xai create after") },
		"staged":    func(b *bench) { b.reach(journal.Staged) },
		"verified":  func(b *bench) { b.reach(journal.Verified) },
		"promoting": func(b *bench) { b.reach(journal.Promoting) },
		"half promoted": func(b *bench) {
			b.reach(journal.Promoting)
			b.dieAfter("store a promote after")
		},
		"live":     func(b *bench) { b.reach(journal.Live) },
		"retiring": func(b *bench) { b.reach(journal.Soaking) },
		"rolling back": func(b *bench) {
			b.reach(journal.Live)
			b.order(journal.Order{Policy: "chat", Kind: journal.OrderRollback})
			b.run(time.Minute)
		},
		"superseding": func(b *bench) {
			b.reach(journal.Live)
			b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand, Supersede: true})
			b.runUntil(time.Hour, func() bool { return b.state() == journal.Staged })
		},
	}
	for name, reach := range phases {
		for _, targets := range [][]string{one, three} {
			for _, idle := range []time.Duration{0, 50 * time.Minute} {
				kind := strings.Join([]string{name, map[int]string{1: "one target", 3: "three targets"}[len(targets)], idle.String()}, ", ")
				lives = append(lives, liar{kind, xaisim.Options{}, func(b *bench) {
					b.stranger(noName)
					b.stranger("rotator-chat-forged")
					b.load(policyDoc("chat", quick, targets...), policyDoc("talk", quick, `{store: b, path: talk}`))
					b.run(time.Hour)
					reach(b)
					b.lose()
					b.run(idle)
					read := slices.DeleteFunc(b.sim.Live(teamID), func(k xaisim.KeyTruth) bool { return k.Disabled })
					if name == "half promoted" && len(targets) > 1 {
						b.run(time.Minute)
						if rows, _ := b.adoptions("chat"); len(rows) != 1 || rows[0].As != rotation.AdoptWaits || !strings.Contains(rows[0].Why, "different live keys") {
							b.violated("targets that hold different keys are adopted: %v", rows)
						}
						b.resolve(atB, journal.Overwrite)
						b.resolve(journal.TargetID{Store: "c", Path: "other", Field: "key"}, journal.Overwrite)
					}
					b.adopt()
					b.run(110 * time.Minute) // not quite the overlap of 2 hours
					for _, k := range read {
						if !b.sim.Accepts(k.Secret) {
							b.violated("%s, which consumers may still read, is off before a full overlap", k.Name)
						}
					}
					b.runUntilIdle()
					b.checkEnded()
					if rows, _ := b.adoptions("chat", "talk"); len(rows) > 0 {
						b.violated("something is left to adopt: %v", rows)
					}
					b.rotates() // and all goes on as ever
					b.checkEnded()
				}})
			}
		}
	}
	play(t, lives)
}

// dieAfter has the engine die at the next call of that kind, and runs until it does.
func (b *bench) dieAfter(what string) {
	b.t.Helper()
	deaths := b.deaths
	b.dieAt = what
	if !b.runUntil(time.Hour, func() bool { return b.deaths > deaths }) {
		b.t.Fatalf("nobody called %s", what)
	}
}

// overtakes restores a backup from when a rotation was in s, after another one ended.
func (b *bench) overtakes(s journal.State) {
	path := filepath.Join(b.t.TempDir(), "backup.db")
	b.journal = openJournal(b.t, filepath.Join(b.t.TempDir(), "journal.db"))
	b.birth()
	b.createFirstKey(quick, targetA, targetB)
	b.reach(journal.Live)
	b.runUntil(5*time.Hour, func() bool { return b.state() == s })
	if err := b.journal.Backup(b.t.Context(), path); err != nil {
		b.t.Fatal(err)
	}
	b.runUntilIdle()
	b.rotates()
	id := b.key()
	b.journal = openJournal(b.t, path)
	b.birth()
	b.run(5 * time.Hour)
	b.waits("chat", reason.RestoredJournal, true)
	if as := b.adopted(); as[id] != rotation.AdoptCurrent {
		b.violated("the plan is %v", as)
	}
	b.adopt()
	b.runUntilIdle()
	b.checkEnded()
	b.rotates()
	b.checkEnded()
}
