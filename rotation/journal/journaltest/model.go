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
	was := w.rec[policy]
	rec := copyOf(was)
	legal := true
	if rec.Rotation == nil || !rec.Rotation.EndedAt.IsZero() {
		rot := w.rotation(policy, journal.Planned)
		rec.Rotation = &rot
	} else {
		to := rapid.SampledFrom(journal.States).Draw(r, "to")
		legal = rec.Rotation.State.May(to.State)
		rec.Rotation.State = to.State
		mark(rec.Rotation, to.Needs, now())
		unmark(rec.Rotation, to.Never)
	}
	if rapid.Bool().Draw(r, "attempt") {
		rec.Attempts = append(rec.Attempts, w.attempt(*rec.Rotation, journal.Intended))
	}
	if n := len(rec.Attempts); n > 0 && rapid.Bool().Draw(r, "settle") {
		rec.Attempts[n-1].State, rec.Attempts[n-1].SettledAt = journal.Settled, now()
	}
	if rapid.Bool().Draw(r, "key") {
		rec.Keys = append(rec.Keys, w.key(policy))
	}
	if n := len(rec.Keys); n > 0 && rapid.Bool().Draw(r, "delete") {
		rec.Keys[0].DeletedAt = now()
	}
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
	if want.Rotation != nil && !want.Rotation.EndedAt.IsZero() {
		want.Rotation = nil
	}
	want.Attempts = slices.DeleteFunc(want.Attempts, func(a journal.Attempt) bool {
		return a.State == journal.Settled && (want.Rotation == nil || a.Rotation != want.Rotation.ID)
	})
	want.Keys = slices.DeleteFunc(want.Keys, func(k journal.Key) bool { return !k.DeletedAt.IsZero() })
	want.Orders = slices.DeleteFunc(want.Orders, func(o journal.Order) bool { return !o.DoneAt.IsZero() })
	want.Policy.NextRunAt = got.Policy.NextRunAt
	// Rows made within a microsecond stand in the order of their ids.
	byID := cmp.Options{
		cmp.Transformer("attempts", func(l []journal.Attempt) map[string]journal.Attempt {
			return maps.Collect(index(l, func(a journal.Attempt) string { return a.ID }))
		}),
		cmp.Transformer("keys", func(l []journal.Key) map[string]journal.Key {
			return maps.Collect(index(l, func(k journal.Key) string { return k.ID }))
		}),
		cmp.Transformer("orders", func(l []journal.Order) map[int64]journal.Order {
			return maps.Collect(index(l, func(o journal.Order) int64 { return o.ID }))
		}),
	}
	got.Base, want.Base = nil, nil
	want.Woken = false // only a commit tells
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
