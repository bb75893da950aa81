package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rotator/policies"
)

const twoFolders = `teams: {t: {}, u: {}}
stores: {s: {type: file, dir: /s}, v: {type: file, dir: /v}}
policies:
  - dir: all
  - dir: /p/search/
    editors: {group: search-admins}
    adopted_keys: this_folder
    allow:
      teams: [t]
      stores: {s: ["a/*", "b#KEY"]}
      acls: ["api-key:model:grok-4*"]
      labels: {Tier: [dev, "prod-*"]}
      hooks: [restart]
      adopt: true
      min_overlap: 1h
      min_soak: 2h
      max_age_at_most: 90d
      file_modes: ["0640"]
      file_owners: [root]
      file_groups: [search]
      verify: [chat, models]
`

func TestFolders(t *testing.T) {
	t.Parallel()
	c, err := Parse("/etc/rotator/rotator.yaml", []byte(twoFolders), env(nil))
	if err != nil {
		t.Fatal(err)
	}
	d := func(text string) *policies.Duration {
		parsed, err := policies.ParseDuration(text)
		if err != nil {
			t.Fatal(err)
		}
		return &parsed
	}
	want := []policies.Folder{{Dir: "/etc/rotator/all", Name: "policies[0]"}, {Dir: "/p/search", Name: "policies[1]", Editors: "search-admins", Allow: &policies.Allow{
		Teams: []string{"t"}, Stores: map[string][]string{"s": {"a/*", "b#KEY"}}, ACLs: []string{"api-key:model:grok-4*"}, Labels: map[string][]string{"Tier": {"dev", "prod-*"}},
		Hooks: []string{"restart"}, Adopt: true, MinOverlap: d("1h"), MinSoak: d("2h"), MaxAgeAtMost: d("90d"),
		FileModes: []string{"0640"}, FileOwners: []string{"root"}, FileGroups: []string{"search"}, Verify: []string{"chat", "models"}}}}
	if diff := cmp.Diff(want, c.PolicyFolders()); diff != "" {
		t.Error(diff)
	}
	if got := c.Policies.String(); got != "/etc/rotator/all, /p/search" {
		t.Errorf("in words it is %s", got)
	}
	if c.Policies.AdoptedWithin("/etc/rotator/all/a.yaml") != nil || c.Policies.AdoptedWithin("/p/search2/a.yaml") != nil {
		t.Error("an adopted key of a folder that does not say so concerns one folder")
	}
	within := c.Policies.AdoptedWithin("/p/search/deep/a.yaml")
	if within == nil || !within("/p/search/b.yaml") || within("/etc/rotator/all/a.yaml") || within("/p/search2/a.yaml") {
		t.Error("an adopted key concerns another folder than its own")
	}
	one, err := Parse("/etc/rotator/rotator.yaml", []byte("teams: {t: {}}\nstores: {s: {type: file, dir: /s}}\npolicies: p\n"), env(nil))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]policies.Folder{{Dir: "/etc/rotator/p", Name: "policies[0]"}}, one.PolicyFolders()); diff != "" {
		t.Error(diff)
	}
}

// TestLimitsThatCannotHold: a rule that is mistyped is told, and never silently allows less or more.
func TestLimitsThatCannotHold(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ from, to, want string }{
		{"dir: /p/search/", "dir: all", "5: policies[1].dir and policies[0].dir lie in one another, or are the same"},
		{"dir: /p/search/", "dir: all/deep", "5: policies[1].dir and policies[0].dir lie in one another"},
		{"dir: all", "dir: /p", "5: policies[1].dir and policies[0].dir lie in one another"},
		{"dir: /p/search/", "dir: ./deep/../all/x/..", "5: policies[1].dir and policies[0].dir lie in one another"},
		{"  - dir: all", "  - editors: {group: g}", "4: policies[0].dir is missing"},
		{"dir: all", "dir: all\n    editors: {group: g}", "5: policies[0].editors is given without allow"},
		{"group: search-admins", "user: ada", "6: unknown key user in policies[1].editors"},
		{"adopted_keys: this_folder", "adopted_keys: mine", "7: policies[1].adopted_keys is neither all nor this_folder"},
		{"teams: [t]", "teams: [tt]", "9: policies[1].allow.teams names one that is not in this file; want one of t, u"},
		{"teams: [t]", "team: [t]", "9: unknown key team in policies[1].allow"},
		{"teams: [t]", "teams: t", "9: policies[1].allow.teams is text, not a list"},
		{"teams: [t]", "teams: []", "9: policies[1].allow.teams is an empty list"},
		{"{s: [", "{x: [", "10: policies[1].allow.stores names one that is not in this file; want one of s, v"},
		{`"a/*"`, `"/a/*"`, "10: policies[1].allow.stores.s has a pattern that no path matches"},
		{`"a/*"`, `"a/../*"`, "10: policies[1].allow.stores.s has a pattern that no path matches"},
		{`"a/*"`, `"a/"`, "10: policies[1].allow.stores.s has a pattern that no path matches"},
		{`"a/*"`, `"a/**"`, "10: policies[1].allow.stores has a pattern with"},
		{`"a/*"`, `"a/?"`, "10: policies[1].allow.stores has a pattern with"},
		{`"api-key:model:grok-4*"`, `"grok-4"`, "11: policies[1].allow.acls has a pattern that no right matches"},
		{`"api-key:model:grok-4*"`, `"api-key:model:[a-z]*"`, "11: policies[1].allow.acls has a pattern with"},
		{"Tier: [dev", "tier: [5", "12: policies[1].allow.labels.tier[0] is a number, not text"},
		{"labels: {Tier", "labels: {Tier: [x], Tier", "12: a name in policies[1].allow.labels is given twice"},
		{"min_overlap: 1h", "min_overlap: 0s", "15: policies[1].allow.min_overlap is no duration above zero"},
		{`"0640"`, `"rw-r-----"`, "18: policies[1].allow.file_modes has one that is no mode"},
		{`"0640"`, `0640`, "18: policies[1].allow.file_modes[0] is a number, not text"},
		{"[chat, models]", "[chatt]", "21: policies[1].allow.verify has a method that is not known; want chat, models or whoami (did you mean chat?)"},
		{"    allow:\n", "    allow:\n    allow2:\n", "8: policies[1].allow has no value"},
	} {
		_, err := Parse("r.yaml", []byte(strings.Replace(twoFolders, tc.from, tc.to, 1)), env(nil))
		if err == nil || !strings.Contains(err.Error(), "r.yaml:"+tc.want) {
			t.Errorf("%s in place of %s: got %v, want %s", tc.to, tc.from, err, tc.want)
		}
	}
}
