package notify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"
)

// patience is how long a recipient that a server refuses for now is tried again while it takes mail for others: a delay on purpose
// takes minutes, and a domain that does not exist is often refused "for now" forever.
const patience = time.Hour

// deliveries are what is known of recipients.
type deliveries struct {
	sent     map[mailed]bool      // since the last Send that went well
	accepted time.Time            // when the server last took a mail
	refused  map[string]time.Time // recipient → since when it is refused for now
	now      func() time.Time     // nil: time.Now
}

// mailed says that a recipient got a message.
type mailed struct{ to, message string }

// Send implements Sender. Each recipient gets a mail of its own, so that one who is refused keeps nothing from the others. A
// recipient that the server refuses for good is not tried again: that is logged. After a failure, who got a message is not sent it
// again.
func (s *Email) Send(ctx context.Context, all []Message) error {
	server, err := s.server(ctx)
	if err != nil {
		return err
	}
	left := make(map[string][]Message) // the recipient → what is to be sent
	var order []string
	for _, m := range all {
		recipients := s.recipients(m)
		if len(recipients) == 0 && m.Kind == testKind { // it has no owner, and shall show that mail is sent
			recipients = []string{s.from(server)}
		}
		for _, to := range recipients {
			if s.sent[mailed{to, m.identity()}] {
				continue
			}
			if left[to] == nil {
				order = append(order, to)
			}
			left[to] = append(left[to], m)
		}
	}
	if len(order) > 0 {
		if err := s.sendEach(ctx, server, order, left); err != nil {
			return err
		}
	}
	s.sent = nil
	return nil
}

// sendEach sends what is left to each recipient, over one connection. It goes on after a refusal, and returns the first error.
func (s *Email) sendEach(ctx context.Context, server *url.URL, order []string, left map[string][]Message) (first error) {
	ctx, cancel := context.WithTimeout(ctx, mailTime*time.Duration(len(order)))
	defer cancel()
	c, err := s.client(server)
	if err != nil {
		return err
	}
	if err := c.DialWithContext(ctx); err != nil {
		return fmt.Errorf("the mail server: %s", mailTrouble(err))
	}
	defer func() { _ = c.Close() }() // what was accepted is delivered
	accepted := false
	doubtful := make(map[string]error) // recipients that are refused for good, perhaps because of the sender
	for _, to := range order {
		m, err := s.mail(server, to, left[to])
		if err != nil {
			return err
		}
		err = c.Send(m)
		if err == nil || m.IsDelivered() { // a server may hang up once it took a mail
			accepted = true
			s.took(to, left[to])
			continue
		}
		trouble := fmt.Errorf("the mail server: %s", mailTrouble(err))
		var answer *gomail.SendError
		switch {
		case !errors.As(err, &answer) || answer.ErrorCode() == 0: // the connection broke
			return cmp.Or(first, trouble)
		case left[to][0].Kind == testKind: // whoever tests is told
			first = cmp.Or(first, trouble)
		case answer.Reason == gomail.ErrSMTPRcptTo && noMailbox(answer), answer.Reason == gomail.ErrSMTPRcptTo && s.impatient(to, answer):
			s.giveUp(to, left[to])
		case answer.Reason == gomail.ErrSMTPRcptTo && !answer.IsTemp():
			doubtful[to] = trouble
		default:
			first = cmp.Or(first, trouble)
		}
	}
	for to, trouble := range doubtful {
		if accepted { // it is the recipient
			s.giveUp(to, left[to])
		} else {
			first = cmp.Or(first, trouble)
		}
	}
	return first
}

// noMailbox reports that a server does not know the recipient, rather than refusing the sender (5.7.x).
func noMailbox(answer *gomail.SendError) bool {
	code := answer.ErrorCode()
	return (code == 550 || code == 551 || code == 553) && !strings.HasPrefix(answer.EnhancedStatusCode(), "5.7.")
}

// impatient reports that a recipient was refused for now for long enough, while the server took mail for others.
func (s *Email) impatient(to string, answer *gomail.SendError) bool {
	if !answer.IsTemp() {
		return false
	}
	since, known := s.refused[to]
	if !known {
		if s.refused == nil {
			s.refused = make(map[string]time.Time)
		}
		s.refused[to] = s.clock()
		return false
	}
	return s.clock().Sub(since) >= patience && !s.accepted.Before(since)
}

func (s *Email) giveUp(to string, all []Message) {
	if s.Log != nil {
		s.Log.Error("the mail server refuses a recipient for good; the event is not sent there again", "events", len(all))
	}
	s.done(to, all)
}

func (s *Email) took(to string, all []Message) {
	s.accepted = s.clock()
	delete(s.refused, to)
	s.done(to, all)
}

func (s *Email) done(to string, all []Message) {
	if s.sent == nil {
		s.sent = make(map[mailed]bool)
	}
	for _, m := range all {
		s.sent[mailed{to, m.identity()}] = true
	}
}

func (s *Email) clock() time.Time {
	if s.now == nil {
		return time.Now()
	}
	return s.now()
}
