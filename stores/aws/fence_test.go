package aws

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	leave "rotator/internal/guard"

	"rotator/internal/testenv/awstest"
	"rotator/stores"
	"rotator/stores/storetest"
)

// late is a network that loses the answer to one move of AWSCURRENT at once and delivers the move later.
type late struct {
	next http.RoundTripper

	mu   sync.Mutex
	sent chan struct{} // not nil: the next move is held
	held func()
}

func (l *late) hold() storetest.Delayed {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent = make(chan struct{})
	return storetest.Delayed{Sent: l.sent, Release: func() {
		l.mu.Lock()
		held := l.held
		l.mu.Unlock()
		held()
	}}
}

// RoundTrip implements http.RoundTripper.
func (l *late) RoundTrip(r *http.Request) (*http.Response, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sent == nil || !strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".UpdateSecretVersionStage") {
		return l.next.RoundTrip(r)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil || !bytes.Contains(body, []byte(labelCurrent)) {
		r.Body = io.NopCloser(bytes.NewReader(body))
		return l.next.RoundTrip(r)
	}
	again := r.Clone(context.WithoutCancel(r.Context()))
	again.Body = io.NopCloser(bytes.NewReader(body))
	l.held = func() {
		if answer, err := l.next.RoundTrip(again); err == nil {
			_ = answer.Body.Close()
		}
	}
	close(l.sent)
	l.sent = nil
	return nil, errors.New("the connection was lost")
}

// TestOneSecretIsOnePlace: a name, an ARN and an ARN without its drawn end name one secret.
func TestOneSecretIsOnePlace(t *testing.T) {
	t.Parallel()
	server := awstest.New()
	server.Region(region).Put(path, doc(old, "1"))
	s := open(t, server)
	at, err := s.Place(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	arn, _, _ := strings.Cut(at, "#")
	for _, also := range []string{arn, arn[:len(arn)-7]} {
		if got, err := s.Place(t.Context(), stores.Target{Path: also, Field: target.Field}); err != nil || got != at {
			t.Errorf("the place of %s is %q (%v), want %q", also, got, err, at)
		}
	}
	if _, err := s.Place(t.Context(), stores.Target{Path: "absent"}); !errors.Is(err, stores.ErrNotFound) {
		t.Errorf("the place of an absent secret: %v", err)
	}
}

// TestNothingLeavesWithoutLease: the context's check stops every change, and no read.
func TestNothingLeavesWithoutLease(t *testing.T) {
	t.Parallel()
	server := awstest.New()
	server.Region(region).Put(path, doc(old, "1"))
	s := open(t, server)
	lost := errors.New("the lease is lost")
	ctx := leave.With(t.Context(), func() error { return lost })
	if _, err := s.Current(ctx, target); err != nil {
		t.Errorf("a read was stopped: %v", err)
	}
	fence := func(ctx context.Context, s *Store) error { return s.Fence(ctx, target) }
	for name, change := range map[string]op{"stage": stage, "promote": promote, "fence": fence} {
		if err := change(ctx, s); !errors.Is(err, lost) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got, _ := server.Region(region).Value(path, labelCurrent); got != doc(old, "1") {
		t.Errorf("the secret became %s", got)
	}
	for _, c := range server.Calls() {
		if c.Action != "GetSecretValue" && c.Action != "DescribeSecret" {
			t.Errorf("%s was sent", c.Action)
		}
	}
}
