package traces

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
)

// problem is why a request was not taken, in words of ours: neither the collector's answer nor an error of net/http, which
// may quote a proxy's password, is ever shown.
type problem struct {
	what  string
	again bool // the same may be taken in a moment
}

func (p *problem) Error() string { return p.what }

// Temporary is how the exporter asks whether to try again.
func (p *problem) Temporary() bool { return p.again }

// problemOf is the problem in err.
func problemOf(err error) string {
	if p, ok := errors.AsType[*problem](err); ok {
		return p.what
	}
	return "not sent in time"
}

// transport adds the headers, and lets nothing of an answer through but its status.
type transport struct {
	base      http.RoundTripper
	authorize func(context.Context, http.Header) error
}

func newTransport(base http.RoundTripper, authorize func(context.Context, http.Header) error) *transport {
	if base == nil {
		own := http.DefaultTransport.(*http.Transport).Clone()
		own.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		base = own
	}
	if authorize == nil {
		authorize = func(context.Context, http.Header) error { return nil }
	}
	return &transport{base, authorize}
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if err := t.authorize(r.Context(), r.Header); err != nil {
		return nil, &problem{what: err.Error()}
	}
	answer, err := t.base.RoundTrip(r)
	if err != nil {
		return nil, &problem{unreachable(err), true}
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 64<<10)) // so that the connection can be kept
	_ = answer.Body.Close()
	answer.Body = http.NoBody
	switch s := answer.StatusCode; {
	case s/100 == 2:
		return answer, nil
	case s == http.StatusTooManyRequests, s == http.StatusBadGateway, s == http.StatusServiceUnavailable, s == http.StatusGatewayTimeout:
		return nil, &problem{fmt.Sprintf("status %d", s), true}
	default:
		return nil, &problem{fmt.Sprintf("status %d", s), false}
	}
}

// unreachable says in a word why there was no answer.
func unreachable(err error) string {
	var timeout net.Error
	switch {
	case is[*net.DNSError](err):
		return "its name is not known"
	case is[*tls.CertificateVerificationError](err):
		return "its certificate is not trusted"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time"
	case is[*net.OpError](err):
		return "no connection"
	}
	return "no answer"
}

func is[T error](err error) bool {
	_, ok := errors.AsType[T](err)
	return ok
}
