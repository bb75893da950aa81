package xai

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"
)

// TLSFiles are files for connections to xAI. They are read again when they change.
type TLSFiles struct {
	Cert, Key string // a client certificate with its chain, and its key: both or neither
	CA        string // the authorities that xAI's certificate may be of; "": the system's
}

// filesError is an error of reading TLSFiles: nothing was sent.
type filesError struct{ err error }

func (e *filesError) Error() string { return e.err.Error() }
func (e *filesError) Unwrap() error { return e.err }

// Check reads the files and says what is wrong with them.
func (f TLSFiles) Check() error {
	_, err := f.config()
	return err
}

func (f TLSFiles) config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if (f.Cert == "") != (f.Key == "") {
		return nil, errors.New("a client certificate or its key is given without the other")
	}
	if f.Cert != "" {
		pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		if err != nil {
			return nil, fmt.Errorf("client certificate %s: %w", f.Cert, err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	if f.CA != "" {
		pem, err := os.ReadFile(f.CA)
		if err != nil {
			return nil, fmt.Errorf("authorities: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("authorities %s: no certificate in it", f.CA)
		}
	}
	return c, nil
}

// filesTransport makes its connections with TLSFiles. When they change, those to come use the new ones; while the new ones
// do not fit together, as between the writes of the two, the former ones are used.
type filesTransport struct {
	files TLSFiles

	mu   sync.Mutex // guards what follows
	seen [3]stat
	to   *http.Transport // nil: not read yet
}

// stat distinguishes versions of a file.
type stat struct {
	size int64
	time time.Time
}

// RoundTrip implements http.RoundTripper.
func (f *filesTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	to, err := f.current()
	if err != nil {
		if r.Body != nil {
			_ = r.Body.Close() // a round tripper's duty, also when it fails
		}
		return nil, &filesError{err}
	}
	return to.RoundTrip(r)
}

func (f *filesTransport) current() (*http.Transport, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var now [3]stat
	for i, name := range []string{f.files.Cert, f.files.Key, f.files.CA} {
		if info, err := os.Stat(name); err == nil {
			now[i] = stat{info.Size(), info.ModTime()}
		}
	}
	if f.to != nil && now == f.seen {
		return f.to, nil
	}
	c, err := f.files.config()
	switch {
	case err == nil:
		old := f.to
		f.to, f.seen = newTransport(), now
		f.to.TLSClientConfig = c
		if old != nil {
			old.CloseIdleConnections()
		}
	case f.to == nil:
		return nil, err
	}
	return f.to, nil
}
