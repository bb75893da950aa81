package app

import (
	"container/list"
	"context"
	"net"
	"net/http"
	"sync"
	"syscall"

	"rotator/internal/api"
)

// door is a listener with a bounded number of connections, so that those who only connect leave file descriptors to the
// rotations. A client that comes when it is full is let in anyway, and the connection that has asked nothing for the longest
// time is closed: a probe is answered also while thousands hold connections open.
type door struct {
	net.Listener
	most int
	// patient: no connection is closed while a request on it is worked on. Later clients are refused.
	patient bool

	mu     sync.Mutex
	guests *list.List // of *guest, guarded by mu: the one that was quiet for the longest time first
}

// guest is a connection through a door.
type guest struct {
	net.Conn
	door    *door
	place   *list.Element // guarded by door.mu; nil: closed
	working int           // guarded by door.mu: requests that are worked on
}

func newDoor(l net.Listener, most int, patient bool) *door {
	return &door{Listener: l, most: most, patient: patient, guests: list.New()}
}

// Accept implements net.Listener.
func (d *door) Accept() (net.Conn, error) {
	for {
		c, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		g := &guest{Conn: c, door: d}
		victim, in := d.enter(g)
		if victim != nil {
			_ = victim.Conn.Close() // nothing waits for what it has to say
		}
		if in {
			return g, nil
		}
		_ = c.Close()
	}
}

// enter lets a connection in, and names the one that goes for it.
func (d *door) enter(g *guest) (victim *guest, in bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.guests.Len() >= d.most {
		if victim = d.quietest(); victim == nil {
			return nil, false
		}
		victim.leave()
	}
	g.place = d.guests.PushBack(g)
	return victim, true
}

// quietest is the connection that is closed for another one. d.mu is held.
func (d *door) quietest() *guest {
	for e := d.guests.Front(); e != nil; e = e.Next() {
		if g := e.Value.(*guest); g.working == 0 {
			return g
		}
	}
	if d.patient {
		return nil
	}
	return d.guests.Front().Value.(*guest) // it has been read for the longest time
}

// leave gives the place away. door.mu is held.
func (g *guest) leave() {
	if g.place != nil {
		g.door.guests.Remove(g.place)
		g.place = nil
	}
}

// Close implements net.Conn.
func (g *guest) Close() error {
	g.door.mu.Lock()
	g.leave()
	g.door.mu.Unlock()
	return g.Conn.Close()
}

// work says that a request begins (1) or ends (-1).
func (g *guest) work(n int) {
	g.door.mu.Lock()
	defer g.door.mu.Unlock()
	g.working += n
	if g.place != nil {
		g.door.guests.MoveToBack(g.place)
	}
}

// guestKey is the key of a request's *guest in its context.
type guestKey struct{}

// withGuest is the ConnContext of a server behind a door. TLS may lie over the connection.
func withGuest(ctx context.Context, c net.Conn) context.Context {
	for {
		if g, ok := c.(*guest); ok {
			return api.WithPeer(context.WithValue(ctx, guestKey{}, g), g.Conn)
		}
		over, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return api.WithPeer(ctx, c)
		}
		c = over.NetConn()
	}
}

// atWork tells the door which connections have requests that are worked on.
func atWork(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g, ok := r.Context().Value(guestKey{}).(*guest); ok {
			g.work(1)
			defer g.work(-1)
		}
		next.ServeHTTP(w, r)
	})
}

// doorSize is how many connections a door of this process may hold: a quarter of its file descriptors, and at most 1024,
// which take some 20 MB. The rest is the rotations': of stores, of xAI and of the journal. The more there are, the longer a
// new one has to say what it wants while thousands come each second.
func doorSize() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 32
	}
	return int(max(8, min(1024, limit.Cur/4))) // it is small
}
