package audit

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"time"

	"rotator/rotation/journal"
)

// File is a file that events are appended to, a line of JSON each.
type File string

// Append writes events and has them on the disk when it returns nil. After an error none of them is in the file, as far as the file could
// be cut back; a reader that sees an id twice drops one. The file is opened each time: who rotates it moves it away, and needs no signal.
func (f File) Append(_ context.Context, events []journal.Event) (err error) {
	var b bytes.Buffer
	for i := range events {
		line, err := JSON(events[i])
		if err != nil {
			return err
		}
		b.Write(line)
	}
	to, err := os.OpenFile(string(f), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	info, err := to.Stat()
	if err != nil {
		return err
	}
	if _, err = to.Write(b.Bytes()); err == nil {
		err = to.Sync()
	}
	if err != nil && info.Mode().IsRegular() { // the disk is full: half a line would be no JSON
		err = errors.Join(err, to.Truncate(info.Size()))
	}
	return err
}

// SyslogTarget is a server that takes RFC 5424 over TLS, with octet counting (RFC 5425).
type SyslogTarget struct {
	Address string // tls://HOST:PORT
	CA      string // a file with authorities; "": the system's
	Host    string // of this machine
}

const (
	dialTime = 10 * time.Second
	sendTime = 20 * time.Second // for one page
)

// SyslogAddress checks an address and returns its host and port.
func SyslogAddress(address string) (hostport string, err error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "tls" || u.Hostname() == "" || u.Port() == "" || u.User != nil || u.Path != "" || u.RawQuery != "" {
		return "", errors.New("the address must be tls://HOST:PORT")
	}
	return u.Host, nil
}

// Send sends events. Syslog has no answer: nil means that the bytes left over a connection to a verified server, and what is lost
// after that is lost.
func (s SyslogTarget) Send(ctx context.Context, events []journal.Event) (err error) {
	hostport, err := SyslogAddress(s.Address)
	if err != nil {
		return err
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.CA != "" {
		pem, err := os.ReadFile(s.CA)
		if err != nil {
			return err
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("%s holds no certificate", s.CA)
		}
	}
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: dialTime}, Config: c}
	ctx, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	conn, err := d.DialContext(ctx, "tcp", hostport)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if end, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(end); err != nil {
			return err
		}
	}
	var b bytes.Buffer
	for i := range events {
		m := Syslog(events[i], s.Host)
		fmt.Fprintf(&b, "%d %s", len(m), m)
	}
	_, err = conn.Write(b.Bytes())
	return err
}
