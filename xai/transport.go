package xai

import (
	"context"
	"crypto/tls"
	"net/http"
	"strings"
	"time"

	"rotator/internal/guard"
	"rotator/internal/transport"
)

// httpClient returns a client that never follows a redirect and keeps no cookies, over base's transport or our own.
func httpClient(base *http.Client, files TLSFiles) *http.Client {
	var rt http.RoundTripper
	if base != nil {
		rt = base.Transport
	}
	switch {
	case rt != nil:
	case files != TLSFiles{}:
		rt = &filesTransport{files: files}
	default:
		rt = newTransport()
	}
	return &http.Client{
		Transport:     guard.Transport(rt),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// newTransport keeps connections for bursts of rotations, and not long: the sooner an idle one is dropped, the rarer a
// create meets a connection that the other end has just closed.
func newTransport() *http.Transport {
	t := transport.New()
	t.MaxIdleConns, t.MaxIdleConnsPerHost, t.IdleConnTimeout = 128, 64, 30*time.Second
	t.MaxResponseHeaderBytes = 64 << 10
	return t
}

// stoppedError is the error of a context's guard: the change was certainly not sent.
type stoppedError struct{ why error }

func (e *stoppedError) Error() string { return e.why.Error() }

// guarded returns ctx with its guard's error marked, so that it is known again behind net/http's.
func guarded(ctx context.Context) context.Context {
	return guard.With(ctx, func() error {
		if err := guard.Check(ctx); err != nil {
			return &stoppedError{err}
		}
		return nil
	})
}

// refusedHandshake reports whether the text of an error says that the other end wants a client certificate, or another
// one; crypto/tls has no type for it.
func refusedHandshake(text string) bool {
	return strings.Contains(text, "remote error: tls: certificate required") || strings.Contains(text, "remote error: tls: bad certificate")
}

// certificate reports whether err says that we did not trust the other end, before any request was sent.
func certificate(err error) bool { return asType[*tls.CertificateVerificationError](err) }

// sleep waits for d or until ctx ends, and then returns its error.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
