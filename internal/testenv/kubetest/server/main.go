// Command server runs a real kube-apiserver with the etcd it stores in, for this project's tests, on loopback.
//
// It is a module of its own so that Kubernetes's several hundred dependencies stay out of the product; the replace lines
// are those of Kubernetes's own go.mod, at the release's version. Nothing runs pods or controllers: what is created stays
// as it is. It prints one line of JSON ([ready]) to stdout and ends when its stdin is closed, so that it never outlives
// the test that started it. Nothing here is fit for production: the administrator's token is printed, and nothing is synced.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
	"k8s.io/kubernetes/cmd/kube-apiserver/app/options"

	"github.com/spf13/pflag"
)

// ready is the line that tells the test where the server is.
type ready struct {
	Address string `json:"address"` // https://127.0.0.1:port
	CA      string `json:"ca"`      // PEM
	Token   string `json:"token"`   // of a member of system:masters
}

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "kube-apiserver for tests:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	folder, err := os.MkdirTemp("", "kube-apiserver")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	etcd, err := startEtcd(filepath.Join(folder, "etcd"))
	if err != nil {
		return fmt.Errorf("start etcd: %w", err)
	}
	defer etcd.Close()
	served := make(chan error, 1)
	started, err := serve(ctx, folder, etcd.Clients[0].Addr().String(), served)
	if err != nil {
		return err
	}
	closed := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // until the test closes it, or dies
		close(closed)
	}()
	if err := await(started, served, closed); err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(started); err != nil {
		return err
	}
	select {
	case err = <-served:
		return fmt.Errorf("kube-apiserver ended: %w", err)
	case <-closed: // nothing is kept: it is not worth the time of a graceful end
		return nil
	}
}

// startEtcd runs the etcd that this Kubernetes is tested with.
func startEtcd(folder string) (*embed.Etcd, error) {
	anyPort := []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}
	c := embed.NewConfig()
	c.Dir, c.UnsafeNoFsync = folder, true
	c.ListenClientUrls, c.AdvertiseClientUrls = anyPort, anyPort
	c.ListenPeerUrls, c.AdvertisePeerUrls = anyPort, anyPort
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	c.LogLevel, c.LogOutputs = "error", []string{"stderr"}
	etcd, err := embed.StartEtcd(c)
	if err != nil {
		return nil, err
	}
	select {
	case <-etcd.Server.ReadyNotify():
		return etcd, nil
	case err := <-etcd.Err():
		return nil, err
	}
}

// serve starts the server; its end comes through served.
func serve(ctx context.Context, folder, etcd string, served chan<- error) (ready, error) {
	token := rand.Text()
	key, tokens := filepath.Join(folder, "service-accounts.key"), filepath.Join(folder, "tokens.csv")
	if err := errors.Join(writeKey(key), os.WriteFile(tokens, []byte(token+",administrator,administrator,system:masters\n"), 0o600)); err != nil {
		return ready{}, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return ready{}, err
	}
	const issuer = "https://kubernetes.default.svc"
	o := options.NewServerRunOptions()
	flags := pflag.NewFlagSet("kube-apiserver", pflag.ContinueOnError)
	for _, set := range o.Flags().FlagSets {
		flags.AddFlagSet(set)
	}
	err = flags.Parse([]string{
		"--etcd-servers=http://" + etcd,
		"--cert-dir=" + folder,
		"--bind-address=127.0.0.1", "--advertise-address=127.0.0.1",
		"--service-cluster-ip-range=10.0.0.0/16",
		"--authorization-mode=RBAC",
		"--token-auth-file=" + tokens,
		"--service-account-issuer=" + issuer, "--api-audiences=" + issuer,
		"--service-account-signing-key-file=" + key, "--service-account-key-file=" + key,
	})
	if err != nil {
		return ready{}, err
	}
	o.SecureServing.Listener, o.SecureServing.BindPort = listener, listener.Addr().(*net.TCPAddr).Port
	if err := o.GenericServerRunOptions.ComponentGlobalsRegistry.Set(); err != nil {
		return ready{}, err
	}
	complete, err := o.Complete(ctx)
	if err != nil {
		return ready{}, err
	}
	if err := errors.Join(complete.Validate()...); err != nil {
		return ready{}, err
	}
	go func() { served <- app.Run(ctx, complete) }()
	ca, err := os.ReadFile(filepath.Join(folder, "apiserver.crt")) // made by Complete
	return ready{Address: "https://" + listener.Addr().String(), CA: string(ca), Token: token}, err
}

// writeKey makes the key that signs the tokens of service accounts.
func writeKey(path string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600)
}

// await returns when the server says that it is ready: its own roles and namespaces are there.
func await(server ready, served <-chan error, closed <-chan struct{}) error {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(server.CA))
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}, Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	for {
		answer, err := client.Get(server.Address + "/readyz")
		if err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case err := <-served:
			return fmt.Errorf("kube-apiserver ended before it was ready: %w", err)
		case <-closed:
			return errors.New("stopped before it was ready")
		case <-time.After(50 * time.Millisecond):
		}
	}
}
