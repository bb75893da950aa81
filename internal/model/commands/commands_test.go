package commands

import (
	"testing"

	"rotator/internal/model"
)

func TestCommands(t *testing.T) {
	t.Parallel()
	model.Check(t, []model.Scenario[rules, state]{
		{Name: "two commands, one fault", Model: build(world{commands: 2, faults: 1}), Needs: model.Needs{
			"AbortGivesBack":        "was exposed and is rejected",
			"RetireLeavesWantedKey": "the rotation in flight wants it",
			"HealLooksAtTargets":    "stuck: a target holds dead key",
			"ForsakenKeyRetires":    "stays promoting",
			"CompromisedIsNotUsed":  "compromised key 0 is made live",
			"WishNeedsNewKey":       "the wish for a new key is forgotten",
			"GateProvesLiveKey":     "the last one that works",
		}},
		{Name: "one command, two faults", Model: build(world{commands: 1, faults: 2}), Needs: model.Needs{
			"HealTakesNewest": "works, and nothing is done",
			"OneEnable":       "stuck: a target holds dead key",
		}},
		{Name: "with canary", Model: build(world{commands: 1, faults: 1, canary: true}), Needs: model.Needs{
			"RetireLeavesWantedKey": "the rotation in flight wants it",
		}},
		{Name: "a late disable", Model: build(world{commands: 1, faults: 1, lateDisable: true}), Needs: model.Needs{
			"WaitsEndPerTarget": "holds dead key 0",
		}},
		{Name: "with canary, people only help", Model: build(world{commands: 2, faults: 2, canary: true, onlyHelpful: true}), Soak: true},
		{Name: "three commands", Model: build(world{commands: 3, faults: 1}), Soak: true},
		{Name: "two commands, a late disable, two faults", Model: build(world{commands: 2, faults: 2, lateDisable: true}), Soak: true,
			Needs: model.Needs{"WaitsEndPerTarget": "holds dead key 0"}},
	})
}
