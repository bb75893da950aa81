package xai_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"rotator/internal/secret"
	"rotator/xai"
)

const nginx404 = "<html>\r\n<head><title>404 Not Found</title></head>\r\n<body><center>nginx</center></body></html>"

// Every row of the error tables of both APIs, in every shape that was seen.
func TestClasses(t *testing.T) {
	t.Parallel()
	const (
		management = true
		inference  = false
		js, html   = "application/json", "text/html"
		text       = "text/plain"
	)
	for _, c := range []struct {
		api    bool
		status int
		kind   string
		body   string
		want   xai.Class
		code   string
	}{
		{inference, 400, js, `{"code":"invalid-argument","error":"Incorrect API key provided: xa***gA. You can obtain one"}`, xai.ClassKeyUnknown, "invalid-argument"},
		{inference, 400, js, `{"code":"Client specified an invalid argument","error":"Incorrect API key provided: xa***gA"}`, xai.ClassKeyUnknown, ""},
		{inference, 400, js, `{"error":{"message":"Incorrect API key provided: xa***gA","code":"invalid_api_key"}}`, xai.ClassKeyUnknown, "invalid_api_key"},
		{inference, 400, js, `{"code":"invalid-argument","error":"Argument not supported"}`, xai.ClassInvalid, "invalid-argument"},
		{inference, 400, text, `Incorrect API key provided, says a proxy`, xai.ClassInvalid, ""},
		{inference, 400, html, `<html>400 Bad Request</html>`, xai.ClassUnavailable, ""},
		{inference, 401, js, `{"code":"unauthenticated:no-credentials","error":"No credentials"}`, xai.ClassUnauthenticated, "unauthenticated:no-credentials"},
		{inference, 401, html, `<html>please log in</html>`, xai.ClassUnavailable, ""},
		{inference, 403, js, `{"code":"permission-denied","error":"The API key xai-...oYZ4 is disabled and cannot be used"}`, xai.ClassKeyDisabled, "permission-denied"},
		{inference, 403, js, `{"code":"permission-denied","error":"Access to the chat endpoint is denied"}`, xai.ClassACL, "permission-denied"},
		{inference, 403, js, `{"code":"The caller does not have permission","error":"Access to the chat endpoint is denied"}`, xai.ClassACL, ""},
		{inference, 403, js, `{"code":"permission-denied","error":"nothing more"}`, xai.ClassACL, "permission-denied"},
		{inference, 403, js, `{"code":"permission-denied","error":"Your newly created team doesn't have any credits or licenses yet."}`, xai.ClassBilling, "permission-denied"},
		{inference, 403, js, `{"code":"who-knows","error":"no"}`, xai.ClassForbidden, "who-knows"},
		{inference, 403, html, `<html>blocked by your firewall: this API key is disabled</html>`, xai.ClassUnavailable, ""},
		{inference, 404, js, `{"code":"not-found","error":"The model grok-9 does not exist or your team 1 does not have access to it"}`, xai.ClassModel, "not-found"},
		{inference, 404, html, nginx404, xai.ClassRoute, "not_offered"},
		{inference, 405, js, `{"code":"x","error":"no"}`, xai.ClassRoute, "not_offered"},
		{inference, 404, js, `{"message":"no Route matched"}`, xai.ClassRoute, "not_offered"},
		{inference, 404, js, `{"code":"not-found","error":"no such thing"}`, xai.ClassRoute, "not-found"},
		{inference, 401, js, ``, xai.ClassUnavailable, ""},
		{inference, 401, text, `no`, xai.ClassUnavailable, ""},
		{inference, 401, js, `{"message":"Unauthorized"}`, xai.ClassUnavailable, ""},
		{inference, 401, js, `{"code":"unauthenticated","error":"No credentials were provided"}`, xai.ClassUnauthenticated, "unauthenticated:no-credentials"},
		{inference, 401, js, `{"code":"unauthenticated","error":"Bad credentials"}`, xai.ClassUnauthenticated, "unauthenticated"},
		{inference, 403, js, `{"code":"permission-denied","error":"A client certificate is required"}`, xai.ClassForbidden, "client_certificate"},
		{management, 400, html, `<html>400 No required SSL certificate was sent</html>`, xai.ClassForbidden, "client_certificate"},
		{inference, 422, text, `Failed to deserialize the JSON body into the target type`, xai.ClassInvalid, ""},
		{inference, 429, js, `{"code":"resource-exhausted","error":"Too many requests for team 1"}`, xai.ClassRateLimited, "resource-exhausted"},
		{inference, 429, js, `{"code":"Some resource has been exhausted","error":"Your team has used all available credits or reached its monthly spending limit."}`, xai.ClassBilling, ""},
		{inference, 429, html, `<html>slow down</html>`, xai.ClassRateLimited, ""},
		{inference, 500, js, `{"code":"internal","error":"Incorrect API key provided"}`, xai.ClassUnavailable, "internal"},
		{inference, 503, text, `upstream connect error or disconnect/reset before headers`, xai.ClassUnavailable, ""},
		{inference, 301, html, `<html>moved</html>`, xai.ClassRoute, ""},
		{management, 401, js, `{"code":16,"message":"Invalid bearer token. Make sure","details":[]}`, xai.ClassUnauthenticated, "16"},
		{management, 401, js, ``, xai.ClassUnavailable, ""},
		{management, 400, js, `{"code":3,"message":"bad field","details":[]}`, xai.ClassInvalid, "3"},
		{management, 403, js, `{"code":7,"message":"team mismatch","details":[]}`, xai.ClassForbidden, "7"},
		{management, 403, html, `<html>proxy</html>`, xai.ClassUnavailable, ""},
		{management, 404, js, `{"code":5,"message":"Cannot find API key","details":[]}`, xai.ClassNotFound, "5"},
		{management, 404, js, `{"code":5,"message":"no such thing","details":[]}`, xai.ClassNotFound, "5"},
		{management, 400, js, `{"code":"5","message":"Cannot find API key."}`, xai.ClassNotFound, "5"},
		{management, 500, js, `{"code":2,"message":"Cannot find API key"}`, xai.ClassNotFound, "2"},
		{management, 200, js, `{"code":5,"message":"Cannot find API key","details":[]}`, xai.ClassNotFound, ""},
		{management, 200, js, `{"code":13,"message":"internal","details":[]}`, xai.ClassUnreadable, "refusal"},
		{management, 200, js, `{"error":"internal"}`, xai.ClassUnreadable, "refusal"},
		{management, 200, js, `{"error":{"message":"internal"}}`, xai.ClassUnreadable, "refusal"},
		{management, 200, js, `{"message":"try later"}`, xai.ClassUnreadable, "refusal"},
		{management, 200, js, `{"success":false}`, xai.ClassUnreadable, "refusal"},
		{management, 200, js, `{"apiKeyId":"another"}`, xai.ClassUnreadable, "refusal"},
		{management, 200, js, ``, xai.ClassUnreadable, "not_json"},
		{management, 202, js, `{}`, xai.ClassUnreadable, "accepted"},
		{management, 303, html, ``, xai.ClassRoute, ""},
		{management, 407, js, ``, xai.ClassUnavailable, ""},
		{management, 409, js, `{"code":10,"message":"aborted","details":[]}`, xai.ClassUnavailable, "10"},
		{management, 499, js, `{"code":1,"message":"canceled","details":[]}`, xai.ClassUnavailable, "1"},
		{management, 422, text, `Failed to deserialize the JSON body into the target type`, xai.ClassInvalid, ""},
		{management, 404, html, nginx404, xai.ClassRoute, "not_offered"},
		{management, 404, html, `<html>Cannot find API key</html>`, xai.ClassRoute, "not_offered"},
		{management, 404, text, `Cannot find API key`, xai.ClassRoute, "not_offered"},
		{management, 404, js, `{"code":12,"message":"unimplemented"}`, xai.ClassRoute, "12"},
		{management, 405, text, `method not allowed`, xai.ClassRoute, "not_offered"},
		{management, 429, js, `{"code":8,"message":"Too many requests","details":[]}`, xai.ClassRateLimited, "8"},
		{management, 501, js, `{"code":12,"message":"unimplemented","details":[]}`, xai.ClassInvalid, "12"},
		{management, 501, html, `<html>501 Not Implemented</html>`, xai.ClassUnavailable, ""},
		{management, 502, html, `<html>502 Bad Gateway</html>`, xai.ClassUnavailable, ""},
		{management, 503, text, `no healthy upstream`, xai.ClassUnavailable, ""},
		{management, 504, js, ``, xai.ClassUnavailable, ""},
		{management, 200, js, `<html>login</html>`, xai.ClassUnreadable, "not_json"},
	} {
		name := fmt.Sprintf("management=%v/%d/%s", c.api, c.status, c.body)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, i := clients(t, newClock(), secret.New("xai-token-x"), answering(c.status, c.kind, c.body))
			err := i.Chat(t.Context(), secret.New("xai-key"), "grok-4")
			if c.api {
				err = m.DeleteKey(t.Context(), "key-1")
			}
			var e *xai.Error
			if !errors.As(err, &e) {
				t.Fatalf("got %T %v, want an *xai.Error", err, err)
			}
			if e.Class != c.want || e.Status != c.status || e.Code != c.code {
				t.Errorf("got class %s, status %d, code %q, want %s, %d, %q", e.Class, e.Status, e.Code, c.want, c.status, c.code)
			}
			bad := !c.api && (c.want == xai.ClassKeyUnknown || c.want == xai.ClassKeyDisabled ||
				c.want == xai.ClassUnauthenticated && c.code != "unauthenticated:no-credentials")
			if xai.ProvesBad(err) != bad {
				t.Errorf("ProvesBad = %v", !bad)
			}
			unknown := c.want == xai.ClassUnavailable || c.want == xai.ClassUnreadable || c.status/100 == 3
			if xai.OutcomeUnknown(err) != unknown {
				t.Errorf("OutcomeUnknown = %v", !unknown)
			}
		})
	}
}

func TestClassOfOtherErrors(t *testing.T) {
	t.Parallel()
	wrapped := fmt.Errorf("step: %w", &xai.Error{Op: xai.OpWhoAmI, Class: xai.ClassKeyUnknown, Status: 400, RetryAfter: time.Second})
	for _, c := range []struct {
		err          error
		class        xai.Class
		bad, unknown bool
		after        time.Duration
	}{
		{nil, "", false, false, 0},
		{errors.New("who knows"), xai.ClassNetwork, false, true, 0},
		{context.Canceled, xai.ClassCanceled, false, true, 0},
		{context.DeadlineExceeded, xai.ClassNetwork, false, true, 0},
		{wrapped, xai.ClassKeyUnknown, true, false, time.Second},
		{&xai.Error{Op: xai.OpList, Class: xai.ClassUnauthenticated, Status: 401}, xai.ClassUnauthenticated, false, false, 0},
		{&xai.Error{Op: xai.OpCreate, Class: xai.ClassNetwork, Unsent: true}, xai.ClassNetwork, false, false, 0},
	} {
		if xai.ClassOf(c.err) != c.class || xai.ProvesBad(c.err) != c.bad || xai.OutcomeUnknown(c.err) != c.unknown || xai.RetryAfter(c.err) != c.after {
			t.Errorf("%v: got %s, bad %v, unknown %v, after %v", c.err, xai.ClassOf(c.err), xai.ProvesBad(c.err), xai.OutcomeUnknown(c.err), xai.RetryAfter(c.err))
		}
	}
}
