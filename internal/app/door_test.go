package app

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"rotator/internal/config"
)

// A file that a group may write is refused: the tests' own are not, whatever the umask.
func init() { syscall.Umask(0o022) }

// serveDoor serves h through a door until the test ends.
func serveDoor(t *testing.T, most int, patient bool, over func(net.Listener) net.Listener, h http.Handler) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan struct{})
	go func() {
		defer close(served)
		Serve(ctx, slog.New(slog.DiscardHandler), over(newDoor(l, most, patient)), h, time.Minute)
	}()
	t.Cleanup(func() { stop(); <-served })
	return l.Addr().String()
}

func plainly(l net.Listener) net.Listener { return l }

func dialDoor(t *testing.T, address, say string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := io.WriteString(c, say); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestFullDoor: whoever holds connections open, without a word, with half a request or between two, keeps no one out.
func TestFullDoor(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"http", "https"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			over, trust := plainly, (*x509.CertPool)(nil)
			if scheme == "https" {
				files := config.ListenTLS{Cert: filepath.Join(t.TempDir(), "cert"), Key: filepath.Join(t.TempDir(), "key")}
				trust = newPair(t, files)
				shown, err := newCertificate(files, slog.New(slog.DiscardHandler))
				if err != nil {
					t.Fatal(err)
				}
				over = func(l net.Listener) net.Listener { return tls.NewListener(l, shown.config()) }
			}
			working := make(chan struct{}, 1)
			address := serveDoor(t, 8, false, over, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/slow" {
					working <- struct{}{}
					<-r.Context().Done()
				}
			}))
			get := func() error {
				client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trust}}}
				defer client.CloseIdleConnections()
				answer, err := client.Get(scheme + "://" + address)
				if err == nil {
					err = answer.Body.Close()
				}
				return err
			}
			if scheme == "http" {
				slow := dialDoor(t, address, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
				<-working
				defer func() {
					_ = slow.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
					if _, err := slow.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
						t.Errorf("a request that is worked on was cut off for those who say nothing: %v", err)
					}
				}()
			}
			first := dialDoor(t, address, "")
			for i := range 60 {
				dialDoor(t, address, []string{"", "GET / HT", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"}[i%3])
				if i%10 == 0 {
					if err := get(); err != nil {
						t.Fatalf("beside %d connections: %v", i, err)
					}
				}
			}
			_ = first.SetReadDeadline(time.Now().Add(time.Minute))
			if _, err := first.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("the connection that was quiet for the longest time is still open: %v", err)
			}
		})
	}
}

// TestDoorOfOrders: a request that is worked on is never cut off at the socket for the commands; nor for readers that are
// slow, but those who look.
func TestDoorOfOrders(t *testing.T) {
	t.Parallel()
	for _, patient := range []bool{true, false} {
		working := make(chan struct{}, 8)
		address := serveDoor(t, 4, patient, plainly, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			working <- struct{}{}
			<-r.Context().Done()
		}))
		var all []net.Conn
		for range 4 {
			all = append(all, dialDoor(t, address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
			<-working
		}
		next := dialDoor(t, address, "")
		closed := next
		if !patient {
			closed = all[0]
		}
		_ = closed.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := bufio.NewReader(closed).ReadByte(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("patient %t: the connection is open: %v", patient, err)
		}
	}
}

// newPair writes a new certificate for 127.0.0.1 and its key, and returns who trusts it.
func newPair(t *testing.T, files config.ListenTLS) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	err = errors.Join(os.WriteFile(files.Cert, certificate, 0o600),
		os.WriteFile(files.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certificate)
	return pool
}

// told is a log that is read while others write it.
type told struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *told) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *told) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// TestCertificateIsReadAgain: a certificate that was renewed is shown at the next connection, and one that cannot be read is
// not; one that is not there keeps the daemon from starting.
func TestCertificateIsReadAgain(t *testing.T) {
	t.Parallel()
	files := config.ListenTLS{Cert: filepath.Join(t.TempDir(), "cert"), Key: filepath.Join(t.TempDir(), "key")}
	logger := slog.New(slog.DiscardHandler)
	if _, err := listenTCP(&config.Config{Listen: "127.0.0.1:0", ListenTLS: files}, logger); err == nil || !strings.Contains(err.Error(), "listen_tls") {
		t.Errorf("without files: %v", err)
	}
	first := newPair(t, files)
	log := &told{}
	c := &config.Config{Listen: "127.0.0.1:0", ListenTLS: files}
	l, err := listenTCP(c, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if url := webURL(c, l); !strings.HasPrefix(url, "https://127.0.0.1:") {
		t.Errorf("it is served at %s", url)
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _ = conn.(*tls.Conn).Handshake(); _ = conn.Close() }()
		}
	}()
	trusted := func(by *x509.CertPool) error {
		conn, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: by})
		if err == nil {
			_ = conn.Close()
		}
		return err
	}
	if err := trusted(first); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(files.Key, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := trusted(first); err != nil || !strings.Contains(log.String(), "refused") {
		t.Errorf("while the files do not fit together: %v, log %q", err, log.String())
	}
	second := newPair(t, files)
	if err := trusted(second); err != nil {
		t.Errorf("the second certificate: %v", err)
	}
	if trusted(first) == nil {
		t.Error("the first certificate is still shown")
	}
}

// TestCertificateOfTheSameTime: what distinguishes versions of a file is not its time alone, which a copy keeps, and files
// that were refused are read again though they do not change.
func TestCertificateOfTheSameTime(t *testing.T) {
	t.Parallel()
	inFolder := func() config.ListenTLS {
		dir := t.TempDir()
		return config.ListenTLS{Cert: filepath.Join(dir, "cert"), Key: filepath.Join(dir, "key")}
	}
	files, renewed := inFolder(), inFolder()
	newPair(t, files)
	c, err := newCertificate(files, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	first := c.shown.Certificate[0]
	newPair(t, renewed)
	at := time.Now().Add(-time.Hour)
	place := func(from, to string) {
		text, err := os.ReadFile(from)
		if err = errors.Join(err, os.WriteFile(to, text, 0o600), os.Chtimes(to, at, at)); err != nil {
			t.Fatal(err)
		}
	}
	shown := func() []byte {
		now, err := c.get(nil)
		if err != nil {
			t.Fatal(err)
		}
		return now.Certificate[0]
	}
	place(files.Key, files.Key)
	place(renewed.Cert, files.Cert)
	if !bytes.Equal(shown(), first) {
		t.Fatal("a certificate without its key is shown")
	}
	place(renewed.Key, files.Key) // as long as the one before, and of the same time
	second := shown()
	if bytes.Equal(second, first) {
		t.Error("the second certificate is not shown")
	}
	if !c.refused.IsZero() {
		t.Error("it counts as refused")
	}
	c.shown.Certificate, c.refused = [][]byte{first}, time.Now().Add(-2*certificateAgain) // as if the files could not be opened
	if !bytes.Equal(shown(), second) || !c.refused.IsZero() {
		t.Error("the files are not read again")
	}
}

// TestHandshakesFillNoLog: a client that opens connections without TLS writes nothing into the log.
func TestHandshakesFillNoLog(t *testing.T) {
	t.Parallel()
	files := config.ListenTLS{Cert: filepath.Join(t.TempDir(), "cert"), Key: filepath.Join(t.TempDir(), "key")}
	newPair(t, files)
	log := &told{}
	logger := slog.New(slog.NewTextHandler(log, nil))
	l, err := listenTCP(&config.Config{Listen: "127.0.0.1:0", ListenTLS: files}, logger)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		Serve(ctx, logger, l, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("a mistake") }), time.Minute)
	}()
	for _, line := range []string{"GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01garbage", ""} {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.WriteString(c, line)
		_ = c.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, c) // until the server closes it
		if err = errors.Join(err, c.Close()); err != nil {
			t.Fatal(err)
		}
	}
	c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true}) // whom it speaks to does not matter
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
	_, _ = io.Copy(io.Discard, c)
	stop()
	<-ended
	if text := log.String(); strings.Contains(text, "handshake") || !strings.Contains(text, "a mistake") {
		t.Errorf("the log is\n%s", text)
	}
}
