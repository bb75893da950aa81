package api

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os/user"
	"strconv"
	"syscall"
)

// peer is the key of the user id that speaks, in the context of a request.
type peer struct{}

// WithPeer is the ConnContext of a server of [Server.Control]: on a unix socket the kernel says which user speaks
// (SO_PEERCRED: whoever connected, also when another process writes now).
func WithPeer(ctx context.Context, conn net.Conn) context.Context {
	c, ok := conn.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return ctx
	}
	var who *syscall.Ucred
	var asked error
	if err := raw.Control(func(fd uintptr) {
		who, asked = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}); err != nil || asked != nil {
		return ctx
	}
	return context.WithValue(ctx, peer{}, int(who.Uid))
}

// origin says for the record where an order was given.
func origin(r *http.Request) string {
	if _, known := r.Context().Value(peer{}).(int); known {
		return "socket"
	}
	return "command line, no daemon"
}

// speaker says for the record who gives an order: the user as the kernel knows it, and the name that was said where
// that is another one (sudo, a shared account). Of a name that only the client vouches for, it says so.
func speaker(r *http.Request, said string) string {
	uid, known := r.Context().Value(peer{}).(int)
	if !known {
		return said + " (unverified)"
	}
	who := fmt.Sprintf("uid %d", uid)
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		if u.Username == said {
			return fmt.Sprintf("%s (%s)", said, who)
		}
		who = fmt.Sprintf("%s (%s)", u.Username, who)
	}
	if said == fmt.Sprintf("uid %d", uid) {
		return who
	}
	return who + ", said to be " + said
}
