package replicas

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// proxy is between one replica and one server, and can break the line in three ways.
type proxy struct {
	l    net.Listener
	dial func() (net.Conn, error)

	mu     sync.Mutex
	cut    bool              // guarded by mu: connections are refused
	silent chan struct{}     // guarded by mu: not nil while nothing passes; closed when it passes again
	late   time.Duration     // guarded by mu: what the client sends arrives so much later, even when the client is gone by then
	conns  map[net.Conn]bool // guarded by mu
	bait   string            // guarded by mu: how the request begins that springs the trap
	trap   func()            // guarded by mu: called once, before that request goes through
}

func newProxy(t testing.TB, dial func() (net.Conn, error)) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{l: l, dial: dial, conns: make(map[net.Conn]bool)}
	go p.serve()
	t.Cleanup(func() {
		_ = l.Close()
		p.repair()
		p.setCut(true)
	})
	return p
}

func (p *proxy) address() string { return p.l.Addr().String() }

func (p *proxy) serve() {
	for {
		client, err := p.l.Accept()
		if err != nil {
			return
		}
		go p.join(client)
	}
}

// join connects both ends until one of them closes.
func (p *proxy) join(client net.Conn) {
	if !p.keep(client) {
		return
	}
	defer p.drop(client)
	p.pass()
	server, err := p.dial()
	if err != nil || !p.keep(server) {
		return
	}
	defer p.drop(server)
	var done sync.WaitGroup
	done.Go(func() { p.copy(server, client, true) })
	done.Go(func() { p.copy(client, server, false) })
	done.Wait()
}

// copy moves bytes one way. The end of one side closes the other.
func (p *proxy) copy(to, from net.Conn, fromClient bool) {
	defer func() {
		if fromClient {
			time.Sleep(p.lateness()) // what was sent before a client's end still has its effect
		}
		_ = to.Close()
	}()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		p.pass()
		if fromClient && n > 0 {
			p.spring(buffer[:n])
			time.Sleep(p.lateness())
		}
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// keep remembers a connection, or closes it while the line is cut.
func (p *proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut {
		_ = c.Close()
		return false
	}
	p.conns[c] = true
	return true
}

func (p *proxy) drop(c io.Closer) {
	_ = c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c.(net.Conn))
}

// pass waits while the line is silent.
func (p *proxy) pass() {
	p.mu.Lock()
	silent := p.silent
	p.mu.Unlock()
	if silent != nil {
		<-silent
	}
}

// How requests to make a key, and to prove one, begin.
const (
	create = "POST /auth/teams/"
	chat   = "POST /v1/chat/"
)

// spring calls the trap when the request that it waits for comes by.
func (p *proxy) spring(request []byte) {
	p.mu.Lock()
	trap := p.trap
	if trap == nil || !bytes.HasPrefix(request, []byte(p.bait)) {
		p.mu.Unlock()
		return
	}
	p.trap = nil
	p.mu.Unlock()
	trap()
}

// lay sets the trap for the next request that begins so; nil takes it away.
func (p *proxy) lay(bait string, trap func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bait, p.trap = bait, trap
}

func (p *proxy) lateness() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.late
}

// setCut breaks every connection, and refuses new ones, until it is called with false.
func (p *proxy) setCut(cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = cut
	if cut {
		for c := range p.conns {
			_ = c.Close()
		}
	}
}

// silence lets connections stand, and swallows what they carry until repair.
func (p *proxy) silence() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.silent == nil {
		p.silent = make(chan struct{})
	}
}

func (p *proxy) delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.late = d
}

// repair makes the line whole.
func (p *proxy) repair() {
	p.setCut(false)
	p.delay(0)
	p.lay("", nil)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.silent != nil {
		close(p.silent)
		p.silent = nil
	}
}
