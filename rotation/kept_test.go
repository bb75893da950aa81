package rotation_test

import (
	"maps"
	"testing"
	"time"

	"rotator/rotation"
	"rotator/stores/memstore"
	"rotator/xai/xaisim"
)

// kept is a world as a scenario finds it, from which any number of lives begin: to set it up takes as long as a life.
type kept struct {
	b      *bench
	stores map[string]*memstore.Store
	sim    *xaisim.Sim
}

// keep sets the scenario up once.
func (s scenario) keep(t *testing.T) *kept {
	t.Helper()
	b := newBench(t, xaisim.Options{})
	b.observed()
	b.limits = rotation.Limits{Watch: time.Hour}
	b.birth()
	_, other := b.sim.AddKey(teamID, "someone else's", "api-key:model:*")
	b.strange[b.idOf(other)] = true
	s.before(b)
	b.report(t, "before")
	if err := b.journal.Keep(t.Context()); err != nil {
		t.Fatal(err)
	}
	k := &kept{b: b, stores: map[string]*memstore.Store{}}
	for name, store := range b.stores {
		k.stores[name] = store.Copy()
	}
	k.sim = b.sim.Copy(b.xaiNow)
	return k
}

// bench begins a life where the scenario starts. The process is a new one.
func (k *kept) bench() *bench {
	k.b.t.Helper()
	b := &bench{
		t: k.b.t, clock: k.b.clock, skew: k.b.skew, journal: k.b.journal, token: k.b.token, limits: k.b.limits, log: k.b.log,
		specs: k.b.specs, docs: k.b.docs, deaths: k.b.deaths + 1, keep: true,
		stores: map[string]*memstore.Store{}, wrapped: maps.Clone(k.b.wrapped), exempt: maps.Clone(k.b.exempt), strange: k.b.strange,
	}
	if err := b.journal.Recall(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	b.sim = k.sim.Copy(b.xaiNow)
	for name, store := range k.stores {
		b.stores[name] = store.Copy()
	}
	b.connect()
	b.observed()
	was := k.b.seen
	b.seen.rows, b.seen.refs, b.seen.names, b.seen.paths = maps.Clone(was.rows), maps.Clone(was.refs), maps.Clone(was.names), maps.Clone(was.paths)
	return b
}
