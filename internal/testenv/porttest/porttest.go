// Package porttest finds TCP ports for servers that tests run as processes of their own, where port 0 will not do: the
// address is written into a configuration, or the server ends and begins again at the same one.
package porttest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"testing"
)

// lowest is above the ports that well-known servers have.
const lowest = 10_000

// Free returns an address on loopback at which nothing listens. Its port lies below those that the kernel hands out by
// itself, to every outgoing connection and to every listener at port 0: while the server is down nothing gets it by chance.
func Free(t testing.TB) (address string) {
	t.Helper()
	handedOut := 32_768 // the first, unless the machine says otherwise: ip(7)
	if text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		_, _ = fmt.Sscan(string(text), &handedOut)
	}
	for range 1000 {
		port := 0
		if handedOut > lowest {
			port = lowest + rand.IntN(handedOut-lowest)
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue // someone has it
		}
		address = l.Addr().String()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return address
	}
	t.Fatal("no port is free")
	return ""
}
