// Package guard asks, at the last possible moment, whether a change may still be sent.
//
// A process can freeze between the check of its lease and the write. Its context therefore carries the check, and every
// client that changes something outside asks it again right before the bytes leave: in the transport of an HTTP client,
// and right before a file is renamed. Reads never ask.
package guard

import (
	"context"
	"net/http"
)

type key struct{}

// With returns a context whose changes are allowed only while check returns nil. The error of check ends the call; it says
// for certain that nothing was sent.
func With(ctx context.Context, check func() error) context.Context {
	return context.WithValue(ctx, key{}, check)
}

// Check asks the check that ctx carries. nil: there is none, or the change may be sent.
func Check(ctx context.Context) error {
	if check, ok := ctx.Value(key{}).(func() error); ok {
		return check()
	}
	return nil
}

// Transport returns a round tripper that asks the context's check before it passes on a request that may change
// something: one with any method but GET, HEAD, OPTIONS, and LIST (which Vault has).
func Transport(next http.RoundTripper) http.RoundTripper { return transport{next} }

type transport struct{ next http.RoundTripper }

// CloseIdleConnections closes the idle connections of the round tripper behind t. [http.Client.CloseIdleConnections]
// calls it.
func (t transport) CloseIdleConnections() { CloseIdle(t.next) }

// CloseIdle closes the idle connections of rt, if it keeps any.
func CloseIdle(rt http.RoundTripper) {
	if idler, ok := rt.(interface{ CloseIdleConnections() }); ok {
		idler.CloseIdleConnections()
	}
}

// RoundTrip implements http.RoundTripper.
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	switch r.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, "LIST":
	default:
		if err := Check(r.Context()); err != nil {
			if r.Body != nil {
				_ = r.Body.Close() // the contract of RoundTripper: also on errors
			}
			return nil, err
		}
	}
	return t.next.RoundTrip(r)
}
