// Package notify notifies people of what cannot wait: it follows the journal's events and sends the urgent ones
// ([journal.Kind.Urgent]) over channels, and to the daemon's log.
//
// # What is promised
//
// Every urgent event is delivered at least once and in order: each way out keeps in the journal the id of the last
// event it delivered, and moves it only after the receiver answered with 2xx. A crash between the two delivers that
// event once more, so a receiver drops what has an id and a time that it has seen (a journal that was restored from a
// backup gives new events the ids that were lost with it). A way out that is new to a journal begins with the events of the
// last 24 hours: no one wants to be woken for what happened a year ago. A receiver that is down is tried again for
// ever, at a capped pace, and holds up nothing but its own events: rotation never waits for a notification. Replicas
// that share a journal take turns; one at a time delivers.
//
// # The channels
//
// A [Channel] has a [Sender]: a signed webhook, Slack, Microsoft Teams, PagerDuty, mail, or a program. It selects events by
// severity, kind, team, owner and labels. Channels for people hold several events in one message, and leave some time between
// two. A channel that fails three times in a row and for five minutes is told of by an event of its own (channel_failed), which
// the other channels deliver.
//
// # The message
//
// A POST of JSON, or a line on a program's standard input; what is absent is null:
//
//	{"id": 42, "at": "2026-03-01T03:00:12Z", "kind": "promoted", "severity": "info", "summary": "chat-prod: every target holds the new key",
//	 "policy": "chat-prod", "team": "research", "owner": "ann@example.com", "labels": {"tier": "prod"}, "health": "ok",
//	 "health_reason": null, "remedy": null, "rotation": "0195…", "data": {"key_id": "…"}, "source": "host/instance"}
//
// # Verifying it
//
// The header Rotator-Signature reads "t=1772334012,v1=5257a8…": the time of sending in Unix seconds, and in hexadecimal
// the HMAC-SHA256, under the shared secret, of that time as it is there, a dot, and the body as it was received. The
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
	"slices"
	"sync"
	"time"

	"rotator/rotation/journal"
)

// Journal is what the notifier uses of the journal.
type Journal interface {
	Events(ctx context.Context, after int64, limit int) ([]journal.Event, error)
	Meta(ctx context.Context, key string) (string, error)
	SetMeta(ctx context.Context, key, value string) error
	Record(ctx context.Context, events ...journal.Event) error
	Chore(ctx context.Context, now time.Time, name string, every time.Duration) (bool, error)
}

var _ Journal = journal.Journal(nil)

// Sender is how a channel gives messages away.
type Sender interface {
	// Send delivers messages, in order. An error means that some of them may not have arrived: all of them are sent again.
	Send(ctx context.Context, all []Message) error
	// Most is how many messages one call of Send takes at most.
	Most() int
	// Check reads addresses and credentials, and says what is wrong with them. Nothing is sent.
	Check(ctx context.Context) error
}

// Channel is a way out for events.
type Channel struct {
	// Name tells channels apart, in metrics and in the journal, which keeps how far each came.
	Name   string
	Sender Sender
	Match  Match
	// Every is the least time between two messages, but for critical events: what comes meanwhile goes in the next one.
	Every time.Duration
	// Repeat is after how long a policy that still needs someone is told of again; 0: never.
	Repeat time.Duration
}

// Options are what a Notifier is made of.
type Options struct {
	Journal Journal
	// Channels are where urgent events go, besides the log.
	Channels []Channel
	// Trails take every event of the journal, from the first one on, a page at once, by name.
	Trails map[string]func(context.Context, []journal.Event) error
	// Facts is what is known of a policy now; nil, and the zero Facts: nothing.
	Facts func(ctx context.Context, policy string) (Facts, error)
	// Unwell are the policies that need someone now, for channels that repeat; nil: none is told of again.
	Unwell func(ctx context.Context) ([]Unwell, error)
	// Source names this daemon to receivers: host/instance.
	Source string
	Log    *slog.Logger
	// Observe is told how many tries in a row failed on a channel (its name, or "log"): 0 when Run begins and when one
	// went well after others that did not; nil: no one is told.
	Observe func(channel string, failures int)
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
	if o.Facts == nil {
		o.Facts = func(context.Context, string) (Facts, error) { return Facts{}, nil }
	}
	n := &Notifier{outs: []*out{newOut(o, Channel{Name: LogChannel, Sender: logSender{o.Log}})}}
	for _, c := range o.Channels {
		n.outs = append(n.outs, newOut(o, c))
	}
	for _, name := range slices.Sorted(maps.Keys(o.Trails)) {
		trail := newOut(o, Channel{Name: name})
		trail.all = o.Trails[name]
		n.outs = append(n.outs, trail)
	}
	return n
}

// LogChannel is the channel that always is: the daemon's own log.
const LogChannel = "log"

// Test sends a message that tells of no event over a channel.
func Test(ctx context.Context, c Channel, source string, now time.Time) error {
	m := newMessage(journal.Event{At: now, Kind: testKind}, Facts{}, source)
	m.Severity = Info
	return c.Sender.Send(ctx, []Message{m})
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

// logSender writes events to the daemon's log, as warnings but for those that tell of success.
type logSender struct{ log *slog.Logger }

// Check implements Sender.
func (logSender) Check(context.Context) error { return nil }

// Most implements Sender.
func (logSender) Most() int { return 1 }

// Send implements Sender.
func (s logSender) Send(ctx context.Context, all []Message) error {
	for _, m := range all {
		s.tell(ctx, m)
	}
	return nil
}

func (s logSender) tell(ctx context.Context, m Message) {
	facts := []any{"event", m.ID, "kind", m.Kind}
	if m.Policy != nil {
		facts = append(facts, "policy", *m.Policy)
	}
	if m.Rotation != nil {
		facts = append(facts, "rotation", *m.Rotation)
	}
	level := slog.LevelWarn
	if m.Kind == string(journal.Promoted) || m.Kind == string(journal.HealthChanged) && (m.Data["to"] == "ok" || m.Data["to"] == "progressing") {
		level = slog.LevelInfo
	}
	var data []any // in one order each time, and in a text log as words: data.key_id=…
	for _, name := range slices.Sorted(maps.Keys(m.Data)) {
		data = append(data, slog.String(name, m.Data[name]))
	}
	s.log.Log(ctx, level, "event", append(facts, slog.Group("data", data...))...)
}
