package xai_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"rotator/internal/secret"
	"rotator/xai"
)

// seeds adds answers as they were seen, each with good and bad statuses.
func seeds(f *testing.F, bodies ...string) {
	for _, body := range bodies {
		for _, status := range []int{200, 400, 403, 404, 429, 500} {
			f.Add(status, "application/json", body)
		}
	}
	f.Add(404, "text/html", nginx404)
	f.Add(422, "text/plain", "Failed to deserialize")
}

// FuzzManagementAnswer holds every call against any answer: no panic, a class for each error, nothing of the answer in
// its text, and never a key without an id or a secret.
func FuzzManagementAnswer(f *testing.F) {
	seeds(f,
		`{"apiKeyId":"a","teamId":"t","name":"n","apiKey":"xai-secretsecretsecret","redactedApiKey":"xai-...cret","createTime":"2026-01-02T03:04:05.678901Z","qps":5,"tpm":"1000","aclStrings":["x"],"disabled":false}`,
		`{"apiKeys":[{"apiKeyId":"a","acl_strings":["x"],"disabled":"false"},{"apiKeyId":"a"}],"paginationToken":"t"}`,
		`{"icPropagation":{"c":true,"d":false}}`, `{"code":5,"message":"Cannot find API key","details":[]}`,
		`{"timeSeries":[{"group":["a"],"dataPoints":[{"timestamp":"2026-01-02T03:00:00Z","values":[1]}]}]}`,
		`{"events":[{"eventTime":"2026-01-02T03:04:05Z","eventId":"e","user":{}}],"nextPageToken":"n"}`,
		`{"clusterConfigs":[{"languageModels":[{"name":"grok-4","aliases":["x"]}]}]}`, `{"acls":[{"acl":"x"}]}`, `{}`, `null`, `"`, `{"apiKeyId":"a"`)
	f.Fuzz(func(t *testing.T, status int, kind, body string) {
		b := &bench{clock: newClock()}
		b.m, b.i = clients(t, b.clock, secret.New("xai-token-x"), anyAnswer(status, kind, body))
		for op, err := range b.everyCall(t.Context(), "a", secret.New("xai-x")) {
			checkError(t, op, body, err)
		}
		k, err := b.m.CreateKey(t.Context(), team, request("x"))
		if err == nil && (k.ID == "" || k.Secret.Empty() || strings.ContainsAny(k.Secret.Reveal(), " \r\n\x00")) {
			t.Errorf("made %+v of %q", k, body)
		}
		p, err := b.m.Propagation(t.Context(), "a")
		if err == nil && p.Complete() && !strings.Contains(body, "true") {
			t.Errorf("propagated by %q", body)
		}
	})
}

// FuzzInferenceAnswer holds that nothing but the documented refusals proves a key bad, and nothing but a completion or an
// identity proves it good.
func FuzzInferenceAnswer(f *testing.F) {
	seeds(f,
		`{"code":"invalid-argument","error":"Incorrect API key provided: xa***gA"}`, `{"code":"permission-denied","error":"The API key xai-...oYZ4 is disabled"}`,
		`{"error":{"message":"Incorrect API key provided","code":"x"}}`, `{"code":16,"error":"Your team has used all available credits"}`,
		`{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":""}}]}`, `{"data":[{"id":"grok-4"}]}`,
		`{"redacted_api_key":"xai-...oYZ4","api_key_id":"a","team_id":"t","acls":["x"],"team_blocked":false,"api_key_disabled":"true"}`, `{}`, `[]`, ``)
	f.Fuzz(func(t *testing.T, status int, kind, body string) {
		_, i := clients(t, newClock(), secret.New("xai-token-x"), anyAnswer(status, kind, body))
		value := secret.New("xai-x")
		id, err := i.WhoAmI(t.Context(), value)
		if err == nil && id.KeyID == "" {
			t.Errorf("nobody's key by %q", body)
		}
		chat := i.Chat(t.Context(), value, "grok-4")
		if chat == nil && !strings.Contains(strings.ToLower(strings.ReplaceAll(body, "_", "")), "choices") && !strings.Contains(body, `\u`) {
			t.Errorf("proved good by %q", body)
		}
		_, models := i.Models(t.Context(), value)
		for _, err := range []error{err, chat, models} {
			checkError(t, "inference", body, err)
			if xai.ProvesBad(err) && status != 400 && status != 401 && status != 403 {
				t.Errorf("proved bad by %d %q", status, body)
			}
		}
	})
}

// anyAnswer gives the answer a status that net/http could deliver.
func anyAnswer(status int, kind, body string) http.RoundTripper {
	return answering(200+((status-200)%400+400)%400, kind, body)
}

func checkError(t *testing.T, op, body string, err error) {
	t.Helper()
	if err == nil {
		return
	}
	var e *xai.Error
	if !errors.As(err, &e) || e.Class == "" || e.Op == "" || errors.Is(err, context.Canceled) {
		t.Fatalf("%s: %T %v", op, err, err)
	}
	if len(e.Code) > 48 || len(err.Error()) > 200 || strings.ContainsAny(e.Code, " \n\"{<") {
		t.Errorf("%s: %q of %q", op, err.Error(), body)
	}
}
