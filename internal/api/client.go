package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"syscall"
	"time"
)

// maxAnswer bounds what a client reads, in bytes: the status of 100,000 policies has about 50 MB.
const maxAnswer = 256 << 20

// Client asks a [Server.Control] API. A failure that the API reports is an *[Error].
type Client struct{ via http.RoundTripper }

// Dial makes a client for the daemon at a unix socket. Nothing is sent yet. When nothing answers there, calls return
// [ErrNoDaemon].
func Dial(socket string) *Client {
	return &Client{&http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "unix", socket)
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
				return nil, fmt.Errorf("%w %s", ErrNoDaemon, socket)
			}
			return conn, err
		},
	}}
}

// InProcess makes a client that calls the handler itself, for commands that work without a daemon. It speaks as the user
// that this process runs as.
func InProcess(h http.Handler) *Client { return &Client{direct{h}} }

// Status returns the state of policies, all of them when none is named, by name.
func (c *Client) Status(ctx context.Context, policies ...string) (rows []StatusRow, err error) {
	return c.Select(ctx, Selection{Policies: policies})
}

// Select is Status for the policies that are meant.
func (c *Client) Select(ctx context.Context, s Selection) (rows []StatusRow, err error) {
	return rows, c.get(ctx, &rows, "/v1/status", s.values())
}

// History returns rotations, newest first, of one policy or of all (""), at most limit (0: 100).
func (c *Client) History(ctx context.Context, policy string, limit int) (rows []HistoryRow, err error) {
	q := values("policy", policy)
	if limit != 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	return rows, c.get(ctx, &rows, "/v1/history", q)
}

// Keys lists keys of a team, of every team when none is named.
func (c *Client) Keys(ctx context.Context, q KeysQuery) (rows []KeyRow, err error) {
	v := values("team", q.Team)
	if q.Unmanaged {
		v.Set("unmanaged", "true")
	}
	if q.Wide {
		v.Set("wide", "true")
	}
	if q.UnusedFor > 0 {
		v.Set("unused_for", q.UnusedFor.String())
	}
	return rows, c.get(ctx, &rows, "/v1/keys", v)
}

// ACLs lists what policies of a team, of every team for "", may name in their ACLs, and what they name beside that.
func (c *Client) ACLs(ctx context.Context, team string) (rows []ACLRow, err error) {
	return rows, c.get(ctx, &rows, "/v1/acls", values("team", team))
}

// Key says what the journal knows of a key.
func (c *Client) Key(ctx context.Context, id string) (row KnownKeyRow, err error) {
	return row, c.get(ctx, &row, "/v1/keys/"+url.PathEscape(id), nil)
}

// Plan says what would happen to the policies that are meant: the next rotation of each or, with until, every one that begins
// before then.
func (c *Client) Plan(ctx context.Context, until time.Time, s Selection) (rows []PlanRow, err error) {
	q := s.values()
	if !until.IsZero() {
		q.Set("until", until.UTC().Format(time.RFC3339))
	}
	return rows, c.get(ctx, &rows, "/v1/plan", q)
}

// Adoptions says which keys the policies, all when none is named, would adopt after the journal was lost.
func (c *Client) Adoptions(ctx context.Context, policies ...string) (rows []AdoptionRow, err error) {
	return rows, c.get(ctx, &rows, "/v1/adoptions", url.Values{"policy": policies})
}

// Check tries configuration, policies, management keys and stores.
func (c *Client) Check(ctx context.Context) (rows []CheckRow, err error) {
	return rows, c.get(ctx, &rows, "/v1/check", nil)
}

// Health says at one look how everything is that the journal knows.
func (c *Client) Health(ctx context.Context) (rows []HealthRow, err error) {
	return rows, c.get(ctx, &rows, "/v1/health", nil)
}

// Present is the id of the last event: [Client.Events] after it returns what happens from now on.
func (c *Client) Present(ctx context.Context) (int64, error) {
	var e Events
	return e.Next, c.get(ctx, &e, "/v1/events", nil)
}

// Events returns the events with an id above after, of one policy or of all (""). While there are none it waits, up to
// 25 seconds, and then returns none; go on with Next, which moves also past the events of other policies.
func (c *Client) Events(ctx context.Context, after int64, policy string) (e Events, err error) {
	q := values("policy", policy)
	q.Set("after", strconv.FormatInt(after, 10))
	return e, c.get(ctx, &e, "/v1/events", q)
}

// Place gives an order. By and Why are for the record.
func (c *Client) Place(ctx context.Context, o OrderRequest) (p Placed, err error) {
	return p, c.call(ctx, http.MethodPost, "/v1/orders", nil, o, &p)
}

// Order says what became of an order.
func (c *Client) Order(ctx context.Context, id int64) (o OrderRow, err error) {
	return o, c.get(ctx, &o, "/v1/orders/"+strconv.FormatInt(id, 10), nil)
}

// Hold keeps a policy from starting, disabling and deleting; it replaces an earlier hold.
func (c *Client) Hold(ctx context.Context, h HoldRequest) error {
	return c.call(ctx, http.MethodPost, "/v1/holds", nil, h, nil)
}

// Release ends a hold. A policy that is not held stays as it is.
func (c *Client) Release(ctx context.Context, policy, by string) error {
	return c.call(ctx, http.MethodDelete, "/v1/holds/"+url.PathEscape(policy), values("by", by), nil, nil)
}

// Forget drops what the journal knows of a removed policy, or of one target that its policy no longer names.
func (c *Client) Forget(ctx context.Context, f ForgetRequest) error {
	return c.call(ctx, http.MethodPost, "/v1/forget", nil, f, nil)
}

// Reload reads configuration and policies again. What an *[Error] with problems names stays as it was; all else is in force.
func (c *Client) Reload(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/v1/reload", nil, nil, nil)
}

// Version says who answers.
func (c *Client) Version(ctx context.Context) (v VersionRow, err error) {
	return v, c.get(ctx, &v, "/v1/version", nil)
}

func values(name, value string) url.Values {
	q := url.Values{}
	if value != "" {
		q.Set(name, value)
	}
	return q
}

func (c *Client) get(ctx context.Context, answer any, path string, q url.Values) error {
	return c.call(ctx, http.MethodGet, path, q, nil, answer)
}

func (c *Client) call(ctx context.Context, method, path string, q url.Values, body, answer any) error {
	var sent io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return err
		}
		sent = bytes.NewReader(data)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://rotator"+path, sent)
	if err != nil {
		return err
	}
	r.URL.RawQuery = q.Encode()
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	} else {
		r.Body = http.NoBody
	}
	a, err := c.via.RoundTrip(r)
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return fmt.Errorf("%w any more: it ended before it answered", ErrNoDaemon)
	}
	if err != nil {
		return err
	}
	defer a.Body.Close()
	return read(a, answer)
}

// read decodes what the API answered.
func read(a *http.Response, answer any) error {
	decoder := json.NewDecoder(io.LimitReader(a.Body, maxAnswer))
	if a.StatusCode >= http.StatusBadRequest {
		e := &Error{status: a.StatusCode}
		if err := decoder.Decode(e); err != nil || e.Code == 0 {
			return fmt.Errorf("the daemon answered with status %d and no reason", a.StatusCode)
		}
		return e
	}
	if answer == nil {
		return nil
	}
	if err := decoder.Decode(answer); err != nil {
		return fmt.Errorf("the daemon's answer: %w", err)
	}
	return nil
}

// direct is a transport that calls a handler in this process.
type direct struct{ handler http.Handler }

// RoundTrip implements http.RoundTripper.
func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	w := &answer{header: make(http.Header), status: http.StatusOK}
	d.handler.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), peer{}, os.Getuid())))
	if err := r.Context().Err(); err != nil { // as over a wire
		return nil, err
	}
	return &http.Response{StatusCode: w.status, Header: w.header, Body: io.NopCloser(&w.body), Request: r}, nil
}

// answer is an http.ResponseWriter that keeps what is written.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(b []byte) (int, error) { return a.body.Write(b) }
