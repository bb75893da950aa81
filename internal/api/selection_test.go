package api_test

import (
	"fmt"
	"strings"
	"testing"

	"rotator/internal/api"
	"rotator/policies"
	"rotator/rotation/journal"
)

// TestSelection selects among three policies: by each kind of selector, by several, and with values that nothing has.
func TestSelection(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	var specs []journal.Spec
	for _, doc := range []string{
		"name: chat-dev\nteam: research\nlabels: {tier: dev, app: chat}\ntargets: [{store: vault, path: a}]\n",
		"name: chat-prod\nteam: research\nowner: ann\nlabels: {tier: prod, app: chat}\ntargets: [{store: local, path: b}, {store: vault, path: b}]\n",
		"name: embed-prod\nteam: search\nowner: bob\nlabels: {tier: prod, app: embed}\ntargets: [{store: local, path: c}]\n",
	} {
		all, problems := policies.Parse("p.yaml", []byte(doc+"schedule: \"@every 720h\"\nkey: {acls: [\"api-key:model:grok-4\", \"api-key:endpoint:chat\"]}\n"), policies.Options{})
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		specs = append(specs, journal.Spec{Name: all[0].Name, Team: all[0].Team, Owner: all[0].Owner, Canonical: string(all[0].Canonical())})
	}
	d.ok(d.journal.SetPolicies(t.Context(), d.now(), specs))
	d.edit("chat-prod", func(rec *journal.Record) {
		rec.Keys = append(rec.Keys, journal.Key{Ref: "ref-1", ID: "key-old", Name: "rotator-chat-prod-ref-1", Policy: "chat-prod", Team: "research", Origin: journal.OfAttempt, State: journal.DisabledKey, ExposedAt: d.now(), RetireFrom: d.now(), DisabledAt: d.now()})
	})
	for _, c := range []struct {
		name string
		s    api.Selection
		want string // the policies, or the error
	}{
		{"nothing", api.Selection{}, "chat-dev chat-prod embed-prod"},
		{"team", api.Selection{Teams: []string{"research"}}, "chat-dev chat-prod"},
		{"two teams widen", api.Selection{Teams: []string{"research", "search"}}, "chat-dev chat-prod embed-prod"},
		{"owner", api.Selection{Owners: []string{"bob"}}, "embed-prod"},
		{"label", api.Selection{Labels: []string{"tier=prod"}}, "chat-prod embed-prod"},
		{"two labels narrow", api.Selection{Labels: []string{"tier=prod", "app=chat"}}, "chat-prod"},
		{"store", api.Selection{Stores: []string{"local"}}, "chat-prod embed-prod"},
		{"old key", api.Selection{KeyIDs: []string{"key-old"}}, "chat-prod"},
		{"name and team", api.Selection{Policies: []string{"chat-dev", "embed-prod"}, Teams: []string{"search"}}, "embed-prod"},
		{"team and store", api.Selection{Teams: []string{"research"}, Stores: []string{"vault"}, Labels: []string{"tier=dev"}}, "chat-dev"},
		{"name that is not of the team", api.Selection{Policies: []string{"chat-dev"}, Teams: []string{"search"}}, `no policy has the team "search"`},
		{"unknown name", api.Selection{Policies: []string{"chat"}, Teams: []string{"search"}}, `no policy is named "chat"`},
		{"unknown team", api.Selection{Teams: []string{"research", "serch"}}, `no policy has the team "serch"; did you mean search?`},
		{"unknown label", api.Selection{Labels: []string{"tier=pro"}}, `no policy has the label "tier=pro"; did you mean tier=prod?`},
		{"unknown store", api.Selection{Stores: []string{"aws"}}, `no policy has the store "aws"`},
		{"unknown key", api.Selection{KeyIDs: []string{"key-1"}}, `no policy has the key "key-1"`},
		{"empty team", api.Selection{Teams: []string{""}}, "an empty team selects nothing"},
		{"label without value", api.Selection{Labels: []string{"tier"}}, `a label is given as KEY=VALUE, not as "tier"`},
		{"label without name", api.Selection{Labels: []string{"=prod"}}, `a label is given as KEY=VALUE, not as "=prod"`},
		{"nothing has both", api.Selection{Teams: []string{"search"}, Labels: []string{"tier=dev"}}, "no policy matches all of: team search; label tier=dev"},
	} {
		rows, err := d.client.Select(t.Context(), c.s)
		var got []string
		for _, r := range rows {
			got = append(got, r.Policy)
		}
		if err != nil {
			got = []string{err.Error()}
		}
		if all := strings.Join(got, " "); all != c.want && !strings.HasPrefix(all, c.want+";") {
			t.Errorf("%s: %q, want %q", c.name, all, c.want)
		}
	}
}

// TestManySelectors selects many policies by as many names and keys.
func TestManySelectors(t *testing.T) {
	t.Parallel()
	const many = 3_000
	var all []journal.Summary
	var ids, names []string
	for i := range many {
		id := fmt.Sprintf("key-%06d", i)
		all = append(all, journal.Summary{Policy: journal.Policy{Name: "p" + id, Spec: "{}"}, Keys: []journal.Key{{ID: id}}})
		ids, names = append(ids, id), append(names, "p"+id)
	}
	found, err := api.Selection{KeyIDs: ids}.Among(all)
	if err != nil || len(found) != many {
		t.Errorf("%d found, %v", len(found), err)
	}
	if found, err = api.Named(names, all); err != nil || len(found) != many {
		t.Errorf("%d named, %v", len(found), err)
	}
	if _, err := (api.Selection{KeyIDs: []string{strings.Repeat("x", 1<<20)}}).Among(all); err == nil {
		t.Error("a key that nobody has is found")
	}
}
