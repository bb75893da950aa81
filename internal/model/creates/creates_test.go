package creates

import (
	"testing"

	"rotator/internal/model"
)

func TestCreates(t *testing.T) {
	t.Parallel()
	const orphan = "xAI has a key of ours that no row knows of"
	model.Check(t, []model.Scenario[rules, state]{{Name: "two creates", Model: build, Needs: model.Needs{
		"RowFirst":           orphan,
		"AskAgainAtQuiet":    orphan,
		"FreshIsNotMissing":  orphan,
		"ExactName":          "a stranger's key is destroyed",
		"CutNameStops":       orphan,
		"LostValueIsDeleted": orphan,
	}}})
}
