package notify

import (
	"bufio"
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"rotator/rotation/journal"
)

func owned(id int64, owner string) Message {
	m := event(journal.Promoted, nil)
	m.ID, m.Owner = id, text(owner)
	return m
}

// recipientsOf are whom the mails went to, in order.
func (p *postOffice) recipientsOf() (all []string) {
	for _, m := range p.taken() {
		all = append(all, m.to...)
	}
	return all
}

func mailTo(t *testing.T, p *postOffice, to ...string) (s *Email, log *bytes.Buffer) {
	t.Helper()
	address, trust := p.open(t, "tls")
	log = new(bytes.Buffer)
	return &Email{SMTP: given(address), To: to, TLS: trust, Log: slog.New(slog.NewTextHandler(log, nil))}, log
}

// TestARefusedRecipientKeepsNothingFromOthers: who stands beside an owner without a mailbox gets the event.
func TestARefusedRecipientKeepsNothingFromOthers(t *testing.T) {
	t.Parallel()
	p := &postOffice{refuses: map[string]*smtp.SMTPError{"gone@example.com": {Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "canary"}}}
	s, log := mailTo(t, p, OwnerAddress, "ops@example.com")
	if err := s.Send(t.Context(), []Message{owned(1, "gone@example.com")}); err != nil {
		t.Fatal(err)
	}
	if got := p.recipientsOf(); !slices.Equal(got, []string{"ops@example.com"}) || !strings.Contains(log.String(), "refuses a recipient") || strings.Contains(log.String(), "gone@") {
		t.Errorf("mails to %v; log %s", got, log)
	}
}

// TestAServerThatRefusesTheSender: nobody's mailbox is missing, so nothing is given up.
func TestAServerThatRefusesTheSender(t *testing.T) {
	t.Parallel()
	relay := &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 7, 1}, Message: "canary: relaying denied"}
	p := &postOffice{refuses: map[string]*smtp.SMTPError{"ann@example.com": relay, "bob@example.com": relay}}
	s, _ := mailTo(t, p, OwnerAddress)
	both := []Message{owned(1, "ann@example.com"), owned(2, "bob@example.com")}
	if err := s.Send(t.Context(), both); err == nil || err.Error() != "the mail server: it refused the mail with code 550" {
		t.Errorf("error %v", err)
	}
	p.refuses = map[string]*smtp.SMTPError{"ann@example.com": relay} // a list that is closed to us, say
	if err := s.Send(t.Context(), both); err != nil {
		t.Error(err)
	}
	if got := p.recipientsOf(); !slices.Equal(got, []string{"bob@example.com"}) {
		t.Errorf("mails to %v", got)
	}
}

// TestARecipientThatIsRefusedForNow holds up no one else, gets nothing twice, and is given up after an hour.
func TestARecipientThatIsRefusedForNow(t *testing.T) {
	t.Parallel()
	p := &postOffice{refuses: map[string]*smtp.SMTPError{"slow@nowhere.example": {Code: 450, EnhancedCode: smtp.EnhancedCode{4, 1, 2}, Message: "canary: domain not found"}}}
	s, log := mailTo(t, p, OwnerAddress)
	now := time.Now()
	s.now = func() time.Time { return now }
	all := []Message{owned(1, "slow@nowhere.example"), owned(2, "ann@example.com")}
	for range 3 {
		if err := s.Send(t.Context(), all); err == nil || !strings.Contains(err.Error(), "code 450") {
			t.Errorf("error %v", err)
		}
		now = now.Add(20 * time.Minute)
	}
	all = append(all, owned(3, "bob@example.com"))
	if err := s.Send(t.Context(), all); err != nil {
		t.Errorf("after an hour: %v", err)
	}
	if got := p.recipientsOf(); !slices.Equal(got, []string{"ann@example.com", "bob@example.com"}) || strings.Count(log.String(), "refuses a recipient") != 1 {
		t.Errorf("mails to %v; log %s", got, log)
	}
}

// TestOwnersThatAreNoAddress: whatever a policy calls its owner, the mail to the others is sent, and none goes to two.
func TestOwnersThatAreNoAddress(t *testing.T) {
	t.Parallel()
	for owner, want := range map[string][]string{
		"team-ml":                                {},
		"a@b.example, c@d.example":               {},
		"Bob <x@y.example>\r\nBcc: z@y.example":  {},
		"Bob <x@y.example>":                      {"x@y.example"},
		`"a,b"@y.example`:                        {},
		`"x@evil.example,y"@example.com`:         {},
		`"a b"@y.example`:                        {},
		"\"a\r\nRCPT TO:<x@evil.example>\"@b.ex": {},
		"jürgen@bücher.example":                  {"jürgen@bücher.example"},
		"{owner}":                                {},
	} {
		p := &postOffice{}
		s, _ := mailTo(t, p, OwnerAddress, "ops@example.com")
		if err := s.Send(t.Context(), []Message{owned(1, owner)}); err != nil {
			t.Errorf("%q: %v", owner, err)
		}
		if got := p.recipientsOf(); !slices.Equal(got, append(want, "ops@example.com")) {
			t.Errorf("%q: mails to %q", owner, got)
		}
	}
}

// TestMailIdentity: another mail has another id, also where it tells of no event, and a mail that is sent again has the same.
func TestMailIdentity(t *testing.T) {
	t.Parallel()
	s := &Email{From: "rotator@example.com"}
	id := func(ids int64, policy, source string) string {
		m := owned(ids, "ann@example.com")
		m.Policy, m.Source = text(policy), source
		mail, err := s.mail(nil, "ann@example.com", []Message{m})
		if err != nil {
			t.Fatal(err)
		}
		return mail.GetMessageID()
	}
	if id(0, "a", "host/1") == id(0, "b", "host/1") || id(1, "a", "host/1") == id(2, "a", "host/1") {
		t.Error("two mails have one id")
	}
	if id(1, "a", "host/1") != id(1, "a", "host/2") {
		t.Error("another replica gives a mail another id")
	}
}

// TestATestOfMail sends a mail, also where only owners get any, and says when the server refuses it.
func TestATestOfMail(t *testing.T) {
	t.Parallel()
	p := &postOffice{}
	s, _ := mailTo(t, p, OwnerAddress)
	if err := Test(t.Context(), Channel{Sender: s}, "host", time.Now()); err != nil || !slices.Equal(p.recipientsOf(), []string{"rotator@example.com"}) {
		t.Errorf("only owners: mails to %v, %v", p.recipientsOf(), err)
	}
	p = &postOffice{refuses: map[string]*smtp.SMTPError{"typo@example.com": {Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "canary"}}}
	s, _ = mailTo(t, p, "typo@example.com", "ops@example.com")
	if err := Test(t.Context(), Channel{Sender: s}, "host", time.Now()); err == nil || !strings.Contains(err.Error(), "code 550") {
		t.Errorf("a recipient that is refused: %v", err)
	}
}

// TestServersThatHangUp: a mail counts as delivered from the server's yes to the whole text on, and not before.
func TestServersThatHangUp(t *testing.T) {
	t.Parallel()
	for at, delivered := range map[string]bool{"EHLO": false, "MAIL": false, "RCPT": false, "DATA": false, ".": false, "RSET": true, "NOOP": false, "QUIT": true} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			server := &breakingServer{at: at}
			s := &Email{SMTP: given(server.open(t)), From: "rotator@example.com", To: []string{"ops@example.com"}}
			err := s.Send(t.Context(), []Message{owned(1, "")})
			if (err == nil) != delivered {
				t.Errorf("error %v after %d mails", err, server.taken())
			}
			if err != nil && err.Error() != "the mail server: it cannot be reached, or answers with something else than SMTP" {
				t.Errorf("error %v", err)
			}
		})
	}
}

// TestAServerThatTakesOneMailAtATime gets every mail once.
func TestAServerThatTakesOneMailAtATime(t *testing.T) {
	t.Parallel()
	server := &breakingServer{at: "RSET"}
	s := &Email{SMTP: given(server.open(t)), From: "rotator@example.com", To: []string{OwnerAddress}}
	all := []Message{owned(1, "a@example.com"), owned(2, "b@example.com"), owned(3, "a@example.com"), owned(4, "c@example.com")}
	tries := 1
	for ; s.Send(t.Context(), all) != nil && tries < 10; tries++ {
	}
	if tries != 3 || server.taken() != 3 {
		t.Errorf("%d tries, %d mails, want 3 of each", tries, server.taken())
	}
}

// breakingServer hangs up when it gets a command.
type breakingServer struct {
	at    string
	mu    sync.Mutex
	mails int // guarded by mu
}

func (b *breakingServer) taken() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mails
}

func (b *breakingServer) open(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go b.serve(c)
		}
	}()
	return "smtp://" + l.Addr().String()
}

func (b *breakingServer) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	lines, data := bufio.NewScanner(c), false
	fmt.Fprint(c, "220 test\r\n")
	for lines.Scan() {
		command, _, _ := strings.Cut(strings.ToUpper(lines.Text()), " ")
		switch {
		case data && command != ".":
			continue
		case command == b.at:
			return
		case command == "DATA":
			data = true
			fmt.Fprint(c, "354 go on\r\n")
			continue
		case command == ".":
			data = false
			b.mu.Lock()
			b.mails++
			b.mu.Unlock()
		}
		fmt.Fprint(c, "250 yes\r\n")
	}
}
