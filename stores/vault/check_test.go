package vault

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"rotator/internal/vaulttest"
	"rotator/stores"
)

// rules are the rights of a target at llm/chat, as the package documentation names them.
func rules(version int, mount string) []right {
	if version == 1 {
		return []right{
			{mount + "/llm/chat", []string{"create", "read", "update"}},
			{mount + "/llm/chat.rotator/*", []string{"create", "read", "update", "delete"}},
		}
	}
	return []right{
		{mount + "/data/llm/chat", []string{"create", "read", "update"}},
		{mount + "/data/llm/chat.rotator/*", []string{"create", "read", "update"}},
		{mount + "/metadata/llm/chat.rotator/*", []string{"delete"}},
	}
}

// granting opens a store whose token has these rights and no others.
func granting(t *testing.T, server *vaulttest.Server, mount string, granted []right) *Store {
	t.Helper()
	var hcl strings.Builder
	for _, r := range granted {
		quoted := make([]string, len(r.capabilities))
		for i, c := range r.capabilities {
			quoted[i] = fmt.Sprintf("%q", c)
		}
		if len(quoted) > 0 {
			fmt.Fprintf(&hcl, "path %q { capabilities = [%s] }\n", r.path, strings.Join(quoted, ", "))
		}
	}
	name := server.Name("policy")
	server.Policy(t, name, hcl.String())
	token := server.Token(t, time.Hour, name)
	return open(t, server, Options{Mount: mount, Auth: Auth{Method: "token", Secret: text(token)}})
}

// TestRightsSuffice goes through a whole rotation with the documented rights alone.
func TestRightsSuffice(t *testing.T) {
	t.Parallel()
	server := vaulttest.Shared(t)
	for _, version := range []int{1, 2} {
		mount := server.Mount(t, version)
		s := granting(t, server, mount, rules(version, mount))
		ctx, target := t.Context(), stores.Target{Path: "llm/chat", Field: "api_key"}
		is(t, s.Check(ctx, target), nil)
		is(t, s.Promote(ctx, target, attempt, oldKey, ""), nil)
		is(t, s.Check(ctx, target), nil)
		for range 2 {
			is(t, s.Stage(ctx, target, attempt, newKey), nil)
		}
		_, err := s.Staged(ctx, target, attempt)
		is(t, err, nil)
		is(t, s.Promote(ctx, target, attempt, newKey, oldKey.Fingerprint()), nil)
		is(t, s.Discard(ctx, target, attempt), nil)
		if version == 2 {
			_, err = s.Previous(ctx, target, oldKey.Fingerprint())
			is(t, err, nil)
		}
		_, err = s.Caveats(ctx, target)
		is(t, err, nil)
		if left := server.List(t, mount, "llm"); len(left) != 1 {
			t.Errorf("KV %d holds %q", version, left)
		}
	}
}

// TestCheckNamesWhatIsMissing takes one right away at a time.
func TestCheckNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	server := vaulttest.Shared(t)
	for _, version := range []int{1, 2} {
		mount := server.Mount(t, version)
		for i, whole := range rules(version, mount) {
			for _, gone := range whole.capabilities {
				t.Run(fmt.Sprintf("KV %d %s on %s", version, gone, whole.path), func(t *testing.T) {
					t.Parallel()
					granted := rules(version, mount)
					granted[i].capabilities = nil
					for _, capability := range whole.capabilities {
						if capability != gone {
							granted[i].capabilities = append(granted[i].capabilities, capability)
						}
					}
					err := granting(t, server, mount, granted).Check(t.Context(), stores.Target{Path: "llm/chat"})
					is(t, err, stores.ErrDenied)
					want := fmt.Sprintf("missing %q on %s", gone, strings.Replace(whole.path, "*", probe, 1))
					if err == nil || !strings.Contains(err.Error(), want) {
						t.Errorf("the error is %v, want %s", err, want)
					}
				})
			}
		}
	}
}

func TestCheckExistingNeedsNoCreate(t *testing.T) {
	t.Parallel()
	server := vaulttest.Shared(t)
	for _, version := range []int{1, 2} {
		mount := server.Mount(t, version)
		granted := rules(version, mount)
		granted[0].capabilities = []string{"read", "update"}
		s, target := granting(t, server, mount, granted), stores.Target{Path: "llm/chat", Field: "api_key"}
		is(t, s.Check(t.Context(), target), stores.ErrDenied)
		server.Write(t, mount, target.Path, doc(oldKey))
		is(t, s.Check(t.Context(), target), nil)
		is(t, s.Promote(t.Context(), target, attempt, newKey, oldKey.Fingerprint()), nil)
		server.Write(t, mount, target.Path, `{"api_key":7}`)
		is(t, s.Check(t.Context(), target), stores.ErrInvalid)
	}
}

func TestWrongMount(t *testing.T) {
	t.Parallel()
	server := vaulttest.Shared(t)
	kv1, kv2 := server.Mount(t, 1), server.Mount(t, 2)
	for name, tc := range map[string]struct {
		o    Options
		want string // "" for a good one
	}{
		"missing":             {Options{Mount: "nowhere"}, "mount"},
		"no kv":               {Options{Mount: "cubbyhole"}, "is of type"},
		"below a mount":       {Options{Mount: kv2 + "/team"}, "is not a mount"},
		"version 2 said of 1": {Options{Mount: kv1, KVVersion: 2}, "is KV version 1"},
		"version 1 said of 2": {Options{Mount: kv2, KVVersion: 1}, "is KV version 2"},
		"version 1":           {Options{Mount: kv1, KVVersion: 1}, ""},
		"version 2":           {Options{Mount: kv2, KVVersion: 2}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, server, tc.o)
			for range 2 {
				err := s.Check(t.Context(), stores.Target{Path: "a"})
				if tc.want == "" {
					is(t, err, nil)
					continue
				}
				is(t, err, stores.ErrInvalid)
				if err != nil && !strings.Contains(err.Error(), tc.want) {
					t.Errorf("the error is %v, want %q in it", err, tc.want)
				}
			}
		})
	}
	t.Run("no right to the mount", func(t *testing.T) {
		s := granting(t, server, kv2, []right{{"elsewhere/*", []string{"read"}}})
		is(t, s.Check(t.Context(), stores.Target{Path: "a"}), stores.ErrDenied)
	})
}
