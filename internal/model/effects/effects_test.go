package effects

import (
	"testing"

	"rotator/internal/model"
)

func TestEffects(t *testing.T) {
	t.Parallel()
	const dead = "holds key"
	fenced := world{targets: 2, clusters: 1, compareAndSwap: true, fence: true}
	with := func(w world, change func(*world)) world { change(&w); return w }
	clusters := with(fenced, func(w *world) { w.targets, w.clusters = 1, 2 })
	lag := with(fenced, func(w *world) { w.readsLag = true })
	model.Check(t, []model.Scenario[rules, state]{
		{Name: "two targets", Model: build(fenced), Needs: model.Needs{
			"DeleteIsOneWay": dead, "GateWaitsForPromotes": dead, "GateReadsEveryTarget": dead, "OnlyCleanEnablesCount": dead}},
		{Name: "no fence", Model: build(with(fenced, func(w *world) { w.fence = false })), Needs: model.Needs{
			"DeleteIsOneWay": dead, "GateWaitsForPromotes": dead}},
		{Name: "no fence and no compare-and-swap", Model: build(world{targets: 2, clusters: 1}), Needs: model.Needs{
			"DeleteIsOneWay": dead, "GateWaitsForPromotes": dead}},
		{Name: "two clusters learn one by one", Model: build(clusters), Needs: model.Needs{
			"DeleteIsOneWay": dead, "GateWaitsForPromotes": dead, "OnlyCleanEnablesCount": dead}},
		{Name: "reads lag", Model: build(lag), Needs: model.Needs{
			"RecentWritesOutweighReads": dead, "GateReadsEveryTarget": dead}},
		{Name: "reads lag, no fence and no compare-and-swap", Model: build(world{targets: 1, clusters: 1, readsLag: true}),
			Needs: model.Needs{"RecentWritesOutweighReads": dead}},
		{Name: "reads lag, two clusters, no fence", Model: build(world{targets: 2, clusters: 2, readsLag: true, compareAndSwap: true}),
			Soak: true, Needs: model.Needs{"RecentWritesOutweighReads": dead, "OnlyCleanEnablesCount": dead}},
	})
}

// TestFrozenSenders covers a sender that is frozen for longer than its effect is believed able to land. Deletes and enables are
// harmless then, promotes where the store can fence. The others are open by nature: they are repaired at the next watch.
func TestFrozenSenders(t *testing.T) {
	t.Parallel()
	frozen := func(kind kind, fence bool) world {
		return world{targets: 2, clusters: 1, compareAndSwap: true, fence: fence, frozen: kind}
	}
	for _, c := range []struct {
		name, open string
		world      world
	}{
		{"delete", "", frozen(destroy, true)},
		{"promote, fenced", "", frozen(promote, true)},
		{"enable", "", frozen(enable, true)},
		{"promote, not fenced", "holds key", frozen(promote, false)},
		{"disable", "holds key", frozen(disable, true)},
	} {
		t.Run(c.name, func(t *testing.T) { model.Expect(t, build(c.world)(model.All[rules]()), c.open) })
	}
}
