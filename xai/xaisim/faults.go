package xaisim

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"
)

// When says what becomes of a faulted call's effect.
type When int

// When a fault strikes.
const (
	Before When = iota // there is none: it failed on the way there
	After              // it is there, only the answer is lost or wrong
	Late               // it comes Delay after the answer was lost
)

// Kind says what the client gets instead of an answer.
type Kind int

// The kinds of faults.
const (
	Reset       Kind = iota + 1 // the connection breaks
	Timeout                     // nothing, until the client gives up
	Status                      // Fault.Status, Body and ContentType
	HalfBody                    // the first half of the answer, then the connection breaks
	Garbage                     // 200 and bytes that are not JSON
	HugeBody                    // 200 and 1 GiB
	EmptyObject                 // 200 {}
	Rewrite                     // the answer after Fault.Rewrite has changed it; only with After
)

// Fault is one way in which calls go wrong. Of several that match a call, the first injected counts.
type Fault struct {
	Call  string // Call.Op, or enable, disable, limits or rename for such an update; "" is any
	Skip  int    // so many matching calls go well first
	Count int    // then so many go wrong; 0 is one, negative all
	When  When
	Delay time.Duration // of Late
	Kind  Kind

	Status      int // 0: 503
	Body        string
	ContentType string        // "": text/html when Body begins with <, application/json when with {, else text/plain
	RetryAfter  time.Duration // sent as a header in whole seconds; 0: no header
	Rewrite     func(object map[string]any)
}

// Inject adds faults.
func (s *Sim) Inject(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range faults {
		if f.Count == 0 {
			f.Count = 1
		}
		s.faults = append(s.faults, &f)
	}
}

// ClearFaults ends all faults. Effects that are on their way still land.
func (s *Sim) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// nextFault returns the fault that this call meets, and counts it.
func (s *Sim) nextFault(op, kind string) *Fault {
	for _, f := range s.faults {
		switch {
		case f.Call != "" && f.Call != op && f.Call != kind, f.Count == 0:
		case f.Skip > 0:
			f.Skip--
		default:
			if f.Count > 0 {
				f.Count--
			}
			return f
		}
	}
	return nil
}

// spoil turns the true answer into what the client gets.
func (f *Fault) spoil(a answer) answer {
	switch f.Kind {
	case Reset, Timeout:
		return answer{wire: f.Kind}
	case HalfBody:
		if a.status == 0 {
			a = ok(map[string]any{"apiKeyId": ""})
		}
		a.wire = HalfBody
		return a
	case Garbage:
		return answer{status: http.StatusOK, contentType: "application/json", body: []byte("\x00\xff{\"apiKey\":")}
	case HugeBody:
		return answer{status: http.StatusOK, contentType: "application/json", wire: HugeBody}
	case EmptyObject:
		return ok(map[string]any{})
	case Rewrite:
		return rewritten(a, f.Rewrite)
	}
	return f.answer()
}

func (f *Fault) answer() answer {
	a := answer{status: f.Status, contentType: f.ContentType, body: []byte(f.Body), retryAfter: f.RetryAfter}
	if a.status == 0 {
		a.status = http.StatusServiceUnavailable
	}
	if a.contentType == "" {
		a.contentType = "text/plain; charset=utf-8"
		switch {
		case strings.HasPrefix(f.Body, "<"):
			a.contentType = "text/html"
		case strings.HasPrefix(f.Body, "{"):
			a.contentType = "application/json"
		}
	}
	return a
}

// rewritten changes a success; refusals stay true.
func rewritten(a answer, change func(map[string]any)) answer {
	var o map[string]any
	if a.status != http.StatusOK || json.Unmarshal(a.body, &o) != nil {
		return a
	}
	change(o)
	return ok(o)
}

// Lie is a fault that has the effect and changes fields of its answer, count times (negative: always).
func Lie(call string, count int, change func(object map[string]any)) Fault {
	return Fault{Call: call, Count: count, When: After, Kind: Rewrite, Rewrite: change}
}

// LieOtherKey makes whoami name another key.
func LieOtherKey(count int, id string) Fault {
	return Lie("whoami", count, func(o map[string]any) { o["api_key_id"] = id })
}

// LieNotPropagated makes propagation say that no cluster knows the key, also after it said otherwise.
func LieNotPropagated(count int) Fault {
	return Lie("propagation", count, func(o map[string]any) {
		for cluster := range o["icPropagation"].(map[string]any) {
			o["icPropagation"].(map[string]any)[cluster] = false
		}
	})
}

// LieSameCursor makes every page of a list point to the first one as its next.
func LieSameCursor(count int) Fault {
	return Lie("list", count, func(o map[string]any) { o["paginationToken"] = "AAAAAAAAAAA" })
}

// LieWithout drops a field of the answer, such as the apiKeyId or the apiKey of a create.
func LieWithout(call string, count int, field string) Fault {
	return Lie(call, count, func(o map[string]any) { delete(o, field) })
}

// huge is a JSON text of 1 GiB that no one should read to its end.
func huge() io.Reader {
	return io.MultiReader(strings.NewReader(`{"name":"`), io.LimitReader(sea(bytes.Repeat([]byte("x"), 1<<15)), 1<<30), strings.NewReader(`"}`))
}

// sea is its text without end.
type sea []byte

func (s sea) Read(p []byte) (int, error) { return copy(p, s), nil }
