// Package vault keeps keys in the KV secrets engine of HashiCorp Vault or OpenBao, version 2 or 1.
//
// A target is one field of a KV secret: [stores.Target].Path is the secret's path below the mount, Field the field
// ("value" when empty). The other fields of the secret are never changed.
//
// A successor is staged as a secret of its own, in the same mount at <path>.rotator/<attempt> or below
// [Options].StagingPrefix, which holds nothing but {"value": key}. Whoever reads a whole folder by a policy that ends in
// * may read it there too; a staging prefix outside of such folders keeps the two apart.
//
// # KV version 2
//
// Promote reads the secret again and writes it with check-and-set on the version that it read, again while only other
// fields changed. A writer in between is noticed always. Former values stay retrievable ([Store.Previous]) as long as the
// secret's max_versions and delete_version_after let them.
//
// [Store.Fence] writes the same document once more, so that a late write with the older version fails. A follower may answer
// reads with an older state: a read waits up to two seconds for the newest version that this store knows, and is
// stores.ErrStale after that. A secret that was erased with all its versions is therefore ErrStale, and only after at most
// two minutes ErrNotFound, to a store that saw it just before.
//
// KV 2 decodes numbers as 64-bit floats for every reader. A number with more digits keeps the digits that Vault shows;
// a secret with a number beyond them (1e400) cannot be read, and so not be promoted.
//
// # KV version 1
//
// It has no check-and-set and no former values. Promote reads, compares, writes and reads back: what someone else writes
// in the moment between can be lost, and there is no rollback and no fence. [Store.Warnings] says so.
//
// # Rights
//
// For KV 2, at mount secret and path llm/chat ([Options.Permissions] writes the whole policy, [Store.Check] names what is
// missing):
//
//	path "secret/data/llm/chat"               { capabilities = ["create", "read", "update"] }
//	path "secret/data/llm/chat.rotator/*"     { capabilities = ["create", "read", "update"] }
//	path "secret/metadata/llm/chat.rotator/*" { capabilities = ["delete"] }
//
// Nothing that consumers read is ever deleted, so the right to delete it is not asked for.
package vault

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"

	"rotator/internal/transport"
	"rotator/stores"
)

// Options say where Vault is and how to log in. Address and Auth are required; no environment variable is read, except
// the proxy's (HTTPS_PROXY, NO_PROXY).
type Options struct {
	Address string // https://vault.example:8200; plain http on loopback only
	// Redirects are further addresses that a node may redirect to, such as each node's api_addr. No other redirect is followed.
	Redirects []string
	Namespace string // Vault Enterprise and OpenBao; empty: the root namespace
	Mount     string // the KV mount's path; default "secret"
	KVVersion int    // 1 or 2; 0: as Vault says. Vault is asked at first use in any case: to contradict it is ErrInvalid.

	// StagingPrefix is the folder in the same mount under which successors wait, at <prefix>/<path>/<attempt>.
	// Empty: beside the target, at <path>.rotator/<attempt>.
	StagingPrefix string

	Auth Auth

	CACert     string // PEM file of the authorities to trust; empty: the system's. Read once, by New.
	ClientCert string // PEM files of the client's certificate and key, read again for every connection
	ClientKey  string
	ServerName string // the name in Vault's certificate, where it is not the address's

	Timeout time.Duration // of each call to Vault; default 10 s

	Transport http.RoundTripper // replaces the built-in one; then the four TLS settings must be empty
	Logger    *slog.Logger      // default: none
}

// Store implements stores.Store, stores.Checker and stores.Previous. It is safe for concurrent use.
type Store struct {
	client   *api.Client
	sessions *sessions
	timeout  time.Duration

	mount   string
	staging string
	version int // as configured
	// namespace is where the mount is, without slashes around it.
	namespace string
	seen      versions

	mu     sync.Mutex
	engine engine // nil until Vault was asked; guarded by mu
}

var (
	_ stores.Store     = (*Store)(nil)
	_ stores.Checker   = (*Store)(nil)
	_ stores.Previous  = (*Store)(nil)
	_ stores.Forgetter = (*Store)(nil)
	_ stores.Fencer    = (*Store)(nil)
	_ stores.Placer    = (*Store)(nil)
	_ stores.Warner    = (*Store)(nil)
)

const defaultTimeout = 10 * time.Second

// New checks the options and makes a Store. It reads the certificate files but does not call Vault.
func New(o Options) (*Store, error) {
	if o.Mount == "" {
		o.Mount = "secret"
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	auth, authErr := o.Auth.complete()
	err := errors.Join(checkAddress(o.Address), checkRedirects(o.Redirects), authErr, checkPath("mount", o.Mount))
	if o.StagingPrefix != "" {
		err = errors.Join(err, checkPath("staging_prefix", o.StagingPrefix))
	}
	if o.KVVersion < 0 || o.KVVersion > 2 {
		err = errors.Join(err, fmt.Errorf("KV version %d is neither 1 nor 2", o.KVVersion))
	}
	if o.Timeout < 0 {
		err = errors.Join(err, errors.New("the timeout is negative"))
	}
	if err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	transport, err := o.transport()
	if err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	client, err := newClient(o, transport)
	if err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	s := &Store{client: client, timeout: o.Timeout, mount: o.Mount, staging: o.StagingPrefix, version: o.KVVersion,
		namespace: strings.Trim(o.Namespace, "/")}
	s.sessions = &sessions{auth: auth, send: s.send, timeout: o.Timeout, log: o.Logger, now: time.Now}
	return s, nil
}

// checkAddress refuses what would send a token in clear over a network, or put a password into errors.
func checkAddress(address string) error {
	if _, err := transport.Address(address); err != nil {
		return fmt.Errorf("the address %w: want one such as https://vault.example:8200, or http:// on loopback", err)
	}
	return nil
}

// checkPath refuses paths that are not what they seem: the client's library resolves "..", which could lead out of the
// mount, and Vault takes neither ".." nor characters that cannot be printed.
func checkPath(what, path string) error {
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "" || segment == "." {
			return fmt.Errorf("%s %q: no part between slashes may be empty or a dot", what, path)
		}
	}
	if strings.Contains(path, "..") {
		return fmt.Errorf("%s %q: Vault takes no path with two dots in a row", what, path)
	}
	if strings.ContainsFunc(path, func(r rune) bool { return !printable(r) }) {
		return fmt.Errorf("%s %q: it holds a character that cannot be printed", what, path)
	}
	return nil
}

// transport returns the built-in transport for the TLS settings, or the caller's.
func (o Options) transport() (http.RoundTripper, error) {
	tlsGiven := o.CACert != "" || o.ClientCert != "" || o.ClientKey != "" || o.ServerName != ""
	switch {
	case o.Transport != nil && tlsGiven:
		return nil, errors.New("TLS settings have no effect beside a transport")
	case o.Transport != nil:
		return o.Transport, nil
	case (o.ClientCert == "") != (o.ClientKey == ""):
		return nil, errors.New("a client certificate needs its key, and the key its certificate")
	}
	t := transport.New()
	t.MaxIdleConnsPerHost = 16
	config := t.TLSClientConfig
	config.ServerName = o.ServerName
	if o.CACert != "" {
		pem, err := os.ReadFile(o.CACert)
		if err != nil {
			return nil, fmt.Errorf("CA certificate: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("CA certificate %s: no certificate in PEM", o.CACert)
		}
	}
	if o.ClientCert != "" {
		load := func() (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(o.ClientCert, o.ClientKey)
			if err != nil {
				return nil, fmt.Errorf("client certificate %s: %w", o.ClientCert, err)
			}
			return &pair, nil
		}
		if _, err := load(); err != nil {
			return nil, err
		}
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	}
	return t, nil
}

// Renew brings the login up to date: it logs in when there is no session, and renews the session when two thirds of its
// time are over. It returns when it should be called again; the zero time: the token lives forever. Every call to the
// store does the same before it begins, so Renew matters for what would expire while nothing is asked: a token that was
// given, and cannot be had again.
func (s *Store) Renew(ctx context.Context) (next time.Time, err error) {
	current, err := s.sessions.current(ctx)
	if err != nil {
		return time.Time{}, fmt.Errorf("vault login: %w", err)
	}
	return current.renewAt, nil
}

// How long Run waits at most, so that a replaced token file is seen, and after an error.
const (
	runPause      = 5 * time.Minute
	runErrorPause = 15 * time.Second
)

// Run calls Renew whenever it is due, until the context ends, and then returns nil. Errors are logged and tried again.
func (s *Store) Run(ctx context.Context) error {
	for {
		pause := runPause
		next, err := s.Renew(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			s.sessions.log.Warn("the Vault login could not be renewed", "err", err)
			pause = runErrorPause
		case !next.IsZero():
			pause = min(pause, max(next.Sub(s.sessions.now()), time.Second))
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
	}
}
