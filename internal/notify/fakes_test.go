package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"rotator/internal/secret"
	"rotator/rotation/journal"
)

const (
	hookURL = "https://hooks.example/services/T0-canary-url-B1"
	hookKey = "canary-signing-key"
)

// ledger is a journal of events. It fails the test when a cursor goes back, or when someone moves one out of turn.
type ledger struct {
	t      *testing.T
	mu     sync.Mutex
	events []journal.Event      // guarded by mu
	meta   map[string]string    // guarded by mu
	turns  map[string]time.Time // guarded by mu: chore → when it was last given
	down   bool                 // guarded by mu
	saves  int                  // guarded by mu
}

func newLedger(t *testing.T) *ledger {
	return &ledger{t: t, meta: map[string]string{}, turns: map[string]time.Time{}}
}

func (l *ledger) add(kinds ...journal.Kind) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range kinds {
		id := int64(len(l.events)+1) * 10 // ids have gaps
		l.events = append(l.events, journal.Event{ID: id, At: time.Now(), Policy: "chat-prod", Rotation: "rot-1", Kind: k,
			Data: map[string]string{"key_id": "key-1"}})
	}
}

// fail makes the journal answer with errors, or well again.
func (l *ledger) fail(down bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = down
}

// writes is how often a cursor was moved.
func (l *ledger) writes() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.saves
}

// enter locks the ledger; the caller unlocks it.
func (l *ledger) enter(ctx context.Context) error {
	l.mu.Lock()
	if l.down {
		return fmt.Errorf("disk I/O error")
	}
	return ctx.Err()
}

func (l *ledger) Events(ctx context.Context, after int64, limit int) ([]journal.Event, error) {
	err := l.enter(ctx)
	defer l.mu.Unlock()
	var found []journal.Event
	for _, e := range l.events {
		if e.ID > after && len(found) < limit {
			found = append(found, e)
		}
	}
	return found, err
}

func (l *ledger) Record(ctx context.Context, events ...journal.Event) error {
	err := l.enter(ctx)
	defer l.mu.Unlock()
	for _, e := range events {
		if err == nil {
			e.ID = int64(len(l.events)+1) * 10
			l.events = append(l.events, e)
		}
	}
	return err
}

func (l *ledger) Meta(ctx context.Context, key string) (string, error) {
	err := l.enter(ctx)
	defer l.mu.Unlock()
	return l.meta[key], err
}

func (l *ledger) SetMeta(ctx context.Context, key, value string) error {
	err := l.enter(ctx)
	defer l.mu.Unlock()
	if err != nil {
		return err
	}
	if strings.HasSuffix(key, "/reminded") {
		l.meta[key] = value
		return nil
	}
	before, err := strconv.Atoi(l.meta[key])
	if err != nil {
		before = -1 // its first
	}
	after, err := strconv.Atoi(value)
	if err != nil || after <= before {
		l.t.Errorf("cursor %s moved from %d to %q", key, before, value)
	}
	if time.Since(l.turns[key]) >= 30*time.Second {
		l.t.Errorf("cursor %s was moved out of turn", key)
	}
	l.meta[key] = value
	l.saves++
	return nil
}

func (l *ledger) Chore(ctx context.Context, now time.Time, name string, every time.Duration) (bool, error) {
	err := l.enter(ctx)
	defer l.mu.Unlock()
	if err != nil || l.turns[name].After(now.Add(-every)) {
		return false, err
	}
	l.turns[name] = now
	return true, nil
}

// receiver is a webhook's other side. It fails the test when a message is not as promised.
type receiver struct {
	t      *testing.T
	mu     sync.Mutex
	answer func(id int64) (int, error) // guarded by mu; nil: 204
	asked  []int64                     // guarded by mu: ids of all messages that came, also of those refused
	taken  []int64                     // guarded by mu: ids of those that were taken
	bodies []string                    // guarded by mu
}

func (r *receiver) RoundTrip(q *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(q.Body)
	if err != nil || q.URL.String() != hookURL || q.Method != http.MethodPost {
		r.t.Errorf("%s %s: %v", q.Method, q.URL, err)
	}
	r.verify(q.Header, body)
	var m struct{ ID int64 }
	if err := json.Unmarshal(body, &m); err != nil {
		r.t.Error(err)
	}
	r.mu.Lock()
	r.asked, r.bodies = append(r.asked, m.ID), append(r.bodies, string(body))
	answer := r.answer
	r.mu.Unlock()
	status := http.StatusNoContent
	if answer != nil {
		if status, err = answer(m.ID); err != nil {
			if errors.Is(err, errHangs) {
				<-q.Context().Done()
				err = q.Context().Err()
			}
			return nil, err
		}
	}
	if status < 300 {
		r.mu.Lock()
		r.taken = append(r.taken, m.ID)
		r.mu.Unlock()
	}
	header := http.Header{"Location": {"https://elsewhere.example/"}}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader("canary-answer")), Request: q}, nil
}

var errHangs = fmt.Errorf("never answers")

// verify does what the package comment asks receivers to do.
func (r *receiver) verify(h http.Header, body []byte) {
	parts := strings.Split(h.Get("Rotator-Signature"), ",")
	if len(parts) != 2 || !strings.HasPrefix(parts[0], "t=") || !strings.HasPrefix(parts[1], "v1=") {
		r.t.Errorf("signature %q", h.Get("Rotator-Signature"))
		return
	}
	at := strings.TrimPrefix(parts[0], "t=")
	mac := hmac.New(sha256.New, []byte(hookKey))
	mac.Write(bytes.Join([][]byte{[]byte(at), body}, []byte(".")))
	if parts[1] != "v1="+hex.EncodeToString(mac.Sum(nil)) {
		r.t.Error("the signature does not fit the body")
	}
	seconds, err := strconv.ParseInt(at, 10, 64)
	if age := time.Since(time.Unix(seconds, 0)); err != nil || age < -time.Second || age > 5*time.Minute {
		r.t.Errorf("signed %s ago", age)
	}
	if h.Get("Content-Type") != "application/json" {
		r.t.Errorf("content type %q", h.Get("Content-Type"))
	}
}

func (r *receiver) answers(f func(id int64) (int, error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = f
}

// got is the ids that were taken so far.
func (r *receiver) got() []int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]int64(nil), r.taken...)
}

// message is the first body that came.
func (r *receiver) message() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bodies[0]
}

func (r *receiver) tries() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.asked)
}

// watcher keeps what is observed and logged.
type watcher struct {
	mu       sync.Mutex
	unwell   int            // how many policies need someone, besides embed
	failures map[string]int // guarded by mu: sink → last observed
	log      bytes.Buffer   // guarded by mu
}

func (w *watcher) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.Write(b)
}

func (w *watcher) unwellNow(context.Context) ([]Unwell, error) {
	all := []Unwell{{Policy: "embed"}}
	for i := range w.unwell {
		all = append(all, Unwell{Policy: fmt.Sprintf("p%06d", i), Facts: Facts{Health: "overdue"}})
	}
	return all, nil
}

func (w *watcher) observe(sink string, failures int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failures[sink] = failures
}

func (w *watcher) failed(sink string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failures[sink]
}

func (w *watcher) said() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.String()
}

func given(s string) func(context.Context) (secret.Text, error) {
	return func(context.Context) (secret.Text, error) { return secret.New(s), nil }
}

// quiet is for servers whose clients break off.
var quiet = log.New(io.Discard, "", 0)

// run starts a notifier and returns what stops it and waits for its end.
func run(t *testing.T, l *ledger, r http.RoundTripper, w *watcher) (stop func()) {
	w.failures = map[string]int{}
	return runOver(t, l, w, Channel{Name: "webhook", Sender: &Webhook{URL: given(hookURL), Secret: given(hookKey), Transport: r}})
}

// runOver is run over other channels. Policies are of team research and owner ann@example.com, with the label tier=prod.
func runOver(t *testing.T, l *ledger, w *watcher, channels ...Channel) (stop func()) {
	w.failures = map[string]int{}
	n := New(Options{
		Journal: l, Channels: channels, Source: "host/one", Observe: w.observe, Log: slog.New(slog.NewTextHandler(w, nil)),
		Facts: func(context.Context, string) (Facts, error) {
			return Facts{Team: "research", Owner: "ann@example.com", Labels: map[string]string{"tier": "prod"}, Health: "ok"}, nil
		},
		Unwell: w.unwellNow,
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	}
}
