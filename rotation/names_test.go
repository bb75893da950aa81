package rotation_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/xai/xaisim"
)

// lost makes the next create's answer be lost, after it had its effect.
var lost = xaisim.Fault{Call: "create", When: xaisim.After, Kind: xaisim.Reset}

// TestNamesCutShort: xAI keeps names shorter than asked. Keys whose answers came are told all the same; that of a lost create
// is a human's to tell, and until then no more keys are made.
func TestNamesCutShort(t *testing.T) {
	rotate := journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand}
	// cut has a create lost, and checks that its key is left alone.
	cut := func(b *bench, limit int) (id string) {
		b.sim.Set(func(o *xaisim.Options) { o.NameLimit = limit })
		known := map[string]bool{}
		for _, k := range b.sim.Keys(teamID) {
			known[k.ID] = true
		}
		before := b.sim.Calls()["create"]
		b.sim.Inject(lost)
		b.order(rotate)
		b.run(24 * time.Hour)
		for _, k := range b.sim.Keys(teamID) {
			if !known[k.ID] {
				id = k.ID
			}
		}
		b.waits("chat", reason.NamesCut, true)
		if n := b.sim.Calls()["create"] - before; n > 2 || b.gone(id) {
			b.violated("%d keys were made; the one that may be anybody's is gone: %t", n, b.gone(id))
		}
		return id
	}
	var lives []liar
	for _, limit := range []int{32, 48} {
		lives = append(lives,
			liar{fmt.Sprintf("%d characters, and every answer comes", limit), xaisim.Options{NameLimit: limit}, func(b *bench) {
				b.lives(quick, targetA)
				b.rotates()
				b.ends()
				if b.count(journal.NamesShortened) != 2 {
					b.violated("told %d times", b.count(journal.NamesShortened))
				}
			}},
			liar{fmt.Sprintf("%d characters, and a human deletes the key", limit), xaisim.Options{}, func(b *bench) {
				b.lives(quick, targetA)
				b.human(cut(b, limit), b.sim.DeleteKey)
				b.rest()
				b.ends()
			}},
			liar{fmt.Sprintf("%d characters, and a human says that the key is ours", limit), xaisim.Options{}, func(b *bench) {
				b.lives(quick, targetA)
				id := cut(b, limit)
				b.order(journal.Order{Policy: "chat", Kind: journal.OrderResolve, Decision: journal.Ours, KeyIDs: journal.IDs(id)})
				b.rest()
				b.ends()
				if !b.gone(id) {
					b.violated("the key of the lost create is still there")
				}
			}},
		)
	}
	lives = append(lives,
		liar{"a human names a key that is not the one", xaisim.Options{}, func(b *bench) {
			b.lives(quick, targetA)
			cut(b, 32)
			for id, want := range map[string]string{
				b.key(): "is known already", b.stranger("not ours"): "has not the name", "no-such-key": "lists no key",
			} {
				said := b.order(journal.Order{Policy: "chat", Kind: journal.OrderResolve, Decision: journal.Ours, KeyIDs: journal.IDs(id)})
				b.run(time.Minute)
				if !strings.Contains(b.refused(said), want) {
					b.violated("%s: answered %q, want %q", id, b.refused(said), want)
				}
			}
			b.waits("chat", reason.NamesCut, true)
		}},
		liar{"a short name that may be anybody's", xaisim.Options{}, func(b *bench) {
			id := b.stranger("rotator-chat-0")
			b.lives(quick, targetA)
			b.sim.Inject(lost)
			b.rotates()
			b.ends()
			if b.gone(id) || b.count(journal.KeyFound) != 1 {
				b.violated("a stranger's key is gone: %t; found %d", b.gone(id), b.count(journal.KeyFound))
			}
		}},
		liar{"lists cut names, answers do not", xaisim.Options{}, func(b *bench) {
			b.lives(quick, targetA)
			before := b.sim.Calls()["create"]
			b.sim.Inject(lost, xaisim.Lie("list", -1, func(o map[string]any) {
				keys, _ := o["apiKeys"].([]any)
				for _, k := range keys {
					if k, ok := k.(map[string]any); ok {
						if name, _ := k["name"].(string); strings.HasPrefix(name, "rotator-") {
							k["name"] = name[:32]
						}
					}
				}
			}))
			b.order(rotate)
			b.run(6 * time.Hour)
			if n := b.sim.Calls()["create"] - before; n > 2 || b.deletions() > 0 {
				b.violated("%d keys were made, %d destroyed", n, b.deletions())
			}
			b.sim.ClearFaults()
			b.rest()
			b.ends()
		}},
	)
	play(t, lives)
}
