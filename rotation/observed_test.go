package rotation_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"rotator/internal/secret"
	"rotator/rotation/journal"
	"rotator/stores"
	"rotator/xai"
	"rotator/xai/xaisim"
)

// The observer sees what it is there for: each of these is done behind the journal's back.
func TestTheObserverSees(t *testing.T) {
	off := true
	target := stores.Target{Path: "chat", Field: "api_key"}
	late := journal.Effect{ID: "e", Key: "k", Kind: journal.EffectStage, State: journal.EffectUnknown,
		Target: journal.TargetID{Store: "a", Path: "chat", Field: "api_key"}}
	for name, c := range map[string]struct {
		do   func(*bench)
		want string
	}{
		"a delete": {func(b *bench) { _ = b.mgmt.DeleteKey(b.t.Context(), b.key()) }, "arrives at xAI without a committed row"},
		"a disable": {func(b *bench) {
			_, _ = b.mgmt.UpdateKey(b.t.Context(), teamID, b.key(), switched(off))
		}, "while a:chat holds it"},
		"a write": {func(b *bench) {
			_ = b.stores["a"].Stage(b.t.Context(), target, "ref", secret.New("v"))
		}, "stage of ref at a:chat takes effect, late false, and no row"},
		"a write after it was quiet": {func(b *bench) {
			late.QuietAt = b.clock.Add(time.Minute)
			b.seen.rows[late.ID] = late
			b.stores["a"].Late("stage", 2*time.Minute)
			_ = b.stores["a"].Stage(b.t.Context(), target, "k", secret.New("v"))
			b.pass(b.clock.Add(3 * time.Minute))
		}, "stage of k at a:chat takes effect, late true, and no row"},
		"a delete that is late, of a key that is read": {func(b *bench) {
			b.sim.Late("delete", time.Minute)
			_ = b.mgmt.DeleteKey(b.t.Context(), b.key())
			b.pass(b.clock.Add(time.Hour))
		}, "I1: a:chat holds"},
		"a move that the table does not have": {func(b *bench) {
			rec := b.record("chat")
			rec.Keys[0].State = journal.RejectedKey
			b.seen.commits(rec)
		}, "goes from live to rejected"},
		"a rotation that is dropped": {func(b *bench) {
			rec := b.record("chat")
			rec.Base.Rotation = &journal.Rotation{ID: "r", State: journal.Staged}
			b.seen.commits(rec)
		}, "I6: rotation r was dropped"},
		"someone else's key": {func(b *bench) {
			id := b.stranger("theirs")
			_, _ = b.mgmt.UpdateKey(b.t.Context(), teamID, id, switched(off))
		}, "which is someone else's"},
		"a value in words": {func(b *bench) {
			e := journal.Event{At: b.clock, Policy: "chat", Kind: journal.Failed, Data: map[string]string{"error": "got " + b.secretOf(b.key()).Reveal()}}
			if err := b.journal.Record(b.t.Context(), e); err != nil {
				b.t.Fatal(err)
			}
			b.sealed()
		}, "I4: the journal holds the value"},
		"an effect that nobody settles": {func(b *bench) {
			b.forge(func(r *journal.Record) {
				late.Policy, late.At, late.QuietAt = "chat", b.clock, b.clock.Add(30*24*time.Hour)
				r.Effects = append(r.Effects, late)
			})
			b.peace()
		}, "a day after the last fault effect stage"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, xaisim.Options{})
			b.observed()
			b.createFirstKey(quick, targetA)
			b.check()
			c.do(b)
			if !slices.ContainsFunc(b.broken, func(v string) bool { return strings.Contains(v, c.want) }) {
				t.Errorf("want %q, got %q", c.want, b.broken)
			}
		})
	}
}

func switched(off bool) (u xai.KeyUpdate) {
	u.Disabled = &off
	return u
}
