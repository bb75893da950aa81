package api_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"rotator/internal/api"
	"rotator/rotation/journal"
)

var publicPaths = []string{"/", "/api/v1/status", "/api/v1/history", "/metrics", "/healthz", "/readyz"}

func TestPublicChangesNothing(t *testing.T) {
	t.Parallel()
	d := newDesk(t, func(o *api.Options) { o.Actions = &actions{} })
	d.office()
	before, err := d.journal.Events(t.Context(), 0, 0)
	d.ok(err)
	control := []string{"/v1/orders", "/v1/holds", "/v1/holds/embed?by=eve", "/v1/forget", "/v1/reload", "/v1/status", "/v1/events"}
	for _, path := range append(control, publicPaths...) {
		for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"} {
			if w := d.ask(method, "localhost", path); w.Code != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: status %d, want 405", method, path, w.Code)
			}
		}
	}
	for _, path := range control {
		if w := d.get(path); w.Code != http.StatusNotFound {
			t.Errorf("GET %s: status %d, want 404", path, w.Code)
		}
	}
	after, err := d.journal.Events(t.Context(), 0, 0)
	d.ok(err)
	if len(after) != len(before) || d.engine.wakes.Load() != 0 {
		t.Errorf("%d events, %d before; %d wakes", len(after), len(before), d.engine.wakes.Load())
	}
}

func TestPublicAnswersToItsOwnNamesOnly(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for host, status := range map[string]int{
		"127.0.0.1:8420": 200, "127.0.0.1": 200, "[::1]:8420": 200, "[::1]": 200, "10.0.0.7:8420": 200, "localhost": 200,
		"LocalHost:8420": 200, "localhost.:8420": 200, "rotator.example:443": 200,
		"": 421, "evil.example": 421, "evil.example:8420": 421, "localhost.evil.example": 421, "127.0.0.1.evil.example:8420": 421,
		"notlocalhost": 421, "127.0.0.1@evil.example": 421, "[": 421, ":8420": 421,
	} {
		for _, path := range publicPaths[:4] {
			if w := d.ask(http.MethodGet, host, path); w.Code != status {
				t.Errorf("%s of host %q: status %d, want %d", path, host, w.Code, status)
			}
		}
	}
}

// TestPublicOverTLS: over TLS any name is answered to. A page that bound a name of its own to this address has no certificate for it,
// and Prometheus must ask by the name that the certificate has.
func TestPublicOverTLS(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://rotator-1.example:8420/metrics", http.NoBody)
	w := httptest.NewRecorder()
	d.server.Public(nil).ServeHTTP(w, r)
	if r.TLS == nil || w.Code != http.StatusOK {
		t.Errorf("status %d", w.Code)
	}
}

func TestBrowsersAreToldToTrustNothing(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for _, path := range publicPaths {
		h := d.get(path).Header()
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
			"Cross-Origin-Resource-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin",
		} {
			if got := h.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
		if csp := h.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'; ") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q", path, csp)
		}
	}
}

func TestPage(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.office()
	w := d.get("/")
	body := w.Body.String()
	for _, want := range []string{
		"<b>chat-prod</b>", "key-2", ">30d<", ">of 45d<", "(in 23h)", "in 30d 15h", "The successor is live.", "2026-04-01 03:00:00",
		"Held by ann", "audit", "rotator release embed", "&lt;script&gt;", "blocked", `<span class="soft">planned</span>`,
		"rotator resolve stuck", "removed", "ml@example.com", "<b>research</b>", "v1.2.3",
		"Wanted by bob: rotate: audit of &lt;b&gt;keys&lt;/b&gt;",
		"The key expires at", "2026-03-22 08:00:00", `Key <code>key-9</code>, drift: name: &#34;&lt;mine&gt;&#34; instead of`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Index(body, "<b>stuck</b>") > strings.Index(body, "<b>chat-prod</b>") {
		t.Error("what needs attention is not on top")
	}
	if m := regexp.MustCompile(`(?i)<script|javascript:|<(img|link|iframe|form|input|button)|https?://|\son\w+=|style=`).FindString(body); m != "" {
		t.Errorf("the page holds %q", m)
	}
	// The one style is the one that the browser is told to apply.
	style := regexp.MustCompile(`(?s)<style>(.*?)</style>`).FindStringSubmatch(body)
	sum := sha256.Sum256([]byte(style[1]))
	if hash := base64.StdEncoding.EncodeToString(sum[:]); !strings.Contains(w.Header().Get("Content-Security-Policy"), "'sha256-"+hash+"'") {
		t.Errorf("the style's hash %s is not in the policy", hash)
	}
	if head := d.ask(http.MethodHead, "localhost", "/"); head.Code != http.StatusOK {
		t.Errorf("HEAD: status %d", head.Code)
	}
}

func TestPageOfNothing(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	if body := d.get("/").Body.String(); !strings.Contains(body, "There are no policies yet.") || !strings.Contains(body, "None yet.") {
		t.Error("the page of an empty journal says nothing")
	}
	d.journal.down.Store(true)
	d.at(noon.Add(time.Minute))
	if w := d.get("/"); w.Code != http.StatusServiceUnavailable {
		t.Errorf("status %d without a journal, want 503", w.Code)
	}
}

func TestPublicStatusIsTheSameStatus(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.office()
	var rows []api.StatusRow
	d.ok(json.Unmarshal(d.get("/api/v1/status").Body.Bytes(), &rows))
	golden(t, "status.json", rows)
	var history []api.HistoryRow
	d.ok(json.Unmarshal(d.get("/api/v1/history?policy=stuck&limit=5").Body.Bytes(), &history))
	if len(history) != 1 || history[0].Rotation != "rot-3" {
		t.Errorf("history %+v", history)
	}
	if w := d.get("/api/v1/status?policy=nobody"); w.Code != http.StatusNotFound {
		t.Errorf("status %d of an unknown policy, want 404", w.Code)
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for _, step := range []struct {
		look, now time.Duration // after noon; the first look is at a second
		want      string
	}{
		{0, 0, "ok\n"},
		{0, 30 * time.Second, "ok\n"}, // it has just begun
		{0, 31 * time.Second, "the scheduler last looked for work 31s ago\n"},
		{40 * time.Second, 70 * time.Second, "ok\n"},
		{40 * time.Second, 71 * time.Second, "the scheduler last looked for work 31s ago\n"},
	} {
		if step.look > 0 {
			look := noon.Add(step.look)
			d.engine.look.Store(&look)
		}
		d.at(noon.Add(step.now))
		w := d.get("/healthz")
		if status := map[bool]int{true: 200, false: 503}[step.want == "ok\n"]; w.Body.String() != step.want || w.Code != status {
			t.Errorf("at %s: %d %q, want %d %q", step.now, w.Code, w.Body, status, step.want)
		}
	}
	d = newDesk(t, func(o *api.Options) { o.Scheduler = nil })
	if w := d.get("/healthz"); w.Code != http.StatusServiceUnavailable {
		t.Errorf("status %d without a scheduler, want 503", w.Code)
	}
}

func TestReady(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	ready := func(want string) {
		t.Helper()
		w := d.get("/readyz")
		if status := map[bool]int{true: 200, false: 503}[strings.HasPrefix(want, "ok\n")]; w.Body.String() != want || w.Code != status {
			t.Errorf("%d %q, want %d %q", w.Code, w.Body, status, want)
		}
	}
	ready("team research: its management key was not validated yet\n")
	d.ok(d.journal.SaveTeam(t.Context(), journal.Team{Name: "research", Error: "xAI does not answer"}))
	ready("team research: xAI does not answer\n")
	d.ok(d.journal.SaveTeam(t.Context(), journal.Team{Name: "research", ValidatedAt: noon, Error: "rate limited"}))
	ready("ok\nteam research: rate limited\n") // once is enough
	d.ok(d.journal.SaveTeam(t.Context(), journal.Team{Name: "research", ValidatedAt: noon}))
	refused := errors.New("cannot execute UPDATE in a read-only transaction")
	d.engine.refused.Store(&refused)
	ready("the journal hands out no work; see the log\n")
	if w := d.get("/healthz"); w.Code != http.StatusOK {
		t.Errorf("a journal that only reads makes the process unhealthy: %d %q", w.Code, w.Body)
	}
	d.tells(`rotator_journal_up 0`)
	d.engine.refused.Store(nil)
	ready("ok\n")
	d.tells(`rotator_journal_up 1`)
	d.journal.down.Store(true)
	d.at(noon.Add(time.Minute))
	ready("the scheduler last looked for work 1m0s ago\nthe journal does not answer; see the log\n")
}

// TestReadyTellsOfStores: a store in trouble is reported; only when all of them are gone can nothing be done.
func TestReadyTellsOfStores(t *testing.T) {
	t.Parallel()
	d := newDesk(t, func(o *api.Options) { o.Stores = func() []string { return []string{"aws", "vault"} } })
	d.office()
	d.get("/metrics") // reads the journal, so that readiness knows what it says of policies
	const besides = "configuration: 1 policy is in no file any more\n"
	look := func(after time.Duration) {
		now := noon.Add(after)
		d.at(now)
		d.engine.look.Store(&now)
	}
	for _, step := range []struct {
		at             time.Duration
		store, outcome string
		want           string
		status         int
	}{
		{0, "aws", "not_found", "ok\n", 200},
		{0, "old", "timeout", "ok\n", 200}, // no longer in the configuration
		{10 * time.Second, "vault", "timeout", "ok\nstore vault: timeout for 0s\n", 200},
		{20 * time.Minute, "vault", "denied", "ok\nstore vault: denied for 19m50s\n", 200},
		{20 * time.Minute, "vault", "canceled", "ok\nstore vault: denied for 19m50s\n", 200},
		{21 * time.Minute, "aws", "unknown", "ok\nstore aws: unknown for 0s\nstore vault: denied for 20m50s\n", 200},
		{22 * time.Minute, "aws", "unknown", "store aws: unknown for 1m0s\nstore vault: denied for 21m50s\n", 503},
		{23 * time.Minute, "aws", "conflict", "ok\nstore vault: denied for 22m50s\n", 200},
		{24 * time.Minute, "vault", "ok", "ok\n", 200},
	} {
		look(step.at)
		d.server.ObserveStore(step.store, "current", step.outcome, time.Second)
		if w := d.get("/readyz"); w.Body.String() != step.want+besides || w.Code != step.status {
			t.Errorf("at %s after %s of %s: %d %q, want %d %q", step.at, step.outcome, step.store, w.Code, w.Body, step.status, step.want)
		}
	}
	d.journal.down.Store(true)
	d.server.ObserveStore("vault", "current", "timeout", time.Second)
	if w := d.get("/readyz"); w.Code != 503 || !strings.HasSuffix(w.Body.String(), "see the log\nstore vault: timeout for 0s\n"+besides) {
		t.Errorf("without a journal: %d %q", w.Code, w.Body)
	}
}
