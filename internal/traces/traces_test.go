package traces_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"

	"rotator/internal/traces"
	"rotator/internal/traces/tracestest"
	"rotator/rotation/journal"
)

const (
	rotation = "0199a3b4-c5d6-7e8f-9a0b-1c2d3e4f5061"
	trace    = "0199a3b4c5d67e8f9a0b1c2d3e4f5061"
	root     = "9a0b1c2d3e4f5061"
)

func open(t *testing.T, o traces.Options) *traces.Traces {
	t.Helper()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	tr, err := traces.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func closeIt(t *testing.T, tr *traces.Traces) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := tr.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

// step takes a step as the engine does; do is what it does.
func step(tr *traces.Traces, before, after traces.Step, do func(context.Context)) {
	ctx, end := tr.Step(context.Background(), before)
	do(ctx)
	end(after)
}

func nothing(context.Context) {}

// TestOneTrace: what several processes do for one rotation is one trace, and the rotation's own span, reported at its end by
// whoever ended it, is above all of it.
func TestOneTrace(t *testing.T) {
	t.Parallel()
	c := tracestest.New(t)
	first := open(t, traces.Options{Endpoint: c.URL, Instance: "first"})
	step(first, traces.Step{Policy: "chat"}, traces.Step{Policy: "chat", Rotation: rotation, Outcome: "moved", After: "planned"}, func(ctx context.Context) {
		first.Call(ctx, "vault", "current", "ok", time.Millisecond) // the rotation began in this step
	})
	step(first, traces.Step{Policy: "chat"}, traces.Step{Policy: "chat"}, func(ctx context.Context) { // as it is most of the time
		first.Call(ctx, "vault", "current", "ok", time.Millisecond) // of a policy at rest: no one's
	})
	step(first, traces.Step{Policy: "chat", Rotation: rotation, State: "planned"},
		traces.Step{Policy: "chat", Rotation: rotation, State: "planned", After: "planned", Reason: "store_unavailable", Outcome: "failed"},
		func(ctx context.Context) {
			first.Call(ctx, "xai", "create", "ok", time.Second)
			first.Call(ctx, "vault", "stage", "timeout", time.Minute)
		})
	closeIt(t, first)
	second := open(t, traces.Options{Endpoint: c.URL + "/", Instance: "second"})
	begun, ended := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	live := journal.Rotation{
		ID: rotation, Policy: "chat", State: journal.Live, Trigger: journal.BySchedule, KeyID: "key-2", StartedAt: begun, LiveAt: ended,
	}
	step(second, traces.Step{Policy: "chat", Rotation: rotation, State: "promoting"},
		traces.Step{Policy: "chat", Rotation: rotation, State: "promoting", Outcome: "ended", Ended: []journal.Rotation{live}}, nothing)
	live.EndedAt = ended.Add(48 * time.Hour) // its old keys are gone: that is no second end
	step(second, traces.Step{Policy: "chat"}, traces.Step{Policy: "chat", Outcome: "ended", Ended: []journal.Rotation{live}}, nothing)
	closeIt(t, second)

	type span struct {
		Name, Parent, Outcome, Reason string
		Failed                        bool
	}
	var got []span
	names := map[string]string{root: "rotation"}
	for _, s := range c.Spans() {
		names[hex.EncodeToString(s.SpanId)] = s.Name
	}
	for _, s := range c.Spans() {
		if id := hex.EncodeToString(s.TraceId); id != trace {
			t.Errorf("%s is of the trace %s", s.Name, id)
		}
		a := tracestest.Attributes(s)
		got = append(got, span{s.Name, names[hex.EncodeToString(s.ParentSpanId)], a["rotator.outcome"], a["rotator.reason"], s.Status.GetCode() == otlp.Status_STATUS_CODE_ERROR})
	}
	want := []span{
		{"vault current", "begin", "ok", "", false},
		{"begin", "rotation", "moved", "", false},
		{"xai create", "planned", "ok", "", false},
		{"vault stage", "planned", "timeout", "", true},
		{"planned", "rotation", "failed", "store_unavailable", true},
		{"promoting", "rotation", "ended", "", false},
		{"rotation", "", "live", "", false},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatal(d)
	}
	whole := c.Spans()[6]
	if hex.EncodeToString(whole.SpanId) != root || len(whole.ParentSpanId) != 0 ||
		whole.StartTimeUnixNano != uint64(begun.UnixNano()) || whole.EndTimeUnixNano != uint64(ended.UnixNano()) {
		t.Errorf("the rotation's span: %v", whole)
	}
	call := c.Spans()[3]
	if took := call.EndTimeUnixNano - call.StartTimeUnixNano; took != uint64(time.Minute) {
		t.Errorf("the call took %s", time.Duration(took))
	}
	if n := first.Counts(); n != (traces.Counts{Sent: 5}) {
		t.Errorf("counted %+v", n)
	}
}

// TestOff: without a collector nothing is made, and nothing fails.
func TestOff(t *testing.T) {
	t.Parallel()
	var tr *traces.Traces
	step(tr, traces.Step{Rotation: rotation}, traces.Step{Rotation: rotation}, func(ctx context.Context) {
		tr.Call(ctx, "xai", "create", "ok", time.Second)
	})
	if tr.Counts() != (traces.Counts{}) || tr.Close(t.Context()) != nil {
		t.Error("it does something")
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// flood ends n spans, and reports how long that took.
func flood(tr *traces.Traces, n int) time.Duration {
	begun := time.Now()
	for range n {
		step(tr, traces.Step{Rotation: rotation, State: "live"}, traces.Step{Rotation: rotation, State: "live"}, nothing)
	}
	return time.Since(begun)
}

// TestCollectorThatHangs: spans beyond the queue are dropped and counted, nothing waits, and a stop ends when it must. Time
// is that of a bubble: it passes only while everyone waits.
func TestCollectorThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		tr := open(t, traces.Options{Endpoint: "http://127.0.0.1:1", Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			asked.Add(1)
			<-r.Context().Done()
			return nil, r.Context().Err()
		})})
		const many = 10_000
		if took := flood(tr, many); took != 0 {
			t.Errorf("a rotation waited %s for the collector", took)
		}
		n := tr.Counts()
		if n.Sent != 0 || n.Failed != 0 || n.Dropped < many-4096-512 || n.Dropped > many-4096 {
			t.Errorf("counted %+v", n)
		}
		time.Sleep(time.Minute) // the first batches are given up
		if n := tr.Counts(); n.Failed == 0 || asked.Load() < 2 {
			t.Errorf("after a minute %+v, and %d requests", n, asked.Load())
		}
		begun := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if err := tr.Close(ctx); err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took > 3*time.Second {
			t.Errorf("the stop took %s", took)
		}
		if n := tr.Counts(); n.Failed+n.Dropped != many {
			t.Errorf("of %d spans %+v were counted", many, n)
		}
	})
}

// TestCollectorThatIsAway: its absence is one line in the log, and so is its return; a try that fails is made again.
func TestCollectorThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var away atomic.Bool
		var tries atomic.Int64
		tr := open(t, traces.Options{Endpoint: "http://127.0.0.1:1", Log: slog.New(slog.NewTextHandler(&log, nil)),
			Transport: roundTripper(func(*http.Request) (*http.Response, error) {
				tries.Add(1)
				if away.Load() {
					return nil, errors.New(`invalid proxy address "http://user:password@proxy"`)
				}
				return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
			})})
		send := func(down bool) {
			away.Store(down)
			flood(tr, 1)
			time.Sleep(2 * time.Minute)
		}
		for _, down := range []bool{false, true, true, true, false, false} {
			send(down)
		}
		closeIt(t, tr)
		if n := tr.Counts(); n != (traces.Counts{Sent: 3, Failed: 3}) {
			t.Errorf("counted %+v", n)
		}
		if n := tries.Load(); n < 3+3*3 {
			t.Errorf("%d tries for 3 batches that were taken and 3 that were not", n)
		}
		said := log.String()
		if strings.Count(said, "level=WARN") != 1 || strings.Count(said, "level=INFO") != 1 || !strings.Contains(said, `problem="no answer"`) || strings.Contains(said, "password") {
			t.Errorf("the log says:\n%s", said)
		}
	})
}

// TestNothingOfAnAnswer: a collector that quotes the header it was sent is not quoted.
func TestNothingOfAnAnswer(t *testing.T) {
	t.Parallel()
	const secret = "Bearer of-the-collector"
	for status, want := range map[int]string{http.StatusUnauthorized: "status 401", http.StatusInternalServerError: "status 500", http.StatusFound: "status 302", http.StatusOK: ""} {
		c := tracestest.New(t)
		c.Answer(status, `{"partialSuccess":{"rejectedSpans":1,"errorMessage":"`+secret+`"}}`)
		var log bytes.Buffer
		tr := open(t, traces.Options{Endpoint: c.URL, Log: slog.New(slog.NewTextHandler(&log, nil)), Authorize: func(_ context.Context, h http.Header) error {
			h.Set("Authorization", secret)
			return nil
		}})
		flood(tr, 1)
		closeIt(t, tr)
		if said := log.String(); strings.Contains(said, "of-the-collector") || (want == "") != (said == "") || !strings.Contains(said, want) {
			t.Errorf("status %d: the log says %q", status, said)
		}
		headers, _ := c.Heard()
		if len(headers) != 1 || headers[0].Get("Authorization") != secret {
			t.Errorf("status %d: %d requests, headers %v", status, len(headers), headers)
		}
	}
}

// TestHeadersAreReadAgain: a token that was replaced is used from the next request on, and one that cannot be read is told.
func TestHeadersAreReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var got []string
		tokens := []string{"one", "two", ""}
		tr := open(t, traces.Options{Endpoint: "http://127.0.0.1:1", Log: slog.New(slog.NewTextHandler(&log, nil)),
			Authorize: func(_ context.Context, h http.Header) error {
				token := tokens[0]
				tokens = tokens[1:]
				if token == "" {
					return errors.New("read secret file:token: it is empty")
				}
				h.Set("Authorization", token)
				return nil
			},
			Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				got = append(got, r.Header.Get("Authorization"))
				return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
			})})
		for range 3 {
			flood(tr, 1)
			time.Sleep(time.Minute)
		}
		closeIt(t, tr)
		if d := cmp.Diff([]string{"one", "two"}, got); d != "" || !strings.Contains(log.String(), "read secret file:token: it is empty") {
			t.Errorf("%s\n%s", d, log.String())
		}
	})
}
