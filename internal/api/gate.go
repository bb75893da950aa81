package api

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"time"

	"rotator/internal/transport"
	"rotator/rotation/journal"
)

// Past is the journal as the public history reads it. The methods are those of [journal.Reader].
type Past interface {
	Summaries(ctx context.Context, policies ...string) ([]journal.Summary, error)
	Rotations(ctx context.Context, policy string, limit int) ([]journal.Rotation, error)
}

// How many public requests of a kind are worked on at a time: a caller that asks often must not take the processors or the journal
// from the rotations.
const (
	viewsAtOnce   = 2 // the page and the status: no more than are needed to fill two processors
	historyAtOnce = 2
	scrapesAtOnce = 2

	gateWait = 5 * time.Second // how long a request waits for its turn
	maxHeld  = 1 << 20         // of an answer that is written after its turn, in bytes
	slowRead = 10 * time.Second
)

// gate lets few requests of a kind be worked on at a time. The others wait, and are refused (503) after a while. A reader
// that is slow keeps no caller waiting: an answer is kept in memory, and written after its turn, unless it is large.
type gate chan struct{}

func newGate(n int) gate { return make(gate, n) }

// limit is next behind the gate.
func (g gate) limit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		patience := time.NewTimer(gateWait)
		defer patience.Stop()
		select {
		case g <- struct{}{}:
		case <-r.Context().Done():
			return
		case <-patience.C:
			w.Header().Set("Retry-After", "1")
			http.Error(w, "busy: too many ask at the same time; ask again", http.StatusServiceUnavailable)
			return
		}
		h := &held{ResponseWriter: w}
		func() {
			defer func() { <-g }() // also when next panics
			next.ServeHTTP(h, r)
		}()
		h.send()
	})
}

// held is an answer that is written when it is whole.
type held struct {
	http.ResponseWriter
	code int
	body bytes.Buffer
	sent bool
}

// WriteHeader implements http.ResponseWriter.
func (h *held) WriteHeader(code int) {
	if h.code == 0 {
		h.code = code
	}
}

// Write implements http.ResponseWriter.
func (h *held) Write(p []byte) (int, error) {
	if !h.sent && h.body.Len()+len(p) > maxHeld {
		// It is too large to keep, so that its turn lasts until it was read: not for long.
		_ = http.NewResponseController(h.ResponseWriter).SetWriteDeadline(time.Now().Add(slowRead)) // a recorder in a test has none
		h.send()
	}
	if h.sent {
		return h.ResponseWriter.Write(p)
	}
	return h.body.Write(p)
}

func (h *held) send() {
	if h.sent {
		return
	}
	h.sent = true
	if h.code != 0 {
		h.ResponseWriter.WriteHeader(h.code)
	}
	_, _ = h.body.WriteTo(h.ResponseWriter) // whoever asked may be gone
}

// noLogin is the answer to those who ask from another machine for more than metrics and health.
const noLogin = "this is answered on loopback only, since there is no login: use the rotator command, or forward the port (ssh -L, kubectl port-forward)"

// nearby serves next to this machine alone: both ends of the connection are loopback addresses. A request without a
// connection comes from this process.
func nearby(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		local, connected := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
		if connected && !(onLoopback(local.String()) && onLoopback(r.RemoteAddr)) {
			http.Error(w, noLogin, http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func onLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && transport.Loopback(host)
}
