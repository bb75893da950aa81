package xai

import (
	"context"
	"net/http"
	"strings"
	"time"

	"rotator/internal/secret"
)

// Inference asks the inference API about API keys. It is safe for concurrent use.
type Inference struct{ cl client }

// InferenceOptions are the settings of an Inference, as in [ManagementOptions]. URL is required; a regional host may be
// there.
type InferenceOptions struct {
	URL       string
	HTTP      *http.Client
	TLS       TLSFiles
	Now       func() time.Time
	Sleep     func(context.Context, time.Duration) error
	Timeout   time.Duration
	UserAgent string
	Observe   func(ctx context.Context, op string, class Class, took time.Duration)
}

// NewInference checks the options. Nothing is sent.
func NewInference(o InferenceOptions) (*Inference, error) {
	cl, err := newClient("inference", ManagementOptions{URL: o.URL, HTTP: o.HTTP, TLS: o.TLS, Now: o.Now, Sleep: o.Sleep,
		Timeout: o.Timeout, UserAgent: o.UserAgent, Observe: o.Observe})
	if err != nil {
		return nil, err
	}
	cl.inference = true
	return &Inference{cl: cl}, nil
}

// WhoAmI asks the key which key it is. It is free.
func (i *Inference) WhoAmI(ctx context.Context, key secret.Text) (Identity, error) {
	var id Identity
	err := i.ask(ctx, key, call{op: OpWhoAmI, method: http.MethodGet, path: "/v1/api-key", tries: 2, optional: "GET /v1/api-key", read: func(b body) code {
		return b.decode(func(r *reader) { id = r.identity() })
	}})
	if err != nil {
		return Identity{}, err
	}
	return id, nil
}

// Models returns the names of the models that the key may use.
func (i *Inference) Models(ctx context.Context, key secret.Text) ([]string, error) {
	var names []string
	err := i.ask(ctx, key, call{op: OpModels, method: http.MethodGet, path: "/v1/models", tries: 2, optional: "GET /v1/models", read: func(b body) code {
		return b.decode(func(r *reader) {
			if r.raw("data") == nil {
				r.bad = "no_list"
			}
			names = nil
			r.each("data", func(m *reader) { names = append(names, m.text("id")) })
		})
	}})
	if err != nil {
		return nil, err
	}
	return names, nil
}

// Chat has the model say one token. nil means that a completion came back: the key works for chat with this model. It
// costs a little and is never repeated here.
func (i *Inference) Chat(ctx context.Context, key secret.Text, model string) error {
	if model == "" {
		return invalid(OpChat, "model")
	}
	send := chatBody{Model: model, Messages: []chatMessage{{Role: "user", Content: "ping"}}, MaxTokens: 1}
	return i.ask(ctx, key, call{op: OpChat, method: http.MethodPost, path: "/v1/chat/completions", body: send, read: func(b body) code {
		return b.decode(func(r *reader) {
			if r.each("choices", func(*reader) {}) == 0 && r.bad == "" {
				r.bad = "no_choices"
			}
		})
	}})
}

// ask sends c with the key, without the white space around it that files bring along. A management key is refused here: it
// has no business at an inference host.
func (i *Inference) ask(ctx context.Context, key secret.Text, c call) error {
	key = key.Trimmed()
	if strings.HasPrefix(key.Reveal(), "xai-token-") {
		return invalid(c.op, "management_key")
	}
	c.token = func(context.Context) (secret.Text, error) { return key, nil }
	_, err := i.cl.do(ctx, c)
	return err
}
