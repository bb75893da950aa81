package xaisim_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"rotator/internal/secret"
	"rotator/xai/xaisim"
)

const team = "team-1"

type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// world is a simulator with a management key, spoken to in bare HTTP: the client of this project has no part in it.
type world struct {
	*xaisim.Sim
	*clock
	t     *testing.T
	token secret.Text
}

func newWorld(t *testing.T, o xaisim.Options) *world {
	c := &clock{t: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	o.Now = c.Now
	s := xaisim.New(o)
	return &world{Sim: s, clock: c, t: t, token: s.NewManagementKey(team)}
}

// reply is an answer, decoded when it is a JSON object.
type reply struct {
	status int
	header http.Header
	body   string
	o      map[string]any
}

func (r reply) str(name string) string {
	s, _ := r.o[name].(string)
	return s
}

// send sends one request; to is the handler, nil for both APIs.
func (w *world) send(to http.Handler, bearer secret.Text, method, path, body string) reply {
	w.t.Helper()
	if to == nil {
		to = w.Sim
	}
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if !bearer.Empty() {
		r.Header.Set("Authorization", "Bearer "+bearer.Reveal())
	}
	rec := httptest.NewRecorder()
	to.ServeHTTP(rec, r)
	res := rec.Result()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	a := reply{status: res.StatusCode, header: res.Header, body: string(b)}
	_ = json.Unmarshal(b, &a.o) // pages and plain text stay undecoded
	return a
}

func (w *world) manage(method, path, body string) reply {
	w.t.Helper()
	return w.send(nil, w.token, method, path, body)
}

// create makes a key that may do everything.
func (w *world) create(name string) (id string, value secret.Text) {
	w.t.Helper()
	r := w.manage("POST", "/auth/teams/"+team+"/api-keys", `{"name":"`+name+`","acls":["api-key:model:*","api-key:endpoint:*"]}`)
	if r.status != 200 || !strings.HasPrefix(r.str("apiKey"), "xai-") || len(r.str("apiKey")) != 84 {
		w.t.Fatalf("create: %d %s", r.status, r.body)
	}
	return r.str("apiKeyId"), secret.New(r.str("apiKey"))
}

func (w *world) whoami(value secret.Text) reply {
	w.t.Helper()
	return w.send(nil, value, "GET", "/v1/api-key", "")
}

const hello = `{"model":"grok-4","messages":[{"role":"user","content":"hi"}],"max_tokens":1}`

func (w *world) chat(value secret.Text) reply {
	w.t.Helper()
	return w.send(nil, value, "POST", "/v1/chat/completions", hello)
}

// listed returns the ids in a list.
func (w *world) listed() map[string]bool {
	w.t.Helper()
	r := w.manage("GET", "/auth/teams/"+team+"/api-keys", "")
	ids := map[string]bool{}
	for _, k := range r.o["apiKeys"].([]any) {
		ids[k.(map[string]any)["apiKeyId"].(string)] = true
	}
	return ids
}
