package staging

import (
	"testing"

	"rotator/internal/model"
)

func TestStaging(t *testing.T) {
	t.Parallel()
	const stays = "stuck: a value stays staged"
	model.Check(t, []model.Scenario[rules, state]{{Name: "two stages, two deaths", Model: build, Needs: model.Needs{
		"IntentFirst":          "no row reports it",
		"StageOwesUnstage":     stays,
		"UnstageAgainAtQuiet":  stays,
		"LostUnstageIsRetried": stays,
		"GoesOnFromStaging":    "stuck: the rotation never ends",
	}}})
}
