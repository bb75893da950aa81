package api_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// FuzzRequest sends whatever it likes to the socket: every answer is one of those that are documented, in JSON, quotes
// nothing that looks like a key, and what is refused changes nothing.
func FuzzRequest(f *testing.F) {
	for _, s := range [][3]string{
		{"POST", "/v1/orders", `{"policy":"a","kind":"rotate","by":"ann"}`},
		{"POST", "/v1/orders", `{"policy":"a","kind":"resolve","target":{"store":"s","path":"p"},"decision":"overwrite","by":"ann"}`},
		{"POST", "/v1/orders", `{"policy":"a","kind":"rotate","why":"xai-pasted","by":"ann"}`},
		{"POST", "/v1/holds", `{"policy":"a","reason":"audit","by":"ann","until":"2026-12-01T00:00:00Z"}`},
		{"DELETE", "/v1/holds/a?by=ann", ``},
		{"POST", "/v1/forget", `{"policy":"a","by":"ann"}`},
		{"GET", "/v1/status?policy=a", ``},
		{"GET", "/v1/history?limit=-1", ``},
		{"GET", "/v1/events?after=99999999999999999999", ``},
		{"GET", "/v1/orders/x", ``},
		{"PUT", "/v1/../v1//status", `[`},
		{"POST", "/v1/orders", strings.Repeat("[", 10_000)},
		{"POST", "/v1/orders", "\x00\xff{"},
	} {
		f.Add(s[0], s[1], s[2])
	}
	f.Fuzz(func(t *testing.T, method, path, body string) {
		d := newDesk(t)
		d.policies("a")
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, method, "http://socket/", strings.NewReader(body))
		if err != nil || !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "/v1/events") {
			return // no request at all, or one that waits for news
		}
		if u, err := r.URL.Parse(path); err == nil {
			r.URL = u
		}
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		start := time.Now()
		d.server.Control().ServeHTTP(w, r)
		if w.Code >= 500 && w.Code != http.StatusNotImplemented {
			t.Errorf("%s %q: status %d", method, path, w.Code)
		}
		if b := w.Body.Bytes(); len(b) > 0 && w.Code < 300 && !json.Valid(b) {
			t.Errorf("%s %q: an answer that is no JSON", method, path)
		}
		if w.Code >= 400 && strings.Contains(w.Body.String(), "xai-pasted") {
			t.Error("a refusal quotes what looks like a key")
		}
		if time.Since(start) > 5*time.Minute {
			t.Errorf("%s %q takes forever", method, path)
		}
	})
}
