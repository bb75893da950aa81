package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rotator/internal/api"
	"rotator/policies"
	"rotator/xai/xaisim"
)

// TestCheckTriesTheModel: a model that is retired is a problem that names it, although lists still show it; a key that works
// with its model is ok, and what is no key of the policy's model says nothing.
func TestCheckTriesTheModel(t *testing.T) {
	t.Parallel()
	s := newScenery(t)
	s.key("management.key", "team-1")
	v := view{environment: s.environment(`{research: {management_key: "file:management.key"}}`, nil)}
	policy := func(model string) *policies.Policy {
		return &policies.Policy{Name: "chat", Team: "research", Verify: policies.Verify{Method: policies.MethodChat, Model: model},
			Targets: []policies.Target{{Store: "local", Path: "none"}, {Store: "local", Path: "chat"}}}
	}
	holds := func(text string) {
		t.Helper()
		dir := filepath.Join(s.dir, "s")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "chat"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	said := func(p *policies.Policy) string {
		var all []string
		for _, r := range v.checkVerify(t.Context(), p) {
			all = append(all, strings.TrimSpace(r.Result+" "+r.Subject+": "+advised(text(r.Detail), text(r.Do))))
		}
		return strings.Join(all, "; ")
	}
	if got := said(policy("grok-4")); got != "" {
		t.Errorf("without a key: %s", got)
	}
	_, key := s.sim.AddKey("team-1", "by hand", "api-key:model:grok-4", "api-key:endpoint:chat")
	holds(key.Reveal() + "\n")
	if got := said(policy("grok-4")); got != api.CheckOK+" model of chat:" {
		t.Errorf("a model that works: %s", got)
	}
	if got := said(policy("grok-3-mini")); got != "" {
		t.Errorf("a model that the key in use may not use: %s", got)
	}
	s.sim.Inject(xaisim.Fault{Call: "chat", Count: 1, Kind: xaisim.Status, Status: 404,
		Body: `{"code":"not-found","error":"The model grok-4 does not exist or your team does not have access to it."}`})
	if got := said(policy("grok-4")); !strings.HasPrefix(got, api.CheckProblem+" model of chat: xAI does not offer the model grok-4: ") || !strings.Contains(got, "verify.model") {
		t.Errorf("a model that is retired: %s", got)
	}
	s.sim.Inject(xaisim.Fault{Call: "chat", Count: -1, Kind: xaisim.Status, Status: 402, Body: `{"error":"no credits"}`})
	if got := said(policy("grok-4")); !strings.HasPrefix(got, api.CheckWarning+" model of chat: the model grok-4 could not be tried") {
		t.Errorf("without credits: %s", got)
	}
	s.sim.ClearFaults()
	holds("xai-" + strings.Repeat("0", 80))
	if got := said(policy("grok-4")); got != "" {
		t.Errorf("a key that xAI does not know: %s", got)
	}
}
