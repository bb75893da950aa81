package app

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"rotator/internal/api"
	"rotator/policies"
	"rotator/stores"
	"rotator/stores/memstore"
)

// tells is a store that warns as it is told to.
type tells struct {
	stores.Store
	warnings func([]stores.Target) ([]stores.Warning, error)
}

func (s tells) Warnings(_ context.Context, targets []stores.Target) ([]stores.Warning, error) {
	return s.warnings(targets)
}

// viewOf is a view of one store with a policy for each target.
func viewOf(t *testing.T, warnings func([]stores.Target) ([]stores.Warning, error), targets ...policies.Target) view {
	t.Helper()
	v := view{Files: Files{Policies: map[string]*policies.Policy{}}, environment: &environment{stores: map[string]stores.Store{}}}
	for i, target := range targets {
		name := string(rune('a' + i))
		v.Policies[name] = &policies.Policy{Name: name, Targets: []policies.Target{target}}
		v.environment.stores[target.Store] = observed{tells{memstore.New(), warnings}, target.Store, func(context.Context, string, string, string, time.Duration) {}}
	}
	return v
}

func TestDangers(t *testing.T) {
	t.Parallel()
	all := []policies.Target{{Store: "s", Path: "one", Field: "x"}, {Store: "s", Path: "one", Field: "y"}, {Store: "s", Path: "two"}, {Store: "s", Path: "one", Field: "z"}}
	var asked []stores.Target
	v := viewOf(t, func(targets []stores.Target) ([]stores.Warning, error) {
		asked = targets
		return []stores.Warning{{Targets: targets, Text: "crowded", Do: "Move."}, {Targets: targets[:1], Text: "old"}},
			errors.Join(errors.New("first"), errors.New("second"), errors.New("third"))
	}, all...)

	targets := v.neighbors(func(policy string) bool { return policy == "b" })
	if got := targets["s"]; len(got) != 3 || slices.ContainsFunc(got, func(t stores.Target) bool { return t.Path == "two" }) {
		t.Fatalf("neighbors are %v", got)
	}
	rows := v.checkDangers(t.Context(), targets)
	if len(asked) != 3 || len(rows) != 3 {
		t.Fatalf("asked %v, rows %+v", asked, rows)
	}
	for i, want := range []string{
		"target s:one#x of a, s:one#y of b and 1 more: crowded. Move.", "target s:one#x of a: old", "warnings of store s: first; and 2 more",
	} {
		if got := rows[i].Subject + ": " + advised(text(rows[i].Detail), text(rows[i].Do)); got != want || rows[i].Result != api.CheckWarning {
			t.Errorf("%s: %q, want %q", rows[i].Result, got, want)
		}
	}

	dangers, unknown := v.dangers(t.Context(), targets)
	var plan []string
	for _, name := range []string{"a", "b", "c", "d"} {
		for _, r := range warnings(v.Policies[name], dangers, unknown) {
			plan = append(plan, name+" "+r.Target+" "+r.Detail)
		}
	}
	if want := "a s:one#x crowded. Move.|a s:one#x old|a s:one#x first; and 2 more|b s:one#y crowded. Move.|d s:one#z crowded. Move."; strings.Join(plan, "|") != want {
		t.Errorf("the plan says %q, want %q", strings.Join(plan, "|"), want)
	}
}

// text is what a row says, "" for null.
func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
