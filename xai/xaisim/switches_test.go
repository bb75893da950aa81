package xaisim_test

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"rotator/internal/secret"
	"rotator/xai/xaisim"
)

func TestGuidesOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, xaisim.Options{GuidesOnly: true})
	id, value := w.create("k")
	w.Advance(time.Minute)
	list := w.manage("GET", "/auth/teams/"+team+"/api-keys", "")
	object := strings.TrimSuffix(strings.TrimPrefix(list.body, `{"apiKeys":[`), `]}`)
	object, _, _ = strings.Cut(object, `],"paginationToken"`)
	object = strings.Replace(strings.Replace(object, "acl_strings", "aclStrings", 1), `"disabled":"false"`, `"disabled":false`, 1)
	for _, c := range []struct {
		method, path, body string
		status             int
	}{
		{"PUT", "/auth/teams/" + team + "/api-keys", `{"apiKey":` + object + `,"fieldMask":"qpm,name"}`, 200},
		{"PUT", "/auth/teams/" + team + "/api-keys", `{"apiKey":{"apiKeyId":"` + id + `","disabled":true},"fieldMask":"disabled"}`, 200},
		{"PUT", "/auth/teams/" + team + "/api-keys", `{"apiKey":{"disabled":true},"fieldMask":"disabled"}`, 400},
		{"PUT", "/auth/teams/" + team + "/api-keys", `{"apiKey":{"apiKeyId":"nobody","qpm":1},"fieldMask":"qpm"}`, 404},
		{"PUT", "/auth/teams/other/api-keys", `{"apiKey":{"apiKeyId":"` + id + `","qpm":1},"fieldMask":"qpm"}`, 403},
		{"PUT", "/auth/api-keys/" + id, `{"apiKey":{"qpm":1},"fieldMask":"qpm"}`, 404},
		{"GET", "/auth/api-keys/" + id + "/propagation", "", 200},
		{"GET", "/auth/teams/" + team + "/models", "", 200},
		{"GET", "/auth/teams/" + team + "/endpoints", "", 200},
		{"GET", "/auth/management-keys/validation", "", 404},
		{"GET", "/audit/teams/" + team + "/events", "", 404},
		{"POST", "/v1/billing/teams/" + team + "/usage", "{}", 404},
		{"POST", "/auth/api-keys/" + id + "/rotate", "{}", 404},
		{"DELETE", "/auth/api-keys/" + id, "", 200},
	} {
		r := w.manage(c.method, c.path, c.body)
		if r.status != c.status {
			t.Errorf("%s %s: %d %s", c.method, c.path, r.status, r.body)
		}
		if page := strings.Contains(r.body, "nginx"); r.o == nil && !page {
			t.Errorf("%s %s: neither JSON nor a page: %s", c.method, c.path, r.body)
		}
	}
	for _, path := range []string{"/v1/api-key", "/v1/me", "/v1/models"} {
		if r := w.send(nil, value, "GET", path, ""); r.status != 404 || !strings.Contains(r.body, "nginx") {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}
	if r := w.chat(value); r.status != 400 {
		t.Errorf("chat with the deleted key: %d", r.status)
	}
}

func TestUpdatePath(t *testing.T) {
	t.Parallel()
	for path, want := range map[xaisim.UpdatePath][2]int{
		xaisim.UpdateByReference: {200, 404}, xaisim.UpdateByGuide: {404, 200}, xaisim.UpdateByBoth: {200, 200},
	} {
		w := newWorld(t, xaisim.Options{UpdatePath: path})
		id, _ := w.AddKey(team, "k")
		reference := put(w, id, `"qpm":1`, "qpm")
		guide := w.manage("PUT", "/auth/teams/"+team+"/api-keys", `{"apiKey":{"apiKeyId":"`+id+`","qpm":1},"fieldMask":"qpm"}`)
		if reference.status != want[0] || guide.status != want[1] {
			t.Errorf("%d: %d and %d", path, reference.status, guide.status)
		}
	}
}

// A member's management key shows its owner's keys only; whether it may act for others' is a switch.
func TestMembers(t *testing.T) {
	t.Parallel()
	for _, hide := range []bool{false, true} {
		w := newWorld(t, xaisim.Options{HideFromMembers: hide})
		other, _ := w.create("admin's")
		w.token = secret.New("xai-token-member")
		w.AddManagementKey(w.token, xaisim.ManagementKey{Teams: []string{team}, Owner: "user-2", Member: true})
		own, _ := w.create("member's")
		if ids := w.listed(); len(ids) != 1 || !ids[own] {
			t.Errorf("listed %v", ids)
		}
		if k := w.Keys(team)[1]; k.User != "user-2" && w.Keys(team)[0].User != "user-2" {
			t.Errorf("made by %s", k.User)
		}
		if r := w.manage("GET", "/auth/management-keys/validation", ""); r.str("ownerUserId") != "user-2" {
			t.Error(r.body)
		}
		if got := w.manage("GET", "/auth/api-keys/"+other+"/propagation", "").status == 404; got != hide {
			t.Errorf("hidden %v, want %v", got, hide)
		}
		w.SetOwner(other, "user-2")
		if len(w.listed()) != 2 {
			t.Error("a key that is its own now is not listed")
		}
	}
}

func TestUpdateSwitches(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		o            xaisim.Options
		fields, mask string
	}{
		{xaisim.Options{DisableUnsupported: true}, `"disabled":true`, "disabled"},
		{xaisim.Options{ExpireTimeFixed: true}, `"expireTime":"2026-03-02T12:00:00Z"`, "expireTime"},
	} {
		w := newWorld(t, xaisim.Options{})
		id, _ := w.AddKey(team, "k", "api-key:model:*")
		if r := put(w, id, c.fields, c.mask); r.status != 200 {
			t.Errorf("%s: %d %s", c.mask, r.status, r.body)
		}
		w.Set(func(o *xaisim.Options) {
			o.DisableUnsupported, o.ExpireTimeFixed = c.o.DisableUnsupported, c.o.ExpireTimeFixed
		})
		if r := put(w, id, c.fields, c.mask); r.status != 400 || r.o["code"] != 3.0 {
			t.Errorf("%s refused: %d %s", c.mask, r.status, r.body)
		}
	}
	w := newWorld(t, xaisim.Options{NameLimit: 4})
	id, _ := w.create("rotätor")
	if k := w.Keys(team)[0]; k.Name != "rotä" {
		t.Errorf("name %q", k.Name)
	}
	if r := put(w, id, `"name":"another"`, "name"); r.str("name") != "anot" {
		t.Error(r.body)
	}
}

// What an update leaves as it is, refuses, and what lists know of it late.
func TestUpdatesThatDoNotShow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, xaisim.Options{Ignored: []string{"qps"}, Fixed: []string{"tpm"}, UpdateLag: time.Minute})
	id, _ := w.AddKey(team, "k", "api-key:model:*")
	if r := put(w, id, `"qps":3,"qpm":4`, "qps,qpm"); r.status != 200 || r.o["qps"] != nil || r.o["qpm"] != 4.0 {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := put(w, id, `"tpm":"5"`, "tpm"); r.status != 400 {
		t.Errorf("%d %s", r.status, r.body)
	}
	listed := func() any {
		return w.manage("GET", "/auth/teams/"+team+"/api-keys", "").o["apiKeys"].([]any)[0].(map[string]any)["qpm"]
	}
	if got := listed(); got != nil {
		t.Errorf("a list knows at once: %v", got)
	}
	w.Advance(time.Minute)
	if got := listed(); got != 4.0 {
		t.Errorf("a list shows %v", got)
	}
	w.Set(func(o *xaisim.Options) { o.Fixed = []string{""} })
	if r := put(w, id, `"qpm":6`, "qpm"); r.status != 400 {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := put(w, id, `"disabled":true`, "disabled"); r.status != 200 {
		t.Errorf("%d %s", r.status, r.body)
	}
}

func TestActiveOnlyLeavesOutExpiredKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t, xaisim.Options{})
	off, _ := w.AddKey(team, "disabled")
	old, _ := w.AddKey(team, "expired")
	w.DisableKey(off)
	w.SetExpires(old, w.Now())
	r := w.manage("GET", "/auth/teams/"+team+"/api-keys?activeOnly=true", "")
	if !strings.Contains(r.body, off) || strings.Contains(r.body, old) {
		t.Error(r.body)
	}
}

func TestUsageSwitches(t *testing.T) {
	t.Parallel()
	w := newWorld(t, xaisim.Options{})
	id, value := w.AddKey(team, "k", "api-key:model:*", "api-key:endpoint:*")
	idle, _ := w.AddKey(team, "idle", "api-key:model:*")
	_, second := w.AddKey(team, "k2", "api-key:model:*", "api-key:endpoint:*")
	w.chat(value)
	w.chat(second)
	ask := func(filters string) reply {
		return w.manage("POST", "/v1/billing/teams/"+team+"/usage", `{"analyticsRequest":{"timeRange":{"startTime":"2026-03-01 11:00:00","endTime":"2026-03-01 14:00:00","timezone":"Etc/GMT"},`+
			`"timeUnit":"TIME_UNIT_HOUR","values":[{"name":"usd","aggregation":"AGGREGATION_SUM"}],"groupBy":["api_key_id"],"filters":[`+filters+`]}}`)
	}
	for _, c := range []struct {
		name    string
		o       xaisim.Options
		filters string
		status  int
		series  int
		limited bool
	}{
		{"all", xaisim.Options{}, "", 200, 2, false},
		{"one", xaisim.Options{}, `"api_key_id:` + id + `"`, 200, 1, false},
		{"idle", xaisim.Options{}, `"api_key_id:` + idle + `"`, 200, 0, false},
		{"idle shown", xaisim.Options{UsageShowsIdle: true}, `"api_key_id:` + idle + `"`, 200, 1, false},
		{"other filter", xaisim.Options{}, `"model:grok"`, 400, 0, false},
		{"no filters", xaisim.Options{UsageUnfiltered: true}, `"api_key_id:` + id + `"`, 400, 0, false},
		{"ungrouped", xaisim.Options{UsageUngrouped: true}, "", 200, 1, false},
		{"limited", xaisim.Options{UsageLimit: 1}, "", 200, 1, true},
		{"unavailable", xaisim.Options{UsageUnavailable: true}, "", 403, 0, false},
	} {
		w.Set(func(o *xaisim.Options) {
			o.UsageShowsIdle, o.UsageUnfiltered, o.UsageUngrouped, o.UsageLimit, o.UsageUnavailable =
				c.o.UsageShowsIdle, c.o.UsageUnfiltered, c.o.UsageUngrouped, c.o.UsageLimit, c.o.UsageUnavailable
		})
		r := ask(c.filters)
		if series, _ := r.o["timeSeries"].([]any); r.status != c.status || len(series) != c.series || r.o["limitReached"] == true != c.limited {
			t.Errorf("%s: %d %s", c.name, r.status, r.body)
		}
		if c.name == "ungrouped" && strings.Contains(r.body, id) {
			t.Error(r.body)
		}
	}
}

// The Date header can be missing or wrong, also on a real wire, where net/http would add its own.
func TestDateSwitches(t *testing.T) {
	t.Parallel()
	w := newWorld(t, xaisim.Options{DateSkew: -time.Hour})
	server := httptest.NewServer(w.Sim)
	defer server.Close()
	get := func() string {
		r, err := http.Get(server.URL + "/v1/api-key")
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Body.Close()
		return r.Header.Get("Date")
	}
	if got := get(); got != w.Now().Add(-time.Hour).Format(http.TimeFormat) {
		t.Errorf("skewed: %s", got)
	}
	w.Set(func(o *xaisim.Options) { o.NoDate = true })
	if got := get(); got != "" {
		t.Errorf("a date: %s", got)
	}
}

func TestClientCertificatesAreRequired(t *testing.T) {
	t.Parallel()
	w := newWorld(t, xaisim.Options{})
	_, value := w.AddKey(team, "k", "api-key:model:*", "api-key:endpoint:*")
	server := httptest.NewUnstartedServer(w.Sim)
	server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	server.StartTLS()
	defer server.Close()
	for _, required := range []bool{false, true} {
		w.Set(func(o *xaisim.Options) { o.ClientCertificates = required })
		for _, proven := range []bool{false, true} {
			client := server.Client()
			rt := client.Transport.(*http.Transport).Clone()
			if proven {
				rt.TLSClientConfig.Certificates = server.TLS.Certificates
			}
			for path, bearer := range map[string]secret.Text{"/v1/api-key": value, "/auth/management-keys/validation": w.token} {
				q, err := http.NewRequestWithContext(t.Context(), "GET", server.URL+path, nil)
				if err != nil {
					t.Fatal(err)
				}
				q.Header.Set("Authorization", "Bearer "+bearer.Reveal())
				w.Advance(time.Minute)
				r, err := rt.RoundTrip(q)
				if err != nil {
					t.Fatal(err)
				}
				_ = r.Body.Close()
				if want := map[bool]int{false: 200, true: 403}[required && !proven]; r.StatusCode != want {
					t.Errorf("%s, required %v, with one %v: %d", path, required, proven, r.StatusCode)
				}
			}
			rt.CloseIdleConnections()
		}
	}
}

func TestModelsOfEveryKind(t *testing.T) {
	t.Parallel()
	w := newWorld(t, xaisim.Options{})
	r := w.manage("GET", "/auth/teams/"+team+"/models", "")
	for _, kind := range []string{"languageModels", "imageGenerationModels", "embeddingModels", "audioModels", "videoGenerationModels"} {
		first, _ := r.o["clusterConfigs"].([]any)[0].(map[string]any)
		models, _ := first[kind].([]any)
		if len(models) == 0 {
			t.Errorf("no %s", kind)
			continue
		}
		name := models[0].(map[string]any)["name"].(string)
		if a := w.manage("POST", "/auth/teams/"+team+"/api-keys", `{"name":"k","acls":["api-key:model:`+name+`"]}`); a.status != 200 {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
}
