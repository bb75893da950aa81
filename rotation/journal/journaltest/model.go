package journaltest

import (
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"rotator/rotation/journal"
)

// world is what a journal must hold, in memory: the model that random commits are held against.
type world struct {
	*kit
	rec     map[string]*journal.Record // policy → its record as last committed
	claim   map[string]journal.Claim   // policy → the claim that holds it
	due     map[string]bool            // policies that the next claim gets
	woken   map[string]bool            // policies that are due once they are released
	nEvents int
}

// model makes random commits, releases, orders and holds on two policies, and compares what is loaded with the model.
func model(t *testing.T, open func(t *testing.T) journal.Journal) {
	j := open(t)
	names := []string{"a", "b"}
	k := &kit{T: t, j: j}
	k.policies(names...)
	w := &world{
		kit: k, rec: map[string]*journal.Record{}, claim: map[string]journal.Claim{},
		due: map[string]bool{}, woken: map[string]bool{},
	}
	for _, n := range names {
		w.rec[n], w.due[n] = k.load(n), true
	}
	rapid.Check(t, func(r *rapid.T) {
		for range rapid.IntRange(1, 12).Draw(r, "steps") {
			policy := rapid.SampledFrom(names).Draw(r, "policy")
			switch rapid.SampledFrom([]string{"claim", "commit", "commit", "commit", "release", "order", "hold", "stale"}).Draw(r, "what") {
			case "claim":
				w.claimAll(r)
			case "commit":
				w.commit(r, policy)
			case "release":
				w.release(r, policy)
			case "order":
				w.order(r, policy)
			case "hold":
				w.hold(r, policy)
			case "stale":
				w.stale(r, policy)
			}
			w.compare(r, policy)
		}
	})
}

func (w *world) claimAll(r *rapid.T) {
	claimed, err := w.j.Claim(w.Context(), owner, now(), 10)
	if err != nil {
		r.Fatal(err)
	}
	var got, want []string
	for _, c := range claimed {
		got = append(got, c.Policy)
		w.claim[c.Policy] = c
		fresh, err := w.j.Load(w.Context(), c.Policy) // an owner loads the record after the claim
		if err != nil {
			r.Fatal(err)
		}
		rec := w.rec[c.Policy]
		rec.Policy.Chain, rec.Base.Policy.Chain = fresh.Policy.Chain, fresh.Policy.Chain
	}
	for p := range w.rec {
		if w.due[p] {
			want = append(want, p)
		}
		w.due[p] = false
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		r.Fatalf("claimed %v, want %v", got, want)
	}
}

// commit makes a random legal or illegal change and expects what the state table says.
func (w *world) commit(r *rapid.T, policy string) {
	c, held := w.claim[policy]
	if !held {
		return
	}
	rec := copyOf(w.rec[policy])
	legal := w.moveRotation(r, policy, rec)
	legal = w.moveKeys(r, policy, rec) && legal
	legal = w.moveEffects(r, policy, rec) && legal
	w.moveSightings(r, policy, rec)
	for i := range rec.Orders {
		rec.Orders[i].DoneAt = now()
	}
	rec.Policy.Failures++
	err := w.j.Commit(w.Context(), c, rec, false, event(policy, journal.Failed))
	if legal != (err == nil) || (err != nil && !errors.Is(err, journal.ErrForbidden)) {
		r.Fatalf("commit: %v, and it is legal: %v", err, legal)
	}
	if err == nil {
		if rec.Woken != w.woken[policy] {
			r.Fatalf("woken: %t", rec.Woken)
		}
		w.rec[policy] = rec
		w.nEvents++
	}
}

// moveRotation begins a rotation, or moves the one in flight, and reports whether it may.
func (w *world) moveRotation(r *rapid.T, policy string, rec *journal.Record) bool {
	if n := len(rec.Retired); n > 0 && rapid.Bool().Draw(r, "retired") {
		rec.Retired[n-1].EndedAt = now()
	}
	if rec.Rotation == nil {
		rot := w.rotation(policy, journal.Planned)
		rec.Rotation = &rot
		return true
	}
	to := rapid.SampledFrom(journal.States).Draw(r, "to")
	legal := rec.Rotation.State.May(to.State)
	rec.Rotation.State = to.State
	mark(rec.Rotation, to.Needs, now())
	unmark(rec.Rotation, to.Never)
	return legal
}

// moveKeys adds a key, and moves one, and reports whether they may.
func (w *world) moveKeys(r *rapid.T, policy string, rec *journal.Record) bool {
	legal := true
	if n := len(rec.Keys); n > 0 && rapid.Bool().Draw(r, "move key") {
		key := &rec.Keys[rapid.IntRange(0, n-1).Draw(r, "key")]
		to := rapid.SampledFrom(journal.KeyStates).Draw(r, "key to").State
		legal = key.State.May(to)
		move(key, to)
	}
	if rapid.Bool().Draw(r, "new key") {
		rec.Keys = append(rec.Keys, w.key(policy, rapid.SampledFrom(journal.KeyStates).Draw(r, "new key in").State))
	}
	live := 0
	for _, key := range rec.Keys {
		if key.State == journal.LiveKey {
			live++
		}
	}
	return legal && live < 2
}

// moveEffects adds an effect, and moves one, and reports whether they may.
func (w *world) moveEffects(r *rapid.T, policy string, rec *journal.Record) bool {
	legal := true
	if n := len(rec.Effects); n > 0 && rapid.Bool().Draw(r, "move effect") {
		e := &rec.Effects[rapid.IntRange(0, n-1).Draw(r, "effect")]
		was := e.State
		e.State, e.AckAt = rapid.SampledFrom([]journal.EffectState{
			journal.EffectOpen, journal.EffectDone, journal.EffectRefused, journal.EffectWithdrawn, journal.EffectUnknown, journal.EffectSettled,
		}).Draw(r, "effect to"), time.Time{}
		legal = e.State != journal.EffectOpen || was == journal.EffectOpen
		if final := e.State != journal.EffectOpen && e.State != journal.EffectUnknown; final {
			e.ClosedAt = now()
		} else if rapid.IntRange(0, 4).Draw(r, "close") == 0 {
			e.ClosedAt, legal = now(), false
		}
	}
	if rapid.Bool().Draw(r, "new effect") {
		kind := rapid.SampledFrom([]journal.EffectKind{journal.EffectCreate, journal.EffectDelete, journal.EffectStage, journal.EffectPromote}).Draw(r, "kind")
		rec.Effects = append(rec.Effects, w.effect(policy, "ref", kind))
	}
	return legal
}

// moveSightings adds sightings, changes them, and lets them end.
func (w *world) moveSightings(r *rapid.T, policy string, rec *journal.Record) {
	if len(rec.Targets) == 0 {
		rec.Targets = append(rec.Targets, target(policy, "one"))
	}
	if n := len(rec.Sightings); n > 0 {
		i := rapid.IntRange(0, n-1).Draw(r, "sighting")
		switch rapid.IntRange(0, 2).Draw(r, "sighting goes") {
		case 0:
			rec.Sightings = slices.Delete(rec.Sightings, i, i+1)
		case 1:
			rec.Sightings[i].AbsentSince = now()
		}
	}
	if rapid.Bool().Draw(r, "new sighting") {
		rec.Sightings = append(rec.Sightings, sighting(rec.Targets[0], w.id("print")))
	}
}

func (w *world) release(r *rapid.T, policy string) {
	c, held := w.claim[policy]
	if !held {
		return
	}
	rec := w.rec[policy]
	rec.Policy.NextRunAt = now().Add(time.Hour)
	if err := w.j.Commit(w.Context(), c, rec, true); err != nil {
		r.Fatal(err)
	}
	delete(w.claim, policy)
	w.due[policy] = w.woken[policy]
	delete(w.woken, policy)
}

func (w *world) wake(policy string) {
	if _, held := w.claim[policy]; held {
		w.woken[policy] = true
	} else {
		w.due[policy] = true
	}
}

func (w *world) order(r *rapid.T, policy string) {
	o := journal.Order{Policy: policy, Kind: journal.OrderRotate, At: now()}
	var err error
	if o.ID, err = w.j.Place(w.Context(), o); err != nil {
		r.Fatal(err)
	}
	w.wake(policy)
	w.rec[policy].Orders = append(w.rec[policy].Orders, o)
	w.rec[policy].Base.Orders = append(w.rec[policy].Base.Orders, o)
}

func (w *world) hold(r *rapid.T, policy string) {
	var h journal.Hold
	if rapid.Bool().Draw(r, "hold") {
		h = journal.Hold{Reason: "x", By: "me", At: now()}
	}
	if err := w.j.SetHold(w.Context(), now(), policy, h, event(policy, journal.HoldSet)); err != nil {
		r.Fatal(err)
	}
	w.wake(policy)
	w.rec[policy].Hold = h
	w.nEvents++
}

// stale tries to write with a claim from the past.
func (w *world) stale(r *rapid.T, policy string) {
	c := journal.Claim{Policy: policy, Owner: owner, Epoch: w.claim[policy].Epoch - 1}
	rec := copyOf(w.rec[policy])
	rec.Policy.Error = "from the past"
	if err := w.j.Commit(w.Context(), c, rec, true, event(policy, journal.Failed)); !errors.Is(err, journal.ErrLost) {
		r.Fatalf("a stale commit: %v", err)
	}
}

// compare loads the policy and holds it against the model.
func (w *world) compare(r *rapid.T, policy string) {
	got, err := w.j.Load(w.Context(), policy)
	if err != nil {
		r.Fatal(err)
	}
	want := copyOf(w.rec[policy])
	if r := want.Rotation; r != nil && r.State.Final() {
		if r.State == journal.Live {
			want.Retired = append(want.Retired, *r)
		}
		want.Rotation = nil
	}
	want.Retired = slices.DeleteFunc(want.Retired, func(r journal.Rotation) bool { return !r.EndedAt.IsZero() })
	want.Keys = slices.DeleteFunc(want.Keys, func(k journal.Key) bool { return k.State.Gone() })
	want.Effects = slices.DeleteFunc(want.Effects, func(e journal.Effect) bool { return !e.ClosedAt.IsZero() })
	want.Orders = slices.DeleteFunc(want.Orders, func(o journal.Order) bool { return !o.DoneAt.IsZero() })
	want.Policy.NextRunAt, want.Policy.Chain = got.Policy.NextRunAt, got.Policy.Chain
	// Rows made within a microsecond stand in the order of their ids.
	byID := cmp.Options{
		cmp.Transformer("rotations", func(l []journal.Rotation) map[string]journal.Rotation {
			return maps.Collect(index(l, func(r journal.Rotation) string { return r.ID }))
		}),
		cmp.Transformer("keys", func(l []journal.Key) map[string]journal.Key {
			return maps.Collect(index(l, func(k journal.Key) string { return k.Ref }))
		}),
		cmp.Transformer("effects", func(l []journal.Effect) map[string]journal.Effect {
			return maps.Collect(index(l, func(e journal.Effect) string { return e.ID }))
		}),
		cmp.Transformer("sightings", func(l []journal.Sighting) map[string]journal.Sighting {
			return maps.Collect(index(l, func(s journal.Sighting) string { return s.Fingerprint }))
		}),
		cmp.Transformer("orders", func(l []journal.Order) map[int64]journal.Order {
			return maps.Collect(index(l, func(o journal.Order) int64 { return o.ID }))
		}),
	}
	got.Base, want.Base = nil, nil
	want.Woken = false // only a commit shows it
	if d := cmp.Diff(want, got, byID); d != "" {
		r.Fatalf("%s (-want +got):\n%s", policy, d)
	}
	if n := len(w.events()); n != min(w.nEvents, 1000) {
		r.Fatalf("%d events, want %d", n, w.nEvents)
	}
}

func index[K comparable, V any](list []V, id func(V) K) func(func(K, V) bool) {
	return func(yield func(K, V) bool) {
		for _, v := range list {
			if !yield(id(v), v) {
				return
			}
		}
	}
}
