package app

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"

	"rotator/internal/config"
)

// certificate is what the listener shows: files that are read again when they change. While they do not fit together, as
// between the writes of the two, or cannot be read, the former ones are shown, and they are read again after a while.
type certificate struct {
	files config.ListenTLS
	log   *slog.Logger

	mu      sync.Mutex
	seen    [2]fileVersion  // guarded by mu
	shown   tls.Certificate // guarded by mu
	refused time.Time       // guarded by mu: when seen was last refused; zero: it is shown
}

// certificateAgain is how long files that were refused are not read again unless they change: the reason may have been the
// process's own, such as no file descriptor left.
const certificateAgain = 10 * time.Second

// fileVersion distinguishes versions of a file. The time of the last change is not enough: a copy can keep it, and new
// rights, by which a file becomes readable, leave it as it is.
type fileVersion struct {
	size     int64
	modified time.Time
	inode    uint64
	changed  syscall.Timespec
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
			v[i] = fileVersion{size: info.Size(), modified: info.ModTime()}
			if s, ok := info.Sys().(*syscall.Stat_t); ok {
				v[i].inode, v[i].changed = s.Ino, s.Ctim
			}
		}
	}
	return v
}

// get is a tls.Config's GetCertificate.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := versions(c.files)
	changed := now != c.seen
	if changed || !c.refused.IsZero() && time.Since(c.refused) > certificateAgain {
		next, err := tls.LoadX509KeyPair(c.files.Cert, c.files.Key)
		switch {
		case err == nil:
			c.shown, c.refused = next, time.Time{}
		default:
			c.refused = time.Now()
			if changed { // told once
				c.log.Warn("new certificate of the listener refused; the former one stays in use", "err", err)
			}
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
