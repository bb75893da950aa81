package rotation_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"rotator/rotation/grant"
	"rotator/rotation/journal"
	"rotator/xai/xaisim"
)

// editing is a random life in which people edit what a key may do, and change it at xAI, while rotations and faults go on. What it
// knows of the engine is only what it promises: told is true, and at rest xAI shows what the policy says, or the policy says why not.
type editing struct {
	*bench
	r       *rapid.T
	outside map[string]bool // key ids that someone changed at xAI
	acts    int
}

// TestKeysFollowTheirPolicies lives random lives of edits. ROTATOR_SOAK=1 lives many more.
func TestKeysFollowTheirPolicies(t *testing.T) {
	soak := os.Getenv("ROTATOR_SOAK") == "1"
	t.Parallel()
	lives, total := 0, 0
	if f := flag.Lookup("rapid.seed"); f.Value.String() == "0" && !soak {
		_ = f.Value.Set("20261130") // the same lives for every change
	}
	rapid.Check(t, func(r *rapid.T) {
		if lives++; lives > 60 && !soak {
			return // enough for every change
		}
		b := newBench(t, xaisim.Options{
			GuidesOnly: rapid.Bool().Draw(r, "guides only"),
			ListLag:    rapid.SampledFrom([]time.Duration{0, 20 * time.Second}).Draw(r, "list lag"),
			UpdateLag:  rapid.SampledFrom([]time.Duration{0, 0, 20 * time.Second, 90 * time.Second}).Draw(r, "update lag"),
			Fixed:      rapid.SampledFrom([][]string{nil, nil, nil, {"expireTime"}, {"aclStrings"}, {""}}).Draw(r, "fixed"),
			Ignored:    rapid.SampledFrom([][]string{nil, nil, nil, {"qps"}, {"expireTime"}}).Draw(r, "ignored"),
		})
		b.observed()
		w := &editing{bench: b, r: r, outside: map[string]bool{}}
		w.edit()
		w.run(time.Hour)
		w.lists()
		acts := []func(){w.edit, w.edit, w.edit, w.rotate, w.pass, w.pass, w.late, w.fail, w.meddle, w.hold, w.release, w.takeover}
		for range rapid.IntRange(3, 20).Draw(r, "acts") {
			rapid.SampledFrom(acts).Draw(r, "act")()
			w.run(time.Second)
			w.told()
			if w.acts++; len(b.broken) > 0 {
				break
			}
		}
		total += w.acts
		if len(b.broken) == 0 {
			w.end()
		}
		if len(b.broken) > 0 {
			b.dump()
			r.Fatalf("%s", strings.Join(b.broken, "\n"))
		}
	})
	t.Logf("%d acts", total)
}

// edit gives the policy another key.
func (w *editing) edit() {
	acls := []string{`"api-key:model:grok-4"`, `"api-key:endpoint:chat"`}
	for _, more := range []string{`"api-key:model:grok-3-mini"`, `"api-key:endpoint:models"`, `"api-key:model:*"`} {
		if rapid.IntRange(0, 2).Draw(w.r, more) == 0 {
			acls = append(acls, more)
		}
	}
	key := "acls: [" + strings.Join(acls, ", ") + "]"
	for _, limit := range []string{"qps: %d", "qpm: %d", "tpm: \"%d\""} {
		if n := rapid.IntRange(0, 3).Draw(w.r, limit); n > 0 {
			key += ", " + fmt.Sprintf(limit, n)
		}
	}
	key += rapid.SampledFrom([]string{"", "", ", expires_after: 35d", ", expires_after: 60d"}).Draw(w.r, "expiry")
	key += rapid.SampledFrom([]string{"", ", enforce: true"}).Draw(w.r, "enforce")
	w.load(keyed(key, rapid.SampledFrom([]string{"", "allow_narrowing: true"}).Draw(w.r, "narrowing")+quick, targetA))
}

func (w *editing) rotate() {
	w.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand, Supersede: rapid.Bool().Draw(w.r, "supersede")})
}

func (w *editing) pass() {
	w.run(rapid.SampledFrom([]time.Duration{time.Second, 2 * time.Second, time.Minute, 12 * time.Minute, 3 * time.Hour}).Draw(w.r, "time"))
	w.lists()
}

// late has the next change of a kind land late.
func (w *editing) late() {
	op := rapid.SampledFrom([]string{"update", "update", "create", "delete"}).Draw(w.r, "late")
	w.sim.Late(op, rapid.SampledFrom([]time.Duration{2 * time.Second, 5 * time.Minute, 10*time.Minute + 30*time.Second}).Draw(w.r, "delay"))
}

// fail has some updates fail, or lose their answer.
func (w *editing) fail() {
	w.sim.Inject(xaisim.Fault{
		Call: "update", Count: rapid.IntRange(1, 3).Draw(w.r, "count"), Kind: xaisim.Reset,
		When: rapid.SampledFrom([]xaisim.When{xaisim.Before, xaisim.After}).Draw(w.r, "when"),
	})
}

// meddle changes the key in use at xAI.
func (w *editing) meddle() {
	id := w.key()
	if id == "" {
		return
	}
	n := rapid.IntRange(4, 6).Draw(w.r, "limit")
	w.sim.ChangeKey(id, func(k *xaisim.KeyTruth) {
		switch rapid.IntRange(0, 3).Draw(w.r, "what") {
		case 0:
			k.QPS = &n
		case 1:
			k.QPM = nil
		case 2:
			k.Name = fmt.Sprint("renamed ", n)
		case 3:
			k.ACLs = append(slices.Clone(k.ACLs), "api-key:endpoint:embed")
		}
	})
	w.outside[id] = true
	w.lists()
}

func (w *editing) hold() {
	scope := rapid.SampledFrom([]journal.Scope{journal.HoldAll, journal.HoldRotations}).Draw(w.r, "scope")
	w.bench.hold(journal.Hold{Reason: "a while", By: "tester", At: w.clock, Scope: scope})
}

func (w *editing) release() { w.bench.hold(journal.Hold{}) }

// takeover has another process go on, which knows only the journal.
func (w *editing) takeover() { w.deaths++; w.birth() }

// told checks that what was reported as done is so, and stays so.
func (w *editing) told() {
	k, p := w.record("chat").Live(), w.specs["chat"]
	if k == nil || w.outside[k.ID] || grant.Ask(p.Key) != k.Asked || k.UpdateReason != "" || k.Drift != "" {
		return
	}
	w.granted()
}

// names has people give old keys their names back: one under another name is not touched before.
func (w *editing) names() {
	for _, k := range w.record("chat").Keys {
		if k.ID != "" && k.State != journal.LiveKey {
			w.sim.ChangeKey(k.ID, func(is *xaisim.KeyTruth) { is.Name = k.ListedName() })
		}
	}
}

// end ends all faults, and checks what the key in use may do at rest.
func (w *editing) end() {
	w.sim.ClearFaults()
	w.bench.hold(journal.Hold{})
	w.names()
	w.run(30 * time.Minute) // two watches
	w.lists()
	w.names()
	w.run(30 * time.Minute)
	w.peace()
	w.lists()
	w.names()
	w.run(time.Hour)
	w.settled()
	k, p := w.record("chat").Live(), w.specs["chat"]
	if k == nil {
		w.violated("no key is live: %s", w.record("chat").Policy.Error)
		return
	}
	refused := strings.Fields(k.Refused)
	is, o := w.truth(k.ID), p.Key
	off := func(part grant.Part, what string) {
		told := slices.Contains(refused, string(part)) || w.outside[k.ID] && !o.Enforce && k.Drift != ""
		if !told {
			w.violated("%s of key %s is not what the policy says, and nothing tells: %+v; %s %s; %s", what, k.ID, is, k.UpdateReason, k.UpdateError, p.Canonical())
		}
	}
	if !equalTo(is.QPS, o.QPS) || !equalTo(is.QPM, o.QPM) || !equalTo(is.TPM, o.TPM) {
		off(grant.Limits, "a limit")
	}
	if is.Name != k.ListedName() {
		off(grant.Name, "the name")
	}
	have, want := slices.Sorted(slices.Values(is.ACLs)), slices.Sorted(slices.Values(o.ACLs))
	lacks := slices.ContainsFunc(want, func(a string) bool { return !slices.Contains(have, a) })
	if lacks || p.AllowNarrowing && len(have) != len(want) {
		off(grant.Rights, "a right")
	}
	if left := is.Expires.Sub(w.clock); is.Expires.IsZero() != (o.ExpiresAfter == 0) || o.ExpiresAfter > 0 && (left <= 0 || left > o.ExpiresAfter.Std()+time.Hour) {
		off(grant.Expiry, "the expiry")
	}
}
