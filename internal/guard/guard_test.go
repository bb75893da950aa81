package guard_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"rotator/internal/guard"
)

type counter struct{ n, closed int }

func (c *counter) RoundTrip(*http.Request) (*http.Response, error) {
	c.n++
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
}

func TestTransportAsksBeforeChanges(t *testing.T) {
	t.Parallel()
	lost := errors.New("the claim was lost")
	ctx := guard.With(context.Background(), func() error { return lost })
	for method, sent := range map[string]bool{"GET": true, "HEAD": true, "LIST": true, "POST": false, "PUT": false, "PATCH": false, "DELETE": false} {
		next := &counter{}
		r, err := http.NewRequestWithContext(ctx, method, "http://127.0.0.1:1/", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = guard.Transport(next).RoundTrip(r)
		if got := next.n == 1; got != sent || errors.Is(err, lost) == sent {
			t.Errorf("%s: sent %t, want %t: %v", method, got, sent, err)
		}
	}
	if err := guard.Check(context.Background()); err != nil {
		t.Errorf("without a guard: %v", err)
	}
}

func (c *counter) CloseIdleConnections() { c.closed++ }

func TestTransportClosesIdleConnections(t *testing.T) {
	t.Parallel()
	next := &counter{}
	client := &http.Client{Transport: guard.Transport(guard.Transport(next))}
	client.CloseIdleConnections()
	if next.closed != 1 {
		t.Errorf("the inner transport was told %d times, want 1", next.closed)
	}
}
