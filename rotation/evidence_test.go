package rotation_test

import (
	"slices"
	"testing"
	"time"

	"rotator/internal/secret"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/xai/xaisim"
)

// A clock that differs is reported while nothing is to be destroyed, since the answers to API keys tell the time too, and stops no
// rotation.
func TestSkewIsTold(t *testing.T) {
	b := newBench(t, xaisim.Options{})
	b.createFirstKey(quick, targetA)
	b.skew = -20 * time.Minute
	b.run(time.Hour)
	b.waits("chat", reason.ClockSkew, true)
	told := b.count(journal.WaitsForHuman)
	b.run(3 * time.Hour)
	if n := b.count(journal.WaitsForHuman); n != told || n != 1 {
		b.violated("told %d times", n)
	}
	old := b.key()
	b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand})
	b.run(24 * time.Hour)
	if b.key() == old || !b.accepts(old) {
		b.violated("with the wrong clock the new key is live: %v; the old one works: %v", b.key() != old, b.accepts(old))
	}
	b.skew = 0
	b.runUntilIdle()
	if r := b.record("chat").Policy.Reason; r != "" || !b.gone(old) {
		b.violated("with the clock set right: %s", r)
	}
	b.checkEnded()
	b.check()
}

// TestUsageIsEvidence: what billing says of the keys' use decides when an old key is idle.
func TestUsageIsEvidence(t *testing.T) {
	kept := func(b *bench, old string) {
		b.run(3 * 24 * time.Hour)
		b.waits("chat", reason.WaitIdle, false)
		if !b.accepts(old) {
			b.violated("a key whose use is not known was retired")
		}
	}
	lie := func(change func(map[string]any)) func(*bench, string) {
		return func(b *bench, old string) {
			b.sim.Inject(xaisim.Lie("usage", -1, change))
			kept(b, old)
			b.sim.ClearFaults()
		}
	}
	cases := map[string]func(b *bench, old string){
		"a part of it is left out": lie(func(o map[string]any) { o["limitReached"] = true }),
		"it is not told by key": func(b *bench, old string) {
			b.sim.Set(func(o *xaisim.Options) { o.UsageUngrouped = true })
			kept(b, old)
			b.sim.Set(func(o *xaisim.Options) { o.UsageUngrouped = false })
		},
		"it is silent about both": lie(func(o map[string]any) { o["timeSeries"] = []any{} }),
		"it ends long ago": lie(func(o map[string]any) {
			for _, s := range o["timeSeries"].([]any) {
				of := s.(map[string]any)
				of["dataPoints"] = slices.DeleteFunc(of["dataPoints"].([]any), func(p any) bool {
					return p.(map[string]any)["timestamp"].(string) > "2026-03-01T13"
				})
			}
		}),
		"it takes no filter":  func(b *bench, _ string) { b.sim.Set(func(o *xaisim.Options) { o.UsageUnfiltered = true }) },
		"idle keys are named": func(b *bench, _ string) { b.sim.Set(func(o *xaisim.Options) { o.UsageShowsIdle = true }) },
	}
	for name, do := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, xaisim.Options{})
			b.createFirstKey(whenIdle, targetA)
			old := b.key()
			b.reach(journal.Live)
			do(b, old)
			b.run(12 * time.Hour)
			if !b.gone(old) {
				b.violated("the idle key is still there: %s %s", b.record("chat").Policy.Reason, b.record("chat").Policy.Error)
			}
			b.check()
		})
	}
}

// An old key is idle for as long as it must be only up to the newest hour that billing reports.
func TestIdleUpToTheNewestData(t *testing.T) {
	b := newBench(t, xaisim.Options{})
	b.createFirstKey(whenIdle, targetA)
	old := b.key()
	b.reach(journal.Live)
	used := func() { // by consumers
		for _, id := range []string{old, b.key()} {
			if err := b.infer.Chat(b.t.Context(), b.secretOf(id), "grok-4"); err != nil {
				t.Fatal(err)
			}
		}
	}
	b.run(time.Hour)
	used()
	lag := b.clock.Add(-30 * time.Minute).Format(time.RFC3339)
	b.sim.Inject(xaisim.Lie("usage", -1, func(o map[string]any) {
		for _, s := range o["timeSeries"].([]any) {
			of := s.(map[string]any)
			of["dataPoints"] = slices.DeleteFunc(of["dataPoints"].([]any), func(p any) bool { return p.(map[string]any)["timestamp"].(string) > lag })
		}
	}))
	b.run(5 * time.Hour)
	if !b.accepts(old) {
		b.violated("the old key was retired on data from before its last use")
	}
	b.check()
}

// What xAI answers to a create names another key than the one that was asked for.
func TestCreateAnsweredWithAnotherKey(t *testing.T) {
	for name, answer := range map[string]func(b *bench, o map[string]any){
		"a stranger's": func(b *bench, o map[string]any) {
			for id := range b.strange {
				o["apiKeyId"], o["name"] = id, "someone else's"
			}
		},
		"a stranger's id, with a rotator's name": func(b *bench, o map[string]any) {
			for id := range b.strange {
				o["apiKeyId"], o["name"] = id, "rotator-other-0198c0de-0000-7000-8000-000000000000"
			}
		},
		"the live key's id": func(b *bench, o map[string]any) { o["apiKeyId"] = b.key() },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, xaisim.Options{})
			b.stranger("someone else's")
			b.createFirstKey(quick, targetA)
			b.sim.Inject(xaisim.Lie("create", 1, func(o map[string]any) { answer(b, o) }))
			b.rotates()
			b.runUntilIdle()
			b.settled()
			b.checkEnded()
			b.check()
		})
	}
}

// A create without an answer was made with the management key of one member, and another member's is in force now: its list
// does not show the key, which proves nothing.
func TestListOfAnotherMemberProvesNoAbsence(t *testing.T) {
	b := newBench(t, xaisim.Options{HideFromMembers: true})
	first, second := secret.New("xai-token-first"), secret.New("xai-token-second")
	b.sim.AddManagementKey(first, xaisim.ManagementKey{Teams: []string{teamID}, Owner: "user-a", Member: true})
	b.sim.AddManagementKey(second, xaisim.ManagementKey{Teams: []string{teamID}, Owner: "user-b", Member: true})
	b.token = first
	b.createFirstKey(quick, targetA)
	b.sim.Inject(xaisim.Fault{Call: "create", When: xaisim.After, Kind: xaisim.Reset})
	b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand})
	b.runUntil(time.Hour, func() bool { return b.count(journal.KeyInDoubt) > 0 })
	b.token = second
	b.run(6 * time.Hour)
	if n := b.count(journal.KeySettled); n > 0 {
		b.violated("a key that the list cannot show is taken for one that was never made")
	}
	b.token = first
	b.runUntilIdle()
	b.runUntilIdle()
	if n := b.count(journal.KeyFound); n != 1 {
		b.violated("%d keys were found by their name", n)
	}
	b.check()
}
