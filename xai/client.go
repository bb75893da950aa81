package xai

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"

	"rotator/internal/secret"
)

// Bounds of every call. Answers are small: a key object is under 2 KiB.
const (
	defaultTimeout = 30 * time.Second
	bodyLimit      = 1 << 20
	listLimit      = 16 << 20
	retryWindow    = 10 * time.Second // no further try begins later than this after the first
	retryAfterMax  = time.Hour
)

// client is what both APIs share: one base URL, one way to send.
type client struct {
	base      string
	inference bool
	http      *http.Client
	now       func() time.Time
	sleep     func(context.Context, time.Duration) error
	timeout   time.Duration // of one try, body included
	userAgent string
	observe   func(ctx context.Context, op string, class Class, took time.Duration)
	token     func(context.Context) (secret.Text, error) // the management key; a call's own comes first
	pace      *pace                                      // nil: none
	offers    *offers
}

// newClient fills in what o leaves out.
func newClient(what string, o ManagementOptions) (client, error) {
	base, err := baseURL(what, o.URL)
	if err != nil {
		return client{}, err
	}
	cl := client{
		base: base, http: httpClient(o.HTTP, o.TLS), now: o.Now, sleep: o.Sleep, observe: o.Observe, token: o.Key,
		timeout: cmp.Or(o.Timeout, defaultTimeout), userAgent: cmp.Or(o.UserAgent, "rotator"), offers: &offers{},
	}
	if cl.now == nil {
		cl.now = time.Now
	}
	if cl.sleep == nil {
		cl.sleep = sleep
	}
	return cl, nil
}

// call is one request as the methods describe it.
type call struct {
	op, method, path string
	query            url.Values
	body             any    // sent as JSON when not nil
	limit            int64  // of the answer's bytes; 0: bodyLimit
	tries            int    // 0: one, as for every change
	optional         string // the route, of a call that xAI may not offer; see offers
	token            func(context.Context) (secret.Text, error)
	read             func(body) code // decodes a success; a code other than "" makes it ClassUnreadable
}

// code is a short word of ours that is in Error.Code. Nothing of an answer is ever in it.
type code string

// do sends c until it succeeds, fails for good, or may not be tried again. It returns the Date of the last answer. A change
// is sent once: its caller knows whether it may be sent again, and must hear of each try whose outcome is unknown.
func (cl *client) do(ctx context.Context, c call) (time.Time, error) {
	begun := cl.now()
	if cl.offers.lacks(c.optional, begun) {
		return time.Time{}, &Error{Op: c.op, Class: ClassRoute, Code: notOffered, Unsent: true}
	}
	wait := &backoff.ExponentialBackOff{InitialInterval: 300 * time.Millisecond, RandomizationFactor: 0.5, Multiplier: 3, MaxInterval: 5 * time.Second}
	for try := 1; ; try++ {
		date, err := cl.paced(ctx, c)
		if err == nil {
			return date, nil
		}
		if errors.Is(err, ErrNotOffered) {
			cl.offers.note(c.optional, cl.now())
		}
		if try >= c.tries || !cl.again(err) {
			return date, err
		}
		pause := err.RetryAfter + wait.NextBackOff() // both: many may have been told the same time
		if cl.now().Add(pause).Sub(begun) > retryWindow || cl.sleep(ctx, pause) != nil {
			return date, err
		}
	}
}

// again reports whether the same request may succeed in a moment. An inference call is not repeated for anything that
// the server said on purpose: its callers poll.
func (cl *client) again(err *Error) bool {
	switch err.Class {
	case ClassNetwork, ClassUnavailable:
		return true
	case ClassRateLimited, ClassUnreadable:
		return !cl.inference && err.Code != tooMany
	}
	return false
}

// paced is one try, at the pace of the key.
func (cl *client) paced(ctx context.Context, c call) (time.Time, *Error) {
	if cl.pace != nil {
		switch away, err := cl.pace.wait(ctx, cl.now, cl.sleep); {
		case err != nil:
			return time.Time{}, &Error{Op: c.op, Class: ClassCanceled, Unsent: true, cause: err}
		case away > 0:
			return time.Time{}, &Error{Op: c.op, Class: ClassRateLimited, Code: "pace", RetryAfter: away, Unsent: true}
		}
	}
	begun := cl.now()
	date, err := cl.once(ctx, c)
	class := Class("")
	if err != nil {
		class = err.Class
	}
	if cl.pace != nil {
		cl.pace.note(ctx, begun, cl.now(), class, err)
	}
	if cl.observe != nil {
		cl.observe(ctx, c.op, class, cl.now().Sub(begun))
	}
	return date, err
}

// once is one try: one request, one bounded answer.
func (cl *client) once(ctx context.Context, c call) (time.Time, *Error) {
	token, fail := cl.bearer(ctx, c)
	if fail != nil {
		return time.Time{}, fail
	}
	tryCtx, cancel := context.WithTimeout(guarded(ctx), cl.timeout)
	defer cancel()
	req, err := cl.request(tryCtx, c)
	if err != nil {
		return time.Time{}, &Error{Op: c.op, Class: ClassInvalid, Code: "request", Unsent: true}
	}
	req.Header.Set("Authorization", "Bearer "+token.Reveal())
	res, err := cl.http.Do(req)
	if err != nil {
		return time.Time{}, broken(ctx, c.op, err)
	}
	defer func() { _ = res.Body.Close() }() // nothing to say of a body that was read, or given up
	date, _ := http.ParseTime(res.Header.Get("Date"))
	limit := c.limit
	if limit == 0 {
		limit = bodyLimit
	}
	raw, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	var e *Error
	switch {
	case res.StatusCode == http.StatusNoContent && c.method == http.MethodDelete: // done, and nothing to say
	case res.StatusCode == http.StatusAccepted && c.method != http.MethodPost: // a promise is no answer; a key that was made is one
		e = &Error{Class: ClassUnreadable, Code: "accepted"}
	case res.StatusCode/100 == 2:
		e = cl.success(ctx, c, raw, limit, err)
	default:
		// Of a refusal, whatever could be read will do: the status alone says much.
		e = classify(cl.inference, res.StatusCode, res.Header.Get("Content-Type"), raw)
		e.RetryAfter = retryAfter(res.Header.Get("Retry-After"), date, cl.now())
	}
	if e != nil {
		e.Op, e.Status, e.Date = c.op, res.StatusCode, date
	}
	noteDate(ctx, date, e)
	return date, e
}

// success reads the body of a 2xx, of which err ended the reading.
func (cl *client) success(ctx context.Context, c call, raw []byte, limit int64, err error) *Error {
	why := code("")
	switch {
	case int64(len(raw)) > limit:
		why = "too_large"
	case err != nil && (ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded)):
		return broken(ctx, c.op, err)
	case err != nil:
		why = "truncated"
	case !cl.inference && missingKey(raw):
		return &Error{Class: ClassNotFound}
	default:
		why = c.read(raw)
	}
	if why == "" {
		return nil
	}
	return &Error{Class: ClassUnreadable, Code: string(why)}
}

// bearer asks for the token and refuses one that cannot be in a header.
func (cl *client) bearer(ctx context.Context, c call) (secret.Text, *Error) {
	ask, op := cl.token, c.op
	if c.token != nil {
		ask = c.token
	}
	token, err := ask(ctx)
	switch {
	case ctx.Err() != nil:
		return token, &Error{Op: op, Class: ClassCanceled, Unsent: true, cause: ctx.Err()}
	case err != nil:
		return token, &Error{Op: op, Class: ClassUnauthenticated, Code: "key_unavailable", Unsent: true, cause: err}
	case !headerSafe(token.Reveal()):
		return token, &Error{Op: op, Class: ClassInvalid, Code: "key_malformed", Unsent: true}
	}
	return token, nil
}

// headerSafe reports whether s is not empty and made of printable ASCII without spaces, as any bearer is.
func headerSafe(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

func (cl *client) request(ctx context.Context, c call) (*http.Request, error) {
	address := cl.base + c.path
	if len(c.query) > 0 {
		address += "?" + c.query.Encode()
	}
	var content io.Reader
	if c.body != nil {
		b, err := json.Marshal(c.body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, c.method, address, content)
	if err != nil {
		return nil, err
	}
	if c.body != nil {
		req.Header.Set("Content-Type", "application/json")
		// Without GetBody net/http cannot send the request a second time behind our back, not even when a kept
		// connection turns out to be closed.
		req.GetBody = nil
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", cl.userAgent)
	return req, nil
}

// broken turns an error of net/http, whose text holds the URL and may hold a proxy's password, into a word of ours.
func broken(ctx context.Context, op string, err error) *Error {
	var stopped *stoppedError
	switch {
	case errors.As(err, &stopped):
		return &Error{Op: op, Class: ClassCanceled, Code: "stopped", Unsent: true, cause: stopped.why}
	case ctx.Err() != nil:
		return &Error{Op: op, Class: ClassCanceled, cause: ctx.Err()}
	}
	e := &Error{Op: op, Class: ClassNetwork, Code: "connection"}
	var dial *net.OpError
	var timeout net.Error
	switch {
	case asType[*net.DNSError](err):
		e.Code, e.Unsent = "name", true
	case certificate(err):
		e.Code, e.Unsent = "tls", true
	case errors.As(err, &dial) && (dial.Op == "dial" || dial.Op == "proxyconnect"):
		e.Code, e.Unsent = "connect", true
	case asType[*filesError](err):
		e.Code, e.Unsent = "client_certificate_files", true
	case refusedHandshake(err.Error()):
		e.Code = needsCertificate
	case errors.As(err, &timeout) && timeout.Timeout():
		e.Code = "timeout"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		e.Code = "closed"
	}
	return e
}

// retryAfter reads a Retry-After header: seconds, or a date, which is taken by the server's own clock when it gave one.
func retryAfter(header string, date, now time.Time) time.Duration {
	if header == "" {
		return 0
	}
	var wait time.Duration
	if seconds, err := strconv.Atoi(header); err == nil {
		wait = time.Duration(min(seconds, 1<<20)) * time.Second
	} else if at, err := http.ParseTime(header); err == nil {
		if date.IsZero() {
			date = now
		}
		wait = at.Sub(date)
	}
	return min(max(wait, 0), retryAfterMax)
}

// asType reports whether err is or wraps a T.
func asType[T error](err error) bool {
	var t T
	return errors.As(err, &t)
}
