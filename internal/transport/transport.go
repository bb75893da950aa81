// Package transport makes the connections to xAI and to the stores: what every client wants of them is here once.
package transport

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"
)

const (
	dialing = 10 * time.Second // of a connection, and again of its TLS handshake
	silence = 15 * time.Second // until a connection without a word is asked for one, and again until it is given up
)

// New returns a transport that its caller may change before it is used: TLS 1.2 or later, HTTP/2 where the server has it,
// the environment's proxy (never for loopback), and all that Harden gives.
func New() *http.Transport {
	t := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: dialing}).DialContext,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: dialing,
		ForceAttemptHTTP2:   true,
		IdleConnTimeout:     time.Minute,
	}
	Harden(t)
	return t
}

// Harden has a transport find out about connections that died without a word: all calls share one HTTP/2 connection, and
// none of them closes it when its time is out. A proxy that lets nothing through becomes a *net.OpError of "proxyconnect",
// like one that cannot be reached: the request was certainly not sent.
func Harden(t *http.Transport) {
	t.HTTP2 = &http.HTTP2Config{SendPingTimeout: silence, PingTimeout: silence}
	t.OnProxyConnectResponse = func(_ context.Context, _ *url.URL, _ *http.Request, answer *http.Response) error {
		if answer.StatusCode == http.StatusOK {
			return nil
		}
		// By the status alone: the proxy's own words may be anything.
		return &net.OpError{Op: "proxyconnect", Net: "tcp", Err: fmt.Errorf("the proxy answers %d %s", answer.StatusCode, http.StatusText(answer.StatusCode))}
	}
}
