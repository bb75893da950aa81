package notify

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
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
	// Log is told of recipients that are refused for good.
	Log *slog.Logger
	// TLS is for tests: by whom servers are verified; nil: by the system's authorities.
	TLS *tls.Config

	deliveries
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
		return nil, errors.New("its server is no address: " + serverForm)
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("its server has more than a user, a password, a host and a port: " + serverForm)
	case u.Port() != "" && !isPort(u.Port()):
		return nil, errors.New("its server has no port between 1 and 65535")
	case s.from(u) == "":
		return nil, errors.New("it has no sender: set from")
	}
	return u, nil
}

const serverForm = "give smtps://USER:PASSWORD@HOST or smtp://USER:PASSWORD@HOST, user and password percent-encoded (@ is %40, / is %2F)" //nolint:gosec // a form, no credential

func isPort(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n > 0 && n < 1<<16
}

func (s *Email) from(server *url.URL) string {
	from := s.From
	if from == "" && strings.Contains(server.User.Username(), "@") {
		from = server.User.Username()
	}
	return from
}

// Address is the bare address of "NAME@HOST" or "NAME <NAME@HOST>". One that only quotes make an address is none: mail servers
// disagree about those.
func Address(s string) (bare string, ok bool) {
	a, err := mail.ParseAddress(s)
	if err != nil || (&mail.Address{Address: a.Address}).String() != "<"+a.Address+">" {
		return "", false
	}
	return a.Address, true
}

// recipients are whom a message goes to. An owner that is no mail address gets none.
func (s *Email) recipients(m Message) (to []string) {
	for _, address := range s.To {
		if address == OwnerAddress {
			address = or(m.Owner)
		}
		if bare, ok := Address(address); ok && !slices.Contains(to, bare) {
			to = append(to, bare)
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
		port, _ = strconv.Atoi(server.Port()) // it was checked before
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
func (s *Email) mail(server *url.URL, to string, all []Message) (*gomail.Msg, error) {
	m := gomail.NewMsg()
	if err := errors.Join(m.From(s.from(server)), m.To(to)); err != nil {
		return nil, errors.New("the sender or a recipient is no mail address")
	}
	subject := "[rotator] " + all[0].Summary
	if len(all) > 1 {
		subject = fmt.Sprintf("[rotator] %d events, the first: %s", len(all), all[0].Summary)
	}
	m.Subject(shorten(subject, 150))
	m.SetDateWithValue(all[0].At)
	id := sha256.New()
	for _, one := range all {
		_, _ = io.WriteString(id, one.identity()+"\n") // a hash takes everything
	}
	m.SetMessageIDWithValue(fmt.Sprintf("%x@rotator", id.Sum(nil)[:16]))
	m.SetGenHeader("Auto-Submitted", "auto-generated")
	m.SetBodyString(gomail.TypeTextPlain, strings.Join(s.Line.lines(all), "\n\n")+"\n")
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
		return strings.NewReplacer("the receiver's", "its", "the receiver", "it").Replace(said)
	}
	switch text := err.Error(); {
	case strings.Contains(text, "STARTTLS"):
		return "it offers no TLS"
	case strings.Contains(strings.ToLower(text), "auth") || strings.Contains(text, "535"):
		return "it does not accept the user or the password"
	}
	return "it cannot be reached, or answers with something else than SMTP"
}
