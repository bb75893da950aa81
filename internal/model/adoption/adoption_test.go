package adoption

import (
	"testing"

	"rotator/internal/model"
)

func TestAdoption(t *testing.T) {
	t.Parallel()
	const inUse = "destroyed while target 2 holds it"
	model.Check(t, []model.Scenario[rules, state]{
		{Name: "two policies, one hand-made key", Model: build(world{}), Needs: model.Needs{
			"RowsAtLoad": inUse, "EmptyReadIsNoAbsence": inUse, "DespitePassesOverSilenceOnly": inUse}},
		{Name: "people copy the key", Model: build(world{copies: true}),
			Needs: model.Needs{"RowsAtLoad": inUse, "EmptyReadIsNoAbsence": inUse,
				"DespitePassesOverSilenceOnly": inUse, "GateReadsEveryPolicysTargets": inUse}},
	})
}
