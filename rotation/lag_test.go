package rotation_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"rotator/internal/secret"
	"rotator/rotation/journal"
	"rotator/stores"
	"rotator/stores/memstore"
	"rotator/xai/xaisim"
)

// laggard is a store that shows what is staged only a while after it was staged.
type laggard struct {
	*memstore.Store
	b   *bench
	lag time.Duration
	at  map[string]time.Time
}

func (l laggard) Stage(ctx context.Context, t stores.Target, ref string, v secret.Text) error {
	if _, ok := l.at[ref]; !ok {
		l.at[ref] = l.b.now()
	}
	return l.Store.Stage(ctx, t, ref, v)
}

func (l laggard) Staged(ctx context.Context, t stores.Target, ref string) (secret.Text, error) {
	if l.b.now().Sub(l.at[ref]) < l.lag {
		return secret.Text{}, stores.ErrNotFound
	}
	return l.Store.Staged(ctx, t, ref)
}

// TestReadsThatLag: a store whose reads lag behind its writes costs no key, and raises no alarm.
func TestReadsThatLag(t *testing.T) {
	var lives []liar
	for _, lag := range []time.Duration{2 * time.Second, 10 * time.Second, 90 * time.Second} {
		for name, wear := range map[string]func(*bench){
			"of what is staged": func(b *bench) { b.wrapped["a"] = laggard{b.stores["a"], b, lag, map[string]time.Time{}} },
			"all":               func(b *bench) { b.stores["a"].Lag(lag) },
		} {
			for _, dies := range []bool{false, true} {
				lives = append(lives, liar{fmt.Sprintf("%s, by %s, dies: %t", name, lag, dies), xaisim.Options{}, func(b *bench) {
					b.stores["a"].Now = b.now
					b.createFirstKey(quick, targetA)
					wear(b)
					before, human := b.sim.Calls()["create"], b.count(journal.WaitsForHuman)
					if dies {
						b.dieAt = "store a stage after"
					}
					b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand})
					if !b.runUntil(15*time.Minute, func() bool { return b.state() == journal.Live }) {
						b.violated("the rotation is %s: %s", b.state(), b.record("chat").Policy.Error)
					}
					b.runUntilIdle()
					b.checkEnded()
					if n := b.sim.Calls()["create"] - before; n != 1 {
						b.violated("%d keys were made", n)
					}
					if b.count(journal.WaitsForHuman) > human || b.count(journal.Drifted) > 0 {
						b.violated("people were alarmed: %d, %d", b.count(journal.WaitsForHuman)-human, b.count(journal.Drifted))
					}
				}})
			}
		}
	}
	lives = append(lives, liar{"what is staged shows after five minutes, and the value is lost each time", xaisim.Options{}, func(b *bench) {
		b.createFirstKey(quick, targetA)
		b.wrapped["a"] = laggard{b.stores["a"], b, 5 * time.Minute, map[string]time.Time{}}
		before := b.sim.Calls()["create"]
		b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand})
		for range 24 * 60 / 5 {
			b.birth() // the value in memory is lost
			b.run(5 * time.Minute)
		}
		if n := b.sim.Calls()["create"] - before; n > 30 { // pauses of 1, 2, 4 minutes and so on, up to an hour
			b.violated("%d keys in a day", n)
		}
		b.runUntilIdle()
		b.checkEnded()
	}})
	play(t, lives)
}
