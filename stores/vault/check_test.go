package vault

import (
	"strings"
	"testing"
	"time"

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

// TestCheckOfAnotherPlace: where nothing is at the configured place, Check names the one that was probably meant.
func TestCheckOfAnotherPlace(t *testing.T) {
	t.Parallel()
	for _, version := range []int{1, 2} {
		r := newRig(t, version, Options{})
		r.seed(t, `{"api_key":"`+oldKey.Reveal()+`","nested":{"Key":"x"}}`)
		for _, tc := range []struct {
			target stores.Target
			says   string // "": it is fine
		}{
			{r.target, ""},
			{stores.Target{Path: "llm/new", Field: "api_key"}, ""},
			{stores.Target{Path: r.mount + "/llm/new", Field: "api_key"}, ""},
			{stores.Target{Path: r.target.Path, Field: "other_key"}, ""},
			{stores.Target{Path: r.mount + "/llm/chat", Field: "api_key"}, `"llm/chat" exists`},
			{stores.Target{Path: "data/llm/chat", Field: "api_key"}, map[int]string{2: `"llm/chat" exists`}[version]},
			{stores.Target{Path: r.mount + "/data/llm/chat", Field: "api_key"}, map[int]string{2: `"llm/chat" exists`}[version]},
			{stores.Target{Path: r.target.Path, Field: "API_KEY"}, `"api_key"`},
			{stores.Target{Path: r.target.Path, Field: "nested.key"}, "inside another"},
		} {
			err := r.store.Check(t.Context(), tc.target)
			if tc.says == "" {
				is(t, err, nil)
				continue
			}
			is(t, err, stores.ErrInvalid)
			if err != nil && !strings.Contains(err.Error(), tc.says) {
				t.Errorf("KV %d, %s %s: the error %v does not say %q", version, tc.target.Path, tc.target.Field, err, tc.says)
			}
		}
		// Once the place exists it is the one that was meant.
		r.Write(t, r.mount, r.mount+"/llm/chat", doc(oldKey))
		is(t, r.store.Check(t.Context(), stores.Target{Path: r.mount + "/llm/chat", Field: "api_key"}), nil)
	}
}

// TestCheckWithoutRightElsewhere: a place that may not be read gives no hint and no error.
func TestCheckWithoutRightElsewhere(t *testing.T) {
	t.Parallel()
	server := vaulttest.Shared(t)
	mount := server.Mount(t, 2)
	server.Write(t, mount, "llm/chat", doc(oldKey))
	o := Options{Mount: mount}
	rights := entitle(t, server, o)
	target := stores.Target{Path: "data/llm/chat"}
	rights.add(t, target)
	o.Auth = Auth{Method: "token", Secret: text(server.BareToken(t, time.Hour, rights.policy))}
	is(t, open(t, server, o).Check(t.Context(), target), nil)
}
