package vault

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"

	leave "rotator/internal/guard"
	"rotator/internal/transport"
)

// guard is a transport that sends tokens, credentials and values to configured addresses only, never in clear over a
// network, and reads no answer without end. Vault's client follows a redirect to any host and takes everything along, so
// every request is checked here, the first one and the redirected one.
type guard struct {
	next    http.RoundTripper
	allowed []*url.URL
}

var (
	errUnsafe    = errors.New("a redirect to an address without TLS is not followed")
	errElsewhere = errors.New("a redirect to an address that is not configured is not followed; " +
		"if it is a node of this cluster, add its api_addr to redirects of this store")
	errTooLarge = errors.New("the answer is too large")
)

// newGuard returns a guard that lets requests through to the address and to the addresses that nodes may redirect to.
func newGuard(next http.RoundTripper, address string, redirects []string) (guard, error) {
	g := guard{next: next}
	for _, a := range append([]string{address}, redirects...) {
		u, err := url.Parse(a)
		if err != nil {
			return guard{}, errors.New("the address is not a URL") // url's error quotes it
		}
		g.allowed = append(g.allowed, u)
	}
	return g, nil
}

// checkRedirects refuses what checkAddress refuses.
func checkRedirects(redirects []string) error {
	var errs error
	for i, address := range redirects {
		if err := checkAddress(address); err != nil {
			errs = errors.Join(errs, fmt.Errorf("redirects[%d]: %w", i, err))
		}
	}
	return errs
}

// CloseIdleConnections passes on what http.Client.CloseIdleConnections asks for.
func (g guard) CloseIdleConnections() { leave.CloseIdle(g.next) }

// RoundTrip implements http.RoundTripper.
func (g guard) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := g.check(r.URL); err != nil {
		if r.Body != nil {
			_ = r.Body.Close() // the contract of RoundTripper: also on errors
		}
		return nil, err
	}
	answer, err := g.next.RoundTrip(r)
	if err == nil {
		answer.Body = &bounded{ReadCloser: answer.Body, left: maxAnswer}
	}
	return answer, err
}

func (g guard) check(u *url.URL) error {
	if !transport.Private(u) {
		return errUnsafe
	}
	for _, a := range g.allowed {
		below := strings.TrimSuffix(a.Path, "/") + "/v1/" // a gateway may have other services beside Vault
		if origin(u) == origin(a) && strings.HasPrefix(path.Clean(u.Path)+"/", below) {
			return nil
		}
	}
	return errElsewhere
}

// origin is scheme, host and port of u in one spelling.
func origin(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme + "://" + strings.ToLower(u.Hostname()) + ":" + port
}
