// Package awstest is an emulator of AWS Secrets Manager, for tests.
//
// It speaks the JSON 1.1 protocol that the SDK speaks and keeps the rules that AWS documents for versions and staging
// labels: a version never changes, a label sits on one version at a time, the first version becomes AWSCURRENT whatever
// label was asked, AWSPREVIOUS follows AWSCURRENT, and a version without labels may vanish. Regions are apart, told by
// the scope of the signature. It also plays STS for AssumeRole, holds access keys to IAM policies, answers with AWS's error
// codes, and breaks on request: before the effect of a call, or after it, when only the answer is lost.
//
// A [Server] is an http.Handler for a real listener and an http.RoundTripper for none at all.
package awstest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"
)

// account is the account that owns every secret here.
const account = "123456789012"

// maxRequest bounds a request's body, in bytes: the longest value, escaped, with room for the rest.
const maxRequest = 1 << 20

// Server is one emulated account with all its regions. It is safe for concurrent use.
type Server struct {
	mu       sync.Mutex
	regions  map[string]map[string]*secret // region → name → secret
	keys     map[string]string             // access key id → session token that it needs; empty map: any key is fine
	roles    map[string]string             // role ARN → external id that AssumeRole must bring
	denied   map[string]bool               // actions that answer AccessDeniedException
	policies map[string][]iamPolicy        // access key id → what alone it may do
	faults   []*Fault
	kmsOff   bool
	onCall   func(Call)
	calls    []Call
	requests int // for request ids and, with created, for what must be unique
	created  int
}

// New returns an account without secrets that accepts every access key.
func New() *Server {
	return &Server{
		regions: map[string]map[string]*secret{},
		keys:    map[string]string{},
		roles:   map[string]string{},
		denied:  map[string]bool{},

		policies: map[string][]iamPolicy{},
	}
}

// Call is what the server was asked: no value, only names.
type Call struct {
	Region, Action, SecretID string
	AccessKey                string
	Labels                   []string // the staging labels that the request names
}

// apiError is an answer other than 200.
type apiError struct {
	code, message string
}

func (e *apiError) Error() string { return e.code + ": " + e.message }

func fail(code, format string, args ...any) error {
	return &apiError{code, fmt.Sprintf(format, args...)}
}

// errLost is the outcome of a call whose connection breaks before an answer.
var errLost = errors.New("awstest: connection lost")

// ServeHTTP answers one call to Secrets Manager, or to STS.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err != nil {
		writeError(w, fail("ValidationException", "unreadable request"))
		return
	}
	s.mu.Lock()
	s.requests++
	w.Header().Set("X-Amzn-Requestid", fmt.Sprintf("00000000-0000-4000-8000-%012d", s.requests))
	s.mu.Unlock()
	scope, err := s.authenticate(r)
	if err == nil && scope.service == "sts" {
		s.serveSTS(w, scope.key, body)
		return
	}
	var answer []byte
	if err == nil {
		answer, err = s.call(scope, r.Header.Get("X-Amz-Target"), body)
	}
	switch {
	case errors.Is(err, errLost):
		panic(http.ErrAbortHandler) // net/http closes the connection without an answer
	case err != nil:
		writeError(w, err)
	default:
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		_, _ = w.Write(answer)
	}
}

// call runs one action and returns its answer in JSON: rights, hook, fault before, effect, fault after.
func (s *Server) call(scope scope, target string, body []byte) ([]byte, error) {
	action, ok := strings.CutPrefix(target, "secretsmanager.")
	run := actions[action]
	if !ok || run == nil {
		return nil, fail("UnknownOperationException", "")
	}
	var in request
	dec := json.NewDecoder(strings.NewReader(string(body)))
	dec.DisallowUnknownFields() // a member that this emulator would ignore is a test that shows nothing
	if err := dec.Decode(&in); err != nil {
		return nil, fail("SerializationException", "%v", err)
	}
	c := Call{Region: scope.region, Action: action, SecretID: in.id(), AccessKey: scope.key, Labels: in.labels()}

	s.mu.Lock()
	s.calls = append(s.calls, c)
	denied, hook := s.denied[action], s.onCall
	unauthorized := s.authorize(scope, action, &in)
	s.mu.Unlock()
	if denied {
		return nil, fail("AccessDeniedException", "User: arn:aws:iam::%s:user/test is not authorized to perform: secretsmanager:%s on resource: %s", account, action, in.id())
	}
	if unauthorized != nil {
		return nil, unauthorized
	}
	if hook != nil {
		hook(c)
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	fault := s.nextFault(action)
	if fault != nil && !fault.After {
		return nil, fault.err()
	}
	answer, err := run(s, scope.region, &in)
	if fault != nil {
		err = fault.err()
	}
	if err != nil {
		return nil, err
	}
	return json.Marshal(answer) // with the lock held: the answer shares memory with the secret
}

// RoundTrip serves r without a network. A lost connection is an error of the transport.
func (s *Server) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	defer func() {
		if p := recover(); p == http.ErrAbortHandler { //nolint:errorlint // not an error yet
			resp, err = nil, io.ErrUnexpectedEOF
		} else if p != nil {
			panic(p)
		}
	}()
	rec := httptest.NewRecorder()
	in := r.Clone(r.Context())
	if in.Body == nil {
		in.Body = http.NoBody
	}
	s.ServeHTTP(rec, in)
	resp = rec.Result()
	resp.Request = r
	return resp, nil
}

// Client returns an HTTP client whose every request, to whatever host, this server answers in process.
func (s *Server) Client() *http.Client { return &http.Client{Transport: s} }

// scope is what the signature says about a request.
type scope struct{ key, region, service string }

// authenticate reads the signature's scope and checks the key, not the signature itself.
func (s *Server) authenticate(r *http.Request) (scope, error) {
	rest, ok := strings.CutPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=")
	cred, signature, signed := strings.Cut(rest, ", ")
	parts := strings.Split(cred, "/")
	if !ok || !signed || len(parts) != 5 || parts[4] != "aws4_request" || !strings.Contains(signature, "Signature=") || r.Header.Get("X-Amz-Date") == "" {
		return scope{}, fail("MissingAuthenticationTokenException", "Missing Authentication Token")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	token, known := s.keys[parts[0]]
	if len(s.keys) > 0 && (!known || token != r.Header.Get("X-Amz-Security-Token")) {
		return scope{}, fail("UnrecognizedClientException", "The security token included in the request is invalid.")
	}
	return scope{key: parts[0], region: parts[2], service: parts[3]}, nil
}

// writeError answers as AWS does: 400 for all that the caller could have known, 500 for the rest.
func writeError(w http.ResponseWriter, err error) {
	var ae *apiError
	if !errors.As(err, &ae) {
		ae = &apiError{"InternalServiceError", err.Error()}
	}
	status := http.StatusBadRequest
	if ae.code == "InternalServiceError" {
		status = http.StatusInternalServerError
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"__type": ae.code, "message": ae.message})
}

// seconds is a time as JSON 1.1 writes it: seconds since 1970, with a fraction.
func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
