package xai_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"rotator/internal/secret"
	"rotator/xai"
	"rotator/xai/xaisim"
)

func allFaults() map[string]xaisim.Fault {
	return map[string]xaisim.Fault{
		"reset":   {Kind: xaisim.Reset},
		"timeout": {Kind: xaisim.Timeout},
		"503":     {Kind: xaisim.Status, Status: 503, Body: "upstream connect error"},
		"502":     {Kind: xaisim.Status, Status: 502, Body: "<html>502 Bad Gateway</html>"},
		"half":    {Kind: xaisim.HalfBody},
		"garbage": {Kind: xaisim.Garbage},
		"huge":    {Kind: xaisim.HugeBody},
		"empty":   {Kind: xaisim.EmptyObject},
	}
}

// A change whose answer is lost in any way is sent once, and its outcome is known to be unknown.
func TestChangesAreSentOnce(t *testing.T) {
	t.Parallel()
	for name, f := range allFaults() {
		for when, keys := range map[xaisim.When]int{xaisim.Before: 0, xaisim.After: 1, xaisim.Late: 1} {
			t.Run(fmt.Sprintf("%s/%d", name, when), func(t *testing.T) {
				t.Parallel()
				b, f := newBench(t, xaisim.Options{}), f
				f.Call, f.When, f.Delay, f.Count = "create", when, time.Minute, -1
				b.sim.Inject(f)
				_, err := b.m.CreateKey(t.Context(), team, request("made"))
				if !xai.OutcomeUnknown(err) {
					t.Errorf("outcome of %v counts as known", err)
				}
				if n := len(b.sim.Live(team)); when == xaisim.Late && n != 0 {
					t.Errorf("%d keys before the delay", n)
				}
				b.Advance(time.Hour)
				if n := len(b.sim.Live(team)); n != keys || b.sim.Calls()["create"] != 1 {
					t.Errorf("%d keys, want %d; calls %v", n, keys, b.sim.Calls())
				}

				id, _ := b.sim.AddKey(team, "old", "api-key:model:*")
				f.Call = "rotate"
				b.sim.Inject(f)
				_, err = b.m.RotateKey(t.Context(), id, xai.RotateRequest{})
				if !xai.OutcomeUnknown(err) || b.sim.Calls()["rotate"] != 1 {
					t.Errorf("rotate: %v, calls %v", err, b.sim.Calls())
				}
				f.Call = "update"
				b.sim.Inject(f)
				_, err = b.m.UpdateKey(t.Context(), team, id, xai.KeyUpdate{Disabled: new(true)})
				if !xai.OutcomeUnknown(err) || b.sim.Calls()["update"] != 1 {
					t.Errorf("update: %v, calls %v", err, b.sim.Calls())
				}
				f.Call = "delete"
				b.sim.Inject(f)
				if err = b.m.DeleteKey(t.Context(), id); name == "empty" && err == nil {
					return // {} is a good answer there
				}
				if !xai.OutcomeUnknown(err) || b.sim.Calls()["delete"] != 1 {
					t.Errorf("delete: %v, calls %v", err, b.sim.Calls())
				}
			})
		}
	}
}

// A create that was refused, or answered with half a key, is not repeated either.
func TestCreateEnds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault   xaisim.Fault
		class   xai.Class
		unknown bool
		id      bool
	}{
		"limited":     {xaisim.Fault{Kind: xaisim.Status, Status: 429, Body: `{"code":8,"message":"slow"}`}, xai.ClassRateLimited, false, false},
		"refused":     {xaisim.Fault{Kind: xaisim.Status, Status: 400, Body: `{"code":3,"message":"no"}`}, xai.ClassInvalid, false, false},
		"no id":       {xaisim.LieWithout("create", 1, "apiKeyId"), xai.ClassUnreadable, true, false},
		"no secret":   {xaisim.LieWithout("create", 1, "apiKey"), xai.ClassUnreadable, true, true},
		"odd secret":  {xaisim.Lie("create", 1, func(o map[string]any) { o["apiKey"] = "xai-\nx" }), xai.ClassUnreadable, true, true},
		"secret list": {xaisim.Lie("create", 1, func(o map[string]any) { o["apiKey"] = []string{"x"} }), xai.ClassUnreadable, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, xaisim.Options{})
			c.fault.Call = "create"
			b.sim.Inject(c.fault)
			k, err := b.m.CreateKey(t.Context(), team, request("made"))
			if xai.ClassOf(err) != c.class || xai.OutcomeUnknown(err) != c.unknown || (k.ID != "") != c.id || b.sim.Calls()["create"] != 1 {
				t.Errorf("got %+v, %v, calls %v", k, err, b.sim.Calls())
			}
		})
	}
}

// Each read survives two failures of any kind, and gives up after the third.
func TestRetries(t *testing.T) {
	t.Parallel()
	for name, f := range allFaults() {
		for _, op := range []string{"list", "propagation", "team_models", "endpoints", "validate", "audit"} {
			if name == "empty" && (op == "propagation" || op == "audit") {
				continue // {} is a good answer there
			}
			t.Run(name+"/"+op, func(t *testing.T) {
				t.Parallel()
				b, f := newBench(t, xaisim.Options{}), f
				id, value := b.sim.AddKey(team, "old", "api-key:model:*", "api-key:endpoint:*")
				f.Call, f.Count = op, 2
				b.sim.Inject(f)
				if err := b.everyCall(t.Context(), id, value)[op]; err != nil {
					t.Errorf("after two failures: %v", err)
				}
				if n := b.sim.Calls()[op]; n != 3 {
					t.Errorf("%d calls", n)
				}
				f.Count = -1
				b.sim.Inject(f)
				if err := b.everyCall(t.Context(), id, value)[op]; err == nil {
					t.Error("no error")
				}
				if n := b.sim.Calls()[op]; n != 6 {
					t.Errorf("%d calls", n)
				}
			})
		}
	}
}

func TestInferenceRetries(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{})
	_, value := b.sim.AddKey(team, "k", "api-key:model:*", "api-key:endpoint:*")
	ctx := t.Context()
	b.sim.Inject(xaisim.Fault{Call: "whoami", Kind: xaisim.Reset})
	if _, err := b.i.WhoAmI(ctx, value); err != nil || b.sim.Calls()["whoami"] != 2 {
		t.Errorf("whoami: %v, %v", err, b.sim.Calls())
	}
	b.sim.Inject(xaisim.Fault{Call: "chat", Kind: xaisim.Reset})
	if err := b.i.Chat(ctx, value, "grok-4"); xai.ClassOf(err) != xai.ClassNetwork || b.sim.Calls()["chat"] != 1 {
		t.Errorf("chat: %v, %v", err, b.sim.Calls())
	}
	before := b.sim.Calls()["whoami"]
	for _, f := range []func(){
		func() { _, _ = b.i.WhoAmI(ctx, secret.New("xai-nobody")) },
		func() { b.sim.DisableKey(b.sim.Live(team)[0].ID); _, _ = b.i.WhoAmI(ctx, value) },
	} {
		f()
		if before++; b.sim.Calls()["whoami"] != before {
			t.Errorf("a refusal was repeated: %v", b.sim.Calls())
		}
	}
	for _, body := range []string{`{}`, `{"choices":[]}`, `{"choices":null}`, `[]`, ``, `{"choices":"x"}`} {
		_, i := clients(t, b.clock, b.token, answering(200, "application/json", body))
		if err := i.Chat(ctx, value, "grok-4"); xai.ClassOf(err) != xai.ClassUnreadable || xai.ProvesBad(err) {
			t.Errorf("chat answered %q: %v", body, err)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	at := func(c *clock, d time.Duration) string { return c.Now().Add(d).Format(http.TimeFormat) }
	c := newClock()
	for header, want := range map[string]time.Duration{
		"7": 7 * time.Second, "0": 0, "-5": 0, "soon": 0, "999999999999": time.Hour, "99999999999999999999": 0, at(c, 9*time.Second): 9 * time.Second,
		at(c, -time.Hour): 0, at(c, 9*time.Hour): time.Hour, "": 0,
	} {
		rt := answering(429, "application/json", `{"code":8,"message":"slow"}`, "Retry-After", header)
		m, _ := clients(t, c, secret.New("xai-token-x"), rt)
		_, err := m.CreateKey(t.Context(), team, request("x"))
		if xai.RetryAfter(err) != want {
			t.Errorf("%q: got %v, want %v", header, xai.RetryAfter(err), want)
		}
	}

	b := newBench(t, xaisim.Options{})
	limited := xaisim.Fault{Call: "list", Kind: xaisim.Status, Status: 429, Body: `{"code":8,"message":"slow"}`, RetryAfter: 3 * time.Second}
	b.sim.Inject(limited)
	begun := b.Now()
	if _, err := b.m.ListKeys(t.Context(), team); err != nil || b.Now().Sub(begun) < 3*time.Second {
		t.Errorf("came back after %v: %v", b.Now().Sub(begun), err)
	}
	limited.RetryAfter = time.Minute
	b.sim.Inject(limited)
	begun = b.Now()
	if _, err := b.m.ListKeys(t.Context(), team); xai.RetryAfter(err) != time.Minute || b.Now().Sub(begun) > time.Second {
		t.Errorf("a minute's wait is the caller's: waited %v, %v", b.Now().Sub(begun), err)
	}
}

// What says plainly that a key is gone is believed; the key's own object is an answer too.
func TestDeleted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status int
		body   string
	}{{200, `{}`}, {204, ``}, {200, `{"apiKeyId":"key-1","name":"old"}`}} {
		m, _ := clients(t, newClock(), secret.New("xai-token-x"), answering(c.status, "application/json", c.body))
		if err := m.DeleteKey(t.Context(), "key-1"); err != nil {
			t.Errorf("%d %s: %v", c.status, c.body, err)
		}
	}
}

// An answer for another key than the one asked about is no answer.
func TestOtherKeysAnswers(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{})
	id, _ := b.sim.AddKey(team, "k", "api-key:model:*")
	for _, op := range []string{"update", "rotate"} {
		b.sim.Inject(xaisim.Lie(op, -1, func(o map[string]any) { o["apiKeyId"] = "other" }))
	}
	if k, err := b.m.UpdateKey(t.Context(), team, id, xai.KeyUpdate{QPM: new(1)}); xai.ClassOf(err) != xai.ClassUnreadable || k.ID != "" {
		t.Errorf("update: %+v, %v", k, err)
	}
	if k, err := b.m.RotateKey(t.Context(), id, xai.RotateRequest{}); xai.ClassOf(err) != xai.ClassUnreadable || k.ID != "" {
		t.Errorf("rotate: %+v, %v", k, err)
	}
	for body, want := range map[string]bool{
		`{"icPropagation":{"a":true,"B_c":"true"}}`: true, `{"icPropagation":{"a":true,"b":"false"}}`: false, `{"icPropagation":{}}`: false,
		`{"icPropagation":null}`: false, `{}`: false, `{"icPropagation":{"a":"yes"}}`: false, `{"icPropagation":true}`: false,
	} {
		m, _ := clients(t, b.clock, b.token, answering(200, "application/json", body))
		if p, err := m.Propagation(t.Context(), id); p.Complete() != want {
			t.Errorf("%s: %v, %v", body, p, err)
		}
	}
}

func TestCancellation(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := b.m.CreateKey(ctx, team, request("x"))
	if xai.ClassOf(err) != xai.ClassCanceled || !errors.Is(err, context.Canceled) || xai.OutcomeUnknown(err) || len(b.sim.Calls()) != 0 {
		t.Errorf("before the call: %v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	b.sim.OnCall(func(c xaisim.Call) {
		if c.Done {
			cancel()
		}
	})
	rt := tripper(func(r *http.Request) (*http.Response, error) {
		_, _ = b.sim.Transport().RoundTrip(r)
		return nil, r.Context().Err()
	})
	m, _ := clients(t, b.clock, b.token, rt)
	_, err = m.CreateKey(ctx, team, request("x"))
	if xai.ClassOf(err) != xai.ClassCanceled || !xai.OutcomeUnknown(err) || len(b.sim.Live(team)) != 1 {
		t.Errorf("during the call: %v", err)
	}
}

// The same through real sockets: what net/http does of its own is part of the promise.
func TestSockets(t *testing.T) {
	t.Parallel()
	sim := xaisim.New(xaisim.Options{})
	server := httptest.NewServer(sim)
	defer server.Close()
	token := sim.NewManagementKey(team)
	rt := &http.Client{Transport: http.DefaultTransport.(*http.Transport).Clone()}
	within := func(timeout time.Duration) *xai.Management {
		m, err := xai.NewManagement(xai.ManagementOptions{URL: server.URL, Key: fixed(token), HTTP: rt, Timeout: timeout})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	patient, hasty := within(time.Hour), within(10*time.Second) // in which the create must have its effect
	for name, f := range allFaults() {
		m := patient
		if name == "timeout" {
			m = hasty
		}
		f.Call, f.When = "create", xaisim.After
		before := sim.Calls()["create"]
		sim.Inject(f)
		if _, err := patient.Validate(t.Context()); err != nil { // so that the create meets a kept connection
			t.Fatal(err)
		}
		_, err := m.CreateKey(t.Context(), team, request(name))
		if !xai.OutcomeUnknown(err) || sim.Calls()["create"] != before+1 {
			t.Errorf("%s: %v after %d calls", name, err, sim.Calls()["create"]-before)
		}
		if want := (name == "timeout" || name == "reset"); (xai.ClassOf(err) == xai.ClassNetwork) != want {
			t.Errorf("%s: class %s", name, xai.ClassOf(err))
		}
	}
	if n := len(sim.Live(team)); n != len(allFaults()) {
		t.Errorf("%d keys of %d creates", n, len(allFaults()))
	}
}

func TestUnsent(t *testing.T) {
	t.Parallel()
	untrusted := httptest.NewUnstartedServer(http.NotFoundHandler())
	untrusted.Config.ErrorLog = log.New(io.Discard, "", 0) // it complains of our mistrust
	untrusted.StartTLS()
	defer untrusted.Close()
	for _, u := range []string{"http://127.0.0.1:1", untrusted.URL} {
		m, err := xai.NewManagement(xai.ManagementOptions{URL: u, Key: fixed(secret.New("xai-token-x"))})
		if err != nil {
			t.Fatal(err)
		}
		_, err = m.CreateKey(t.Context(), team, request("x"))
		if xai.ClassOf(err) != xai.ClassNetwork || xai.OutcomeUnknown(err) || strings.Contains(err.Error(), "127.0.0.1") {
			t.Errorf("nobody there, and yet: %v", err)
		}
	}
}

func TestRedirectsAreRefused(t *testing.T) {
	t.Parallel()
	followed := false
	to := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed = true }))
	defer to.Close()
	from := httptest.NewServer(http.RedirectHandler(to.URL, http.StatusTemporaryRedirect))
	defer from.Close()
	m, err := xai.NewManagement(xai.ManagementOptions{URL: from.URL, Key: fixed(secret.New("xai-token-x")), HTTP: http.DefaultClient})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = m.ListKeys(t.Context(), team); xai.ClassOf(err) != xai.ClassRoute || followed {
		t.Errorf("followed %v, %v", followed, err)
	}
}
