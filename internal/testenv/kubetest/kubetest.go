// Package kubetest starts a real kube-apiserver for tests and gives them native access to it.
//
// The server and its etcd are one program (the folder server, a Go module of its own) on loopback. The first use on a
// machine builds it, which takes about four minutes and needs the Go module proxy; then it is cached ([testcache]) and
// starts in a few seconds. A test whose server cannot be built fails. Nothing runs pods or controllers, and so nothing
// fills in what controllers would: default service accounts, endpoints, garbage collection.
//
//	server := kubetest.Shared(t)
//	namespace := server.Namespace(t, nil)
//	server.Apply(t, "api/v1/namespaces/"+namespace+"/secrets/chat", object)
//	token := server.ServiceAccountToken(t, namespace, "rotator") // of a service account, with the rights that RBAC gives it
package kubetest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Cluster is a running API server with RBAC. It is safe for concurrent use.
type Cluster struct {
	Address string // https://127.0.0.1:port
	CA      string // PEM
	Token   string // of a member of system:masters

	client *http.Client
	alive  io.Closer // the server's standard input; were it collected as garbage, it would close and the server end

	mu    sync.Mutex
	count int // names given so far; guarded by mu
}

// startLimit bounds the start of a built server, on a machine that is busy with other tests.
const startLimit = 10 * time.Minute

// shared is the one piece of package state: a server for each test binary costs less than one for each test.
var shared = sync.OnceValues(func() (*Cluster, error) {
	binary, err := Server.Build(context.Background(), func(what string) { fmt.Fprintln(os.Stderr, what) })
	if err != nil {
		return nil, err
	}
	return launch(binary)
})

// Shared returns the cluster that all tests of this binary share. They use a [Cluster.Namespace] each. It ends with the
// process.
func Shared(t testing.TB) *Cluster {
	t.Helper()
	c, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// launch starts the server and waits until it says that it is ready.
func launch(binary string) (*Cluster, error) {
	command := exec.Command(binary)
	// A file without a name: it needs no goroutine, and nothing is left of it.
	complaints, err := os.CreateTemp("", "kube-apiserver")
	if err != nil {
		return nil, err
	}
	defer func() { _ = complaints.Close() }()
	if err := os.Remove(complaints.Name()); err != nil {
		return nil, err
	}
	command.Stderr = complaints
	input, err := command.StdinPipe()
	if err != nil {
		return nil, err
	}
	output, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("start kube-apiserver: %w", err)
	}
	timer := time.AfterFunc(startLimit, func() { _ = command.Process.Kill() })
	defer timer.Stop()
	c := &Cluster{alive: input}
	line, err := bufio.NewReader(output).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, c)
	}
	if err != nil {
		_ = command.Process.Kill()
		_ = command.Wait()
		said, _ := io.ReadAll(io.NewSectionReader(complaints, 0, 1<<20))
		return nil, fmt.Errorf("start kube-apiserver: it ended before it was ready: %w\n%s", err, said)
	}
	c.client = &http.Client{Transport: c.transport()}
	return c, nil
}

// transport trusts the cluster and keeps no connection, so that there is nothing to close at the end.
func (c *Cluster) transport() *http.Transport {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(c.CA))
	return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}
}

// CAFile writes the cluster's authority into a file of the test's own.
func (c *Cluster) CAFile(t testing.TB) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(file, []byte(c.CA), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// Name returns a name that was not given before.
func (c *Cluster) Name(prefix string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count++
	return fmt.Sprintf("%s-%d", prefix, c.count)
}

// Call sends one request as the bearer of token, in JSON, and returns the answer's status and body. A patch is a merge
// patch.
func (c *Cluster) Call(ctx context.Context, token, method, path string, body any) (status int, answer []byte, err error) {
	form := "application/json"
	if method == http.MethodPatch {
		form = "application/merge-patch+json"
	}
	return c.send(ctx, token, method, path, form, body)
}

func (c *Cluster) send(ctx context.Context, token, method, path, form string, body any) (status int, answer []byte, err error) {
	content, err := json.Marshal(body)
	if err != nil {
		return 0, nil, err
	}
	if body == nil {
		content = nil
	}
	r, err := http.NewRequestWithContext(ctx, method, c.Address+"/"+path, bytes.NewReader(content))
	if err != nil {
		return 0, nil, err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", form)
	response, err := c.client.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	answer, err = io.ReadAll(response.Body)
	return response.StatusCode, answer, err
}

// Do sends one request as the administrator and decodes the answer into out, unless that is nil. Any error but a 404
// ends the test; a 404 returns false.
func (c *Cluster) Do(t testing.TB, method, path string, body, out any) bool {
	t.Helper()
	status, answer, err := c.Call(t.Context(), c.Token, method, path, body)
	return c.settle(t, method+" "+path, status, answer, err, out)
}

func (c *Cluster) settle(t testing.TB, what string, status int, answer []byte, err error, out any) bool {
	t.Helper()
	switch {
	case err != nil:
		t.Fatal(err)
	case status == http.StatusNotFound:
		return false
	case status > 299:
		t.Fatalf("%s: status %d: %s", what, status, answer)
	case out != nil:
		if err := json.Unmarshal(answer, out); err != nil {
			t.Fatal(err)
		}
	}
	return true
}

// Apply makes the object at path as the administrator, or makes it so where it is there.
func (c *Cluster) Apply(t testing.TB, path string, object map[string]any) {
	t.Helper()
	status, answer, err := c.send(t.Context(), c.Token, http.MethodPatch, path+"?fieldManager=test&force=true", "application/apply-patch+yaml", object)
	if !c.settle(t, "apply "+path, status, answer, err, nil) {
		t.Fatalf("apply %s: %s", path, answer)
	}
}

// Namespace makes a new namespace with the labels and returns its name. It stays: what deletes one is a controller.
func (c *Cluster) Namespace(t testing.TB, labels map[string]string) string {
	t.Helper()
	name := c.Name("test")
	c.Do(t, http.MethodPost, "api/v1/namespaces", map[string]any{"metadata": map[string]any{"name": name, "labels": labels}}, nil)
	return name
}

// ServiceAccount makes a service account.
func (c *Cluster) ServiceAccount(t testing.TB, namespace, name string) {
	t.Helper()
	c.Do(t, http.MethodPost, "api/v1/namespaces/"+namespace+"/serviceaccounts", map[string]any{"metadata": map[string]any{"name": name}}, nil)
}

// ServiceAccountToken returns a token of a service account that is there, by TokenRequest, as the kubelet gives one to a
// pod. It lives for an hour.
func (c *Cluster) ServiceAccountToken(t testing.TB, namespace, name string) string {
	t.Helper()
	var made struct {
		Status struct {
			Token string `json:"token"`
		} `json:"status"`
	}
	request := map[string]any{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": map[string]any{"expirationSeconds": 3600}}
	if !c.Do(t, http.MethodPost, "api/v1/namespaces/"+namespace+"/serviceaccounts/"+name+"/token", request, &made) {
		t.Fatal(errors.New("there is no service account " + name))
	}
	return made.Status.Token
}

// Proxy returns a handler that passes calls on to the cluster.
func (c *Cluster) Proxy() (http.Handler, error) {
	target, err := url.Parse(c.Address)
	if err != nil {
		return nil, err
	}
	return &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: c.transport(),
	}, nil
}
