package vaulttest

import (
	"testing"
	"time"
)

func TestLogins(t *testing.T) {
	t.Parallel()
	s := Shared(t)
	approle, role := s.Name("role"), s.Name("role")
	roleID, secretID := s.AppRole(t, approle, time.Minute, "default")
	web, cluster := s.JWT(t, role, time.Minute, "default"), s.Kubernetes(t, role, time.Minute, "default")
	forged := s.JWT(t, role, time.Minute, "default")
	revoked := cluster.Token(t)
	cluster.Revoke(revoked)
	for name, tc := range map[string]struct {
		mount string
		login map[string]any
		good  bool
	}{
		"approle":              {"approle", map[string]any{"role_id": roleID, "secret_id": secretID}, true},
		"approle, wrong":       {"approle", map[string]any{"role_id": roleID, "secret_id": "x"}, false},
		"jwt":                  {web.Mount, map[string]any{"role": role, "jwt": web.Token(t)}, true},
		"jwt, another signer":  {web.Mount, map[string]any{"role": role, "jwt": forged.Token(t)}, false},
		"kubernetes":           {cluster.Mount, map[string]any{"role": role, "jwt": cluster.Token(t)}, true},
		"kubernetes, disowned": {cluster.Mount, map[string]any{"role": role, "jwt": revoked}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := s.Client(t, "").Logical().Write("auth/"+tc.mount+"/login", tc.login)
			if good := err == nil && got.Auth.ClientToken != ""; good != tc.good {
				t.Errorf("login: %v", err)
			}
		})
	}
}
