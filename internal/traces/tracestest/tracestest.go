// Package tracestest is a collector for tests: it speaks OTLP over HTTP and keeps all that it is sent.
package tracestest

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Collector is safe for concurrent use.
type Collector struct {
	// URL is its base address.
	URL string

	mu      sync.Mutex
	status  int           // of the answers; guarded by mu, as all below
	body    string        // of the answers
	headers []http.Header // of requests taken or not
	raw     []byte        // the bodies of requests taken or not, one after the other
	spans   []*otlp.Span  // of requests taken
}

// New starts a collector that takes everything until the test ends.
func New(t testing.TB) *Collector {
	t.Helper()
	c := &Collector{status: http.StatusOK}
	server := httptest.NewServer(http.HandlerFunc(c.take))
	t.Cleanup(server.Close)
	c.URL = server.URL
	return c
}

// Answer makes it answer every request so from now on.
func (c *Collector) Answer(status int, body string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status, c.body = status, body
}

// Spans are those that it took, in the order they came.
func (c *Collector) Spans() []*otlp.Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*otlp.Span(nil), c.spans...)
}

// Heard is all that it was sent, taken or not: the headers, and the bodies one after the other.
func (c *Collector) Heard() (headers []http.Header, bodies []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]http.Header(nil), c.headers...), append([]byte(nil), c.raw...)
}

func (c *Collector) take(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var sent collector.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(body, &sent)
	}
	if err != nil || r.Method != http.MethodPost || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
		http.Error(w, fmt.Sprintf("%s %s %s: %v", r.Method, r.URL.Path, r.Header.Get("Content-Type"), err), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.headers, c.raw = append(c.headers, r.Header), append(c.raw, body...)
	if c.status == http.StatusOK {
		for _, resource := range sent.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				c.spans = append(c.spans, scope.Spans...)
			}
		}
	}
	w.WriteHeader(c.status)
	_, _ = io.WriteString(w, c.body) // a sender that is gone needs none
}

// Attributes are the texts that a span says of itself.
func Attributes(s *otlp.Span) map[string]string {
	texts := make(map[string]string, len(s.Attributes))
	for _, a := range s.Attributes {
		texts[a.Key] = a.Value.GetStringValue()
	}
	return texts
}
