package api_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"rotator/internal/api"
	"rotator/rotation/journal"
)

// slowPast is a journal that takes its time with the history.
type slowPast struct {
	journal.Journal
	takes       time.Duration
	asked, most atomic.Int64
	mu          sync.Mutex
}

func (s *slowPast) Rotations(ctx context.Context, _ string, _ int) ([]journal.Rotation, error) {
	now := s.asked.Add(1)
	defer s.asked.Add(-1)
	s.mu.Lock()
	s.most.Store(max(s.most.Load(), now))
	s.mu.Unlock()
	select {
	case <-time.After(s.takes):
	case <-ctx.Done():
	}
	return nil, nil
}

// TestHistoryIsReadByFew: 200 who ask for the history at the same time are few for the journal, which is not the one that
// rotations use. Metrics, health and the page answer meanwhile, and who waited too long gets an error.
func TestHistoryIsReadByFew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		d.office()
		past := &slowPast{takes: time.Second}
		public := d.server.Public(past)
		get := func(path string) *httptest.ResponseRecorder {
			w := httptest.NewRecorder()
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
			r.Host = "localhost"
			public.ServeHTTP(w, r)
			return w
		}
		var all sync.WaitGroup
		var good, busy atomic.Int64
		for range 200 {
			all.Go(func() {
				switch w := get("/api/v1/history"); {
				case w.Code == http.StatusOK:
					good.Add(1)
				case w.Code == http.StatusServiceUnavailable && w.Header().Get("Retry-After") != "" && strings.Contains(w.Body.String(), "ask again"):
					busy.Add(1)
				default:
					t.Errorf("status %d: %s", w.Code, w.Body)
				}
			})
		}
		synctest.Wait()
		began := time.Now()
		for _, path := range []string{"/", "/metrics", "/api/v1/status"} {
			if w := get(path); w.Code != http.StatusOK {
				t.Errorf("%s answers %d", path, w.Code)
			}
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("they took %s", took)
		}
		all.Wait()
		if past.most.Load() > 4 || good.Load() == 0 || good.Load()+busy.Load() != 200 || busy.Load() == 0 {
			t.Errorf("%d at once, %d answers, %d refusals", past.most.Load(), good.Load(), busy.Load())
		}
	})
}

// slowReader reads an answer only when it is let to.
type slowReader struct {
	httptest.ResponseRecorder
	let chan struct{}
}

func (s *slowReader) Write(p []byte) (int, error) {
	<-s.let
	return s.ResponseRecorder.Write(p)
}

// TestSlowReadersKeepNobodyWaiting: an answer that is not read takes no turn from others.
func TestSlowReadersKeepNobodyWaiting(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.office()
	public := d.server.Public(nil)
	let := make(chan struct{})
	var reading sync.WaitGroup
	for _, path := range []string{"/metrics", "/", "/api/v1/status", "/api/v1/history"} {
		request := func() *http.Request {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
			r.Host = "localhost"
			return r
		}
		for range 20 {
			reading.Go(func() { public.ServeHTTP(&slowReader{*httptest.NewRecorder(), let}, request()) })
		}
		w := httptest.NewRecorder()
		public.ServeHTTP(w, request())
		if w.Code != http.StatusOK || w.Body.Len() == 0 {
			t.Errorf("%s answers %d", path, w.Code)
		}
	}
	close(let)
	reading.Wait()
}

// TestBeyondLoopback: other machines get metrics and health, since there is no login.
func TestBeyondLoopback(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.office()
	tcp := func(address string) net.Addr {
		a, err := net.ResolveTCPAddr("tcp", address)
		d.ok(err)
		return a
	}
	for _, c := range []struct {
		local, remote string
		near          bool
	}{
		{"127.0.0.1:8420", "127.0.0.1:5000", true},
		{"[::1]:8420", "[::1]:5000", true},
		{"127.0.0.1:8420", "127.0.0.6:5000", true},
		{"10.0.0.7:8420", "10.0.0.9:5000", false},
		{"10.0.0.7:8420", "10.0.0.7:5000", false},
		{"10.0.0.7:8420", "127.0.0.6:5000", false}, // a proxy beside it, for another machine
		{"127.0.0.1:8420", "10.0.0.9:5000", false},
		{"[fe80::1%eth0]:8420", "[fe80::2%eth0]:5000", false},
	} {
		for _, path := range append(publicPaths, "/api/v2/x", "/api/v1/events") {
			always := path == "/metrics" || path == "/healthz" || path == "/readyz"
			w := httptest.NewRecorder()
			ctx := context.WithValue(t.Context(), http.LocalAddrContextKey, tcp(c.local))
			r := httptest.NewRequestWithContext(ctx, http.MethodGet, path, nil)
			r.Host, r.RemoteAddr = "10.0.0.7:8420", c.remote
			d.server.Public(nil).ServeHTTP(w, r)
			refused := w.Code == http.StatusForbidden && strings.Contains(w.Body.String(), "on loopback only, since there is no login") && strings.Count(w.Body.String(), "\n") == 1
			if refused != (!c.near && !always) {
				t.Errorf("%s from %s at %s: status %d: %s", path, c.remote, c.local, w.Code, w.Body)
			}
		}
	}
}

var _ api.Past = (*slowPast)(nil)
