// Package kubernetes keeps keys in Secrets of a Kubernetes cluster.
//
// A target is one field of one Secret: [stores.Target].Path is namespace/name, Field the key in its data ("value" when
// empty), whose bytes are the key itself. The other fields of the Secret are never sent, read back or changed.
//
// # What is written where
//
// The target is changed by a merge patch of our field alone, under the resourceVersion that was read: a writer in between
// is noticed always, and another field that changed meanwhile costs a new try. The annotation rotator/keys says of each
// field which fingerprint and which rotation its key has, as JSON: {"api_key":{"fingerprint":"sha256:…","rotation":"…"}}.
//
// One Secret beside it, <name>.rotator, holds what is staged (staged.<attempt>) and the two newest former values of each
// field (previous-1.<field>, previous-2.<field>). Discard removes it when nothing is left in it. Whoever may read every
// Secret of the namespace can read it too; rights by name keep the two apart.
//
// # Restarts
//
// A process that read its key when it started does not see a new one. A Secret with the annotation
//
//	rotator/restart: deployment/chat-api, statefulset/indexer
//
// names workloads of its namespace (deployment, statefulset or daemonset) that roll when a key of it is promoted: their
// pod template gets an annotation with the fingerprint. Promote has succeeded only when each of them took it, and the
// same key again restarts nothing. Pods that mount the Secret as a volume and read the file again need none of this.
//
// # Rights
//
// Every right is held to the two names, creation too: Secrets are created by server-side apply, whose permission names
// the object, where a plain create could make any Secret, also one that yields a service account's token. For the target
// app/chat ([Store.Check] names what is missing):
//
//   - apiGroups: [""]
//     resources: [secrets]
//     resourceNames: [chat, chat.rotator]
//     verbs: [get, create, patch]
//   - apiGroups: [""]
//     resources: [secrets]
//     resourceNames: [chat.rotator]
//     verbs: [delete]
//
// and patch on the workloads that are to restart. create on the target itself is needed only where it is not there yet.
//
// # Who else writes
//
// A Secret that a controller owns, that is immutable or that holds a service account's token is refused: what is written
// there would not stay, or cannot be written. What applies manifests from a repository must leave the field out. Other
// signs of a second writer are warnings ([Store.Warnings]): owners that do not control, the marks of programs that copy or
// apply Secrets, and managedFields.
//
// # What is tried beforehand
//
// Check and Stage send the promotion's own patch with dryRun=All and a stand-in of a key's length, never a key. Webhooks,
// policies, quotas and the limit of 1 MiB are met before a key is created, or while its rotation can still be aborted.
package kubernetes

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"rotator/internal/guard"
	"rotator/internal/secret"
	"rotator/internal/transport"
	"rotator/stores"
)

// Options say where the cluster is and how to log in. The zero Options speak to the cluster that this process is a pod of.
type Options struct {
	// Server is the API server's address, https://host:6443. Empty: as $KUBERNETES_SERVICE_HOST and _PORT say.
	Server string
	// Token returns the bearer token; it is asked before each call, since projected tokens live for about an hour.
	// Nil: the pod's own, where Server is empty; otherwise it is required.
	Token func(context.Context) (secret.Text, error)
	// CACert is a PEM file of the authorities to trust, read by New. Empty: the pod's own where Server is empty,
	// otherwise the system's.
	CACert string
	// ServerName is the name in the server's certificate, where it is not the address's.
	ServerName string
	// Timeout of each call; default 10 s.
	Timeout time.Duration
	// Labels and Annotations are those of the Secrets that the store creates: targets that are not there yet, and the ones
	// beside targets. Configurations are checked where they are read; here they are taken as they are.
	Labels, Annotations map[string]string
	// Restarts are workloads that Permissions lets restart, NAMESPACE/KIND/NAME: which ones a Secret names is in its
	// annotation, and Permissions reads none.
	Restarts []string
}

// Store implements stores.Store and all of its optional abilities. It is safe for concurrent use.
type Store struct {
	client *http.Client
	// connections is what client sends through, below the check of package guard.
	connections *http.Transport
	server      *url.URL
	token       func(context.Context) (secret.Text, error)
	// labels and annotations of the Secrets that are created; never changed.
	labels, annotations map[string]string
}

var (
	_ stores.Store    = (*Store)(nil)
	_ stores.Checker  = (*Store)(nil)
	_ stores.Previous = (*Store)(nil)
	_ stores.Fencer   = (*Store)(nil)
	_ stores.Placer   = (*Store)(nil)
	_ stores.Warner   = (*Store)(nil)
)

const defaultTimeout = 10 * time.Second

// New checks the options and makes a Store. It reads the authorities' file but does not call the cluster.
func New(o Options) (*Store, error) {
	s, err := open(o, pod{
		host: os.Getenv("KUBERNETES_SERVICE_HOST"), port: os.Getenv("KUBERNETES_SERVICE_PORT"),
		folder: "/var/run/secrets/kubernetes.io/serviceaccount",
	})
	if err != nil {
		return nil, fmt.Errorf("kubernetes: %w", err)
	}
	return s, nil
}

// pod is what the kubelet passes to a pod of its cluster:
// https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
type pod struct{ host, port, folder string }

// fill completes options without a server.
func (p pod) fill(o *Options) error {
	if p.host == "" || p.port == "" {
		return errors.New("no server is given, and this process is no pod: KUBERNETES_SERVICE_HOST is not set")
	}
	o.Server = "https://" + net.JoinHostPort(p.host, p.port)
	if o.CACert == "" {
		o.CACert = filepath.Join(p.folder, "ca.crt")
	}
	if o.Token == nil {
		o.Token = func(context.Context) (secret.Text, error) {
			token, err := os.ReadFile(filepath.Join(p.folder, "token"))
			return secret.New(string(token)), err
		}
	}
	return nil
}

func open(o Options, here pod) (*Store, error) {
	t := transport.New()
	t.MaxIdleConnsPerHost, t.TLSClientConfig.ServerName = 4, o.ServerName
	if o.Server == "" {
		t.Proxy = nil // the cluster's own address is never behind the one that leads out of it
		if err := here.fill(&o); err != nil {
			return nil, err
		}
	}
	server, err := checkServer(o.Server)
	if err == nil && o.Token == nil {
		err = errors.New("a server needs a token")
	}
	if err == nil && o.Timeout < 0 {
		err = errors.New("the timeout is negative")
	}
	if err != nil {
		return nil, err
	}
	if o.CACert != "" {
		pem, err := os.ReadFile(o.CACert)
		if err != nil {
			return nil, err
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate in PEM", o.CACert)
		}
		t.TLSClientConfig.RootCAs = roots
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	return &Store{
		client: &http.Client{
			Transport:     guard.Transport(t),
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Timeout:       o.Timeout,
		},
		connections: t,
		server:      server,
		token:       o.Token,
		labels:      maps.Clone(o.Labels),
		annotations: maps.Clone(o.Annotations),
	}, nil
}

// checkServer refuses what would send a token in clear over a network, or put a password into errors.
func checkServer(address string) (*url.URL, error) {
	u, err := transport.Address(address)
	if err != nil {
		return nil, fmt.Errorf("the server's address %w: want one such as https://kubernetes.example:6443, or http:// on loopback", err)
	}
	return u, nil
}
