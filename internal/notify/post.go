package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"syscall"
	"time"

	"rotator/internal/secret"
	"rotator/internal/transport"
)

// sendTime bounds one delivery.
const sendTime = 10 * time.Second

// poster posts JSON to receivers.
type poster struct {
	by http.RoundTripper
}

func newPoster(by http.RoundTripper) poster {
	if by == nil {
		by = ownTransport()
	}
	return poster{by}
}

// ownTransport keeps connections for all channels.
var ownTransport = sync.OnceValue(func() http.RoundTripper {
	own := transport.New()
	own.MaxResponseHeaderBytes = 64 << 10
	return own
})

// post sends a body. Its error never holds the URL, a credential or what was answered.
func (p poster) post(ctx context.Context, to *url.URL, body []byte, header http.Header) error {
	ctx, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	h := http.Header{"Content-Type": {"application/json"}, "User-Agent": {"rotator"}}
	for name, values := range header {
		h[name] = values
	}
	client := &http.Client{
		Transport: p.by,
		// A redirect would carry the message, and its signature, to a place that nobody configured.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	r := (&http.Request{Method: http.MethodPost, URL: to, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)), Header: h}).WithContext(ctx)
	a, err := client.Do(r)
	if err != nil {
		return errors.New(unreached(err))
	}
	_ = a.Body.Close() // what it says may quote the message or a credential
	if a.StatusCode < 200 || a.StatusCode > 299 {
		err := fmt.Errorf("the receiver answered with status %d", a.StatusCode)
		if after := retryAfter(a.Header.Get("Retry-After"), time.Now()); after > 0 {
			return &laterError{err, after}
		}
		return err
	}
	return nil
}

// retryAfter reads the header of that name, which is seconds or a date (RFC 9110, 10.2.3); 0: it says nothing. It is at most longPause.
func retryAfter(header string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(header, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(seconds, uint64(longPause/time.Second))) * time.Second // at most longPause, so no overflow
	}
	if at, err := http.ParseTime(header); err == nil {
		return min(at.Sub(now), longPause)
	}
	return 0
}

// postJSON is post for a value.
func (p poster) postJSON(ctx context.Context, to *url.URL, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return p.post(ctx, to, body, nil)
}

// laterError is a failure with the receiver's wish to be left alone for a while.
type laterError struct {
	error
	after time.Duration
}

func (e *laterError) Unwrap() error { return e.error }

// endpoint reads the address of a receiver, and checks it again each time it is read.
func endpoint(ctx context.Context, read func(context.Context) (secret.Text, error)) (*url.URL, error) {
	text, err := read(ctx)
	if err != nil {
		return nil, fmt.Errorf("its URL: %w", err)
	}
	u, err := transport.Endpoint(text.Reveal())
	if err != nil {
		return nil, fmt.Errorf("its URL %w", err)
	}
	return u, nil
}

// unreached says why a receiver could not be reached. The errors of net/http name the URL, and those of net the host.
func unreached(err error) string {
	var timeout interface{ Timeout() bool }
	var name *net.DNSError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &name):
		return "the receiver's name does not resolve"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "the receiver did not answer in time"
	case errors.As(err, &certificate):
		return "the receiver's certificate is not accepted"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the receiver refuses connections"
	}
	return "the receiver cannot be reached"
}
