package vaulttest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Certificates names the files of a private authority, in PEM, which live as long as the test.
type Certificates struct {
	CA         string // the authority's certificate
	ClientCert string
	ClientKey  string

	pool *x509.CertPool
}

var discard = log.New(io.Discard, "", 0)

// newCertificates makes an authority and what it signed: the server's certificate for 127.0.0.1, and a client's.
func newCertificates(t testing.TB) (Certificates, tls.Certificate) {
	t.Helper()
	authority := issue(t, "test authority", nil)
	server, client := issue(t, "127.0.0.1", authority), issue(t, "rotator", authority)
	folder := t.TempDir()
	file := func(name, kind string, der []byte) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(encode(kind, der)), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key, err := x509.MarshalECPrivateKey(client.key)
	if err != nil {
		t.Fatal(err)
	}
	c := Certificates{
		CA:         file("ca.pem", "CERTIFICATE", authority.certificate.Raw),
		ClientCert: file("client.pem", "CERTIFICATE", client.certificate.Raw),
		ClientKey:  file("client-key.pem", "EC PRIVATE KEY", key),
		pool:       x509.NewCertPool(),
	}
	c.pool.AddCert(authority.certificate)
	return c, tls.Certificate{Certificate: [][]byte{server.certificate.Raw}, PrivateKey: server.key}
}

// encode returns PEM.
func encode(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// issued is a certificate with its key.
type issued struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// issue makes a certificate that the parent signs, or, without one, an authority's own.
func issue(t testing.TB, name string, parent *issued) *issued {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		DNSNames:     []string{"vault.example"},
	}
	signer := &issued{certificate: template, key: key}
	if parent == nil {
		template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	} else {
		signer = parent
	}
	der, err := x509.CreateCertificate(rand.Reader, template, signer.certificate, key.Public(), signer.key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &issued{certificate: certificate, key: key}
}
