package notify

import (
	"context"
	"net/http"
	"strings"

	"rotator/internal/secret"
)

// chatMost is how many events one message to people holds at most.
const chatMost = 20

// Slack is an incoming webhook of Slack's: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks.
type Slack struct {
	// URL is the webhook's address, which is a credential.
	URL func(context.Context) (secret.Text, error)
	// Line shows an event; nil: the standard line.
	Line      *Line
	Transport http.RoundTripper
}

// Check implements Sender.
func (s *Slack) Check(ctx context.Context) error { return second(endpoint(ctx, s.URL)) }

// Most implements Sender.
func (s *Slack) Most() int { return chatMost }

// Send implements Sender.
func (s *Slack) Send(ctx context.Context, all []Message) error {
	to, err := endpoint(ctx, s.URL)
	if err != nil {
		return err
	}
	lines, err := s.Line.lines(all)
	if err != nil {
		return err
	}
	// Slack's own escapes: without them a value could write a link, or call everyone.
	escape := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
	return newPoster(s.Transport).postJSON(ctx, to, map[string]any{"text": escape.Replace(strings.Join(lines, "\n"))})
}

// Teams is a workflow of Microsoft Teams that takes a webhook ("When a Teams webhook request is received"):
// https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/add-incoming-webhook.
type Teams struct {
	// URL is the workflow's address, which is a credential.
	URL func(context.Context) (secret.Text, error)
	// Line shows an event; nil: the standard line.
	Line      *Line
	Transport http.RoundTripper
}

// Check implements Sender.
func (s *Teams) Check(ctx context.Context) error { return second(endpoint(ctx, s.URL)) }

// Most implements Sender.
func (s *Teams) Most() int { return chatMost }

// Send implements Sender.
func (s *Teams) Send(ctx context.Context, all []Message) error {
	to, err := endpoint(ctx, s.URL)
	if err != nil {
		return err
	}
	lines, err := s.Line.lines(all)
	if err != nil {
		return err
	}
	var blocks []map[string]any
	for _, line := range lines {
		blocks = append(blocks, map[string]any{"type": "TextBlock", "text": markdown.Replace(line), "wrap": true})
	}
	return newPoster(s.Transport).postJSON(ctx, to, map[string]any{
		"type": "message",
		"attachments": []map[string]any{{
			"contentType": "application/vnd.microsoft.card.adaptive",
			"content": map[string]any{
				"$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard", "version": "1.4", "body": blocks,
			},
		}},
	})
}

// markdown keeps a text block of a card from reading values as links and formats.
var markdown = strings.NewReplacer("[", "\\[", "]", "\\]", "*", "\\*", "_", "\\_", "`", "\\`")

func second[T any](_ T, err error) error { return err }
