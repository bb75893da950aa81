package vault

import (
	"strings"
	"testing"

	"rotator/internal/testenv/vaulttest"
	"rotator/stores"
)

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
		s := granting(t, server, Options{Mount: kv2}, `path "elsewhere/*" { capabilities = ["read"] }`)
		is(t, s.Check(t.Context(), stores.Target{Path: "a"}), stores.ErrDenied)
	})
}
