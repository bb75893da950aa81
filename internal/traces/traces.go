// Package traces sends what rotations did to an OpenTelemetry collector. A rotation is one trace, over days, restarts and
// replicas: its id is the trace's id, so that the process that takes the next step needs no more. Below it is a span
// for each step, and below each step one for each call to xAI and to a store.
//
// Nothing here can hold up a rotation: a span that has ended goes into a bounded queue or is dropped and counted, and a
// collector that is not there is a line in the log. And nothing here can leak: what a span may say is a closed set of
// names and words, and this package, with all below it, cannot even see the type that secrets live in; a test on the
// import graph keeps it so.
package traces

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	clients "rotator/internal/transport"
)

const (
	queueSize = 4096             // spans that wait for the collector: about 1 KiB each
	batchSize = 512              // spans in one request
	pace      = 2 * time.Second  // between two requests while fewer than a batch wait
	patience  = 30 * time.Second // for one batch, with all its tries
	oneTry    = 10 * time.Second // for one request
)

// Options say where traces go.
type Options struct {
	// Endpoint is the address of a collector that speaks OTLP over HTTP; spans are posted to /v1/traces below it.
	Endpoint string
	// Authorize sets the headers that the collector asks for, for each request; nil sets none. Its errors are logged.
	Authorize func(ctx context.Context, h http.Header) error
	// Transport sends requests; nil is a copy of Go's own.
	Transport http.RoundTripper
	// Version of the program, and a name of this process that no other has.
	Version, Instance string
	Log               *slog.Logger
}

// Traces sends spans. It is safe for concurrent use, and a nil *Traces does nothing.
type Traces struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
	log      *slog.Logger
	counts   counts
	abandon  context.CancelFunc // ends what is being sent
}

type counts struct {
	waiting               atomic.Int64 // in the queue
	sent, dropped, failed atomic.Uint64
}

// Counts are spans since the process began.
type Counts struct {
	Sent    uint64 // taken by the collector
	Dropped uint64 // for want of room in the queue
	Failed  uint64 // not taken, after all tries
}

// New makes traces. It asks nothing of the collector yet; [Traces.Close] ends what it begins.
func New(o Options) (*Traces, error) {
	if _, err := clients.Address(o.Endpoint); err != nil {
		return nil, fmt.Errorf("the address of the collector for traces %w", err)
	}
	client := &http.Client{
		Transport:     newTransport(o.Transport, o.Authorize),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       oneTry,
	}
	sender, err := otlptracehttp.New(context.Background(), // it only fails or begins
		otlptracehttp.WithEndpointURL(strings.TrimSuffix(o.Endpoint, "/")+"/v1/traces"),
		otlptracehttp.WithHTTPClient(client),
		otlptracehttp.WithHeaders(map[string]string{}), // none from the environment
		otlptracehttp.WithCompression(otlptracehttp.NoCompression),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{Enabled: true, InitialInterval: time.Second, MaxInterval: 10 * time.Second, MaxElapsedTime: patience}),
	)
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	t := &Traces{log: o.Log}
	running, abandon := context.WithCancel(context.Background())
	t.abandon = abandon
	batches := sdk.NewBatchSpanProcessor(&exporter{SpanExporter: sender, traces: t, running: running}, sdk.WithMaxQueueSize(queueSize),
		sdk.WithMaxExportBatchSize(batchSize), sdk.WithBatchTimeout(pace), sdk.WithExportTimeout(patience))
	t.provider = sdk.NewTracerProvider(
		sdk.WithSpanProcessor(queue{batches, &t.counts}), sdk.WithSampler(sdk.AlwaysSample()), sdk.WithIDGenerator(ids{}),
		sdk.WithResource(resource.NewSchemaless(attribute.String("service.name", "rotator"),
			attribute.String("service.version", o.Version), attribute.String("service.instance.id", o.Instance))),
	)
	t.tracer = t.provider.Tracer("rotator")
	return t, nil
}

// Close sends what waits, until ctx ends at the latest.
func (t *Traces) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	defer t.abandon()
	defer context.AfterFunc(ctx, t.abandon)()
	return t.provider.Shutdown(context.WithoutCancel(ctx)) // it ends when what is being sent ends
}

// Counts says what became of the spans so far.
func (t *Traces) Counts() Counts {
	if t == nil {
		return Counts{}
	}
	return Counts{Sent: t.counts.sent.Load(), Dropped: t.counts.dropped.Load(), Failed: t.counts.failed.Load()}
}

// queue bounds and counts what waits to be sent. The processor behind it has a queue of the same size and drops silently
// when that is full; it never is.
type queue struct {
	sdk.SpanProcessor
	*counts
}

// OnEnd implements sdk.SpanProcessor. It never blocks.
func (q queue) OnEnd(s sdk.ReadOnlySpan) {
	if q.waiting.Add(1) > queueSize {
		q.waiting.Add(-1)
		q.dropped.Add(1)
		return
	}
	q.SpanProcessor.OnEnd(s)
}

// exporter keeps count, and tells the log when the collector goes and when it comes back.
type exporter struct {
	sdk.SpanExporter
	traces  *Traces
	running context.Context // of the process rather than of a call: it ends when a stop can wait no longer
	failing bool            // one batch is sent at a time
}

// ExportSpans implements sdk.SpanExporter. It returns no error: the processor would print it.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	n := len(spans)
	e.traces.counts.waiting.Add(int64(-n))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.running, cancel)()
	err := e.SpanExporter.ExportSpans(ctx, spans)
	if err != nil {
		e.traces.counts.failed.Add(uint64(n))
	} else {
		e.traces.counts.sent.Add(uint64(n))
	}
	switch was := e.failing; {
	case err != nil && !was:
		e.traces.log.Warn("the collector takes no traces; rotations go on without", "problem", problemOf(err), "spans", n)
	case err == nil && was:
		e.traces.log.Info("the collector takes traces again")
	}
	e.failing = err != nil
	return nil
}
