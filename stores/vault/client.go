package vault

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"github.com/hashicorp/vault/api"

	"rotator/internal/secret"
	"rotator/stores"
)

// maxAnswer bounds one answer of Vault, in bytes. A secret has at most 1 MiB where Vault's own storage has its default.
const maxAnswer = 8 << 20

// newClient makes Vault's client do only what it is reported: no retries, since a repeated write is the caller's decision, and
// nothing out of the environment (VAULT_TOKEN, VAULT_NAMESPACE, VAULT_HEADERS, VAULT_WRAP_TTL).
func newClient(o Options, transport http.RoundTripper) (*api.Client, error) {
	guarded, err := newGuard(lastCheck{transport}, o.Address, o.Redirects)
	if err != nil {
		return nil, err
	}
	client, err := api.NewClient(&api.Config{
		Address: o.Address,
		HttpClient: &http.Client{
			Transport:     guarded,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the client follows one by itself
		},
		ReadYourWrites: true, // a standby that lags behind our own write answers 412 instead of old data
	})
	if err != nil {
		return nil, err
	}
	client.ClearToken()
	client.SetHeaders(http.Header{api.RequestHeaderName: {"true"}})
	if o.Namespace != "" {
		client.SetNamespace(o.Namespace)
	}
	client.SetWrappingLookupFunc(func(string, string) string { return "" })
	return client, nil
}

type bounded struct {
	io.ReadCloser
	left int
}

// Read implements io.Reader.
func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= n; b.left < 0 {
		return 0, errTooLarge
	}
	return n, err
}

// answer is what Vault said, as far as this package looks at it.
type answer struct {
	status  int
	Request string          `json:"request_id"` // in every answer of Vault that has a body and is no error
	Errors  *[]string       `json:"errors"`     // present in every error of Vault; the texts are never shown
	Data    json.RawMessage `json:"data"`
	Wrapped *struct{}       `json:"wrap_info"` // the real answer waits elsewhere, or the call waits for people
	Auth    *struct {
		Token     secret.Text `json:"client_token"`
		Seconds   int64       `json:"lease_duration"`
		Renewable bool        `json:"renewable"`
		Uses      int         `json:"num_uses"` // 0: any number
	} `json:"auth"`
}

// errRefused: Vault understood the call and answered 400, for instance because a check-and-set did not match.
// Every caller gives it the meaning that it has there.
var errRefused = errors.New("vault refuses the request (status 400)")

// errMismatch: a check-and-set found another version. Nothing was written.
var errMismatch = fmt.Errorf("another version is there: %w", stores.ErrConflict)

// errSpent: Vault answered 400 because of the token, which is expired, or had its last use with this very call.
var errSpent = fmt.Errorf("%w: the token is spent or expired (status 400)", stores.ErrDenied)

// spentTexts are how Vault and OpenBao say so.
var spentTexts = []string{"invalid token", "bad token", "missing client token"}

// mismatchText is how Vault and OpenBao say so.
const mismatchText = "did not match the current version"

// errUnreadable: what came is not an answer of Vault's API. Nothing is known.
var errUnreadable = errors.New("the answer is not Vault's")

// send makes one call and returns Vault's answer if it is a success, or a 404 that says for certain that there is
// nothing. Any other answer is an error with the meaning of package stores, or errRefused, or else means "not known".
func (s *Store) send(ctx context.Context, token secret.Text, method, path string, query url.Values, body any) (answer, error) {
	got, err := s.exchange(ctx, token, method, path, query, body)
	if err == nil {
		err = got.meaning()
	}
	if err != nil {
		return answer{}, fmt.Errorf("%s %s: %w", method, path, err)
	}
	return got, nil
}

func (s *Store) exchange(ctx context.Context, token secret.Text, method, path string, query url.Values, body any) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	r := s.client.NewRequest(method, "/v1/"+path)
	r.ClientToken = token.Reveal()
	if query != nil {
		r.Params = query
	}
	if body != nil {
		if err := r.SetJSONBody(body); err != nil {
			return answer{}, errors.New("the request cannot be encoded") // json's error may quote it
		}
	}
	response, err := s.client.RawRequestWithContext(ctx, r) //nolint:staticcheck // what replaces it sends no body and shows no status
	if response == nil || response.Response == nil {
		return answer{}, cause(ctx, err)
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return answer{}, cause(ctx, err)
	}
	got := answer{status: response.StatusCode}
	if len(content) > 0 && json.Unmarshal(content, &got) != nil {
		return answer{}, fmt.Errorf("status %d: %w", response.StatusCode, errUnreadable)
	}
	return got, nil
}

// meaning returns nil for a success and for "there is nothing". A status counts only together with Vault's own form of
// answer: a proxy in between says 404 and 403 too.
func (a answer) meaning() error {
	success := a.status >= 200 && a.status < 300
	switch {
	case success && a.Wrapped != nil:
		return fmt.Errorf("%w: a control group is before it", stores.ErrInvalid)
	case success && a.Errors == nil:
		return nil
	case success:
		return fmt.Errorf("status %d with errors: %w", a.status, errUnreadable)
	case a.status == http.StatusNotFound && a.Errors == nil && bytes.HasPrefix(a.Data, []byte("{")):
		return nil // a deleted version: KV 2 answers 404 for it
	case a.Errors == nil:
		return fmt.Errorf("status %d: %w", a.status, errUnreadable)
	case a.status == http.StatusNotFound && len(*a.Errors) == 0:
		return nil
	}
	switch a.status {
	case http.StatusBadRequest:
		switch {
		case a.says(mismatchText):
			return errMismatch
		case a.says(spentTexts...):
			return errSpent
		}
		return errRefused
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("%w (status %d)", stores.ErrDenied, a.status)
	case http.StatusNotFound: // with a text: "no handler for route", "unsupported path", "namespace not found"
		return fmt.Errorf("%w: nothing is mounted there (status 404)", stores.ErrInvalid)
	case http.StatusMethodNotAllowed, http.StatusRequestEntityTooLarge:
		return fmt.Errorf("%w (status %d)", stores.ErrInvalid, a.status)
	}
	return fmt.Errorf("status %d", a.status) // sealed, standby behind, too many requests, server errors
}

// says reports whether one of the error's texts holds one of the phrases.
func (a answer) says(phrases ...string) bool {
	return slices.ContainsFunc(*a.Errors, func(text string) bool {
		return slices.ContainsFunc(phrases, func(phrase string) bool { return strings.Contains(text, phrase) })
	})
}

// done returns nil when the answer to a write says that it was done: nothing, by 204, or an answer of Vault's, which has a
// number or says what was written.
func (a answer) done() error {
	if a.status == http.StatusNoContent || a.status == http.StatusOK && (a.Request != "" || bytes.HasPrefix(a.Data, []byte("{"))) {
		return nil
	}
	return fmt.Errorf("status %d: %w", a.status, errUnreadable)
}

// nothing reports whether the answer says that there is nothing.
func (a answer) nothing() bool { return a.status == http.StatusNotFound && a.Errors != nil }

// data decodes the answer's data into v, which must be there.
func (a answer) data(v any) error {
	if len(a.Data) == 0 || string(a.Data) == "null" || json.Unmarshal(a.Data, v) != nil {
		return errUnreadable
	}
	return nil
}

// cause returns the part of a transport's error that cannot hold what was sent or received: net/http quotes malformed
// answers, and its own wrapper the URL.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var (
		stopped  *stoppedError
		network  *net.OpError
		untrust  *tls.CertificateVerificationError
		file     *fs.PathError
		harmless = []error{io.EOF, io.ErrUnexpectedEOF, http.ErrSchemeMismatch, errTooLarge, errUnsafe, errElsewhere}
	)
	switch {
	case errors.As(err, &stopped):
		return stopped.err
	case errors.As(err, &network):
		return network
	case errors.As(err, &untrust):
		return untrust
	case errors.As(err, &file): // a client certificate that is gone
		return file
	}
	for _, known := range harmless {
		if errors.Is(err, known) {
			return known
		}
	}
	return errUnreadable
}

func printable(r rune) bool { return unicode.IsPrint(r) && r != unicode.ReplacementChar }
