package postgrestest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rotator/internal/testenv/porttest"
)

// Role is the user of a secured server.
const Role = "rotator"

// Secured is a server that is reached over TLS alone, by one role with a certificate and a password.
type Secured struct {
	*Server
	CA, Cert, Key string // files of the client: the server's authority, and the role's own certificate
	OtherCA       string // an authority that did not sign the server's certificate
	FirstPassword string
}

// StartSecured starts one.
func StartSecured(t testing.TB) *Secured {
	t.Helper()
	s := &Secured{Server: &Server{}, FirstPassword: "first & p/ss"}
	dir := t.TempDir()
	ours, other := newAuthority(t), newAuthority(t)
	s.CA, s.OtherCA = filepath.Join(dir, "ca.pem"), filepath.Join(dir, "other.pem")
	s.Cert, s.Key = filepath.Join(dir, "client.pem"), filepath.Join(dir, "client.key")
	ours.write(t, s.CA)
	other.write(t, s.OtherCA)
	ours.issue(t, Role, s.Cert, s.Key)
	s.start(t, s.initdb, func() []string {
		_, s.port, _ = net.SplitHostPort(porttest.Free(t))
		ours.write(t, filepath.Join(s.dir, "ca.pem"))
		ours.issue(t, "127.0.0.1", filepath.Join(s.dir, "server.pem"), filepath.Join(s.dir, "server.key"))
		s.own(t, "ca.pem", "server.pem", "server.key")
		rules := "local all postgres trust\nhostssl all " + Role + " 127.0.0.1/32 scram-sha-256 clientcert=verify-full\n"
		if err := os.WriteFile(filepath.Join(s.data(), "pg_hba.conf"), []byte(rules), 0o600); err != nil {
			t.Fatal(err)
		}
		return []string{"-c", "listen_addresses=127.0.0.1", "-p", s.port, "-c", "ssl=on",
			"-c", "ssl_ca_file=../ca.pem", "-c", "ssl_cert_file=../server.pem", "-c", "ssl_key_file=../server.key"}
	})
	s.Say(t, fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s'", Role, s.FirstPassword))
	s.Say(t, "CREATE DATABASE "+Role+" OWNER "+Role)
	return s
}

// Address is the role's, without its password; params are added to it.
func (s *Secured) Address(params url.Values) string {
	params = maps.Clone(params)
	params.Set("connect_timeout", connectLimit)
	return (&url.URL{Scheme: "postgres", User: url.User(Role), Host: "127.0.0.1:" + s.port, Path: "/" + Role,
		RawQuery: strings.ReplaceAll(params.Encode(), "+", "%20")}).String() // a plus is a plus to PostgreSQL
}

// TLS are the parameters of a connection that checks the server and shows the role's certificate.
func (s *Secured) TLS() url.Values {
	return url.Values{"sslmode": {"verify-full"}, "sslrootcert": {s.CA}, "sslcert": {s.Cert}, "sslkey": {s.Key}}
}

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := authority{key: key, cert: &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign,
	}}
	a.cert.Raw, err = x509.CreateCertificate(rand.Reader, a.cert, a.cert, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (a authority) write(t testing.TB, path string) { writePEM(t, path, "CERTIFICATE", a.cert.Raw) }

// issue makes a certificate for a server's address or a client's name, and its key.
func (a authority) issue(t testing.TB, name, certPath, keyPath string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if ip := net.ParseIP(name); ip != nil {
		c.IPAddresses = []net.IP{ip}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	bytes, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, certPath, "CERTIFICATE", der)
	writePEM(t, keyPath, "PRIVATE KEY", bytes)
}

func writePEM(t testing.TB, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}
