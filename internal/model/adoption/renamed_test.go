package adoption

import (
	"testing"

	"rotator/internal/model"
)

// renamedRules are those of a policy that was renamed in its file and whose old name people let go.
type renamedRules struct {
	ForgottenKeyIsAdoptedAgain bool // a forgotten key that is in a policy's target is adopted again, in the same row
}

// renamed is the state of policy P, its key, and P2, which names the same target.
type renamed struct {
	removed, forgotten bool // P, from the file and by people
	key                uint8
}

const (
	liveInP = iota
	keyForgotten
	liveInP2
)

func renamedModel(r renamedRules) model.Model[renamed] {
	return model.Model[renamed]{
		Start: []renamed{{}},
		Next: func(s renamed, step model.Step[renamed]) {
			switch {
			case !s.removed:
				step(model.Person, renamed{removed: true}, "P is renamed to P2 in its file")
			case !s.forgotten:
				step(model.Person, renamed{true, true, keyForgotten}, "forget P")
			case s.key == keyForgotten && r.ForgottenKeyIsAdoptedAgain:
				step(model.Program, renamed{true, true, liveInP2}, "P2 adopts the forgotten key")
			}
		},
		Owed: func(s renamed) string {
			if s.key == keyForgotten {
				return "no policy can ever adopt the key that is in its target"
			}
			return ""
		},
	}
}

func TestRenamedPolicy(t *testing.T) {
	t.Parallel()
	model.Check(t, []model.Scenario[renamedRules, renamed]{{Name: "renamed", Model: renamedModel,
		Needs: model.Needs{"ForgottenKeyIsAdoptedAgain": "stuck: no policy can ever adopt"}}})
}
