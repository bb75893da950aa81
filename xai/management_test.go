package xai_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rotator/internal/secret"
	"rotator/xai"
	"rotator/xai/xaisim"
)

func TestEveryCall(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{})
	id, value := b.sim.AddKey(team, "old", "api-key:model:*", "api-key:endpoint:*")
	for op, err := range b.everyCall(t.Context(), id, value) {
		if err != nil {
			t.Errorf("%s: %v", op, err)
		}
	}
	if len(b.slept) != 0 {
		t.Errorf("slept %v without a reason", b.slept)
	}
}

func TestLifeOfAKey(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{})
	ctx := t.Context()
	made, err := b.m.CreateKey(ctx, team, xai.CreateRequest{Name: "chat-prod", ACLs: []string{"api-key:model:grok-4", "api-key:endpoint:chat"},
		QPS: new(5), QPM: new(100), TPM: new("200000"), Expires: b.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	truth := b.sim.Live(team)[0]
	if made.ID != truth.ID || !made.Secret.Equal(truth.Secret) || made.TeamID != team || made.Name != "chat-prod" ||
		*made.QPS != 5 || *made.QPM != 100 || *made.TPM != "200000" || !made.Expires.Equal(truth.Expires) || !made.Created.Equal(truth.Created) ||
		made.Disabled || len(made.ACLs) != 2 || !strings.HasSuffix(made.Secret.Reveal(), made.Redacted[len(made.Redacted)-4:]) {
		t.Errorf("made %+v, the truth is %+v", made, truth)
	}

	if p, err := b.m.Propagation(ctx, made.ID); err != nil || p.Complete() || len(p) != 3 {
		t.Errorf("propagation at once: %v, %v", p, err)
	}
	if err := b.i.Chat(ctx, made.Secret, "grok-4"); xai.ClassOf(err) != xai.ClassKeyUnknown {
		t.Errorf("chat at once: %v", err)
	}
	b.Advance(2 * time.Second)
	if p, err := b.m.Propagation(ctx, made.ID); err != nil || !p.Complete() {
		t.Errorf("propagation: %v, %v", p, err)
	}
	who, err := b.i.WhoAmI(ctx, made.Secret)
	if err != nil || who.KeyID != made.ID || who.TeamID != team || who.Name != "chat-prod" || len(who.ACLs) != 2 || who.KeyDisabled {
		t.Errorf("whoami: %+v, %v", who, err)
	}
	if err := b.i.Chat(ctx, made.Secret, "grok-4"); err != nil {
		t.Error(err)
	}
	if err := b.i.Chat(ctx, made.Secret, "grok-3-mini"); xai.ClassOf(err) != xai.ClassModel {
		t.Errorf("another model: %v", err)
	}
	if _, err := b.i.Models(ctx, made.Secret); xai.ClassOf(err) != xai.ClassACL {
		t.Errorf("another endpoint: %v", err)
	}

	k, err := b.m.UpdateKey(ctx, team, made.ID, xai.KeyUpdate{Disabled: new(true), Name: new("retired"), ACLs: []string{"api-key:model:*"}, QPS: new(1),
		TPM: new("7"), Expires: new(time.Time)})
	if err != nil || !k.Disabled || k.Name != "retired" || *k.QPS != 1 || *k.QPM != 100 || *k.TPM != "7" || !k.Expires.IsZero() || len(k.ACLs) != 1 {
		t.Errorf("update: %+v, %v", k, err)
	}
	if _, err := b.i.WhoAmI(ctx, made.Secret); xai.ClassOf(err) != xai.ClassKeyDisabled {
		t.Errorf("disabled: %v", err)
	}
	again, err := b.m.RotateKey(ctx, made.ID, xai.RotateRequest{OldSecretExpires: b.Now().Add(time.Hour)})
	if err != nil || again.ID != made.ID || again.Secret.Equal(made.Secret) {
		t.Errorf("rotate: %+v, %v", again, err)
	}
	if err := b.m.DeleteKey(ctx, made.ID); err != nil {
		t.Error(err)
	}
	if err := b.m.DeleteKey(ctx, made.ID); xai.ClassOf(err) != xai.ClassNotFound || xai.OutcomeUnknown(err) {
		t.Errorf("deleted twice: %v", err)
	}
	if _, err := b.i.WhoAmI(ctx, again.Secret); xai.ClassOf(err) != xai.ClassKeyUnknown {
		t.Errorf("deleted: %v", err)
	}
}

func TestListKeys(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{})
	var want []string
	for i := range 250 {
		id, _ := b.sim.AddKey(team, fmt.Sprint("key-", i), "api-key:model:*")
		want = append(want, id)
	}
	b.sim.DisableKey(want[7])
	list, err := b.m.ListKeys(t.Context(), team)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, k := range list.Keys {
		got = append(got, k.ID)
		if k.Disabled != (k.ID == want[7]) || len(k.ACLs) != 1 || k.TeamID != team || k.Created.IsZero() {
			t.Fatalf("misread %+v", k)
		}
	}
	if slices.Equal(got, want) {
		t.Error("the simulator lists in the order of creation")
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if !list.Date.Equal(b.Now()) || b.sim.Calls()["list"] != 3 {
		t.Errorf("date %v, calls %v", list.Date, b.sim.Calls())
	}

	b.sim.Inject(xaisim.Fault{Call: "list", Skip: 1, Count: -1, Kind: xaisim.Status, Status: 502})
	if list, err := b.m.ListKeys(t.Context(), team); xai.ClassOf(err) != xai.ClassUnavailable || len(list.Keys) != 0 {
		t.Errorf("a page failed: %d keys, %v", len(list.Keys), err)
	}
	b.sim.ClearFaults()
	b.sim.Inject(xaisim.LieSameCursor(-1))
	if _, err := b.m.ListKeys(t.Context(), team); xai.ClassOf(err) != xai.ClassUnreadable {
		t.Errorf("a cursor that repeats: %v", err)
	}
}

// A cursor that repeats must end the listing even when the server plays along forever.
func TestListKeysEndless(t *testing.T) {
	t.Parallel()
	calls := 0
	rt := tripper(func(r *http.Request) (*http.Response, error) {
		if calls++; calls > 20 {
			t.Fatal("endless")
		}
		return answering(200, "application/json", `{"apiKeys":[{"apiKeyId":"a"}],"paginationToken":"t`+fmt.Sprint(calls%3)+`"}`)(r)
	})
	m, _ := clients(t, newClock(), secret.New("xai-token-x"), rt)
	_, err := m.ListKeys(t.Context(), team)
	if xai.ClassOf(err) != xai.ClassUnreadable {
		t.Errorf("got %v", err)
	}
}

func TestListSpellings(t *testing.T) {
	t.Parallel()
	five, tpm := 5, "1000"
	at := time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC)
	whole := xai.Key{ID: "a", TeamID: "t", Name: "n", Created: at, QPS: &five, TPM: &tpm, ACLs: []string{"x"}, Disabled: true}
	for _, c := range []struct {
		body string
		want []xai.Key // nil: unreadable
	}{
		{`{"apiKeys":[{"apiKeyId":"a","teamId":"t","name":"n","createTime":"2026-01-02T03:04:05.678901Z","qps":5,"tpm":"1000","aclStrings":["x"],"disabled":true,"new":{}}]}`, []xai.Key{whole}},
		{`{"api_keys":[{"api_key_id":"a","team_id":"t","name":"n","create_time":"2026-01-02T03:04:05.678901Z","qps":"5","tpm":1000,"acl_strings":["x"],"disabled":"true"}],"pagination_token":null}`, []xai.Key{whole}},
		{`{"apiKeys":[{"apiKeyId":"a","disabled":"false","qps":null,"tpm":null,"expireTime":null,"acl_strings":null}],"paginationToken":""}`, []xai.Key{{ID: "a"}}},
		{`{"apiKeys":[]}`, []xai.Key{}},
		{`{"apiKeys":null}`, []xai.Key{}},
		{`{}`, nil},
		{`{"apiKeys":[{"name":"no id"}]}`, nil},
		{`{"apiKeys":[{"apiKeyId":"a","disabled":"perhaps"}]}`, nil},
		{`{"apiKeys":[{"apiKeyId":"a","expireTime":"tomorrow"}]}`, nil},
		{`{"apiKeys":[{"apiKeyId":"a","tpm":"many"}]}`, nil},
		{`{"apiKeys":[{"apiKeyId":"a","qps":"few"}]}`, nil},
		{`{"apiKeys":[{"apiKeyId":"a","acl_strings":"x"}]}`, nil},
		{`{"apiKeys":[{"apiKeyId":7}]}`, nil},
		{`{"apiKeys":["a"]}`, nil},
		{`{"apiKeys":{"apiKeyId":"a"}}`, nil},
		{`{"apiKeys":[{"apiKeyId":"a"}`, nil},
		{`[]`, nil},
		{`null`, nil},
		{``, nil},
	} {
		m, _ := clients(t, newClock(), secret.New("xai-token-x"), answering(200, "application/json", c.body))
		list, err := m.ListKeys(t.Context(), "t")
		if c.want == nil {
			if xai.ClassOf(err) != xai.ClassUnreadable || len(list.Keys) != 0 {
				t.Errorf("%s: got %v, %v", c.body, list.Keys, err)
			}
			continue
		}
		if diff := cmp.Diff(c.want, append([]xai.Key{}, list.Keys...)); diff != "" || err != nil {
			t.Errorf("%s: %v %s", c.body, err, diff)
		}
	}
}

func TestTeam(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{})
	ctx := t.Context()
	want := []xai.Model{{Name: "grok-4", Kind: "language"}, {Name: "grok-3-mini", Kind: "language"}, {Name: "v1", Kind: "embedding"},
		{Name: "grok-2-image", Kind: "image"}, {Name: "grok-voice", Kind: "audio"}, {Name: "grok-imagine-video", Kind: "video"}}
	for i, m := range want {
		want[i].Aliases = []string{m.Name + "-latest"}
	}
	models, err := b.m.Models(ctx, team)
	if diff := cmp.Diff(want, models); diff != "" || err != nil {
		t.Errorf("models: %v %s", err, diff)
	}
	if acls, err := b.m.Endpoints(ctx, team); err != nil || !slices.Contains(acls, "api-key:endpoint:chat") {
		t.Errorf("endpoints: %v, %v", acls, err)
	}
	k, err := b.m.Validate(ctx)
	if err != nil || k.Scope != "SCOPE_TEAM" || k.TeamID != team || k.ID == "" || !k.Date.Equal(b.Now()) || len(k.ACLs) == 0 {
		t.Errorf("validate: %+v, %v", k, err)
	}
	for i := range 5 {
		b.Advance(time.Second)
		if _, err := b.m.CreateKey(ctx, team, request(fmt.Sprint("k", i))); err != nil {
			t.Fatal(err)
		}
	}
	var seen []string
	for q := (xai.AuditQuery{PageSize: 2, From: b.Now().Add(-3 * time.Second), To: b.Now()}); ; {
		page, err := b.m.AuditEvents(ctx, team, q)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Events {
			if e.User != "user-1" {
				t.Errorf("user %q", e.User)
			}
			seen = append(seen, e.Description)
		}
		if q.Token = page.Next; q.Token == "" {
			break
		}
	}
	if want := []string{"API key created: k4", "API key created: k3", "API key created: k2", "API key created: k1"}; !slices.Equal(seen, want) {
		t.Errorf("events %v", seen)
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{})
	ctx, begun := t.Context(), b.Now()
	busy, value := b.sim.AddKey(team, "busy", "api-key:model:*", "api-key:endpoint:*")
	idle, _ := b.sim.AddKey(team, "idle", "api-key:model:*", "api-key:endpoint:*")
	b.Advance(90 * time.Minute)
	if err := b.i.Chat(ctx, value, "grok-4"); err != nil {
		t.Fatal(err)
	}
	b.Advance(5 * time.Hour)
	u, err := b.m.Usage(ctx, team, xai.UsageQuery{From: begun, To: b.Now()})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name        string
		key         string
		since       time.Time
		used, known bool
	}{
		{"in its hour", busy, begun.Add(time.Hour), true, true},
		{"later in its hour", busy, begun.Add(119 * time.Minute), true, true},
		{"after its hour", busy, begun.Add(2 * time.Hour), false, true},
		{"before the query", busy, begun.Add(-time.Second), false, false},
		{"never named", idle, begun, false, false},
	} {
		if used, known := u.UsedSince(c.key, c.since); used != c.used || known != c.known {
			t.Errorf("%s: used %v, known %v", c.name, used, known)
		}
	}
	// What cannot be read is use, not idleness.
	for _, point := range []string{`{"timestamp":"noon","values":[0]}`, `{"timestamp":"2026-03-01T12:00:00Z","values":["0"]}`, `{"timestamp":"2026-03-01T12:00:00Z"}`} {
		m, _ := clients(t, b.clock, b.token, answering(200, "application/json", `{"timeSeries":[{"group":["k"],"dataPoints":[`+point+`]}]}`))
		u, err := m.Usage(ctx, team, xai.UsageQuery{From: begun, To: b.Now()})
		if used, known := u.UsedSince("k", b.Now()); err != nil || !used || !known {
			t.Errorf("%s: used %v, known %v, %v", point, used, known, err)
		}
	}
	b.sim.Inject(xaisim.Fault{Call: "usage", Kind: xaisim.Status, Status: 400, Body: `{"code":3,"message":"no","details":[]}`})
	u, err = b.m.Usage(ctx, team, xai.UsageQuery{From: begun, To: b.Now()})
	if _, known := u.UsedSince(busy, begun); err == nil || known {
		t.Errorf("a refusal counts as knowledge: %v", err)
	}
}

func TestArguments(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{})
	ctx := t.Context()
	for name, call := range map[string]func() error{
		"empty id":   func() error { return b.m.DeleteKey(ctx, "") },
		"slash":      func() error { return b.m.DeleteKey(ctx, "a/b") },
		"dots":       func() error { return b.m.DeleteKey(ctx, "..") },
		"no name":    func() error { _, err := b.m.CreateKey(ctx, team, xai.CreateRequest{ACLs: []string{"x"}}); return err },
		"no acls":    func() error { _, err := b.m.CreateKey(ctx, team, xai.CreateRequest{Name: "x"}); return err },
		"no change":  func() error { _, err := b.m.UpdateKey(ctx, team, "k", xai.KeyUpdate{}); return err },
		"empty acls": func() error { _, err := b.m.UpdateKey(ctx, team, "k", xai.KeyUpdate{ACLs: []string{}}); return err },
		"tpm":        func() error { _, err := b.m.UpdateKey(ctx, team, "k", xai.KeyUpdate{TPM: new("many")}); return err },
		"no model":   func() error { return b.i.Chat(ctx, secret.New("xai-x"), "") },
		"no key":     func() error { return b.i.Chat(ctx, secret.Text{}, "grok-4") },
		"newline":    func() error { return b.i.Chat(ctx, secret.New("xai-\nx"), "grok-4") },
		"management": func() error { return b.i.Chat(ctx, b.token, "grok-4") },
		"usage":      func() error { _, err := b.m.Usage(ctx, team, xai.UsageQuery{}); return err },
	} {
		err := call()
		if xai.ClassOf(err) != xai.ClassInvalid || xai.OutcomeUnknown(err) || xai.ProvesBad(err) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if calls := b.sim.Calls(); len(calls) != 0 {
		t.Errorf("sent anyway: %v", calls)
	}
	// An id that only looks like a path or a query stays one segment.
	if err := b.m.DeleteKey(ctx, "a?b#c%2fd"); xai.ClassOf(err) == xai.ClassInvalid {
		t.Error(err)
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	for address, fine := range map[string]bool{
		"https://management-api.x.ai": true, "https://h/prefix/": true, "http://127.0.0.1:80": true, "http://[::1]:1": true, "http://localhost:1": true,
		"http://management-api.x.ai": false, "http://10.0.0.1": false, "http://localhost.evil.example": false, "http://127.0.0.1.evil.example": false,
		"https://user:hunter2@h": false, "https://h?key=hunter2": false, "https://h#hunter2": false, "ftp://h": false, "h": false, "": false,
		"https://": false, "https://user:hunter2 @h": false,
	} {
		_, err := xai.NewManagement(xai.ManagementOptions{URL: address, Key: fixed(secret.New("x"))})
		_, err2 := xai.NewInference(xai.InferenceOptions{URL: address})
		if (err == nil) != fine || (err2 == nil) != fine {
			t.Errorf("%q: %v, %v", address, err, err2)
		}
		if err != nil && strings.Contains(err.Error()+err2.Error(), "hunter2") {
			t.Errorf("%q leaks: %v", address, err)
		}
	}
	if _, err := xai.NewManagement(xai.ManagementOptions{URL: "https://h"}); err == nil {
		t.Error("no key, no error")
	}
}

func TestManagementKeyIsAskedAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{})
	current := secret.New("xai-token-revoked")
	var fail error
	m, err := xai.NewManagement(xai.ManagementOptions{URL: "https://management-api.x.ai", HTTP: &http.Client{Transport: b.sim.Transport()},
		Key: func(context.Context) (secret.Text, error) { return current, fail }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Validate(t.Context()); xai.ClassOf(err) != xai.ClassUnauthenticated || xai.ProvesBad(err) {
		t.Errorf("revoked: %v", err)
	}
	current = b.token
	if _, err := m.Validate(t.Context()); err != nil {
		t.Error(err)
	}
	fail = fmt.Errorf("open key file: permission denied")
	_, err = m.CreateKey(t.Context(), team, request("x"))
	if xai.ClassOf(err) != xai.ClassUnauthenticated || xai.OutcomeUnknown(err) || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("unreadable reference: %v", err)
	}
}
