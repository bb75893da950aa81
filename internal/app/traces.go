package app

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"rotator/internal/config"
	"rotator/internal/traces"
	"rotator/rotation"
)

// flushTraces is how long a program that stops waits for the collector: what is reported of a step in hand fits into the 30 s
// that a stop may take.
const flushTraces = 3 * time.Second

// newTraces makes the traces that the configuration asks for, or nil. Nothing is called yet.
func newTraces(c *config.Traces, version, instance string, log *slog.Logger) (*traces.Traces, error) {
	if c == nil {
		return nil, nil
	}
	return traces.New(traces.Options{
		Endpoint: c.Endpoint, Authorize: headersOf(c.Headers), Version: version, Instance: instance, Log: log,
	})
}

// headersOf sets headers to what their references hold now.
func headersOf(refs map[string]config.Reference) func(context.Context, http.Header) error {
	return func(ctx context.Context, h http.Header) error {
		for name, ref := range refs {
			v, err := ref.Read(ctx)
			if err != nil {
				return err
			}
			h.Set(name, v.Reveal())
		}
		return nil
	}
}

// observeStep reports a step to metrics and traces.
func (p *Program) observeStep(ctx context.Context, s rotation.Step) (context.Context, func(rotation.Step)) {
	ctx, end := p.traces.Step(ctx, traces.Step(s))
	return ctx, func(s rotation.Step) {
		p.api.ObserveStep(string(s.State), s.Outcome, string(s.Reason), s.Took)
		end(traces.Step(s))
	}
}

// hooks reports calls to metrics and traces. It is made before the API, and called after.
func (p *Program) hooks() hooks {
	return hooks{
		agent: p.setup.userAgent(),
		pacer: p.pacer,
		store: func(ctx context.Context, store, op, outcome string, took time.Duration) {
			p.api.ObserveStore(store, op, outcome, took)
			p.traces.Call(ctx, store, op, outcome, took)
		},
		xai: func(ctx context.Context, op, class string, took time.Duration) {
			p.api.ObserveXAI(op, class, took)
			p.traces.Call(ctx, "xai", op, class, took)
		},
	}
}

// spans are the counts of traces for metrics; nil when none are made.
func (p *Program) spans() map[string]uint64 {
	if p.traces == nil {
		return nil
	}
	n := p.traces.Counts()
	return map[string]uint64{"sent": n.Sent, "dropped": n.Dropped, "failed": n.Failed}
}

func closeTraces(t *traces.Traces) error {
	ctx, cancel := context.WithTimeout(context.Background(), flushTraces)
	defer cancel()
	if err := t.Close(ctx); err != nil {
		return fmt.Errorf("traces: %w", err)
	}
	return nil
}
