// Package blackhole shows what an HTTP client does about a connection whose other end has vanished without a word: a
// firewall forgot it, a machine lost its power. Over HTTP/2 all calls share one connection, and each of them that runs
// into its time limit leaves it in use: without pings a client calls into it until the kernel gives up, which takes Linux
// a quarter of an hour.
package blackhole

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Escaped calls a server over HTTP/2 by tr, lets everything on that connection vanish, and goes on calling, five seconds
// for each call. It returns how long it took until one was answered again, and fails the test after two minutes. No time
// passes: the clock is synctest's.
func Escaped(t *testing.T, tr *http.Transport) (after time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		done := make(chan struct{})
		l := &listener{conns: make(chan net.Conn), done: done, shut: sync.OnceFunc(func() { close(done) })}
		server := &httptest.Server{Listener: l, EnableHTTP2: true, Config: &http.Server{
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) }),
		}}
		server.StartTLS()
		defer server.Close()
		own := server.Client().Transport.(*http.Transport)
		tr.Proxy, tr.DialContext = nil, l.dial
		tr.TLSClientConfig.RootCAs, tr.TLSClientConfig.ServerName = own.TLSClientConfig.RootCAs, "example.com"
		defer tr.CloseIdleConnections()
		client := &http.Client{Transport: tr, Timeout: 5 * time.Second}
		call := func() (string, error) {
			answer, err := client.Get(server.URL)
			if err != nil {
				return "", err
			}
			defer func() { _ = answer.Body.Close() }()
			body, err := io.ReadAll(answer.Body)
			return string(body), err
		}
		if proto, err := call(); err != nil || proto != "HTTP/2.0" {
			t.Fatalf("the first call: %s, %v", proto, err)
		}
		l.last.Load().silent.Store(true)
		for begun := time.Now(); ; {
			_, err := call()
			if after = time.Since(begun); err == nil {
				return
			}
			if after > 2*time.Minute {
				t.Fatalf("%v later calls still go into the dead connection: %v", after, err)
			}
		}
	})
	return after
}

// listener is a network of its own.
type listener struct {
	conns chan net.Conn
	done  chan struct{} // closed by shut
	shut  func()
	last  atomic.Pointer[conn] // what was dialed last
}

func (l *listener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case l.conns <- far:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	c := &conn{Conn: near}
	l.last.Store(c)
	return c, nil
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *listener) Close() error {
	l.shut()
	return nil
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 443} }

// conn is the client's end of a connection. Once it is silent, what is written to it vanishes, so that nothing comes back.
type conn struct {
	net.Conn
	silent atomic.Bool
}

// Write implements net.Conn.
func (c *conn) Write(p []byte) (int, error) {
	if c.silent.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}
