package app

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"rotator/internal/config"
)

// certificate is what the listener shows: files that are read again when they change. While they do not fit together, as
// between the writes of the two, the former ones are shown.
type certificate struct {
	files config.ListenTLS
	log   *slog.Logger

	mu    sync.Mutex
	seen  [2]fileVersion  // guarded by mu
	shown tls.Certificate // guarded by mu
}

// fileVersion tells one version of a file from another.
type fileVersion struct {
	size int64
	time time.Time
}

// newCertificate reads the files for the first time.
func newCertificate(files config.ListenTLS, log *slog.Logger) (*certificate, error) {
	c := &certificate{files: files, log: log, seen: versions(files)}
	var err error
	if c.shown, err = tls.LoadX509KeyPair(files.Cert, files.Key); err != nil {
		return nil, fmt.Errorf("listen_tls: %w", err)
	}
	return c, nil
}

func versions(files config.ListenTLS) (v [2]fileVersion) {
	for i, name := range []string{files.Cert, files.Key} {
		if info, err := os.Stat(name); err == nil {
			v[i] = fileVersion{info.Size(), info.ModTime()}
		}
	}
	return v
}

// get is a tls.Config's GetCertificate.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := versions(c.files); now != c.seen {
		next, err := tls.LoadX509KeyPair(c.files.Cert, c.files.Key)
		if err != nil {
			c.log.Warn("new certificate of the listener refused; the former one stays in use", "err", err)
		} else {
			c.shown = next
		}
		c.seen = now
	}
	shown := c.shown
	return &shown, nil
}

// config is for a listener of HTTP/1.1: a connection has one request at a time, which the bound on connections counts on.
func (c *certificate) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get, NextProtos: []string{"http/1.1"}}
}
