package e2e

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	otlp "go.opentelemetry.io/proto/otlp/trace/v1"

	"rotator/internal/api"
	"rotator/internal/traces/tracestest"
	"rotator/rotation/journal"
	"rotator/xai/xaisim"
)

// TestTrace: a rotation whose process is killed in the middle and started again is one trace, that of the rotation's id.
// Each step is below the rotation, and each call below a step.
func TestTrace(t *testing.T) {
	t.Parallel()
	p := newParts(t, xaisim.Options{Propagation: func(*rand.Rand) time.Duration { return 2 * time.Second }}) // the middle, in which it is killed
	collector := tracestest.New(t)
	d := newDaemon(t, p, "watch: 1s, quarantine: 2s", p.fileStore()+fmt.Sprintf("traces: {endpoint: %q}\n", collector.URL))
	d.complain(t)
	p.write(t, "policies/chat.yaml", `name: chat
team: research
schedule: "@every 720h"
key: {acls: `+acls+`}
targets: [{store: local, path: chat}]
adopt: true
retire: {overlap: 1s, soak: 1s}
`)
	_, old := p.sim.AddKey(team, "made by hand", "api-key:model:grok-4", "api-key:endpoint:chat") // for which the rotation waits
	p.write(t, "secrets/chat", old.Reveal())
	running := d.start(t)
	eventually(t, "a rotation is ordered", func() bool {
		_, err := d.client().Place(t.Context(), api.OrderRequest{Policy: "chat", Kind: string(journal.OrderRotate), Trigger: string(journal.ByHand), By: "tester"})
		return err == nil
	})
	eventually(t, "the first steps are told", func() bool { return named(collector.Spans(), "staged") != nil })
	running.kill()
	killed := len(collector.Spans())
	running = d.start(t)
	eventually(t, "the rotation is over", func() bool {
		rows, err := d.client().History(t.Context(), "chat", 1)
		return err == nil && len(rows) == 1 && rows[0].Ended != nil
	})
	rows, err := d.client().History(t.Context(), "chat", 1)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the whole rotation is told", func() bool { return named(collector.Spans(), "rotation") != nil })
	running.terminate(t)

	spans := collector.Spans()
	whole := named(spans, "rotation")
	byID := make(map[string]*otlp.Span)
	for _, s := range spans {
		byID[hex.EncodeToString(s.SpanId)] = s
		if got, want := hex.EncodeToString(s.TraceId), strings.ReplaceAll(rows[0].Rotation, "-", ""); got != want {
			t.Errorf("%s is of the trace %s, want %s", s.Name, got, want)
		}
	}
	calls := 0
	for i, s := range spans {
		parent := byID[hex.EncodeToString(s.ParentSpanId)]
		switch call := strings.Contains(s.Name, " "); {
		case s == whole, call && parent == nil && i < killed: // the step in hand died with the process
		case parent == nil:
			t.Errorf("what %s belongs to was never told", s.Name)
		case call:
			calls++
			if parent == whole || strings.Contains(parent.Name, " ") {
				t.Errorf("the call %s is below %s", s.Name, parent.Name)
			}
		case parent != whole:
			t.Errorf("the step %s is below %s", s.Name, parent.Name)
		}
	}
	for _, name := range []string{"begin", "staged", "verified", "xai create", "local stage", "local promote"} {
		if named(spans, name) == nil {
			t.Errorf("there is no span %q", name)
		}
	}
	t.Logf("%d spans, %d of them calls", len(spans), calls)
}

func named(spans []*otlp.Span, name string) *otlp.Span {
	for _, s := range spans {
		if s.Name == name {
			return s
		}
	}
	return nil
}
