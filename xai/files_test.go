package xai_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"rotator/internal/secret"
	"rotator/xai"
	"rotator/xai/xaisim"
)

// issue returns a self-signed client certificate and its key as PEM.
func issue(t *testing.T, name string) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	b, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: b})
}

// mutual is a simulator on a socket that asks for client certificates, and the files for it.
type mutual struct {
	sim    *xaisim.Sim
	server *httptest.Server
	files  xai.TLSFiles
	stamp  time.Time

	mu    sync.Mutex
	shown []string // the names in the certificates that calls came with
}

func newMutual(t *testing.T) *mutual {
	m := &mutual{sim: xaisim.New(xaisim.Options{ClientCertificates: true}), stamp: time.Now()}
	m.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := ""
		if len(r.TLS.PeerCertificates) > 0 {
			name = r.TLS.PeerCertificates[0].Subject.CommonName
		}
		m.mu.Lock()
		m.shown = append(m.shown, name)
		m.mu.Unlock()
		m.sim.ServeHTTP(w, r)
	}))
	m.server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	m.server.EnableHTTP2 = true
	m.server.Config.ErrorLog = log.New(io.Discard, "", 0) // it complains of clients that do not trust it
	m.server.StartTLS()
	t.Cleanup(m.server.Close)
	dir := t.TempDir()
	m.files = xai.TLSFiles{Cert: filepath.Join(dir, "cert"), Key: filepath.Join(dir, "key"), CA: filepath.Join(dir, "ca")}
	m.write(t, m.files.CA, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: m.server.Certificate().Raw}))
	return m
}

// write writes a file with a later time than any before.
func (m *mutual) write(t *testing.T, path string, data []byte) {
	t.Helper()
	m.stamp = m.stamp.Add(time.Second)
	if err := errors.Join(os.WriteFile(path, data, 0o600), os.Chtimes(path, m.stamp, m.stamp)); err != nil {
		t.Fatal(err)
	}
}

func (m *mutual) last() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.shown[len(m.shown)-1]
}

// Certificates are shown, and read again when their files change; while certificate and key do not fit, the former two
// stay in use.
func TestClientCertificates(t *testing.T) {
	t.Parallel()
	s := newMutual(t)
	token := s.sim.NewManagementKey(team)
	_, value := s.sim.AddKey(team, "k", "api-key:model:*", "api-key:endpoint:*")
	m, err := xai.NewManagement(xai.ManagementOptions{URL: s.server.URL, Key: fixed(token), TLS: s.files})
	if err != nil {
		t.Fatal(err)
	}
	i, err := xai.NewInference(xai.InferenceOptions{URL: s.server.URL, TLS: s.files})
	if err != nil {
		t.Fatal(err)
	}
	_, err = m.CreateKey(t.Context(), team, request("k"))
	if xai.ClassOf(err) != xai.ClassNetwork || xai.OutcomeUnknown(err) || !strings.Contains(err.Error(), "client_certificate_files") {
		t.Errorf("without the files: %v", err)
	}
	for _, name := range []string{"first", "second"} {
		cert, key := issue(t, name)
		s.write(t, s.files.Cert, cert)
		if name == "second" {
			if _, err := m.Validate(t.Context()); err != nil || s.last() != "first" {
				t.Errorf("between the two writes: %v, shown %q", err, s.last())
			}
		}
		s.write(t, s.files.Key, key)
		if _, err := m.Validate(t.Context()); err != nil || s.last() != name {
			t.Errorf("management: %v, shown %q, want %q", err, s.last(), name)
		}
		if err := i.Chat(t.Context(), value, "grok-4"); xai.ClassOf(err) == xai.ClassForbidden || s.last() != name {
			t.Errorf("inference: %v, shown %q, want %q", err, s.last(), name)
		}
	}
}

// Without a certificate the error says what is missing; without the authority nothing is sent.
func TestOnlyAuthorities(t *testing.T) {
	t.Parallel()
	s := newMutual(t)
	token := s.sim.NewManagementKey(team)
	for ca, want := range map[string]string{s.files.CA: "xAI asks for a client certificate; set xai.tls", "": "code tls"} {
		m, err := xai.NewManagement(xai.ManagementOptions{URL: s.server.URL, Key: fixed(token), TLS: xai.TLSFiles{CA: ca}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.CreateKey(t.Context(), team, request("k")); err == nil || !strings.Contains(err.Error(), want) || xai.OutcomeUnknown(err) {
			t.Errorf("authorities %q: %v", ca, err)
		}
	}
}

func TestFilesAreChecked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := issue(t, "a")
	_, other := issue(t, "b")
	file := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	c, k, o := file("c", cert), file("k", key), file("o", other)
	for _, f := range []struct {
		files xai.TLSFiles
		want  string
	}{
		{xai.TLSFiles{}, ""},
		{xai.TLSFiles{Cert: c, Key: k, CA: c}, ""},
		{xai.TLSFiles{Cert: c}, "without the other"},
		{xai.TLSFiles{Key: k}, "without the other"},
		{xai.TLSFiles{Cert: c, Key: o}, "does not match"},
		{xai.TLSFiles{Cert: k, Key: k}, "client certificate"},
		{xai.TLSFiles{CA: k}, "no certificate in it"},
		{xai.TLSFiles{CA: filepath.Join(dir, "none")}, "no such file"},
	} {
		err := f.files.Check()
		if (err == nil) != (f.want == "") || err != nil && !strings.Contains(err.Error(), f.want) {
			t.Errorf("%+v: %v, want %q", f.files, err, f.want)
		}
		if err != nil && strings.Contains(err.Error(), string(bytes.TrimSpace(key))) {
			t.Error("the key is in the error")
		}
	}
}

// A server that ends the connection for want of a certificate is understood too.
func TestHandshakeWithoutACertificate(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS13}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	m, err := xai.NewManagement(xai.ManagementOptions{URL: server.URL, HTTP: server.Client(), Key: fixed(secret.New("xai-token-x"))})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = m.CreateKey(t.Context(), team, request("k")); xai.ClassOf(err) != xai.ClassNetwork || !strings.Contains(err.Error(), "set xai.tls") {
		t.Error(err)
	}
}
