package transport

import (
	"net/netip"
	"net/url"
)

// Private reports whether nobody on a network can listen in on what is sent to u: https, or http to this machine. Keys and
// tokens go nowhere else.
func Private(u *url.URL) bool {
	return u.Scheme == "https" || u.Scheme == "http" && Loopback(u.Hostname())
}

// Loopback reports whether host is this machine by its own words: no name is looked up.
func Loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
