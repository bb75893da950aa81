package vault

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"rotator/internal/secret"
	"rotator/internal/testenv/vaulttest"
	"rotator/stores"
)

// fields are so many targets in one secret.
func fields(n int) (all []stores.Target) {
	for i := range n {
		all = append(all, stores.Target{Path: "llm/chat", Field: fmt.Sprintf("key-%d", i)})
	}
	return all
}

func set(t *testing.T, r *rig, path string, data map[string]any) {
	t.Helper()
	if _, err := r.Root().Logical().Write(r.mount+"/"+path, data); err != nil {
		t.Fatal(err)
	}
}

// texts are the warnings, joined.
func texts(t *testing.T, s *Store, targets []stores.Target) string {
	t.Helper()
	all, err := s.Warnings(t.Context(), targets)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, w := range all {
		fmt.Fprintf(&b, "%d: %s. %s\n", len(w.Targets), w.Text, w.Do)
	}
	return b.String()
}

func TestWarningsOfEngines(t *testing.T) {
	t.Parallel()
	for version, want := range map[int]int{1: 2, 2: 0} {
		r := newRig(t, version, Options{})
		for range 2 { // of nothing, then of something
			if got, err := r.store.Warnings(t.Context(), []stores.Target{r.target}); err != nil || len(got) != want {
				t.Errorf("KV %d: %+v, %v", version, got, err)
			}
			r.seed(t, doc(oldKey))
		}
	}
}

// TestManyFieldsInOneSecret: the versions that an overlap takes are compared with those that Vault keeps, the secret's own
// number, else the mount's, else 10.
func TestManyFieldsInOneSecret(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name          string
		fields        int
		secret, mount int // max_versions; 0: not set
		want          string
	}{
		{"the default is enough", 9, 0, 0, ""},
		{"the default is not", 10, 0, 0, "10: 10 keys are fields of this secret, and each promotion writes a version of all of it: " +
			"10 promotions in one overlap + 1 former version = 11 versions, but max_versions is 10. The former keys of at least 1 are lost"},
		{"fifteen", 15, 0, 0, "= 16 versions, but max_versions is 10. The former keys of at least 6"},
		{"the mount's", 15, 0, 16, ""},
		{"the mount's is not", 4, 0, 4, "= 5 versions, but max_versions is 4"},
		{"the secret's", 15, 16, 0, ""},
		{"the secret's is not", 15, 12, 0, "max_versions is 12"},
		{"the larger of both", 15, 2, 16, ""},
		{"one field", 1, 1, 0, "1: max_versions is 1: no former value is kept"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 2, Options{})
			r.seed(t, doc(oldKey))
			if tc.mount > 0 {
				set(t, r, "config", map[string]any{"max_versions": tc.mount})
			}
			if tc.secret > 0 {
				set(t, r, "metadata/llm/chat", map[string]any{"max_versions": tc.secret})
			}
			got := texts(t, r.store, append(fields(tc.fields), stores.Target{Path: "llm/other", Field: "key-0"}))
			if (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// TestTheSumIsRight: with one version less than the sum the first former value is lost, with the sum it is kept.
func TestTheSumIsRight(t *testing.T) {
	t.Parallel()
	const n = 3
	for kept, lost := range map[int]bool{n: true, n + 1: false} {
		r := newRig(t, 2, Options{})
		set(t, r, "metadata/llm/chat", map[string]any{"max_versions": kept})
		r.seed(t, `{"key-0":"old-0","key-1":"old-1","key-2":"old-2"}`)
		for _, target := range fields(n) {
			now, err := r.store.Current(t.Context(), target)
			is(t, errors.Join(err, r.store.Promote(t.Context(), target, attempt, newKey, now.Fingerprint())), nil)
		}
		_, err := r.store.Previous(t.Context(), fields(n)[0], secret.New("old-0").Fingerprint())
		if errors.Is(err, stores.ErrNotFound) != lost || (texts(t, r.store, fields(n)) != "") != lost {
			t.Errorf("with %d versions: %v, and the warning is %q", kept, err, texts(t, r.store, fields(n)))
		}
	}
}

// TestHiddenRetention: what the least rights do not show is taken for the default, and the warning names the rights that
// show more.
func TestHiddenRetention(t *testing.T) {
	t.Parallel()
	server := vaulttest.Shared(t)
	o := Options{Mount: server.Mount(t, 2)}
	least := document(t, o, fields(12)...)
	s := granting(t, server, o, least)
	got := texts(t, s, fields(12))
	for _, want := range []string{"as far as the token may read, max_versions is 10", `"read" on ` + o.Mount + "/metadata/llm/chat and " + o.Mount + "/config"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q does not say %q", got, want)
		}
	}
	if got := texts(t, s, fields(2)); got != "" {
		t.Error(got)
	}
	more := granting(t, server, o, least+fmt.Sprintf("path \"%[1]s/metadata/llm/chat\" { capabilities = [\"read\"] }\npath \"%[1]s/config\" { capabilities = [\"read\"] }\n", o.Mount))
	set(t, &rig{Server: server, mount: o.Mount}, "metadata/llm/chat", map[string]any{"max_versions": 13})
	if got := texts(t, more, fields(12)); got != "" {
		t.Error(got)
	}
}

// TestDeleteAfter: a version that deletes itself is told of, whoever set it.
func TestDeleteAfter(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"config", "metadata/llm/chat"} {
		r := newRig(t, 2, Options{})
		set(t, r, path, map[string]any{"delete_version_after": "1h"})
		if got := texts(t, r.store, fields(1)); !strings.Contains(got, "delete_version_after is 1h") {
			t.Errorf("%s: %q", path, got)
		}
	}
}
