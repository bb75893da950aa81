package xai_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rotator/internal/secret"
	"rotator/xai"
	"rotator/xai/xaisim"
)

// A body of 1 GiB costs what the bound allows, whichever call it answers. Not parallel: it measures the process.
func TestHugeBodies(t *testing.T) {
	b := newBench(t, xaisim.Options{})
	id, value := b.sim.AddKey(team, "k", "api-key:model:*", "api-key:endpoint:*")
	b.sim.Inject(xaisim.Fault{Kind: xaisim.HugeBody, Count: -1})
	var before, after runtime.MemStats
	runtime.GC() // what others left is not counted, nor what nothing holds any more
	runtime.ReadMemStats(&before)
	errs := b.everyCall(t.Context(), id, value)
	runtime.GC()
	runtime.ReadMemStats(&after)
	for op, err := range errs {
		if xai.ClassOf(err) != xai.ClassUnreadable {
			t.Errorf("%s: %v", op, err)
		}
	}
	tries := 0
	for _, n := range b.sim.Calls() {
		tries += n
	}
	// Reading n bytes into a growing slice allocates a few times n, one try after the other.
	if total := after.TotalAlloc - before.TotalAlloc; total > 800<<20 {
		t.Errorf("%d tries took %d MiB", tries, total>>20)
	}
	if held := int64(after.HeapAlloc) - int64(before.HeapAlloc); held > 32<<20 {
		t.Errorf("%d MiB held", held>>20)
	}
}

// One byte over the bound is too much, also when what comes before it would do.
func TestBound(t *testing.T) {
	t.Parallel()
	for extra, want := range map[int]xai.Class{0: "", 1: xai.ClassUnreadable} {
		m, _ := clients(t, newClock(), secret.New("xai-token-x"), answering(200, "application/json", "{}"+strings.Repeat(" ", 1<<20-2+extra)))
		if err := m.DeleteKey(t.Context(), "k"); xai.ClassOf(err) != want {
			t.Errorf("%d bytes over: %v", extra, err)
		}
	}
}

// Without GetBody net/http cannot send a create again by itself.
func TestCreateCannotBeReplayed(t *testing.T) {
	t.Parallel()
	var got []string
	m, _ := clients(t, newClock(), secret.New("xai-token-x"), tripper(func(r *http.Request) (*http.Response, error) {
		if got = append(got, r.Method); r.GetBody != nil || r.Header.Get("Idempotency-Key") != "" {
			t.Error("the request can be replayed")
		}
		if r.Header.Get("Authorization") != "Bearer xai-token-x" || r.Header.Get("User-Agent") != "rotator" || r.Header.Get("Content-Type") != "application/json" {
			t.Error("a header is missing")
		}
		return answering(500, "text/plain", "")(r)
	}))
	_, _ = m.CreateKey(t.Context(), team, request("x"))
	if len(got) != 1 {
		t.Errorf("sent %v", got)
	}
}

// With the machine's own clock: waits are timers, and a canceled wait ends at once.
func TestDefaults(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sim := xaisim.New(xaisim.Options{Latency: 20 * time.Millisecond})
		m, err := xai.NewManagement(xai.ManagementOptions{URL: "https://h", Key: fixed(sim.NewManagementKey(team)), HTTP: &http.Client{Transport: sim.Transport()}})
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		sim.Inject(xaisim.Fault{Call: "list", Count: 2, Kind: xaisim.Reset})
		if _, err := m.ListKeys(t.Context(), team); err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took < 500*time.Millisecond || took > 5*time.Second {
			t.Errorf("two failures took %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if _, err := m.CreateKey(ctx, team, request("x")); xai.ClassOf(err) != xai.ClassCanceled || len(sim.Live(team)) != 0 {
			t.Errorf("canceled while the request was under way: %v", err)
		}
		sim.Inject(xaisim.Fault{Call: "list", Count: -1, Kind: xaisim.Reset})
		ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		begun = time.Now()
		if _, err := m.ListKeys(ctx, team); xai.ClassOf(err) != xai.ClassNetwork || time.Since(begun) != 100*time.Millisecond {
			t.Errorf("canceled while it waited to try again: after %v, %v", time.Since(begun), err)
		}
	})
}

// Nothing of a key, of a request or of an answer is in any error, however it is printed.
func TestNothingLeaks(t *testing.T) {
	t.Parallel()
	const canary = "canary" // in every body, code and header of the other end
	b := newBench(t, xaisim.Options{})
	id, value := b.sim.AddKey(team, "old", "api-key:model:*", "api-key:endpoint:*")
	var seen bytes.Buffer
	logs := []*slog.Logger{slog.New(slog.NewJSONHandler(&seen, nil)), slog.New(slog.NewTextHandler(&seen, nil))}
	note := func(errs map[string]error) {
		for op, err := range errs {
			fmt.Fprintf(&seen, "%v %+v %#v %q %s\n", err, err, err, fmt.Errorf("%s: %w", op, err), fmt.Sprint([]error{err}))
			for _, l := range logs {
				l.Error("call", "op", op, "err", err)
			}
		}
	}
	note(b.everyCall(t.Context(), id, value)) // the key is deleted now: half of what follows fails by itself
	note(b.everyCall(t.Context(), id, value))
	for name, f := range allFaults() {
		f.Count, f.When = -1, xaisim.After
		b.sim.ClearFaults()
		b.sim.Inject(f)
		note(b.everyCall(t.Context(), id, value))
		seen.WriteString(name)
	}
	bodies := []string{
		`{"code":"` + canary + ` ` + value.Reveal() + `","error":"` + canary + `","message":"` + canary + `"}`,
		`{"code":"` + value.Reveal()[:30] + `","error":{"message":"` + canary + `","code":"` + b.token.Reveal()[:40] + `"}}`,
		`{"error":{"message":"` + canary + `","code":"` + strings.ToLower(value.Reveal()[4:40]) + `"}}`,
		`<html>` + canary + value.Reveal() + `</html>`, canary + value.Reveal(), `{"apiKeyId":["` + canary + `"]}`, `{"disabled":"` + canary + `"`,
		`{"apiKeyId":"x","createTime":"` + canary + `","apiKeys":[{"apiKeyId":"x","createTime":"` + canary + `"}]}`,
	}
	for _, status := range []int{200, 302, 400, 401, 403, 404, 422, 429, 500} {
		for _, body := range bodies {
			b.m, b.i = clients(t, b.clock, b.token, answering(status, "application/json", body, "Location", "https://"+canary, "Retry-After", canary, "Date", canary))
			note(b.everyCall(t.Context(), id, value))
		}
	}
	failing := tripper(func(r *http.Request) (*http.Response, error) {
		return nil, fmt.Errorf("proxy http://user:%s@h refused %s of %s", canary, r.Header, r.URL)
	})
	b.m, b.i = clients(t, b.clock, b.token, failing)
	note(b.everyCall(t.Context(), id, value))

	text := strings.ToLower(seen.String())
	if strings.Contains(text, canary) {
		t.Error("text of an answer is in an error")
	}
	secrets := []secret.Text{b.token, value}
	for _, k := range b.sim.Keys(team) {
		secrets = append(secrets, k.Secret)
	}
	for _, s := range secrets {
		plain := strings.ToLower(strings.TrimPrefix(s.Reveal(), "xai-token-"))
		for i := 4; i+8 <= len(plain); i++ {
			if strings.Contains(text, plain[i:i+8]) {
				t.Fatalf("a piece of a key is in an error, at %d", i)
			}
		}
	}
	if strings.Contains(text, "https://") || strings.Contains(text, "bearer") {
		t.Error("a URL or a header is in an error")
	}
}

func TestObserve(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{})
	var got []string
	m, err := xai.NewManagement(xai.ManagementOptions{URL: "https://h", Key: fixed(b.token), HTTP: &http.Client{Transport: b.sim.Transport()},
		Now: b.Now, Sleep: b.Sleep, UserAgent: "rotator/test",
		Observe: func(_ context.Context, op string, class xai.Class, _ time.Duration) {
			got = append(got, op+":"+string(class))
		}})
	if err != nil {
		t.Fatal(err)
	}
	b.sim.Inject(xaisim.Fault{Kind: xaisim.Status, Status: 503})
	if _, err := m.Validate(context.Background()); err != nil {
		t.Fatal(err)
	}
	if want := "[validate:unavailable validate:]"; fmt.Sprint(got) != want {
		t.Errorf("observed %v, want %s", got, want)
	}
}
