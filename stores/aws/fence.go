package aws

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/uuid"

	leave "rotator/internal/guard"
	"rotator/stores"
)

// labelFence keeps the version of a fence until it is current. There is one in a secret: the next fence takes it.
const labelFence = labelPrefix + "fence"

// Fence implements stores.Fencer. A crash before AWSCURRENT moves leaves a version that no consumer reads, under a label
// that the next fence takes; a crash after it leaves that label on the current version.
func (s *Store) Fence(ctx context.Context, t stores.Target) error {
	err := errMoved
	for try := 0; try < tries && errors.Is(err, errMoved); try++ {
		err = s.fence(ctx, t)
	}
	return err
}

func (s *Store) fence(ctx context.Context, t stores.Target) error {
	base, err := s.current(ctx, t)
	if err != nil {
		return err
	}
	id := uuid.NewString()
	if _, err := s.put(ctx, t, id, base.text, labelFence); err != nil {
		return err
	}
	if err := s.move(ctx, t, labelCurrent, base.version, id); err != nil {
		return err
	}
	now, err := s.current(ctx, t)
	if err != nil {
		return err
	}
	if now.version == base.version {
		return fmt.Errorf("fence %s: %w", t.Path, stores.ErrStale)
	}
	if err := s.move(ctx, t, labelFence, id, ""); !errors.Is(err, errMoved) {
		return err
	}
	return nil // another fence took the label
}

// Place implements stores.Placer: a name, an ARN and a part of an ARN are one place.
func (s *Store) Place(ctx context.Context, t stores.Target) (string, error) {
	out, err := s.describe(ctx, t)
	if err != nil {
		return "", err
	}
	// The field's text holds no # after the escape, so that two places never read the same.
	return aws.ToString(out.ARN) + "#" + url.QueryEscape(t.Field), nil
}

// lastCheck asks the context's check right before a change leaves. Every call to AWS is a POST, so that the action tells
// which ones change something.
type lastCheck struct{ next http.RoundTripper }

// CloseIdleConnections passes on what http.Client.CloseIdleConnections asks for.
func (c lastCheck) CloseIdleConnections() { leave.CloseIdle(c.next) }

// RoundTrip implements http.RoundTripper.
func (c lastCheck) RoundTrip(r *http.Request) (*http.Response, error) {
	_, action, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	for _, read := range []string{"Get", "Describe", "List"} {
		if strings.HasPrefix(action, read) {
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
