package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"rotator/internal/secret"
)

// SignatureHeader carries the signature of a message, see the package comment.
const SignatureHeader = "Rotator-Signature"

// Webhook is a receiver of signed messages. Both are asked for before each delivery, so that a changed file takes effect.
type Webhook struct {
	// URL of the receiver: https, or http on loopback. It may hold a credential and is never logged.
	URL func(context.Context) (secret.Text, error)
	// Secret is the key of the signature, shared with the receiver.
	Secret    func(context.Context) (secret.Text, error)
	Transport http.RoundTripper
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Check implements Sender.
func (w *Webhook) Check(ctx context.Context) error {
	_, _, err := w.read(ctx)
	return err
}

// Most implements Sender: a message is one event.
func (w *Webhook) Most() int { return 1 }

// Send implements Sender.
func (w *Webhook) Send(ctx context.Context, all []Message) error {
	to, key, err := w.read(ctx)
	if err != nil {
		return err
	}
	now := time.Now
	if w.Now != nil {
		now = w.Now
	}
	for _, m := range all {
		body, err := json.Marshal(m)
		if err != nil {
			return err
		}
		signed := http.Header{SignatureHeader: {sign([]byte(key.Reveal()), now(), body)}}
		if err := newPoster(w.Transport).post(ctx, to, body, signed); err != nil {
			return err
		}
	}
	return nil
}

// read returns the receiver's URL and the secret, checked again each time they are read.
func (w *Webhook) read(ctx context.Context) (*url.URL, secret.Text, error) {
	u, err := endpoint(ctx, w.URL)
	if err != nil {
		return nil, secret.Text{}, err
	}
	key, err := w.Secret(ctx)
	if err != nil {
		return nil, secret.Text{}, fmt.Errorf("its secret: %w", err)
	}
	if n := len(key.Reveal()); n < leastSecret {
		return nil, secret.Text{}, fmt.Errorf("its secret has %d bytes: want %d or more, such as from `openssl rand -hex 32`", n, leastSecret)
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
