package vaulttest

import (
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// Proxy is between a client and the server, to see what is asked and to break it.
type Proxy struct {
	Address string

	forward http.Handler

	mu     sync.Mutex
	seen   []Request // guarded by mu
	faults []*armed  // guarded by mu
}

// Request is what the proxy saw of one call.
type Request struct {
	Method string
	Path   string // decoded, with the leading /v1/
	Query  url.Values
	Header http.Header
}

// Fault answers a call in place of the server, or beside it: forward lets the server have it.
type Fault func(w http.ResponseWriter, r *http.Request, forward http.Handler)

// armed is a fault that waits for its calls.
type armed struct {
	match func(*http.Request) bool
	left  int // negative: forever
	fault Fault
}

// Proxy starts a proxy to the server that lives until the test ends.
func (s *Server) Proxy(t testing.TB) *Proxy {
	t.Helper()
	p := s.newProxy(t)
	front := httptest.NewServer(p)
	t.Cleanup(front.Close)
	p.Address = front.URL
	return p
}

// TLS is [Server.Proxy] behind https, with certificates of its own; where clientCert is set, it insists on the client's.
func (s *Server) TLS(t testing.TB, clientCert bool) (*Proxy, Certificates) {
	t.Helper()
	p := s.newProxy(t)
	certificates, server := newCertificates(t)
	front := httptest.NewUnstartedServer(p)
	front.TLS = &tls.Config{Certificates: []tls.Certificate{server}, MinVersion: tls.VersionTLS12}
	if clientCert {
		front.TLS.ClientAuth, front.TLS.ClientCAs = tls.RequireAndVerifyClientCert, certificates.pool
	}
	front.Config.ErrorLog = discard
	front.StartTLS()
	t.Cleanup(front.Close)
	p.Address = front.URL
	return p, certificates
}

func (s *Server) newProxy(t testing.TB) *Proxy {
	t.Helper()
	target, err := url.Parse(s.Address)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &Proxy{forward: &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: transport,
		ErrorLog:  discard, // a client that gives up is no news
	}}
}

// Inject arms a fault for the next times calls that match (0: for every one, until Clear). Of several armed faults that
// match the first one takes the call. Match may be nil for every call; it must not read the body.
func (p *Proxy) Inject(times int, match func(*http.Request) bool, fault Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if times == 0 {
		times = -1
	}
	p.faults = append(p.faults, &armed{match: match, left: times, fault: fault})
}

// Clear disarms all faults.
func (p *Proxy) Clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = nil
}

// Seen returns the calls since the proxy was started or Seen was called last.
func (p *Proxy) Seen() []Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	seen := p.seen
	p.seen = nil
	return seen
}

// ServeHTTP implements http.Handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if fault := p.next(r); fault != nil {
		fault(w, r, p.forward)
		return
	}
	p.forward.ServeHTTP(w, r)
}

// next notes the call and returns the fault that is due, or nil.
func (p *Proxy) next(r *http.Request) Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen = append(p.seen, Request{Method: r.Method, Path: r.URL.Path, Query: r.URL.Query(), Header: r.Header.Clone()})
	for _, f := range p.faults {
		if f.left != 0 && (f.match == nil || f.match(r)) {
			f.left--
			return f.fault
		}
	}
	return nil
}

// Drop closes the connection before the server hears of the call.
func Drop() Fault {
	return func(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) }
}

// Lose lets the call have its effect and closes the connection in place of the answer.
func Lose() Fault {
	return func(_ http.ResponseWriter, r *http.Request, forward http.Handler) {
		forward.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	}
}

// Delay holds the call back for d, or until the client gives up: then the server never hears of it.
func Delay(d time.Duration) Fault {
	return func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		// Until the body is read, net/http does not notice that the client has gone.
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		select {
		case <-time.After(d):
			forward.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	}
}

// Answer gives an answer of its own; the server never hears of the call.
func Answer(status int, body string) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "application/json")
		if strings.HasPrefix(body, "<") {
			w.Header().Set("Content-Type", "text/html")
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

// Before runs human and then lets the call pass: what another writer did just before it.
func Before(human func()) Fault {
	return func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		human()
		forward.ServeHTTP(w, r)
	}
}

// Calls matches by method and by what the path contains; an empty text matches all.
func Calls(method, path string) func(*http.Request) bool {
	return func(r *http.Request) bool {
		return (method == "" || r.Method == method) && strings.Contains(r.URL.Path, path)
	}
}
