package notify

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	gomail "github.com/wneessen/go-mail"

	"rotator/rotation/journal"
)

// post is a mail server with one user. It keeps what it takes.
type postOffice struct {
	mu      sync.Mutex
	mails   []letter // guarded by mu
	refuses map[string]*smtp.SMTPError
	slow    time.Duration
}

// taken are the mails that it took.
func (p *postOffice) taken() []letter {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.mails)
}

type letter struct {
	from, text string
	to         []string
	secure     bool
}

type session struct {
	*postOffice
	conn   *smtp.Conn
	user   bool
	letter letter
}

func (p *postOffice) NewSession(c *smtp.Conn) (smtp.Session, error) {
	time.Sleep(p.slow)
	return &session{postOffice: p, conn: c}, nil
}

func (s *session) AuthMechanisms() []string { return []string{sasl.Plain} }
func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if s.user = user == "rotator@example.com" && password == "canary-password"; !s.user {
			return errors.New("wrong canary-password")
		}
		return nil
	}), nil
}
func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	_, secure := s.conn.TLSConnectionState()
	s.letter = letter{from: from, secure: secure}
	if !s.user && secure { // on loopback without TLS nobody logs in: a password is not sent there
		return smtp.ErrAuthRequired
	}
	return nil
}
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	if err := s.refuses[to]; err != nil {
		return err
	}
	s.letter.to = append(s.letter.to, to)
	return nil
}
func (s *session) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	s.letter.text = string(text)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mails = append(s.mails, s.letter)
	return err
}
func (s *session) Reset()        { s.letter = letter{} }
func (s *session) Logout() error { return nil }

// open starts a mail server that speaks TLS from the first byte, or by STARTTLS, or not at all. It returns its address.
func (p *postOffice) open(t *testing.T, how string) (address string, trust *tls.Config) {
	t.Helper()
	web := httptest.NewTLSServer(nil) // for a certificate of this machine
	t.Cleanup(web.Close)
	s := smtp.NewServer(p)
	s.Domain, s.ErrorLog = "localhost", quiet
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	scheme := "smtp"
	switch how {
	case "starttls":
		s.TLSConfig = web.TLS.Clone()
		s.TLSConfig.NextProtos = nil
	case "tls":
		config := web.TLS.Clone()
		config.NextProtos = nil
		l, scheme = tls.NewListener(l, config), "smtps"
	}
	go func() { _ = s.Serve(l) }() // it ends with Close
	t.Cleanup(func() { _ = s.Close() })
	if how == "plain" {
		return scheme + "://" + l.Addr().String(), nil
	}
	roots := x509.NewCertPool()
	roots.AddCert(web.Certificate())
	return scheme + "://rotator%40example.com:canary-password@" + l.Addr().String(), &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
}

// TestEmail sends mail over TLS, over STARTTLS, and on loopback without.
func TestEmail(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"tls", "starttls", "plain"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			p := &postOffice{}
			address, trust := p.open(t, how)
			s := &Email{SMTP: given(address), From: "rotator@example.com", To: []string{OwnerAddress, "ops@example.com"}, TLS: trust}
			other := event(journal.KeyCompromised, nil)
			other.Owner = text("Bob <bob@example.com>")
			nobody := event(journal.Promoted, nil)
			nobody.Owner = text("team-ml") // no address
			if err := s.Send(t.Context(), []Message{event(journal.Promoted, nil), other, event(journal.Failed, map[string]string{"error": "x\r\nBcc: all@example.com"}), nobody}); err != nil {
				t.Fatal(err)
			}
			var to []string
			for _, m := range p.taken() {
				to = append(to, strings.Join(m.to, ","))
				if m.from != "rotator@example.com" || m.secure != (how != "plain") {
					t.Errorf("from %s, secure %t", m.from, m.secure)
				}
			}
			if want := []string{"ann@example.com", "ops@example.com", "bob@example.com"}; !slices.Equal(to, want) {
				t.Errorf("mails to %v, want %v", to, want)
			}
			for _, part := range []string{"Subject: [rotator] 2 events, the first: chat: every target holds", "Auto-Submitted: auto-generated", "chat: a step failed; it is tried again: x Bcc: all@example.com"} {
				if text := strings.ReplaceAll(strings.ReplaceAll(p.taken()[0].text, "=\r\n", ""), "\r\n ", " "); !strings.Contains(text, part) {
					t.Errorf("%q is not in %s", part, text)
				}
			}
		})
	}
}

// TestEmailFails: what goes wrong is said without the password, the address or what the server answered, and mail goes to no server
// that cannot be trusted.
func TestEmailFails(t *testing.T) {
	t.Parallel()
	gone := &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "canary: no such user"}
	later := &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 7, 1}, Message: "canary: greylisted"}
	for _, c := range []struct {
		name, how string
		change    func(p *postOffice, s *Email, address string)
		want      string // the error; "" for none
		mails     int
	}{
		{"an untrusted certificate", "tls", func(_ *postOffice, s *Email, _ string) { s.TLS = nil }, "the mail server: its certificate is not accepted", 0},
		{"an untrusted certificate by STARTTLS", "starttls", func(_ *postOffice, s *Email, _ string) { s.TLS = nil }, "the mail server: its certificate is not accepted", 0},
		{"a wrong password", "tls", func(_ *postOffice, s *Email, a string) {
			s.SMTP = given(strings.Replace(a, "canary-password", "canary-wrong", 1))
		}, "the mail server: it does not accept the user or the password", 0},
		{"a recipient that is refused for good", "tls", func(p *postOffice, _ *Email, _ string) {
			p.refuses = map[string]*smtp.SMTPError{"ann@example.com": gone}
		}, "", 1},
		{"a recipient that is refused for now", "tls", func(p *postOffice, _ *Email, _ string) {
			p.refuses = map[string]*smtp.SMTPError{"ann@example.com": later}
		}, "the mail server: it refused the mail with code 451", 1},
		{"no one there", "tls", func(_ *postOffice, s *Email, _ string) { s.SMTP = given("smtps://u%40h:canary@127.0.0.1:1") }, "the mail server: it refuses connections", 0},
		{"no address", "tls", func(_ *postOffice, s *Email, _ string) { s.SMTP = given("canary") }, "its server is no address", 0},
		{"another scheme", "tls", func(_ *postOffice, s *Email, _ string) { s.SMTP = given("https://u:canary@h") }, "its server is no address", 0},
		{"no sender", "tls", func(_ *postOffice, s *Email, _ string) { s.SMTP = given("smtps://apikey:canary@h") }, "it has no sender: set from", 0},
		{"nothing to read it from", "tls", func(_ *postOffice, s *Email, _ string) {
			s.SMTP = missing
		}, "its server: file hook: no such file", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			p := &postOffice{}
			address, trust := p.open(t, c.how)
			s := &Email{SMTP: given(address), To: []string{OwnerAddress}, TLS: trust, Log: slog.New(slog.NewTextHandler(&log, nil))}
			c.change(p, s, address)
			other := event(journal.Promoted, nil)
			other.Owner = text("bob@example.com")
			err := s.Send(t.Context(), []Message{event(journal.Promoted, nil), other})
			if said := fmt.Sprint(err); c.want == "" != (err == nil) || c.want != "" && !strings.HasPrefix(said, c.want) || strings.Contains(said+log.String(), "canary") {
				t.Errorf("error %v, want %q; log %s", err, c.want, log.String())
			}
			if len(p.taken()) != c.mails {
				t.Errorf("%d mails, want %d", len(p.taken()), c.mails)
			}
		})
	}
}

// TestEmailNeedsTLS: over a connection without TLS no password is sent, not even on loopback, and no mail where one is needed.
func TestEmailNeedsTLS(t *testing.T) {
	t.Parallel()
	p := &postOffice{}
	address, _ := p.open(t, "plain")
	s := &Email{SMTP: given(strings.Replace(address, "://", "://rotator%40example.com:canary-password@", 1)), To: []string{"ops@example.com"}}
	if err := s.Send(t.Context(), []Message{event(journal.Promoted, nil)}); err == nil || len(p.taken()) > 0 {
		t.Errorf("sent without TLS: %v", err)
	}
	for host, want := range map[string]gomail.TLSPolicy{"127.0.0.1": gomail.TLSOpportunistic, "mail.example.com": gomail.TLSMandatory} {
		c, err := s.client(&url.URL{Scheme: "smtp", Host: host})
		if err != nil || c.TLSPolicy() != want.String() {
			t.Errorf("%s: TLS is %s, %v", host, c.TLSPolicy(), err)
		}
	}
}
