package clone

import (
	"testing"

	"rotator/internal/model"
)

func TestClone(t *testing.T) {
	t.Parallel()
	const dead = "the original's target holds a deleted key"
	model.Check(t, []model.Scenario[rules, state]{
		{Name: "one target", Model: build(world{rollbacks: true}), Needs: model.Needs{"OtherInstallationWaits": dead}},
		{Name: "a claimed copy with targets of its own", Model: build(world{rollbacks: true, apart: true, claimed: true}),
			Needs: model.Needs{"CopyLetsKeysGo": dead, "OtherInstallationWaits": dead}},
		{Name: "claimed as moved while the original runs: people broke it", Model: build(world{rollbacks: true, moved: true}), Open: dead},
	})
}

func TestLostCommits(t *testing.T) {
	t.Parallel()
	const dead = "the target holds a deleted key"
	model.Check(t, []model.Scenario[lostRules, lost]{
		{Name: "nobody says so", Model: lostModel(false), Needs: model.Needs{
			"UnexplainedKeyReconciles": dead, "ReconcileConcludes": "stuck: reconcile mode never ends"}},
		{Name: "restored", Model: lostModel(true), Needs: model.Needs{
			"WaitsForLostEffects": dead, "ReconcileConcludes": "stuck: reconcile mode never ends"}},
	})
}
