package notify

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/mail"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"

	"rotator/internal/secret"
	"rotator/internal/transport"
)

// mailTime bounds the delivery of one mail: mail servers delay on purpose.
const mailTime = 30 * time.Second

// OwnerAddress stands in [Email.To] for the policy's owner, where that is a mail address.
const OwnerAddress = "{owner}"

// Email sends mail over SMTP.
type Email struct {
	// SMTP is the address of the server, read before each delivery: smtps://USER:PASSWORD@HOST (TLS, port 465) or
	// smtp://USER:PASSWORD@HOST (STARTTLS, port 587). A server off this machine is reached over verified TLS alone.
	SMTP func(context.Context) (secret.Text, error)
	// From is the sender; "" is the user of SMTP.
	From string
	// To are addresses, and OwnerAddress.
	To []string
	// Line shows an event; nil: the standard line.
	Line *Line
	Log  *slog.Logger
	// Roots are the authorities that servers are verified by; nil: the system's.
	TLS *tls.Config
}

// Check implements Sender.
func (s *Email) Check(ctx context.Context) error { return second(s.server(ctx)) }

// Most implements Sender.
func (s *Email) Most() int { return chatMost }

// server reads the address of the server, and checks it again each time. No error quotes it.
func (s *Email) server(ctx context.Context) (*url.URL, error) {
	text, err := s.SMTP(ctx)
	if err != nil {
		return nil, fmt.Errorf("its server: %w", err)
	}
	u, err := url.Parse(text.Reveal())
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "smtp" && u.Scheme != "smtps":
		return nil, errors.New("its server is no address: give smtps://USER:PASSWORD@HOST or smtp://USER:PASSWORD@HOST")
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("its server has more than a user, a password, a host and a port")
	case s.from(u) == "":
		return nil, errors.New("it has no sender: set from")
	}
	return u, nil
}

func (s *Email) from(server *url.URL) string {
	from := s.From
	if from == "" && strings.Contains(server.User.Username(), "@") {
		from = server.User.Username()
	}
	return from
}

// Send implements Sender. Events of different owners go in mails of their own. A server that refuses a recipient for good is not
// asked again: that is logged, and the others get theirs.
func (s *Email) Send(ctx context.Context, all []Message) error {
	server, err := s.server(ctx)
	if err != nil {
		return err
	}
	groups := make(map[string][]Message) // the recipients, with commas → what they get
	var order []string
	for _, m := range all {
		to := s.recipients(m)
		if len(to) == 0 {
			continue
		}
		group := strings.Join(to, ",")
		if groups[group] == nil {
			order = append(order, group)
		}
		groups[group] = append(groups[group], m)
	}
	if len(order) == 0 {
		return nil
	}
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
	for _, group := range order {
		m, err := s.mail(server, strings.Split(group, ","), groups[group])
		if err != nil {
			return err
		}
		var refused *gomail.SendError
		switch err := c.Send(m); {
		case errors.As(err, &refused) && refused.Reason == gomail.ErrSMTPRcptTo && !refused.IsTemp() && s.Log != nil:
			s.Log.Error("the mail server refuses a recipient for good; the event is not sent there again", "events", len(groups[group]))
		case err != nil:
			return fmt.Errorf("the mail server: %s", mailTrouble(err))
		}
	}
	return nil
}

// recipients are whom a message goes to. An owner that is no mail address gets none.
func (s *Email) recipients(m Message) (to []string) {
	for _, address := range s.To {
		if address == OwnerAddress {
			address = or(m.Owner)
		}
		if a, err := mail.ParseAddress(address); err == nil && !slices.Contains(to, a.Address) {
			to = append(to, a.Address)
		}
	}
	return to
}

func (s *Email) client(server *url.URL) (*gomail.Client, error) {
	options := []gomail.Option{gomail.WithTimeout(sendTime), gomail.WithTLSPolicy(gomail.TLSMandatory)}
	port := 587
	switch {
	case server.Scheme == "smtps":
		port = 465
		options = append(options, gomail.WithSSL())
	case transport.Loopback(server.Hostname()):
		options = append(options, gomail.WithTLSPolicy(gomail.TLSOpportunistic))
	}
	if server.Port() != "" {
		port, _ = strconv.Atoi(server.Port()) // url.Parse takes digits alone
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.TLS != nil {
		config = s.TLS.Clone()
	}
	config.ServerName = server.Hostname()
	options = append(options, gomail.WithPort(port), gomail.WithTLSConfig(config))
	if password, ok := server.User.Password(); ok {
		options = append(options, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover), gomail.WithUsername(server.User.Username()), gomail.WithPassword(password))
	}
	return gomail.NewClient(server.Hostname(), options...)
}

// mail writes a mail. Its id is the same when it is sent again, so that receivers can drop the second.
func (s *Email) mail(server *url.URL, to []string, all []Message) (*gomail.Msg, error) {
	lines, err := s.Line.lines(all)
	if err != nil {
		return nil, err
	}
	m := gomail.NewMsg()
	if err := errors.Join(m.From(s.from(server)), m.To(to...)); err != nil {
		return nil, errors.New("the sender or a recipient is no mail address")
	}
	subject := "[rotator] " + all[0].Summary
	if len(all) > 1 {
		subject = fmt.Sprintf("[rotator] %d events, the first: %s", len(all), all[0].Summary)
	}
	m.Subject(shorten(subject, 150))
	m.SetDateWithValue(all[0].At)
	m.SetMessageIDWithValue(fmt.Sprintf("%d.%d.%d@%s", all[0].ID, all[len(all)-1].ID, all[0].At.Unix(), cmp.Or(strings.ReplaceAll(all[0].Source, "/", "."), "rotator")))
	m.SetGenHeader("Auto-Submitted", "auto-generated")
	m.SetBodyString(gomail.TypeTextPlain, strings.Join(lines, "\n\n")+"\n")
	return m, nil
}

// mailTrouble says why a server took no mail. What it answered may quote an address or a credential.
func mailTrouble(err error) string {
	var send *gomail.SendError
	if errors.As(err, &send) {
		if code := send.ErrorCode(); code > 0 {
			return fmt.Sprintf("it refused the mail with code %d", code)
		}
	}
	if said := unreached(err); said != "the receiver cannot be reached" {
		return strings.Replace(said, "the receiver", "it", 1)
	}
	switch text := err.Error(); {
	case strings.Contains(text, "STARTTLS"):
		return "it offers no TLS"
	case strings.Contains(strings.ToLower(text), "auth") || strings.Contains(text, "535"):
		return "it does not accept the user or the password"
	}
	return "it cannot be reached, or answers with something else than SMTP"
}
