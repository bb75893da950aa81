package aws

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"rotator/stores"
)

// The codes that this package reacts to by itself.
const (
	codeNotFound = "ResourceNotFoundException"
	codeExists   = "ResourceExistsException"
	codeMismatch = "InvalidParameterException" // of UpdateSecretVersionStage: the label sits elsewhere
)

// failure is a call that did not succeed. It keeps AWS's code and request id and drops the message, which may quote
// what was sent.
type failure struct {
	action  string // secretsmanager:PutSecretValue, sts:AssumeRole
	path    string // the target's
	code    string // AWS's; "": no answer, or none that can be read
	request string // AWS's id of the request, for its support; may be empty
	reason  string // why there is no answer
	meaning error  // one of package stores, or the context's; nil: not known
}

func (f *failure) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s at %s: ", f.action, f.path)
	if f.meaning != nil {
		fmt.Fprintf(&b, "%v", f.meaning)
	} else {
		b.WriteString("no usable answer")
	}
	for _, detail := range []string{f.code, f.reason} {
		if detail != "" {
			b.WriteString(": " + detail)
		}
	}
	if f.request != "" {
		b.WriteString(" (request " + f.request + ")")
	}
	return b.String()
}

func (f *failure) Unwrap() error { return f.meaning }

// answered reports whether err is AWS's answer with this code.
func answered(err error, code string) bool {
	var f *failure
	return errors.As(err, &f) && f.code == code
}

// login marks the errors of the credential chain.
type login struct{ aws.CredentialsProvider }

func (l login) Retrieve(ctx context.Context) (aws.Credentials, error) {
	c, err := l.CredentialsProvider.Retrieve(ctx)
	if err != nil {
		err = &loginError{err}
	}
	return c, err
}

type loginError struct{ err error }

func (e *loginError) Error() string { return "credentials: " + e.err.Error() }
func (e *loginError) Unwrap() error { return e.err }

// failed makes an error of the SDK one of ours. A nil err stays nil.
func failed(ctx context.Context, path string, err error) error {
	if err == nil {
		return nil
	}
	f := &failure{action: "secretsmanager", path: path}
	var op *smithy.OperationError
	for e := err; errors.As(e, &op); e = op.Err { // the innermost: the one that logs in, if that is what failed
		f.action = service(op.ServiceID) + ":" + op.OperationName
	}
	var api smithy.APIError
	var response *awshttp.ResponseError
	var stopped *stoppedError
	switch {
	case errors.As(err, &stopped):
		f.meaning = stopped.err
	case ctx.Err() != nil:
		f.meaning = ctx.Err()
	case errors.As(err, &api):
		f.code = plain(api.ErrorCode(), codeForm)
		f.meaning = meaning(f.code)
	default:
		f.reason = reason(err)
	}
	if errors.As(err, &response) {
		f.request = plain(response.RequestID, requestForm)
	}
	return f
}

// service is the prefix of an IAM action.
func service(id string) string {
	return strings.ToLower(strings.ReplaceAll(id, " ", ""))
}

// What AWS's codes and request ids look like. Anything else that an endpoint answers there is not repeated.
var (
	codeForm    = regexp.MustCompile(`^[A-Za-z]{1,50}$`)
	requestForm = regexp.MustCompile(`^[0-9a-f-]{1,40}$`)
)

func plain(s string, form *regexp.Regexp) string {
	if !form.MatchString(s) {
		return ""
	}
	return s
}

// meaning maps the codes of Secrets Manager, STS and AWS's common errors. What is missing here (throttling, internal
// errors, a skewed clock, a quota of versions or labels, which go away, whatever comes) means "not known": it may pass by itself.
func meaning(code string) error {
	switch code {
	case codeNotFound:
		return stores.ErrNotFound
	case "AccessDeniedException", "AccessDenied", "NotAuthorized", "OptInRequired",
		"UnrecognizedClientException", "InvalidClientTokenId", "InvalidIdentityToken",
		"ExpiredTokenException", "ExpiredToken", "InvalidSignatureException", "SignatureDoesNotMatch",
		"MissingAuthenticationTokenException", "MissingAuthenticationToken", "IncompleteSignature":
		return stores.ErrDenied
	case "InvalidRequestException", codeMismatch, "ValidationException", codeExists,
		"DecryptionFailure", "EncryptionFailure", "PreconditionNotMetException":
		return stores.ErrInvalid
	}
	return nil
}

// reason says why there was no answer, in words that hold host names at most.
func reason(err error) string {
	var network *net.OpError
	var timeout net.Error
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.Is(err, errInsecure):
		return errInsecure.Error()
	case errors.As(err, &network):
		return network.Error()
	case errors.As(err, &certificate):
		return certificate.Error()
	case errors.As(err, &timeout) && timeout.Timeout():
		return "time is out"
	case errors.As(err, new(*loginError)):
		return "no credentials were found that can be used"
	}
	return ""
}
