package app

import (
	"context"
	"slices"
	"strings"
	"time"

	"rotator/internal/api"
	"rotator/internal/secret"
	"rotator/xai"
)

// without says what a call that xAI does not offer is done without, and what to configure then.
var without = map[string]struct{ means, do string }{
	"GET /auth/management-keys/validation": {"a list of the team's keys shows that the management key works; its rights and its team are not known",
		"Say the team's id in the configuration."},
	"GET /v1/api-key": {"keys prove themselves by a chat call, and a key that was made by hand is not recognized",
		"To have such a key adopted, name it in its policy: adopt: {key_id: ID}."},
	"GET /v1/models":                    {"keys prove themselves by a chat call instead of verify: {method: models}", ""},
	"POST /v1/billing/teams/{id}/usage": {"the use of old keys is not known", "With retire.require_idle, set retire.max_wait: nothing else ends the wait."},
	"PUT /auth/api-keys/{id}":           {"keys are updated by the address that xAI's guide gives", ""},
	"GET /audit/teams/{id}/events":      {"nothing", ""},
}

// checkOffers says which calls xAI does not offer to the team, one line each. It asks for those that nothing may have asked
// for yet, and changes nothing.
func checkOffers(ctx context.Context, t *team, id string) (rows []api.CheckRow) {
	now := time.Now()
	_, _ = t.speaker.management.Usage(ctx, id, xai.UsageQuery{From: now.Add(-time.Hour), To: now})
	// A value that is no one's key: the answer is that it is none, or that there is no such address.
	_, _ = t.probe.WhoAmI(ctx, secret.New("xai-"+strings.Repeat("0", 80)))
	for _, call := range slices.Concat(t.speaker.management.NotOffered(), t.probe.NotOffered()) {
		detail, do := "xAI does not offer "+call, ""
		if w, ok := without[call]; ok {
			detail, do = detail+": "+w.means, w.do
		}
		rows = append(rows, warned("team "+t.name, detail, do))
	}
	return rows
}
