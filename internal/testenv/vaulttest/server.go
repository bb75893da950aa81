// Package vaulttest starts a real Vault server for tests and gives them native access to it.
//
// The server is the core of Vault itself (the folder server, a Go module of its own), over memory, on loopback. The
// first use on a machine builds it, which takes about three minutes and needs the Go module proxy; then the binary is
// cached ([testcache]) and a server starts in under a second. A test whose server cannot be built fails.
//
//	server := vaulttest.Start(t)
//	server.Policy(t, "reader", `path "secret/data/*" { capabilities = ["read"] }`)
//	token := server.Token(t, time.Hour, "reader")
//	server.Write(t, "secret", "llm/chat", `{"api_key":"..."}`)
//	proxy := server.Proxy(t) // to break the connection in between
package vaulttest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
)

// Server is a running Vault with KV v2 at secret/, KV v1 at kv1/ and AppRole logins at auth/approle.
// It is safe for concurrent use.
type Server struct {
	Address   string // http://127.0.0.1:port
	RootToken string

	root      *api.Client
	unsealKey string
	alive     io.Closer // the server's standard input; were it collected as garbage, it would close and the server end

	mu     sync.Mutex
	mounts map[string]int // KV mount → its version; guarded by mu
	count  int            // names given so far; guarded by mu
}

// startLimit bounds the start of a built server, on a machine that is busy with other tests.
const startLimit = 10 * time.Minute

// Start runs a server of the test's own and stops it when the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	binary, err := Program.Build(t.Context(), func(what string) { t.Log(what) })
	if err != nil {
		t.Fatal(err)
	}
	s, stop, err := launch(binary)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return s
}

// shared is the one piece of package state: a server for each test binary costs less than one for each test.
var shared = sync.OnceValues(func() (*Server, error) {
	binary, err := Program.Build(context.Background(), func(what string) { fmt.Fprintln(os.Stderr, what) })
	if err != nil {
		return nil, err
	}
	s, _, err := launch(binary) // it ends by itself: with this process its standard input closes
	return s, err
})

// Shared returns the server that all tests of this binary share. They use a [Server.Mount] each, and never seal it.
func Shared(t testing.TB) *Server {
	t.Helper()
	s, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// launch starts the binary, waits until it says that it is ready, and sets up what every test finds.
func launch(binary string) (s *Server, stop func(), err error) {
	command := exec.Command(binary)
	// A file without a name: it needs no goroutine, and nothing is left of it.
	complaints, err := os.CreateTemp("", "vault")
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = complaints.Close() }()
	if err := os.Remove(complaints.Name()); err != nil {
		return nil, nil, err
	}
	command.Stderr = complaints
	input, err := command.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	output, err := command.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := command.Start(); err != nil {
		return nil, nil, fmt.Errorf("start the Vault test server: %w", err)
	}
	timer := time.AfterFunc(startLimit, func() { _ = command.Process.Kill() })
	stop = func() {
		_ = input.Close() // asks it to end
		_ = command.Process.Kill()
		_ = command.Wait()
	}
	if s, err = greet(output); err == nil {
		s.alive = input
	}
	if !timer.Stop() && err == nil {
		err = errors.New("the time is over")
	}
	if err == nil {
		err = s.setUp()
	}
	if err != nil {
		stop()
		said, _ := io.ReadAll(io.NewSectionReader(complaints, 0, 1<<20))
		return nil, nil, fmt.Errorf("start the Vault test server: %w\n%s", err, said)
	}
	return s, stop, nil
}

// greet reads the line in which the server says where it is.
func greet(output io.Reader) (*Server, error) {
	line, err := bufio.NewReader(output).ReadBytes('\n')
	if err != nil {
		return nil, fmt.Errorf("it ended before it was ready: %w", err)
	}
	var ready struct {
		Address   string `json:"address"`
		RootToken string `json:"root_token"`
		UnsealKey string `json:"unseal_key"`
	}
	if err := json.Unmarshal(line, &ready); err != nil {
		return nil, err
	}
	s := &Server{Address: ready.Address, RootToken: ready.RootToken, unsealKey: ready.UnsealKey, mounts: map[string]int{}}
	s.root, err = s.client(ready.RootToken)
	return s, err
}

// setUp mounts what every test finds.
func (s *Server) setUp() error {
	return errors.Join(
		s.mount("secret", 2),
		s.mount("kv1", 1),
		s.root.Sys().EnableAuthWithOptions("approle", &api.EnableAuthOptions{Type: "approle"}),
	)
}

// client returns a client of Vault's own, which follows no environment variable.
func (s *Server) client(token string) (*api.Client, error) {
	config := api.DefaultConfig()
	config.Address, config.MaxRetries = s.Address, 0
	config.HttpClient.Transport.(*http.Transport).DisableKeepAlives = true // nothing to close at the end
	client, err := api.NewClient(config)
	if err != nil {
		return nil, err
	}
	client.ClearNamespace()
	client.SetToken(token)
	return client, nil
}

// Client returns a client with the given token, for what this package has no method for.
func (s *Server) Client(t testing.TB, token string) *api.Client {
	t.Helper()
	client, err := s.client(token)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// Root returns the client with every right.
func (s *Server) Root() *api.Client { return s.root }

// Name returns a name that was not given before, for mounts, policies and roles of a shared server.
func (s *Server) Name(prefix string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count++
	return fmt.Sprintf("%s-%d", prefix, s.count)
}

// Seal makes every later call fail with 503, as after a restart of Vault, until Unseal. Tokens and secrets are kept.
func (s *Server) Seal(t testing.TB) {
	t.Helper()
	if err := s.root.Sys().Seal(); err != nil {
		t.Fatal(err)
	}
}

// Unseal undoes Seal and waits until secrets can be read.
func (s *Server) Unseal(t testing.TB) {
	t.Helper()
	if _, err := s.root.Sys().Unseal(s.unsealKey); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for mount := range s.mounts {
		if err := s.await(mount); err != nil {
			t.Fatal(err)
		}
	}
}
