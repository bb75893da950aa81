package rotation_test

import (
	"fmt"
	"testing"
	"time"

	"rotator/rotation/journal"
	"rotator/xai/xaisim"
)

// lagged has billing tell of one key alone, which was used last in the hour of that time.
func (b *bench) lagged(id string, last time.Time) {
	b.sim.ClearFaults()
	b.sim.Inject(xaisim.Fault{Call: "usage", Count: -1, Kind: xaisim.Status, Status: 200, ContentType: "application/json", Body: fmt.Sprintf(
		`{"timeSeries":[{"group":[%q],"groupLabels":["x"],"dataPoints":[{"timestamp":%q,"values":[0.5]}]}],"limitReached":false}`,
		id, last.UTC().Truncate(time.Hour).Format(time.RFC3339))})
}

// TestDecommissionProofs: a decommissioned key is turned off only when recent billing proves that no one needs it, and it stays when
// people take the decommission back.
func TestDecommissionProofs(t *testing.T) {
	play(t, []liar{
		{"a key younger than the newest hour of billing is not idle", xaisim.Options{}, func(b *bench) {
			b.createFirstKey("retire: {overlap: 2h, soak: 20h}", targetA)
			b.run(3 * 24 * time.Hour)
			old := b.key()
			b.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand})
			b.runUntil(time.Hour, func() bool { return b.key() != old })
			id := b.key()
			b.lagged(old, b.clock.Add(-time.Hour)) // consumers used the old key until the rotation, and use the new one now
			b.decommission(false)
			b.run(30 * time.Minute)
			if !b.accepts(id) {
				b.violated("a key that went live minutes ago was turned off as idle")
			}
		}},
		{"billing that stalls proves nothing of the hours since", xaisim.Options{}, func(b *bench) {
			b.createFirstKey("retire: {overlap: 2h, soak: 20h}", targetA)
			b.run(5 * 24 * time.Hour)
			id, stands := b.key(), b.clock.Add(-3*time.Hour)
			for range 20 {
				b.chats(id)
				b.run(time.Hour)
				b.lagged("another", stands)
			}
			b.decommission(false)
			b.run(30 * time.Minute)
			if !b.accepts(id) {
				b.violated("a key that was used in each of the last 20 hours was turned off as idle")
			}
		}},
		{"an abort that waits for a store keeps the key", xaisim.Options{}, func(b *bench) {
			b.createFirstKey("retire: {overlap: 2h, soak: 5h}", targetA)
			id := b.key()
			b.end()
			b.decommission(true)
			b.run(time.Hour)
			b.down("a")
			b.order(journal.Order{Policy: "chat", Kind: journal.OrderAbort, Why: "still needed"})
			b.run(6 * time.Hour)
			if b.gone(id) {
				b.violated("the key was deleted four hours after the abort was asked for")
			}
		}},
		{"the outage of one key is not that of a key adopted later", xaisim.Options{}, func(b *bench) {
			b.createFirstKey("adopt: true\nretire: {overlap: 2h, soak: 1h}", targetA)
			b.end()
			b.decommission(true)
			b.run(5 * time.Hour)
			id, v := b.sim.AddKey(teamID, "by hand", "api-key:model:grok-4", "api-key:endpoint:chat")
			b.strange[id] = true
			b.stores["a"].Set("chat", field(v.Reveal()))
			b.run(time.Hour)
			b.order(journal.Order{Policy: "chat", Kind: journal.OrderResolve, Decision: journal.Adopt, KeyIDs: journal.IDs(id)})
			b.run(3 * time.Hour)
			if !b.accepts(id) {
				b.violated("a key that was adopted after the decommission was cut off")
			}
		}},
		{"where xAI turns no key off, the soak follows the proof of idleness", xaisim.Options{}, func(b *bench) {
			b.createFirstKey("retire: {overlap: 2h, soak: 20h}", targetA)
			b.run(3 * 24 * time.Hour)
			id := b.key()
			b.sim.Inject(xaisim.Fault{Call: "update", Count: -1, Kind: xaisim.Status, Status: 400, Body: `{"code":3,"message":"disabled cannot be set"}`})
			b.decommission(false)
			b.run(30 * time.Hour)
			b.end()
			b.billed(2 * time.Hour)
			if b.gone(id) {
				b.violated("the key was deleted at the moment when it was found idle")
			}
		}},
		{"taken back after a disable whose answer was lost, in a canary", xaisim.Options{}, func(b *bench) {
			b.observed()
			_, id := b.onCanary()
			b.end()
			b.decommission(true)
			died := false
			b.trap = func(int) error {
				for _, k := range b.sim.Keys(teamID) {
					if k.ID == id && k.Disabled {
						b.trap, died = nil, true
						panic(crash{})
					}
				}
				return nil
			}
			b.runUntil(3*time.Hour, func() bool { return died })
			b.order(journal.Order{Policy: "chat", Kind: journal.OrderAbort})
			if !b.runUntil(time.Minute, func() bool { return b.accepts(id) }) {
				b.violated("the key to go back to was not turned on")
			}
		}},
		{"of a removed policy, an abort that xAI does not answer keeps the key", xaisim.Options{}, func(b *bench) {
			b.createFirstKey("retire: {overlap: 2h, soak: 5h}", targetA)
			id := b.key()
			b.end()
			b.decommission(true)
			b.run(time.Hour)
			b.load(policyDoc("another", "retire: {overlap: 2h, soak: 5h}", targetC))
			b.run(time.Hour)
			b.sim.Inject(xaisim.Fault{Call: "update", Count: -1, Kind: xaisim.Status, Status: 503})
			b.order(journal.Order{Policy: "chat", Kind: journal.OrderAbort, Why: "still needed"})
			b.run(8 * time.Hour)
			if b.gone(id) {
				b.violated("the key was deleted although an abort was asked for")
			}
			b.sim.ClearFaults()
			if !b.runUntil(2*time.Hour, func() bool { return b.accepts(id) }) {
				b.violated("the key was not turned on again")
			}
		}},
		{"a key that someone deletes during the abort is replaced", xaisim.Options{}, func(b *bench) {
			b.createFirstKey("retire: {overlap: 2h, soak: 20h}", targetA)
			id := b.key()
			b.end()
			b.decommission(true)
			b.run(time.Hour)
			b.down("a")
			b.order(journal.Order{Policy: "chat", Kind: journal.OrderAbort, Why: "still needed"})
			b.human(id, b.sim.DeleteKey)
			b.run(10 * time.Minute)
			if r := b.record("chat"); r.Policy.WantedAt.IsZero() {
				b.violated("no new key is wanted")
			}
			b.up("a")
			if !b.runUntil(3*time.Hour, func() bool { return b.key() != "" && b.key() != id }) {
				b.violated("no new key: %s %s", b.record("chat").Policy.Reason, b.record("chat").Policy.Error)
			}
		}},
	})
}
