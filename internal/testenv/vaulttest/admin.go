package vaulttest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
)

// Mount makes a new, empty KV mount of the given version, 1 or 2, and returns its name.
func (s *Server) Mount(t testing.TB, version int) string {
	t.Helper()
	name := s.Name(fmt.Sprintf("kv%d-test", version))
	if err := s.mount(name, version); err != nil {
		t.Fatal(err)
	}
	return name
}

func (s *Server) mount(name string, version int) error {
	err := s.root.Sys().Mount(name, &api.MountInput{Type: "kv", Options: map[string]string{"version": fmt.Sprint(version)}})
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.mounts[name] = version
	s.mu.Unlock()
	return s.await(name)
}

// Upgrade makes a mount of version 1 one of version 2, as `vault kv enable-versioning` does, and waits until it is.
func (s *Server) Upgrade(t testing.TB, mount string) {
	t.Helper()
	s.write(t, "sys/mounts/"+mount+"/tune", map[string]any{"options": map[string]any{"version": "2"}})
	s.mu.Lock()
	s.mounts[mount] = 2
	s.mu.Unlock()
	if err := s.await(mount); err != nil {
		t.Fatal(err)
	}
}

// await waits until the mount answers: KV v2 refuses everything while it sets itself up, in the background.
func (s *Server) await(mount string) error {
	deadline := time.Now().Add(startLimit)
	for {
		_, err := s.root.Logical().List(mount + "/metadata")
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(5 * time.Millisecond) // another process's state: there is nothing to wait on
	}
}

// Policy writes an ACL policy in Vault's own language.
func (s *Server) Policy(t testing.TB, name, rules string) {
	t.Helper()
	if err := s.root.Sys().PutPolicy(name, rules); err != nil {
		t.Fatal(err)
	}
}

// Token returns a new renewable token without a parent, which lives for ttl (0: Vault's default, an hour here).
func (s *Server) Token(t testing.TB, ttl time.Duration, policies ...string) string {
	t.Helper()
	return s.token(t, &api.TokenCreateRequest{Policies: policies, TTL: ttl.String(), NoParent: true})
}

// BareToken is Token without Vault's default policy: it may do what policies say and nothing else.
func (s *Server) BareToken(t testing.TB, ttl time.Duration, policies ...string) string {
	t.Helper()
	return s.token(t, &api.TokenCreateRequest{Policies: policies, TTL: ttl.String(), NoParent: true, NoDefaultPolicy: true})
}

func (s *Server) token(t testing.TB, r *api.TokenCreateRequest) string {
	t.Helper()
	renewable := true
	r.Renewable = &renewable
	made, err := s.root.Auth().Token().Create(r)
	if err != nil {
		t.Fatal(err)
	}
	return made.Auth.ClientToken
}

// Revoke ends a token at once.
func (s *Server) Revoke(t testing.TB, token string) {
	t.Helper()
	if err := s.root.Auth().Token().RevokeTree(token); err != nil {
		t.Fatal(err)
	}
}

// AppRole makes a role at auth/approle whose tokens live for ttl, and returns what it logs in with.
func (s *Server) AppRole(t testing.TB, name string, ttl time.Duration, policies ...string) (roleID, secretID string) {
	t.Helper()
	path := "auth/approle/role/" + name
	s.write(t, path, map[string]any{"token_policies": policies, "token_ttl": ttl.String()})
	return s.ask(t, path+"/role-id", false, "role_id"), s.ask(t, path+"/secret-id", true, "secret_id")
}

// Write makes the JSON object doc the whole content of a KV secret, as `vault kv put` does.
func (s *Server) Write(t testing.TB, mount, path, doc string) {
	t.Helper()
	body := json.RawMessage(doc)
	if s.version(t, mount) == 2 {
		path, body = "data/"+path, json.RawMessage(`{"data":`+doc+`}`)
	}
	if _, err := s.root.Logical().WriteBytes(mount+"/"+path, body); err != nil {
		t.Fatal(err)
	}
}

// Read returns the whole content of a KV secret, with numbers spelled as Vault answers them (KV v2 keeps what was written
// but decodes it as 64-bit floats for every reader, and cannot read 1e400 at all); false when there is none.
func (s *Server) Read(t testing.TB, mount, path string) (doc string, found bool) {
	t.Helper()
	content, found := s.read(t, mount, path)
	if !found {
		return "", false
	}
	b, err := json.Marshal(content)
	if err != nil {
		t.Fatal(err)
	}
	return string(b), true
}

func (s *Server) read(t testing.TB, mount, path string) (map[string]any, bool) {
	t.Helper()
	if s.version(t, mount) == 1 {
		got, err := s.root.KVv1(mount).Get(context.Background(), path)
		return content(t, got, err)
	}
	got, err := s.root.KVv2(mount).Get(context.Background(), path)
	return content(t, got, err)
}

func content(t testing.TB, got *api.KVSecret, err error) (map[string]any, bool) {
	t.Helper()
	switch {
	case errors.Is(err, api.ErrSecretNotFound):
		return nil, false
	case err != nil:
		t.Fatal(err)
	}
	return got.Data, got.Data != nil // a deleted version has no data
}

// List names everything below a folder of a KV mount, as full paths. Deleted versions of a KV v2 secret count: what they
// belong to is still there.
func (s *Server) List(t testing.TB, mount, folder string) []string {
	t.Helper()
	base := mount + "/"
	if s.version(t, mount) == 2 {
		base += "metadata/"
	}
	var found []string
	for _, name := range s.names(t, base+folder) {
		path := strings.TrimPrefix(folder+"/"+name, "/")
		if inner, is := strings.CutSuffix(path, "/"); is {
			found = append(found, s.List(t, mount, inner)...)
		} else {
			found = append(found, path)
		}
	}
	return found
}

func (s *Server) names(t testing.TB, path string) []string {
	t.Helper()
	got, err := s.root.Logical().List(path)
	if err != nil {
		t.Fatal(err)
	}
	if got == nil {
		return nil
	}
	keys, _ := got.Data["keys"].([]any)
	names := make([]string, len(keys))
	for i, key := range keys {
		names[i], _ = key.(string)
	}
	return names
}

// Delete removes a KV secret as `vault kv delete` does: of KV v2 the newest version can be undeleted.
func (s *Server) Delete(t testing.TB, mount, path string) {
	t.Helper()
	if s.version(t, mount) == 2 {
		path = "data/" + path
	}
	s.delete(t, mount+"/"+path)
}

// Destroy erases one version of a KV v2 secret forever.
func (s *Server) Destroy(t testing.TB, mount, path string, version int) {
	t.Helper()
	s.write(t, mount+"/destroy/"+path, map[string]any{"versions": []int{version}})
}

// Erase removes a KV v2 secret with all its versions and its metadata.
func (s *Server) Erase(t testing.TB, mount, path string) {
	t.Helper()
	s.delete(t, mount+"/metadata/"+path)
}

func (s *Server) version(t testing.TB, mount string) int {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	version, known := s.mounts[mount]
	if !known {
		t.Fatalf("vaulttest: %q is no mount of this server", mount)
	}
	return version
}

func (s *Server) write(t testing.TB, path string, data map[string]any) *api.Secret {
	t.Helper()
	got, err := s.root.Logical().Write(path, data)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func (s *Server) delete(t testing.TB, path string) {
	t.Helper()
	if _, err := s.root.Logical().Delete(path); err != nil {
		t.Fatal(err)
	}
}

// ask reads one text from the answer to a read, or to an empty write.
func (s *Server) ask(t testing.TB, path string, write bool, field string) string {
	t.Helper()
	call := s.root.Logical().Read
	if write {
		call = func(path string) (*api.Secret, error) { return s.root.Logical().Write(path, nil) }
	}
	got, err := call(path)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := got.Data[field].(string)
	if text == "" {
		t.Fatalf("vaulttest: %s answers without %s", path, field)
	}
	return text
}
