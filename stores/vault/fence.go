package vault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	leave "rotator/internal/guard"
	"rotator/stores"
)

// Fence implements stores.Fencer. It writes the same document with check-and-set, and returns once a read showed that
// version or a newer one. A crash after the write leaves one more version with the same content. KV 1: ErrCannotFence.
func (s *Store) Fence(ctx context.Context, t stores.Target) error {
	p, e, err := s.find(ctx, t)
	if err == nil {
		err = fence(ctx, e, p.path)
	}
	return s.about(err, "fence", t)
}

func fence(ctx context.Context, e engine, path string) error {
	versioned, ok := e.(kv2)
	if !ok {
		return fmt.Errorf("%w: KV version 1 has no check-and-set", stores.ErrCannotFence)
	}
	atLeast := 0
	for range putTries {
		held, err := versioned.read(ctx, path, atLeast)
		if err != nil {
			return settle(err)
		}
		if held.doc == nil {
			return stores.ErrNotFound
		}
		err = versioned.write(ctx, path, held.doc, held)
		atLeast = held.version + 1
		if errors.Is(err, errMismatch) {
			continue
		}
		if err == nil {
			_, err = versioned.read(ctx, path, atLeast)
		}
		return settle(err)
	}
	return errors.New("other writers change the secret all the time")
}

// Place implements stores.Placer. It asks nothing.
func (s *Store) Place(_ context.Context, t stores.Target) (string, error) {
	if err := checkPath("path", t.Path); err != nil {
		return "", fmt.Errorf("%w: %w", stores.ErrInvalid, err)
	}
	field := t.Field
	if field == "" {
		field = "value"
	}
	// The field's text holds no # after the escape, so that two places never read the same.
	return strings.TrimPrefix(s.namespace+"/"+s.mount+"/"+t.Path, "/") + "#" + url.QueryEscape(field), nil
}

const (
	staleWait  = 2 * time.Second        // how long a read waits for a follower
	stalePause = 100 * time.Millisecond // between two reads
	// seenFor is how long a version is remembered. After that an older one is believed: a secret that was erased and
	// written again counts from 1.
	seenFor = 2 * time.Minute
)

// versions remembers the newest version of each path. The nil versions remember nothing.
type versions struct {
	mu   sync.Mutex
	path map[string]seenVersion
}

type seenVersion struct {
	number int
	at     time.Time // when it was seen first
}

// newest returns the newest version of path that is remembered, 0 for none.
func (v *versions) newest(path string) int {
	if v == nil {
		return 0
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	known, ok := v.path[path]
	if ok && time.Since(known.at) > seenFor {
		delete(v.path, path)
		return 0
	}
	return known.number
}

// note remembers a version of path, unless a newer one is known.
func (v *versions) note(path string, number int) {
	if number <= v.newest(path) || v == nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.path == nil {
		v.path = map[string]seenVersion{}
	}
	if number > v.path[path].number {
		v.path[path] = seenVersion{number, time.Now()}
	}
}

// lastCheck asks the context's check right before a change leaves. A login and a question about rights change nothing
// that consumers read, although they are sent with PUT and POST.
type lastCheck struct{ next http.RoundTripper }

// CloseIdleConnections passes on what http.Client.CloseIdleConnections asks for.
func (c lastCheck) CloseIdleConnections() { leave.CloseIdle(c.next) }

// RoundTrip implements http.RoundTripper.
func (c lastCheck) RoundTrip(r *http.Request) (*http.Response, error) {
	for _, harmless := range []string{"/v1/auth/", "/v1/sys/"} {
		if strings.HasPrefix(r.URL.Path, harmless) {
			return c.next.RoundTrip(r)
		}
	}
	checked := leave.With(r.Context(), func() error {
		if err := leave.Check(r.Context()); err != nil {
			return &stoppedError{err}
		}
		return nil
	})
	return leave.Transport(c.next).RoundTrip(r.WithContext(checked))
}

// stoppedError: the context's check stopped a change. Nothing was sent.
type stoppedError struct{ err error }

func (e *stoppedError) Error() string { return e.err.Error() }
func (e *stoppedError) Unwrap() error { return e.err }
