package rotation_test

import (
	"slices"
	"testing"
	"time"

	"rotator/rotation/journal"
	"rotator/stores"
	"rotator/xai/xaisim"
)

// forge writes into the journal what no step would.
func (b *bench) forge(change func(*journal.Record)) { b.t.Helper(); b.forgeRows(change, true) }

// forgeRows changes the policy's rows. With events the forger knows of the audit trail, and explains the keys that he adds.
func (b *bench) forgeRows(change func(*journal.Record), events bool) {
	b.t.Helper()
	if err := b.journal.Hasten(b.t.Context(), b.clock.Add(-100*24*time.Hour), journal.Horizon); err != nil {
		b.t.Fatal(err)
	}
	claims, err := b.journal.Claim(b.t.Context(), "forger", b.clock, 1)
	if err != nil || len(claims) != 1 {
		b.t.Fatal("no claim", err)
	}
	r := b.record("chat")
	known := len(r.Keys)
	change(r)
	r.Policy.NextRunAt = b.clock
	var told []journal.Event
	for i := known; i < len(r.Keys) && events; i++ {
		e := journal.Event{At: b.clock, Policy: "chat", Kind: journal.KeyCreated, Data: make(map[string]string)}
		for said := range slices.Chunk(r.Keys[i].Explanation(), 2) {
			e.Data[said[0]] = said[1]
		}
		told = append(told, e)
	}
	if err := b.journal.Commit(b.t.Context(), claims[0], r, true, told...); err != nil {
		b.t.Fatal(err)
	}
}

func TestGateAgainstAForgedJournal(t *testing.T) {
	play(t, []liar{
		{"the live key, called one to be retired", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			b.reach(journal.Soaking)
			b.forge(func(r *journal.Record) {
				for i := range r.Keys {
					if k := &r.Keys[i]; k.State == journal.LiveKey {
						k.State, k.RetireFrom = journal.RetiringKey, b.clock
					}
				}
			})
			b.run(24 * time.Hour)
			b.works()
		}},
		{"a stranger's key, called rejected", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			id := b.stranger("not ours")
			b.forge(func(r *journal.Record) {
				r.Keys = append(r.Keys, journal.Key{
					Ref: "forged", ID: id, Policy: "chat", Team: "research", Name: "rotator-chat-forged", Origin: journal.OfAttempt, State: journal.RejectedKey,
					Fingerprint: "sha256:00", CreatedAt: b.clock,
				})
			})
			b.run(24 * time.Hour)
			if b.gone(id) {
				b.violated("I3: a stranger's key was deleted")
			}
		}},
		{"a map that forgot where the old key is", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA, targetB)
			old := b.key()
			b.reach(journal.Live)
			for _, k := range b.sim.Keys(teamID) {
				if k.ID == old {
					b.stores["b"].Set("chat", k.Secret.Reveal()) // a consumer went back to the old key
				}
			}
			b.run(24 * time.Hour)
			if b.gone(old) || b.deletions() > 0 {
				b.violated("a key that a target holds was destroyed")
			}
		}},
	})
}

// TestGateSeesAKeyWithALineEnd: consumers trim what editors and shells put behind a key, so the gate does too.
func TestGateSeesAKeyWithALineEnd(t *testing.T) {
	spoil := func(b *bench, store, path, id string) { b.stores[store].Set(path, b.secretOf(id).Reveal()+"\n") }
	play(t, []liar{
		{"in the overlap", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA, targetB)
			old := b.key()
			b.reach(journal.Live)
			spoil(b, "b", "chat", old)
			b.run(24 * time.Hour)
			if b.deletions() > 0 || !b.accepts(old) {
				b.violated("a key that a target holds was destroyed")
			}
		}},
		{"in the soak", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA, targetB)
			old := b.key()
			b.reach(journal.Soaking)
			b.exempt[old] = true // it is off already: that is the human's doing
			spoil(b, "b", "chat", old)
			b.run(24 * time.Hour)
			if b.gone(old) {
				b.violated("a key that a target holds was deleted")
			}
		}},
		{"in a target of another policy", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			old := b.key()
			b.load(policyDoc("chat", quick, targetA), policyDoc("talk", quick, `{store: c, path: talk}`))
			b.stores["c"].Set("talk", b.secretOf(old).Reveal())
			b.run(time.Hour)
			b.stores["c"].Set("talk", b.secretOf(old).Reveal()) // talk made a key of its own; a human puts the old one back
			b.run(20 * time.Minute)
			b.reach(journal.Live)
			b.keep = true
			b.trap = func(int) error {
				if b.trace[len(b.trace)-1] == "xai validate before" { // the gate looks next; talk's own watch has not seen it
					spoil(b, "c", "talk", old)
				}
				return nil
			}
			b.runUntilIdle()
			if b.gone(old) || !b.accepts(old) {
				b.violated("a key that another policy's target holds was destroyed")
			}
		}},
	})
}

// works checks that consumers read a key that xAI accepts.
func (b *bench) works() {
	if v := b.stores["a"].Read(stores.Target{Path: "chat", Field: "api_key"}); !b.sim.Accepts(v) {
		b.violated("consumers read %s, which was destroyed", b.idOf(v))
	}
}
