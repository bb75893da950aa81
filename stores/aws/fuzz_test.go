package aws

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"rotator/internal/secret"
)

// answers is an endpoint that says the same to every call.
type answers struct {
	status  int
	request string
	body    []byte
}

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	h := http.Header{"Content-Type": {"application/x-amz-json-1.1"}, "X-Amzn-Requestid": {a.request}}
	return &http.Response{StatusCode: a.status, Header: h, Body: io.NopCloser(bytes.NewReader(a.body)), Request: r, ProtoMajor: 1, ProtoMinor: 1}, nil
}

// over returns a store that asks the endpoint once per call.
func over(t testing.TB, transport http.RoundTripper) *Store {
	t.Helper()
	s, err := New(t.Context(), Options{
		Region: region, HTTPClient: &http.Client{Transport: transport},
		Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "xai-credential", ""),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.client = secretsmanager.New(s.client.Options(), once)
	return s
}

// FuzzAWSAnswer: whatever an endpoint answers, nothing panics or runs on without end, and no error repeats what was
// sent or answered.
func FuzzAWSAnswer(f *testing.F) {
	for _, seed := range []struct {
		status        int
		request, body string
	}{
		{200, "0000-1", `{"VersionId":"v","SecretString":"{\"XAI_API_KEY\":\"xai-held\"}","VersionStages":["AWSCURRENT"],"CreatedDate":1.5}`},
		{200, "", `{"VersionId":"v","SecretBinary":"eGFpLQ=="}`},
		{200, "", `{"VersionId":"v","SecretString":"xai-plain"}`},
		{200, "", `{"SecretString":null,"VersionIdsToStages":{"v":["AWSPENDING"],"w":null},"RotationEnabled":true}`},
		{200, "", `{"Versions":[{"VersionId":"v","CreatedDate":1e300},{},null],"NextToken":"again"}`},
		{200, "xai-id", `xai-`},
		{200, "", ``},
		{400, "xai-id", `{"__type":"xai-code","message":"xai-message"}`},
		{400, "", `{"__type":"com.amazonaws.secretsmanager#InvalidParameterException","Message":"xai-message"}`},
		{400, "", `{"__type":"ResourceNotFoundException"}`},
		{404, "", `<html>xai-</html>`},
		{307, "", `xai-`},
		{500, "", `{"__type":["xai-"]}`},
	} {
		f.Add(seed.status, seed.request, []byte(seed.body))
	}
	f.Fuzz(func(t *testing.T, status int, request string, body []byte) {
		if status < 200 || status > 599 {
			return
		}
		s := over(t, answers{status, request, body})
		_, current := s.Current(t.Context(), target)
		_, staged := s.Staged(t.Context(), target, attempt)
		_, previous := s.Previous(t.Context(), target, old.Fingerprint())
		for _, err := range []error{
			current, staged, previous,
			s.Stage(t.Context(), target, attempt, value),
			s.Promote(t.Context(), target, attempt, value, ""),
			s.Promote(t.Context(), target, attempt, value, secret.New("xai-held").Fingerprint()),
			s.Discard(t.Context(), target, attempt),
			s.Check(t.Context(), target),
		} {
			if err != nil && strings.Contains(err.Error(), "xai-") {
				t.Errorf("the error is %v", err)
			}
		}
	})
}

// endless is an answer of a gigabyte and more.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	e.read += len(p)
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

type endlessAnswer struct{ body *endless }

func (a endlessAnswer) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(a.body), Request: r, ProtoMajor: 1, ProtoMinor: 1}, nil
}

// TestEndlessAnswer: an answer is read up to a limit.
func TestEndlessAnswer(t *testing.T) {
	t.Parallel()
	body := &endless{}
	_, err := over(t, endlessAnswer{body}).put(t.Context(), target, "id", value, "label")
	if body.read < maxAnswer || body.read > 2*maxAnswer {
		t.Errorf("read %d bytes (%v), the limit is %d", body.read, err, maxAnswer)
	}
}

// TestCanceled: the caller's own end of time is passed on as what it is, also in the middle of a call.
func TestCanceled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	s := over(t, hanging{cancel})
	if err := promote(ctx, s); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
}

// hanging never answers, and has the caller give up.
type hanging struct{ giveUp func() }

func (h hanging) RoundTrip(r *http.Request) (*http.Response, error) {
	h.giveUp()
	<-r.Context().Done()
	return nil, r.Context().Err()
}
