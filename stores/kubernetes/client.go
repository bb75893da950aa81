package kubernetes

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
)

// maxAnswer bounds one answer, in bytes: a Secret has at most 1 MiB of data, which base64 makes a third larger.
const maxAnswer = 8 << 20

// The forms of a patch: https://kubernetes.io/docs/reference/using-api/api-concepts/#patch-and-apply
const (
	plain      = "application/json"
	mergePatch = "application/merge-patch+json"
	applyPatch = "application/apply-patch+yaml" // of which JSON is a part
)

// errUnreadable: what came is not an answer of the Kubernetes API. Nothing is known.
var errUnreadable = errors.New("the answer is not the API server's")

// errMoved: the object changed since it was read; nothing was written.
var errMoved = errors.New("the object changed meanwhile")

// call sends one request and decodes the answer into out; nil: it only has to be one of the API's objects. A denied one is
// not repeated: the token was read a moment ago. A body that holds values of a Secret is [confidential].
func (s *Store) call(ctx context.Context, method, path string, query url.Values, form string, body, out any) error {
	var content io.Reader = http.NoBody
	var hidden []string
	if c, ok := body.(confidential); ok {
		body, hidden = c.body, c.hidden
	}
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return errors.New("the request cannot be encoded") // json's error may quote it
		}
		content = bytes.NewReader(text)
	}
	token, err := s.token(ctx)
	if err != nil {
		return fmt.Errorf("token: %w", err)
	}
	to := s.server.JoinPath(path)
	to.RawQuery = query.Encode()
	r, err := http.NewRequestWithContext(ctx, method, to.String(), content)
	if err != nil {
		return errors.New("the request cannot be made")
	}
	if body != nil {
		r.Header.Set("Content-Type", form)
	}
	r.Header.Set("Authorization", "Bearer "+token.Trimmed().Reveal())
	r.Header.Set("Accept", plain)
	r.Header.Set("User-Agent", "rotator")
	answer, err := s.client.Do(r)
	if err != nil {
		return cause(ctx, err)
	}
	defer func() { _ = answer.Body.Close() }()
	got, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	switch {
	case err != nil:
		return cause(ctx, err)
	case len(got) > maxAnswer:
		return errUnreadable
	case answer.StatusCode < 200 || answer.StatusCode > 299:
		return refused(answer.StatusCode, got, hidden)
	case out == nil:
		return anObject(got)
	case json.Unmarshal(got, out) != nil:
		return errUnreadable
	}
	return nil
}

// anObject checks that an answer is an object of the API, which all have a kind: errUnreadable.
func anObject(content []byte) error {
	var said struct {
		Kind string `json:"kind"`
	}
	if json.Unmarshal(content, &said) != nil || said.Kind == "" {
		return errUnreadable
	}
	return nil
}

// cause returns the part of a transport's error that cannot hold what was sent or received: net/http quotes malformed
// answers.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var (
		network *net.OpError
		untrust *tls.CertificateVerificationError
		waited  net.Error
	)
	switch {
	case errors.As(err, &network):
		return network
	case errors.As(err, &untrust):
		return untrust
	case errors.As(err, &waited) && waited.Timeout():
		return context.DeadlineExceeded
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return io.ErrUnexpectedEOF
	}
	return errUnreadable
}
