package race

import (
	"math/rand/v2"
	"testing"

	"rotator/internal/model"
)

const inUse = "H is destroyed while a target holds it"

func TestRace(t *testing.T) {
	t.Parallel()
	model.Check(t, []model.Scenario[rules, state]{{Name: "two policies, one hand-made key", Model: build, Needs: model.Needs{
		"OneAdopts":            "both policies adopted H",
		"LoserKeepsItsRow":     inUse,
		"GateReadsTheOther":    inUse,
		"ForeignIsNotReplaced": "a policy replaces a key that another one claims",
	}}})
}

// TestShuffledSchedules lets two policies meet one hand-made key ten thousand times, each time with another order of their steps,
// of deaths and of what people do. The key must never be destroyed while a target holds it; without a needed rule it must be.
func TestShuffledSchedules(t *testing.T) {
	t.Parallel()
	schedules := func(r rules) (broken, destroyed int, last model.Result) {
		random := rand.New(rand.NewPCG(1, 2))
		m := build(r)
		never := m.Broken
		m.Broken = func(a state, by model.Actor, b state) string {
			if b.gone && !a.gone {
				destroyed++
			}
			return never(a, by, b)
		}
		for range 10_000 {
			if result := model.Walk(m, random, 60); result.Violation != "" {
				broken++
				last = result
			}
		}
		return broken, destroyed, last
	}
	broken, destroyed, last := schedules(model.All[rules]())
	t.Logf("the key was destroyed in %d of 10000 schedules", destroyed)
	if broken > 0 {
		t.Errorf("broken in %d of 10000 schedules, for example: %v", broken, last)
	}
	if destroyed == 0 {
		t.Error("no schedule destroys the key: this shows nothing")
	}
	without := model.All[rules]()
	without.LoserKeepsItsRow = false
	if broken, _, _ := schedules(without); broken == 0 {
		t.Error("no schedule breaks without the loser's rows: this shows nothing")
	}
}
