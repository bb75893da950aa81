package traces

import (
	"context"
	"crypto/rand"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"rotator/rotation/journal"
)

// Step is one step of one policy, field by field as the engine reports it.
type Step struct {
	Policy   string
	Rotation string
	State    journal.State

	Outcome string
	After   journal.State
	Reason  journal.Reason
	Ended   []journal.Rotation
	Took    time.Duration
}

// began names the span of the step that began a rotation.
const began = "begin"

// Step begins the span of a step of a rotation in flight, and returns the context for its calls and what ends the span.
// A step that began a rotation becomes a span at its end, and its calls with it. Other steps of a policy at rest leave no
// trace.
func (t *Traces) Step(ctx context.Context, s Step) (context.Context, func(Step)) {
	if t == nil {
		return ctx, func(Step) {}
	}
	begun := time.Now()
	var span trace.Span
	if root, ok := rootOf(s.Rotation); ok {
		ctx, span = t.start(trace.ContextWithRemoteSpanContext(ctx, root), string(s.State), begun)
	}
	var early calls
	if span == nil {
		ctx = context.WithValue(ctx, callsKey{}, &early)
	}
	return ctx, func(s Step) {
		if root, ok := rootOf(s.Rotation); ok && span == nil {
			var below context.Context
			below, span = t.start(trace.ContextWithRemoteSpanContext(context.Background(), root), began, begun)
			for _, c := range early.take() {
				t.call(below, c)
			}
		}
		if span != nil {
			span.SetAttributes(known(
				"rotator.policy", s.Policy, "rotator.rotation", s.Rotation, "rotator.state", string(s.State),
				"rotator.state.after", string(s.After), "rotator.reason", string(s.Reason), "rotator.outcome", s.Outcome)...)
			if s.Outcome == "failed" {
				span.SetStatus(codes.Error, string(s.Reason))
			}
			span.End()
		}
		for _, r := range s.Ended {
			if r.State == journal.Live && !r.EndedAt.IsZero() && r.ID != s.Rotation {
				continue // its old keys are gone; its span was reported when it went live
			}
			t.rotation(r)
		}
	}
}

// rotation is the span of a whole rotation, reported when it went live or was turned back. Its id was known from the beginning: every step is
// below it. A crash before the end is recorded lets it be reported twice, as one span.
func (t *Traces) rotation(r journal.Rotation) {
	root, ok := rootOf(r.ID)
	if !ok {
		return
	}
	ctx := context.WithValue(context.Background(), rootKey{}, root)
	_, span := t.start(ctx, "rotation", r.StartedAt, known("rotator.policy", r.Policy, "rotator.rotation", r.ID,
		"rotator.trigger", string(r.Trigger), "rotator.outcome", string(r.State), "rotator.key_id", r.KeyID)...)
	end := r.LiveAt
	if end.IsZero() {
		end = r.EndedAt
	}
	span.End(trace.WithTimestamp(end))
}

// Call reports a call to xAI or to a store that ended now: whom it was to, which call, and how it ended, in words of
// closed lists. Outside of a step that has to do with a rotation it leaves no trace.
func (t *Traces) Call(ctx context.Context, to, op, outcome string, took time.Duration) {
	if t == nil {
		return
	}
	c := call{to: to, op: op, outcome: outcome, ended: time.Now(), took: took}
	if trace.SpanContextFromContext(ctx).IsValid() {
		t.call(ctx, c)
	} else if early, ok := ctx.Value(callsKey{}).(*calls); ok {
		early.add(c)
	}
}

// call is a call that ended.
type call struct {
	to, op, outcome string
	ended           time.Time
	took            time.Duration
}

func (t *Traces) call(ctx context.Context, c call) {
	_, span := t.start(ctx, c.to+" "+c.op, c.ended.Add(-c.took), known("peer.service", c.to, "rotator.op", c.op, "rotator.outcome", c.outcome)...)
	if !slices.Contains([]string{"ok", "not_found", "no_staging", "cannot_fence"}, c.outcome) {
		span.SetStatus(codes.Error, c.outcome)
	}
	span.End(trace.WithTimestamp(c.ended))
}

type callsKey struct{}

// calls are those of a step that may yet begin a rotation.
type calls struct {
	mu   sync.Mutex
	list []call // guarded by mu
}

// mostCalls bounds what a step of a policy with many targets keeps.
const mostCalls = 200

func (c *calls) add(one call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.list) < mostCalls {
		c.list = append(c.list, one)
	}
}

func (c *calls) take() []call {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := c.list
	c.list = nil
	return list
}

func (t *Traces) start(ctx context.Context, name string, at time.Time, about ...attribute.KeyValue) (context.Context, trace.Span) {
	return t.tracer.Start(ctx, name, trace.WithTimestamp(at), trace.WithAttributes(about...))
}

// known are pairs of name and value, without those that have none.
func known(pairs ...string) (list []attribute.KeyValue) {
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			list = append(list, attribute.String(pairs[i], pairs[i+1]))
		}
	}
	return list
}

// rootOf is the span of a whole rotation: its trace has the rotation's id, and it the random half of that. It is the same
// for every process.
func rootOf(rotation string) (trace.SpanContext, bool) {
	id, err := uuid.Parse(rotation)
	if err != nil {
		return trace.SpanContext{}, false
	}
	sc := trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID(id), SpanID: trace.SpanID(id[8:]), TraceFlags: trace.FlagsSampled, Remote: true,
	})
	return sc, sc.IsValid()
}

type rootKey struct{}

// ids gives a rotation's own span the id that its steps have named since it began.
type ids struct{}

// NewIDs implements sdk.IDGenerator: nothing but a rotation is without a parent.
func (g ids) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	root, _ := ctx.Value(rootKey{}).(trace.SpanContext)
	return root.TraceID(), root.SpanID()
}

// NewSpanID implements sdk.IDGenerator.
func (ids) NewSpanID(context.Context, trace.TraceID) (id trace.SpanID) {
	_, _ = rand.Read(id[:]) // it never fails: crypto/rand says so
	return id
}
