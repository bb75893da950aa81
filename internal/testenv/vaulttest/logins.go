package vaulttest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
)

// Signer makes the JSON Web Tokens that one login mount accepts.
type Signer struct {
	Mount string // the auth mount, such as jwt-1
	key   *ecdsa.PrivateKey

	mu     sync.Mutex
	issued map[string]string // token → its subject; guarded by mu
}

// JWT mounts a new login by JSON Web Token, with a role whose Vault tokens live for ttl.
func (s *Server) JWT(t testing.TB, role string, ttl time.Duration, policies ...string) *Signer {
	t.Helper()
	signer := s.newSigner(t, "jwt")
	der, err := x509.MarshalPKIXPublicKey(signer.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, "auth/"+signer.Mount+"/config", map[string]any{
		"jwt_validation_pubkeys": encode("PUBLIC KEY", der),
	})
	s.write(t, "auth/"+signer.Mount+"/role/"+role, map[string]any{
		"role_type": "jwt", "user_claim": "sub", "bound_audiences": audience, "bound_subject": subject,
		"token_policies": policies, "token_ttl": ttl.String(),
	})
	return signer
}

// Kubernetes mounts a new login by Kubernetes service account. The cluster behind it is a server that answers
// TokenReview alone, and knows the tokens that the Signer made and not revoked.
func (s *Server) Kubernetes(t testing.TB, role string, ttl time.Duration, policies ...string) *Signer {
	t.Helper()
	signer := s.newSigner(t, "kubernetes")
	cluster := httptest.NewServer(http.HandlerFunc(signer.review))
	t.Cleanup(cluster.Close)
	s.write(t, "auth/"+signer.Mount+"/config", map[string]any{
		"kubernetes_host": cluster.URL, "disable_local_ca_jwt": true,
		"kubernetes_ca_cert": encode("CERTIFICATE", issue(t, "cluster", nil).certificate.Raw), // asked for, not used: plain http
	})
	s.write(t, "auth/"+signer.Mount+"/role/"+role, map[string]any{
		"bound_service_account_names": "rotator", "bound_service_account_namespaces": "keys",
		"token_policies": policies, "token_ttl": ttl.String(),
	})
	return signer
}

// What every token of a Signer says of its bearer.
const (
	audience = "vault"
	subject  = "system:serviceaccount:keys:rotator"
	uid      = "11111111-2222-3333-4444-555555555555"
)

func (s *Server) newSigner(t testing.TB, kind string) *Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	mount := s.Name(kind)
	if err := s.root.Sys().EnableAuthWithOptions(mount, &api.EnableAuthOptions{Type: kind}); err != nil {
		t.Fatal(err)
	}
	return &Signer{Mount: mount, key: key, issued: map[string]string{}}
}

// Token returns a new token, good for an hour.
func (k *Signer) Token(t testing.TB) string {
	t.Helper()
	now := time.Now()
	claims := map[string]any{
		"iss": "kubernetes/serviceaccount", "sub": subject, "aud": []string{audience},
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(), "jti": rand.Text(),
		"kubernetes.io": map[string]any{"namespace": "keys", "serviceaccount": map[string]any{"name": "rotator", "uid": uid}},
	}
	payload := part(t, map[string]any{"alg": "ES256", "typ": "JWT"}) + "." + part(t, claims)
	sum := sha256.Sum256([]byte(payload))
	r, s, err := ecdsa.Sign(rand.Reader, k.key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	token := payload + "." + base64.RawURLEncoding.EncodeToString(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
	k.mu.Lock()
	defer k.mu.Unlock()
	k.issued[token] = subject
	return token
}

// Revoke makes the Kubernetes cluster disown a token.
func (k *Signer) Revoke(token string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.issued, token)
}

func part(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// review is the part of the Kubernetes API that Vault asks: POST /apis/authentication.k8s.io/v1/tokenreviews.
func (k *Signer) review(w http.ResponseWriter, r *http.Request) {
	var ask struct {
		Spec struct {
			Token string `json:"token"`
		} `json:"spec"`
	}
	if r.URL.Path != "/apis/authentication.k8s.io/v1/tokenreviews" || json.NewDecoder(r.Body).Decode(&ask) != nil {
		http.Error(w, "not a token review", http.StatusBadRequest)
		return
	}
	k.mu.Lock()
	name, good := k.issued[ask.Spec.Token]
	k.mu.Unlock()
	status := map[string]any{"authenticated": good, "audiences": []string{audience}}
	if good {
		status["user"] = map[string]any{
			"username": name, "uid": uid, "groups": []string{"system:serviceaccounts", "system:serviceaccounts:keys"},
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(map[string]any{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status})
}
