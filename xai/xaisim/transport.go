package xaisim

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"syscall"
)

// Transport returns a transport that reaches the simulator without a socket, whatever host a request names. Faults work
// through it; a Timeout does not wait but fails at once, as if the client's time were up, so that thousands of rotations
// a second are possible. An address of loopback satisfies clients that want https elsewhere.
func (s *Sim) Transport() http.RoundTripper { return transport{s} }

type transport struct{ sim *Sim }

var errReset = errors.New("connection reset by the simulator")

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer func() { _ = r.Body.Close() }() // a RoundTripper's duty, also when it fails
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	a := t.sim.exchange(r, bothAPIs)
	switch a.wire {
	case Reset:
		return nil, errors.Join(errReset, syscall.ECONNRESET)
	case Timeout:
		return nil, os.ErrDeadlineExceeded
	}
	var body io.Reader = bytes.NewReader(a.body)
	switch a.wire {
	case HugeBody:
		body = huge()
	case HalfBody:
		body = io.MultiReader(bytes.NewReader(a.body[:len(a.body)/2]), broken{})
	}
	return &http.Response{
		Status: http.StatusText(a.status), StatusCode: a.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: t.sim.header(a), Body: io.NopCloser(body), ContentLength: -1, Request: r,
	}, nil
}

// broken is the end of a connection that was cut.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
