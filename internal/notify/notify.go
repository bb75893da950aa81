// Package notify tells people what cannot wait: it follows the journal's events and sends the urgent ones
// ([journal.Kind.Urgent]) to a webhook and to the daemon's log.
//
// # What is promised
//
// Every urgent event is delivered at least once and in order: each way out keeps in the journal the id of the last
// event it delivered, and moves it only after the receiver answered with 2xx. A crash between the two delivers that
// event once more, so a receiver drops what bears an id and a time that it has seen (a journal that was restored from a
// backup gives the ids anew that were lost with it). A way out that is new to a journal begins with the events of the
// last 24 hours: nobody wants to be woken for what happened a year ago. A receiver that is down is tried again for
// ever, at a capped pace, and holds up nothing but its own events: rotation never waits for a notification. Replicas
// that share a journal take turns; one at a time delivers.
//
// # The message
//
// A POST of JSON; what is absent is null:
//
//	{"id": 42, "at": "2026-03-01T03:00:12Z", "kind": "promoted", "policy": "chat-prod", "rotation": "0195…",
//	 "data": {"key_id": "…"}, "source": "host/instance"}
//
// # Verifying it
//
// The header Rotator-Signature reads "t=1772334012,v1=5257a8…": the time of sending in Unix seconds, and in hexadecimal
// the HMAC-SHA256, under the shared secret, of that time as it stands there, a dot, and the body as it was received. The
// receiver computes the same over the raw bytes before it parses them, compares in constant time, and refuses a t that
// lies more than five minutes from its own clock. In Python:
//
//	t, v1 = (part.split("=", 1)[1] for part in header.split(","))
//	want = hmac.new(secret, t.encode() + b"." + body, hashlib.sha256).hexdigest()
//	ok = hmac.compare_digest(want, v1) and abs(time.time() - int(t)) < 300
package notify

import (
	"context"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"rotator/internal/secret"
	"rotator/rotation/journal"
)

// Journal is what the notifier uses of the journal.
type Journal interface {
	Events(ctx context.Context, after int64, limit int) ([]journal.Event, error)
	Meta(ctx context.Context, key string) (string, error)
	SetMeta(ctx context.Context, key, value string) error
	Chore(ctx context.Context, now time.Time, name string, every time.Duration) (bool, error)
}

var _ Journal = journal.Journal(nil)

// Webhook is where events are sent. Both are asked for before each delivery, so that a changed file takes effect.
type Webhook struct {
	// URL of the receiver: https, or http on loopback. It may hold a credential and is never logged.
	URL func(context.Context) (secret.Text, error)
	// Secret is the key of the signature, shared with the receiver.
	Secret func(context.Context) (secret.Text, error)
}

// Check reads both and says what is wrong with them. Nothing is sent.
func (w *Webhook) Check(ctx context.Context) error {
	_, _, err := w.read(ctx)
	return err
}

// Options are what a Notifier is made of.
type Options struct {
	Journal Journal
	// Webhook is nil when there is none; urgent events then stand in the log alone.
	Webhook *Webhook
	// Trails take every event of the journal, from the first one on, a page at once, by name.
	Trails map[string]func(context.Context, []journal.Event) error
	// Source names this daemon to receivers: host/instance.
	Source string
	Log    *slog.Logger
	// Observe is told how many tries in a row failed on a way out ("webhook" or "log"): 0 when Run begins and when one
	// went well after others that did not; nil is nobody.
	Observe func(sink string, failures int)
	// Transport carries requests to the webhook; nil is one of its own.
	Transport http.RoundTripper
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Notifier delivers events.
type Notifier struct{ outs []*out }

// New makes a notifier. It does nothing before Run.
func New(o Options) *Notifier {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Observe == nil {
		o.Observe = func(string, int) {}
	}
	n := &Notifier{outs: []*out{newOut(o, "log", logSink{o.Log})}}
	if o.Webhook != nil {
		n.outs = append(n.outs, newOut(o, "webhook", newWebhookSink(o)))
	}
	for _, name := range slices.Sorted(maps.Keys(o.Trails)) {
		out := newOut(o, name, nil)
		out.all = o.Trails[name]
		n.outs = append(n.outs, out)
	}
	return n
}

// Run delivers until ctx ends, and returns nil. Each way out goes its own pace: one that is dead holds up no other.
func (n *Notifier) Run(ctx context.Context) error {
	var working sync.WaitGroup
	for _, o := range n.outs {
		working.Go(func() { o.run(ctx) })
	}
	working.Wait()
	return nil
}

// sink is a way out. An error means that the event may not have arrived.
type sink interface {
	send(ctx context.Context, e journal.Event) error
}

// logSink tells events in the daemon's log, as warnings but for those that tell of success.
type logSink struct{ log *slog.Logger }

func (s logSink) send(ctx context.Context, e journal.Event) error {
	facts := []any{"event", e.ID, "kind", string(e.Kind)}
	if e.Policy != "" {
		facts = append(facts, "policy", e.Policy)
	}
	if e.Rotation != "" {
		facts = append(facts, "rotation", e.Rotation)
	}
	level := slog.LevelWarn
	if e.Kind == journal.Promoted || e.Kind == journal.HealthChanged && (e.Data["to"] == "ok" || e.Data["to"] == "progressing") {
		level = slog.LevelInfo
	}
	var data []any // in one order each time, and in a text log as words: data.key_id=…
	for _, name := range slices.Sorted(maps.Keys(e.Data)) {
		data = append(data, slog.String(name, e.Data[name]))
	}
	s.log.Log(ctx, level, "event", append(facts, slog.Group("data", data...))...)
	return nil
}
