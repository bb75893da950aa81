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
	runtime.ReadMemStats(&before)
	errs := b.everyCall(t.Context(), id, value)
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
	if held := int64(after.HeapAlloc) - int64(before.HeapAlloc); held > 160<<20 {
		t.Errorf("%d MiB held", held>>20)
	}
}

func TestPace(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{})
	ctx := t.Context()
	create := func(i int) error {
		_, err := b.m.CreateKey(ctx, team, request(fmt.Sprint("k", i)))
		return err
	}
	for i := range 300 {
		if err := create(i); err != nil {
			t.Fatal(err)
		}
	}
	if len(b.slept) != 0 {
		t.Fatalf("300 creates without a 429 waited %v", b.slept)
	}

	// Against 5 a second it soon finds a rate that is mostly let through, and not much less than that.
	b.sim.SetRateLimit(xaisim.RateLimit{PerSecond: 5, Burst: 5})
	refused := func(n int) (count int) {
		for i := range n {
			if create(i) != nil {
				count++
			}
			b.Advance(time.Millisecond)
		}
		return count
	}
	if n := refused(100); n < 5 || n > 70 {
		t.Errorf("%d of the first 100 were refused", n)
	}
	begun := b.Now()
	n := refused(300)
	if took := b.Now().Sub(begun); n > 60 || took < 40*time.Second || took > 2*time.Minute {
		t.Errorf("of 300 creates against 5 a second %d were refused, in %v", n, took)
	}

	// It recovers, and then a burst is a burst again.
	b.sim.SetRateLimit(xaisim.RateLimit{})
	for i := range 200 {
		b.Advance(time.Second)
		if err := create(i); err != nil {
			t.Fatal(err)
		}
	}
	b.Advance(10 * time.Second)
	begun = b.Now()
	for i := range 300 {
		if err := create(i); err != nil {
			t.Fatal(err)
		}
	}
	if took := b.Now().Sub(begun); took != 0 {
		t.Errorf("after the recovery 300 creates took %v", took)
	}
}

func TestPaceStopsForRetryAfter(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{})
	b.sim.Inject(xaisim.Fault{Call: "create", Kind: xaisim.Status, Status: 429, Body: `{"code":8,"message":"slow"}`, RetryAfter: 20 * time.Second})
	begun := b.Now()
	if _, err := b.m.CreateKey(t.Context(), team, request("x")); xai.RetryAfter(err) != 20*time.Second || b.Now() != begun {
		t.Fatalf("waited %v: %v", b.Now().Sub(begun), err)
	}
	if _, err := b.m.CreateKey(t.Context(), team, request("y")); err != nil || b.Now().Sub(begun) < 20*time.Second {
		t.Errorf("the next call of the same key came after %v: %v", b.Now().Sub(begun), err)
	}
	other := newBench(t, xaisim.Options{})
	if _, err := other.m.CreateKey(t.Context(), team, request("z")); err != nil || len(other.slept) != 0 {
		t.Errorf("another key waited %v: %v", other.slept, err)
	}
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
		Observe: func(op string, class xai.Class, _ time.Duration) { got = append(got, op+":"+string(class)) }})
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
