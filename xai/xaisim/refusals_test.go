package xaisim_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"rotator/internal/secret"
	"rotator/xai/xaisim"
)

// What the Management API is known to refuse, with the status and a piece of the body that tell it.
func TestManagementRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, xaisim.Options{Teams: []string{"team-2"}})
	id, value := w.create("k")
	foreign, _ := w.AddKey("team-2", "theirs", "api-key:model:*")
	limited := secret.New("xai-token-limited")
	w.AddManagementKey(limited, xaisim.ManagementKey{Teams: []string{team}, Ops: []string{"list"}})
	keys, one := "/auth/teams/"+team+"/api-keys", "/auth/api-keys/"+id
	for _, c := range []struct {
		bearer             secret.Text
		method, path, body string
		status             int
		want               string
	}{
		{secret.Text{}, "GET", keys, "", 401, `"code":16`},
		{secret.New("nonsense"), "GET", keys, "", 401, `"message":"Invalid bearer token.`},
		{value, "GET", keys, "", 401, `"code":16`},
		{w.token, "GET", "/auth/teams/team-2/api-keys", "", 403, `"code":7`},
		{w.token, "GET", "/auth/teams/nobody/api-keys", "", 403, `team mismatch`},
		{w.token, "DELETE", "/auth/api-keys/" + foreign, "", 403, `"code":7`},
		{limited, "DELETE", one, "", 403, `"code":7`},
		{limited, "GET", keys, "", 200, `apiKeys`},
		{w.token, "DELETE", "/auth/api-keys/unknown", "", 404, `"code":5,"details":[],"message":"Cannot find API key`},
		{w.token, "PUT", "/auth/api-keys/unknown", `{"apiKey":{},"fieldMask":"name"}`, 404, `Cannot find API key`},
		{w.token, "GET", "/auth/api-keys/unknown/propagation", "", 404, `Cannot find API key`},
		{w.token, "GET", "/v1" + keys, "", 404, "nginx"},
		{w.token, "GET", one, "", 404, "nginx"},
		{w.token, "PUT", "/auth/teams/" + team + "/api-keys/" + id, `{}`, 404, "nginx"},
		{w.token, "GET", "/", "", 404, "<html>"},
		{w.token, "POST", keys, `{"acls":[]}`, 400, "name"},
		{w.token, "POST", keys, `{"name":"x","color":"red"}`, 400, `"code":3`},
		{w.token, "POST", keys, `{"name":"x","aclStrings":[]}`, 400, `"code":3`},
		{w.token, "POST", keys, `{"name":"x","tpm":1000}`, 400, `"code":3`},
		{w.token, "POST", keys, `{"name":"x","tpm":"many"}`, 400, `"code":3`},
		{w.token, "POST", keys, `{"name":"x","qps":"5"}`, 400, `"code":3`},
		{w.token, "POST", keys, `{"name":"x","qps":-5}`, 400, `"code":3`},
		{w.token, "POST", keys, `{"name":"x","acls":["api-key:model:gpt"]}`, 400, "acls"},
		{w.token, "POST", keys, `{"name":"x","acls":["api-key:endpoint:shell"]}`, 400, "acls"},
		{w.token, "POST", keys, `{"name":"x","acls":["model:*"]}`, 400, "acls"},
		{w.token, "POST", keys, `{"name":"x","expireTime":"2020-01-01T00:00:00Z"}`, 400, "expireTime"},
		{w.token, "POST", keys, `{"name":"x"} {}`, 400, `"code":3`},
		{w.token, "POST", keys, `["name"]`, 400, `"code":3`},
		{w.token, "POST", keys, ``, 400, `"code":3`},
		{w.token, "PUT", one, `{"apiKey":{"qpm":7}}`, 400, `"code":3`},
		{w.token, "PUT", one, `{"apiKey":{"qpm":7},"fieldMask":"apiKeyId"}`, 400, `"code":3`},
		{w.token, "PUT", one, `{"apiKey":{"qpm":7},"fieldMask":"qpm,acl_strings"}`, 400, `"code":3`},
		{w.token, "PUT", one, `{"apiKey":{"name":""},"fieldMask":"name"}`, 400, `"code":3`},
		{w.token, "POST", one + "/rotate", `{"oldSecretExpireTime":"2026-03-09T12:00:00Z"}`, 400, `"code":3`},
		{w.token, "GET", keys + "?pageSize=none", "", 400, `"code":3`},
		{w.token, "GET", keys + "?paginationToken=none", "", 400, `"code":3`},
		{w.token, "POST", "/v1/billing/teams/" + team + "/usage", `{"analyticsRequest":{"timeRange":{"startTime":"2026-03-01T00:00:00Z","endTime":"2026-03-02T00:00:00Z","timezone":"Etc/GMT"},"timeUnit":"TIME_UNIT_HOUR","values":[{"name":"usd","aggregation":"AGGREGATION_SUM"}],"groupBy":["api_key_id"],"filters":[]}}`, 400, `"code":3`},
	} {
		r := w.send(nil, c.bearer, c.method, c.path, c.body)
		if r.status != c.status || !strings.Contains(r.body, c.want) {
			t.Errorf("%s %s %s: got %d %s, want %d %s", c.method, c.path, c.body, r.status, r.body, c.status, c.want)
		}
	}
	if k := w.Live(team); len(k) != 1 || k[0].Name != "k" {
		t.Errorf("a refused call had an effect: %+v", k)
	}
	w.RevokeManagementKey(w.token)
	if r := w.manage("GET", keys, ""); r.status != 401 {
		t.Errorf("revoked: %d", r.status)
	}
}

func TestInferenceRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, xaisim.Options{})
	all := []string{"api-key:model:*", "api-key:endpoint:*"}
	_, full := w.AddKey(team, "full", all...)
	_, none := w.AddKey(team, "none")
	_, chat := w.AddKey(team, "chat", "api-key:endpoint:chat", "api-key:model:grok-3-mini")
	_, models := w.AddKey(team, "models", "api-key:endpoint:models", "api-key:model:*")
	off, disabled := w.AddKey(team, "off", all...)
	w.DisableKey(off)
	old, expired := w.AddKey(team, "old", all...)
	w.SetExpires(old, w.Now())
	completions := "/v1/chat/completions"
	for _, c := range []struct {
		bearer             secret.Text
		method, path, body string
		status             int
		want               string
	}{
		{secret.Text{}, "GET", "/v1/api-key", "", 401, "unauthenticated:no-credentials"},
		{secret.New("xai-nobody"), "GET", "/v1/api-key", "", 400, "Incorrect API key provided: xa***dy"},
		{w.token, "GET", "/v1/api-key", "", 400, "Incorrect API key provided"},
		{expired, "POST", completions, hello, 400, "Incorrect API key provided"},
		{disabled, "GET", "/v1/api-key", "", 403, "is disabled"},
		{disabled, "POST", completions, hello, 403, "is disabled"},
		{none, "GET", "/v1/api-key", "", 403, "endpoint is denied"},
		{none, "GET", "/v1/models", "", 403, "endpoint is denied"},
		{none, "POST", completions, hello, 403, "endpoint is denied"},
		{models, "POST", completions, hello, 403, "Access to the chat endpoint is denied"},
		{chat, "GET", "/v1/models", "", 403, "Access to the models endpoint is denied"},
		{chat, "POST", completions, hello, 404, "The model grok-4 does not exist or your team team-1 does not have access"},
		{full, "POST", completions, strings.Replace(hello, "grok-4", "gpt", 1), 404, "The model gpt does not exist"},
		{full, "POST", completions, `{"model":"grok-4"}`, 422, "Failed to deserialize"},
		{full, "POST", completions, `{`, 422, "Failed to deserialize"},
		{full, "GET", "/v1/api-keys", "", 404, "nginx"},
		{full, "POST", completions, hello, 200, `"choices":[`},
		{chat, "POST", completions, strings.Replace(hello, "grok-4", "grok-3-mini-latest", 1), 200, `"choices":[`},
		{full, "GET", "/v1/models", "", 200, `"id":"grok-4"`},
		{chat, "GET", "/v1/api-key", "", 200, `"acls":["api-key:endpoint:chat","api-key:model:grok-3-mini"]`},
	} {
		r := w.send(nil, c.bearer, c.method, c.path, c.body)
		if r.status != c.status || !strings.Contains(r.body, c.want) {
			t.Errorf("%s %s %s: got %d %s, want %d %s", c.method, c.path, c.body, r.status, r.body, c.status, c.want)
		}
		if r.status/100 == 4 && r.status != 404 && r.status != 422 && (r.o["error"] == nil || r.o["code"] == nil) {
			t.Errorf("an error of another shape: %s", r.body)
		}
	}
}

// What a whole team meets says nothing of its keys: whoami goes on answering.
func TestTeamTroubles(t *testing.T) {
	t.Parallel()
	w := newWorld(t, xaisim.Options{})
	_, value := w.AddKey(team, "k", "api-key:model:*", "api-key:endpoint:*")
	for _, c := range []struct {
		name   string
		on     func()
		status int
		want   string
	}{
		{"credits", func() { w.SetBilling(team, xaisim.NoCredits) }, 403, "doesn't have any credits or licenses yet"},
		{"limit", func() { w.SetBilling(team, xaisim.SpendingLimit) }, 429, "used all available credits or reached its monthly spending limit"},
		{"fine", func() { w.SetBilling(team, xaisim.BillingFine) }, 200, "choices"},
		{"throttled", func() { w.ThrottleTeam(team, true) }, 429, "Too many requests for team"},
		{"not any more", func() { w.ThrottleTeam(team, false) }, 200, "choices"},
		{"blocked", func() { w.BlockTeam(team, true) }, 403, "blocked"},
	} {
		c.on()
		if r := w.chat(value); r.status != c.status || !strings.Contains(r.body, c.want) {
			t.Errorf("%s: got %d %s", c.name, r.status, r.body)
		}
		if r := w.whoami(value); r.status != 200 || r.o["team_blocked"] != (c.name == "blocked") {
			t.Errorf("%s: whoami %d %s", c.name, r.status, r.body)
		}
		if w.Accepts(value) != (c.name != "blocked") {
			t.Errorf("%s: accepts %v", c.name, w.Accepts(value))
		}
	}
}

func TestOneAPIAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, xaisim.Options{})
	_, value := w.AddKey(team, "k", "api-key:model:*")
	if r := w.send(w.Management(), value, "GET", "/v1/api-key", ""); r.status != 404 || !strings.Contains(r.body, "nginx") {
		t.Errorf("inference at the management host: %d %s", r.status, r.body)
	}
	if r := w.send(w.Inference(), w.token, "GET", "/auth/teams/"+team+"/api-keys", ""); r.status != 404 || !strings.Contains(r.body, "nginx") {
		t.Errorf("management at the inference host: %d %s", r.status, r.body)
	}
	if r := w.send(w.Inference(), value, "GET", "/v1/api-key", ""); r.status != 200 {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := w.send(w.Management(), w.token, "GET", "/auth/management-keys/validation", ""); r.status != 200 || r.str("scope") != "SCOPE_TEAM" || r.str("scopeId") != team {
		t.Errorf("%d %s", r.status, r.body)
	}
	org := w.NewManagementKey()
	if r := w.send(nil, org, "GET", "/auth/management-keys/validation", ""); r.str("scope") != "SCOPE_ORGANIZATION" || r.o["teamId"] != nil {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := w.send(nil, org, "GET", "/auth/teams/"+team+"/api-keys", ""); r.status != 200 {
		t.Errorf("%d %s", r.status, r.body)
	}
}

func TestRateLimit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, xaisim.Options{RateLimit: xaisim.RateLimit{PerSecond: 1, Burst: 2, RetryAfter: 1500 * time.Millisecond}})
	var got []int
	for range 4 {
		got = append(got, w.manage("GET", "/auth/management-keys/validation", "").status)
	}
	w.Advance(time.Second)
	got = append(got, w.manage("GET", "/auth/management-keys/validation", "").status)
	if !slices.Equal(got, []int{200, 200, 429, 429, 200}) {
		t.Errorf("got %v", got)
	}
	r := w.manage("GET", "/auth/management-keys/validation", "")
	if r.o["code"] != 8.0 || r.header.Get("Retry-After") != "2" {
		t.Errorf("got %s %v", r.body, r.header)
	}
}

func TestSpellings(t *testing.T) {
	t.Parallel()
	w := newWorld(t, xaisim.Options{})
	tokens, flags := map[string]bool{}, map[string]bool{}
	for i := range 20 {
		w.create(fmt.Sprint("k", i))
		r := w.manage("GET", "/auth/teams/"+team+"/api-keys?pageSize=1000", "")
		token, there := r.o["paginationToken"]
		tokens[fmt.Sprint(token, there)] = true
		for _, k := range r.o["apiKeys"].([]any) {
			o := k.(map[string]any)
			flags[fmt.Sprintf("%T", o["disabled"])] = true
			if o["acl_strings"] == nil || o["aclStrings"] != nil || o["apiKey"] != nil {
				t.Fatalf("listed as %v", o)
			}
		}
	}
	if len(tokens) != 3 || len(flags) != 2 {
		t.Errorf("tokens %v, flags %v", tokens, flags)
	}
}
