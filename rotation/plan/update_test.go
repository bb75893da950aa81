package plan_test

import (
	"strings"
	"testing"
	"time"

	"rotator/policies"
	"rotator/rotation/grant"
	"rotator/rotation/journal"
	"rotator/rotation/plan"
)

// TestUpdates: the plan says what is changed of the key in use, what consumers lose by it, and what keeps it.
func TestUpdates(t *testing.T) {
	t.Parallel()
	const chat, embed, models = "api-key:endpoint:chat", "api-key:endpoint:embed", "api-key:endpoint:models"
	five, six := 5, 6
	day, err := policies.ParseMoment("2026-11-30")
	if err != nil {
		t.Fatal(err)
	}
	made := policies.KeySpec{ACLs: []string{chat, embed}, QPS: &five}
	for name, c := range map[string]struct {
		change func(*plan.Question)
		want   string
	}{
		"nothing": {func(*plan.Question) {}, ""},
		"limits": {func(q *plan.Question) { q.Policy.Key.QPS = &six },
			"11-30 12:00 update k1  limits: qps 6 instead of qps 5"},
		"rights that widen": {func(q *plan.Question) { q.Policy.Key.ACLs = []string{chat, embed, models} },
			"11-30 12:00 update k1  rights: api-key:endpoint:models added"},
		"rights that narrow": {func(q *plan.Question) { q.Policy.Key.ACLs = []string{chat} },
			"- wait k1  keeps api-key:endpoint:embed until the next rotation; allow_narrowing: true takes them away at once"},
		"rights that narrow at once": {func(q *plan.Question) { q.Policy.Key.ACLs, q.Policy.AllowNarrowing = []string{chat}, true },
			"11-30 12:00 update k1  rights: api-key:endpoint:embed removed; its consumers are refused api-key:endpoint:embed"},
		"rights that narrow after a freeze": {func(q *plan.Question) {
			q.Policy.Key.ACLs, q.Policy.AllowNarrowing = []string{chat}, true
			q.Freezes = []policies.Freeze{{From: day, To: day, Why: "launch"}}
		}, "12-01 00:00 update k1  after the freeze its consumers are refused api-key:endpoint:embed"},
		"held": {func(q *plan.Question) {
			q.Policy.Key.QPS, q.Record.Hold = &six, journal.Hold{By: "me", Reason: "x", At: monday, Scope: journal.HoldAll}
		}, "- update k1  limits: qps 6 instead of qps 5; once it is released"},
		"refused": {func(q *plan.Question) { q.Policy.Key.QPS, q.Record.Keys[0].Refused = &six, "limits" },
			"- wait k1  limits: qps 6 instead of qps 5; xAI refused it: it comes with the next rotation"},
		"changed at xAI": {func(q *plan.Question) {
			q.Have = map[string]grant.Grant{"k1": {Name: "k", ACLs: []string{chat, embed}, QPS: &six, Complete: true}}
		}, "- warning k1  someone changed it at xAI: limits: qps 6 instead of qps 5; key.enforce: true sets it right"},
		"set right": {func(q *plan.Question) {
			q.Policy.Key.Enforce = true
			q.Have = map[string]grant.Grant{"k1": {Name: "mine", ACLs: []string{chat, embed}, QPS: &five, Complete: true}}
		}, `11-30 12:00 update k1  name: "k" instead of "mine"`},
		"an expiry that is near": {func(q *plan.Question) {
			q.Policy.Key.ExpiresAfter, q.Record.Keys[0].Asked = hours(30*24), grant.Ask(policies.KeySpec{ACLs: made.ACLs, QPS: &five, ExpiresAfter: hours(30 * 24)})
			q.Have = map[string]grant.Grant{"k1": {Name: "k", ACLs: []string{chat, embed}, QPS: &five, Expires: monday.Add(5 * time.Hour), Complete: true}}
		}, "11-30 12:00 update k1  expiry 2026-12-30T12:00:00Z"},
	} {
		is := grant.Grant{Name: "k", ACLs: []string{chat, embed}, QPS: &five, Complete: true}
		shown := is
		shown.Name = ""
		q := plan.Question{
			Policy: &policies.Policy{Name: "chat", Schedule: "0 3 * * *", Key: made, Retire: policies.Retire{Overlap: hours(2), Soak: hours(4)}},
			Record: &journal.Record{Policy: journal.Policy{Name: "chat", KeyID: "k1", LastSuccess: monday}, Keys: []journal.Key{{
				Ref: "1", ID: "k1", Name: "k", Origin: journal.OfAttempt, State: journal.LiveKey, CreatedAt: monday, Asked: grant.Ask(made), Shown: shown.String(), Listed: is.String(),
			}}},
			Now: monday,
		}
		c.change(&q)
		var got []plan.Row
		for _, r := range plan.Of(q) {
			if r.KeyID == "k1" && r.Action != plan.Disable && r.Action != plan.Delete {
				got = append(got, r)
			}
		}
		if text := strings.TrimSpace(text(got)); text != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", name, text, c.want)
		}
	}
}
