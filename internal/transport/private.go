package transport

import (
	"errors"
	"net/netip"
	"net/url"
	"strings"
)

// What can be wrong with the address of a server that keys, tokens or signatures are sent to. None of these errors quotes the
// address: it may hold a password.
var (
	errNoURL     = errors.New("is no absolute URL")
	errUser      = errors.New("holds a user or a password")
	errQuery     = errors.New("has a query or a fragment")
	errNotSecure = errors.New("is not https")
)

// Address checks the address of a server, for every client there is: xAI, stores, the webhook and traces. It is an absolute
// URL without user, query and fragment, and nothing on a network can listen in (see Private). The error completes a sentence
// that begins with what the address is for.
func Address(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "": // the parser's own error quotes the address
		return nil, errNoURL
	case u.User != nil:
		return nil, errUser
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Contains(address, "#"):
		return nil, errQuery
	case !Private(u):
		return nil, errNotSecure
	}
	return u, nil
}

// Endpoint is Address for a URL that is called as it is and may hold a credential: a user with a password, or a query.
func Endpoint(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "":
		return nil, errNoURL
	case !Private(u):
		return nil, errNotSecure
	}
	return u, nil
}

// Private reports whether nothing on a network can listen in on what is sent to u: https, or http to this machine. Keys and
// tokens go nowhere else.
func Private(u *url.URL) bool {
	return u.Scheme == "https" || u.Scheme == "http" && Loopback(u.Hostname())
}

// Loopback reports whether host is this machine by its own words: no name is looked up.
func Loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
