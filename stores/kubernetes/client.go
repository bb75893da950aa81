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

	"rotator/stores"
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

// refusal is an error in the API's own form. Its text, which may quote what was sent, is not kept.
type refusal struct {
	status int
	kind   string // the resource that it speaks of
}

// Error implements error.
func (r refusal) Error() string {
	if r.status == http.StatusNotFound && r.kind == "namespaces" {
		return "there is no such namespace (status 404)"
	}
	return fmt.Sprintf("status %d", r.status)
}

// Unwrap gives the status its meaning. Too many requests and server errors have none: "not known".
func (r refusal) Unwrap() error {
	switch r.status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return stores.ErrDenied
	case http.StatusConflict:
		return errMoved
	case http.StatusNotFound:
		if r.kind == "secrets" {
			return stores.ErrNotFound
		}
		return stores.ErrInvalid // the namespace, the workload or the API itself
	case http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusRequestEntityTooLarge,
		http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return stores.ErrInvalid
	}
	return nil
}

// call sends one request and decodes the answer into out; nil: it only has to be one of the API's objects. A denied one is
// not repeated: the token was read a moment ago.
func (s *Store) call(ctx context.Context, method, path string, query url.Values, form string, body, out any) error {
	var content io.Reader = http.NoBody
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
		return refused(answer.StatusCode, got)
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

// refused tells a refusal of the API from that of a proxy in between, which says 404 and 403 too.
func refused(status int, content []byte) error {
	var said struct {
		Kind    string `json:"kind"`
		Details struct {
			Kind string `json:"kind"`
		} `json:"details"`
	}
	if json.Unmarshal(content, &said) != nil || said.Kind != "Status" {
		return fmt.Errorf("status %d: %w", status, errUnreadable)
	}
	return refusal{status, said.Details.Kind}
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
