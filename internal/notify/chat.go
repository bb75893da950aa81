package notify

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"rotator/internal/secret"
)

// chatMost is how many events one message to people holds at most.
const chatMost = 20

// What a message may be long at most, in bytes of JSON. Slack cuts a text after 40,000 characters, see
// https://api.slack.com/changelog/2018-04-truncating-really-long-messages, and Teams refuses more than 28 KB, see the address at [Teams].
const (
	slackMost = 40_000
	teamsMost = 27_000
)

// postLines posts what build makes of lines, shortened until it is at most most bytes long: a message that is always refused would
// keep back all that follow.
func (p poster) postLines(ctx context.Context, to *url.URL, lines []string, most int, build func([]string) any) error {
	for room := maxLine; ; room /= 2 {
		for i := range lines {
			lines[i] = shorten(lines[i], room)
		}
		body, err := json.Marshal(build(lines))
		if err != nil {
			return err
		}
		if len(body) <= most || room <= maxLine/32 {
			return p.post(ctx, to, body, nil)
		}
	}
}

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
	// Slack's own escapes: without them a value could write a link, or call everyone.
	escape := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
	return newPoster(s.Transport).postLines(ctx, to, s.Line.lines(all), slackMost, func(lines []string) any {
		return map[string]any{"text": escape.Replace(strings.Join(lines, "\n"))}
	})
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
	return newPoster(s.Transport).postLines(ctx, to, s.Line.lines(all), teamsMost, func(lines []string) any {
		var blocks []map[string]any
		for _, line := range lines {
			blocks = append(blocks, map[string]any{"type": "TextBlock", "text": markdown.Replace(line), "wrap": true})
		}
		return map[string]any{
			"type": "message",
			"attachments": []map[string]any{{
				"contentType": "application/vnd.microsoft.card.adaptive",
				"content": map[string]any{
					"$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard", "version": "1.4", "body": blocks,
				},
			}},
		}
	})
}

// markdown keeps a text block of a card from reading values as links and formats.
var markdown = strings.NewReplacer("\\", "\\\\", "[", "\\[", "]", "\\]", "*", "\\*", "_", "\\_", "`", "\\`")

func second[T any](_ T, err error) error { return err }
