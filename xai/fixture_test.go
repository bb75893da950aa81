package xai_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"rotator/internal/secret"
	"rotator/xai"
	"rotator/xai/xaisim"
)

const team = "team-1"

// clock is a clock that only sleeping moves.
type clock struct {
	mu    sync.Mutex
	t     time.Time
	slept []time.Duration
}

func newClock() *clock { return &clock{t: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) Sleep(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
	c.slept = append(c.slept, d)
	return ctx.Err()
}

func (c *clock) Advance(d time.Duration) { _ = c.Sleep(context.Background(), d) }

// bench is a simulator with a client of each API before it.
type bench struct {
	*clock
	sim   *xaisim.Sim
	token secret.Text
	m     *xai.Management
	i     *xai.Inference
}

func newBench(t testing.TB, o xaisim.Options) *bench {
	t.Helper()
	b := &bench{clock: newClock()}
	o.Now = b.Now
	b.sim = xaisim.New(o)
	b.token = b.sim.NewManagementKey(team)
	b.m, b.i = clients(t, b.clock, b.token, b.sim.Transport())
	return b
}

func clients(t testing.TB, c *clock, token secret.Text, rt http.RoundTripper) (*xai.Management, *xai.Inference) {
	t.Helper()
	m, err := xai.NewManagement(xai.ManagementOptions{URL: "https://management-api.x.ai", Key: fixed(token),
		HTTP: &http.Client{Transport: rt}, Now: c.Now, Sleep: c.Sleep})
	if err != nil {
		t.Fatal(err)
	}
	i, err := xai.NewInference(xai.InferenceOptions{URL: "https://api.x.ai", HTTP: &http.Client{Transport: rt}, Now: c.Now, Sleep: c.Sleep})
	if err != nil {
		t.Fatal(err)
	}
	return m, i
}

func fixed(token secret.Text) func(context.Context) (secret.Text, error) {
	return func(context.Context) (secret.Text, error) { return token, nil }
}

// tripper is a transport made of a function.
type tripper func(*http.Request) (*http.Response, error)

func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// answering gives every request the same answer.
func answering(status int, contentType, body string, headers ...string) tripper {
	return func(r *http.Request) (*http.Response, error) {
		h := http.Header{"Content-Type": {contentType}}
		for i := 0; i+1 < len(headers); i += 2 {
			h.Set(headers[i], headers[i+1])
		}
		return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	}
}

// everyCall calls each method once, with a key that the simulator knows, and returns each operation's error.
func (b *bench) everyCall(ctx context.Context, keyID string, value secret.Text) map[string]error {
	errs := map[string]error{}
	_, errs[xai.OpCreate] = b.m.CreateKey(ctx, team, request("made"))
	_, errs[xai.OpList] = b.m.ListKeys(ctx, team)
	_, errs[xai.OpUpdate] = b.m.UpdateKey(ctx, team, keyID, xai.KeyUpdate{QPM: new(200)})
	_, errs[xai.OpPropagation] = b.m.Propagation(ctx, keyID)
	_, errs[xai.OpTeamModels] = b.m.Models(ctx, team)
	_, errs[xai.OpEndpoints] = b.m.Endpoints(ctx, team)
	_, errs[xai.OpValidate] = b.m.Validate(ctx)
	_, errs[xai.OpAudit] = b.m.AuditEvents(ctx, team, xai.AuditQuery{})
	_, errs[xai.OpUsage] = b.m.Usage(ctx, team, xai.UsageQuery{From: b.Now().Add(-time.Hour), To: b.Now()})
	_, errs[xai.OpWhoAmI] = b.i.WhoAmI(ctx, value)
	_, errs[xai.OpModels] = b.i.Models(ctx, value)
	errs[xai.OpChat] = b.i.Chat(ctx, value, "grok-4")
	_, errs[xai.OpRotate] = b.m.RotateKey(ctx, keyID, xai.RotateRequest{})
	errs[xai.OpDelete] = b.m.DeleteKey(ctx, keyID)
	return errs
}

func request(name string) xai.CreateRequest {
	return xai.CreateRequest{Name: name, ACLs: []string{"api-key:model:*", "api-key:endpoint:*"}}
}
