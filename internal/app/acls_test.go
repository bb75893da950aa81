package app

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"rotator/internal/api"
)

// TestACLsOfATeam: what `acls` and `check` say follows the models as xAI retires them and brings out others, under a program that
// runs. A model that is gone comes with the one that was probably meant.
func TestACLsOfATeam(t *testing.T) {
	t.Parallel()
	h := newHousehold(t)
	h.write("policies/chat.yaml", `name: chat
team: research
schedule: "@every 720h"
key: {acls: ["api-key:model:grok-4", "api-key:model:grok-3-mini-latest", "api-key:endpoint:chat"]}
targets: [{store: local, path: chat}]
`)
	h.write("policies/more/search.yaml", "")
	p, stop := h.begin()
	defer stop()
	missing := func() (acls []string) {
		t.Helper()
		rows, err := p.Client().ACLs(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			if !r.Offered {
				acls = append(acls, *r.ACL+" of "+strings.Join(r.Policies, ",")+" near "+deref(r.Nearest))
			}
		}
		return acls
	}
	checked := func(ctx context.Context) string {
		t.Helper()
		rows, err := p.Client().Check(ctx)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(rows, func(r api.CheckRow) bool { return r.Subject == "key of chat" })
		return rows[i].Result + " " + deref(rows[i].Detail)
	}
	for _, c := range []struct {
		models  []string
		missing []string
		check   string
	}{
		{[]string{"grok-4", "grok-3-mini"}, nil, "ok "},
		{[]string{"grok-4.1", "grok-3-mini"}, []string{"api-key:model:grok-4 of chat near api-key:model:grok-4.1"}, "problem xAI does not offer team research api-key:model:grok-4 (did you mean api-key:model:grok-4.1?)"},
		{[]string{"other"}, []string{"api-key:model:grok-3-mini-latest of chat near ", "api-key:model:grok-4 of chat near "},
			"problem xAI does not offer team research api-key:model:grok-3-mini-latest, api-key:model:grok-4"},
		{[]string{"grok-3-mini", "grok-4"}, nil, "ok "},
	} {
		h.sim.SetModels(c.models...)
		if got := missing(); !slices.Equal(got, c.missing) {
			t.Errorf("with %q acls says %q, want %q", c.models, got, c.missing)
		}
		if got := checked(t.Context()); got != c.check {
			t.Errorf("with %q check says %q, want %q", c.models, got, c.check)
		}
	}
}

// TestKeysWithoutAnAge: a key of which xAI reports no age is not left out of the unused ones without a word.
func TestKeysWithoutAnAge(t *testing.T) {
	t.Parallel()
	now := time.Now()
	row := func(id string, made time.Time) api.KeyRow { return api.KeyRow{KeyID: &id, Created: instant(made)} }
	var left []string
	for _, r := range madeBefore([]api.KeyRow{row("old", now.Add(-time.Hour)), row("new", now), row("none", time.Time{})}, now) {
		left = append(left, *r.KeyID)
	}
	if want := []string{"old", "none"}; !slices.Equal(left, want) {
		t.Errorf("left are %v, want %v", left, want)
	}
}
