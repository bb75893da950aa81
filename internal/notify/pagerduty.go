package notify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"rotator/internal/secret"
	"rotator/rotation/health"
	"rotator/rotation/journal"
)

// PagerDutyURL is where PagerDuty takes events; accounts in the EU have another.
const PagerDutyURL = "https://events.pagerduty.com/v2/enqueue"

// PagerDuty is an integration of the Events API v2: https://developer.pagerduty.com/docs/send-alert-event.
//
// An alert about a policy's health is resolved when the policy is well again. Alerts of other kinds are resolved by people.
type PagerDuty struct {
	// Key is the integration's key.
	Key func(context.Context) (secret.Text, error)
	// URL is where events go; nil, or an empty text, is PagerDutyURL.
	URL func(context.Context) (secret.Text, error)
	// Installation tells alerts of several rotators apart.
	Installation string
	Transport    http.RoundTripper
}

// Check implements Sender.
func (s *PagerDuty) Check(ctx context.Context) error { return second(s.key(ctx)) }

func (s *PagerDuty) key(ctx context.Context) (secret.Text, error) {
	key, err := s.Key(ctx)
	if err != nil {
		return key, fmt.Errorf("its key: %w", err)
	}
	if key.Empty() {
		return key, errors.New("its key is empty")
	}
	return key, nil
}

func (s *PagerDuty) address(ctx context.Context) (secret.Text, error) {
	if s.URL != nil {
		if to, err := s.URL(ctx); err != nil || !to.Empty() {
			return to, err
		}
	}
	return secret.New(PagerDutyURL), nil
}

// Most implements Sender: an alert is one event.
func (s *PagerDuty) Most() int { return 1 }

// resolves reports that a message ends an alert, whatever severity the channel asks for.
func (s *PagerDuty) resolves(m Message) bool {
	return m.Kind == string(journal.HealthChanged) && wellAgain(m)
}

// wellAgain reports that a policy's health changed to one that needs nobody.
func wellAgain(m Message) bool { return !health.Alarming(health.Health(m.Data["to"])) }

// Send implements Sender.
func (s *PagerDuty) Send(ctx context.Context, all []Message) error {
	key, err := s.key(ctx)
	if err != nil {
		return err
	}
	to, err := endpoint(ctx, s.address)
	if err != nil {
		return err
	}
	for _, m := range all {
		event := map[string]any{
			"routing_key": key.Reveal(), "event_action": "trigger", "dedup_key": s.dedup(m),
			"client": "Rotator", "payload": map[string]any{
				"summary": m.Summary, "source": m.Source, "severity": string(m.Severity), "timestamp": m.At.Format(time.RFC3339),
				"component": or(m.Policy), "group": or(m.Team), "class": m.Kind, "custom_details": m,
			},
		}
		if s.resolves(m) {
			event = map[string]any{"routing_key": key.Reveal(), "event_action": "resolve", "dedup_key": s.dedup(m)}
		}
		if err := newPoster(s.Transport).postJSON(ctx, to, event); err != nil {
			return err
		}
	}
	return nil
}

// dedup names the alert that an event belongs to. The same event names the same one when it is sent again.
func (s *PagerDuty) dedup(m Message) string {
	about := cmp.Or(or(m.Policy), or(m.Team))
	switch journal.Kind(m.Kind) {
	case journal.HealthChanged, reminderKind:
		return shorten("rotator/"+s.Installation+"/"+about+"/health", 255)
	}
	return shorten(fmt.Sprintf("rotator/%s/%s/%s/%d", s.Installation, about, m.Kind, m.ID), 255)
}
