package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"rotator/internal/secret"
	"rotator/internal/transport"
	"rotator/rotation/journal"
)

// SignatureHeader carries the signature of a message, see the package comment.
const SignatureHeader = "Rotator-Signature"

// sendTime bounds one delivery.
const sendTime = 10 * time.Second

// message is what a receiver gets.
type message struct {
	ID       int64             `json:"id"` // grows; the same event always has the same id and time
	At       time.Time         `json:"at"` // RFC 3339 in UTC, whole seconds
	Kind     string            `json:"kind"`
	Policy   *string           `json:"policy"`
	Rotation *string           `json:"rotation"`
	Data     map[string]string `json:"data"`
	Source   string            `json:"source"`
}

// webhookSink posts events.
type webhookSink struct {
	Webhook
	source string
	client *http.Client
	now    func() time.Time
}

func newWebhookSink(o Options) *webhookSink {
	by := o.Transport
	if by == nil {
		own := transport.New()
		own.MaxResponseHeaderBytes = 64 << 10
		by = own
	}
	return &webhookSink{Webhook: *o.Webhook, source: o.Source, now: o.Now, client: &http.Client{
		Transport: by,
		// A redirect would carry the message, and its signature, to a place that no one configured.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// send posts one event. Its error never holds the URL, the secret or what was answered.
func (s *webhookSink) send(ctx context.Context, e journal.Event) error {
	ctx, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	to, key, err := s.read(ctx)
	if err != nil {
		return err
	}
	body, err := s.body(e)
	if err != nil {
		return err
	}
	r := (&http.Request{
		Method: http.MethodPost, URL: to, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
		Header: http.Header{
			"Content-Type":  {"application/json"},
			"User-Agent":    {"rotator"},
			SignatureHeader: {sign([]byte(key.Reveal()), s.now(), body)},
		},
	}).WithContext(ctx)
	a, err := s.client.Do(r)
	if err != nil {
		return errors.New(unreached(err))
	}
	_ = a.Body.Close() // what it says is no one's business
	if a.StatusCode < 200 || a.StatusCode > 299 {
		return fmt.Errorf("the receiver answered with status %d", a.StatusCode)
	}
	return nil
}

func (s *webhookSink) body(e journal.Event) ([]byte, error) {
	m := message{ID: e.ID, At: e.At.UTC().Truncate(time.Second), Kind: string(e.Kind), Data: e.Data, Source: s.source}
	if m.Data == nil {
		m.Data = map[string]string{}
	}
	if e.Policy != "" {
		m.Policy = &e.Policy
	}
	if e.Rotation != "" {
		m.Rotation = &e.Rotation
	}
	return json.Marshal(m)
}

// read returns the receiver's URL and the secret, checked again each time they are read.
func (w *Webhook) read(ctx context.Context) (*url.URL, secret.Text, error) {
	text, err := w.URL(ctx)
	if err != nil {
		return nil, secret.Text{}, fmt.Errorf("the webhook's URL: %w", err)
	}
	u, err := transport.Endpoint(text.Reveal())
	if err != nil {
		return nil, secret.Text{}, fmt.Errorf("the webhook's URL %w", err)
	}
	key, err := w.Secret(ctx)
	if err != nil {
		return nil, secret.Text{}, fmt.Errorf("the webhook's secret: %w", err)
	}
	if n := len(key.Reveal()); n < leastSecret {
		return nil, secret.Text{}, fmt.Errorf("the webhook's secret has %d bytes: want %d or more, such as from `openssl rand -hex 32`", n, leastSecret)
	}
	return u, key, nil
}

// leastSecret is the length that the secret of a webhook has at least, in bytes: who has seen one message could find a
// shorter one by trying.
const leastSecret = 16

// sign makes the value of [SignatureHeader].
func sign(key []byte, at time.Time, body []byte) string {
	t := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(t + "."))
	mac.Write(body)
	return "t=" + t + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}

// unreached says why a receiver could not be reached. The errors of net/http name the URL, and those of net the host.
func unreached(err error) string {
	var timeout interface{ Timeout() bool }
	var name *net.DNSError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &name):
		return "the receiver's name does not resolve"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "the receiver did not answer in time"
	case errors.As(err, &certificate):
		return "the receiver's certificate is not accepted"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the receiver refuses connections"
	}
	return "the receiver cannot be reached"
}
