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

// TestFewVersions: a secret of one key that keeps one version has no way back; keys that share a secret are staged before they
// are replaced, however few versions are kept.
func TestFewVersions(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name          string
		fields        int
		secret, mount int // max_versions; 0: not set
		want          string
	}{
		{"the default", 1, 0, 0, ""},
		{"one of the secret's", 1, 1, 0, "1: max_versions is 1: no former value is kept"},
		{"one of the mount's", 1, 0, 1, "1: max_versions is 1: no former value is kept"},
		{"the larger of both", 1, 1, 16, ""},
		{"fifteen keys", 15, 0, 0, ""},
		{"fifteen keys, few versions", 15, 2, 0, ""},
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
			var other []stores.Target
			if tc.mount == 0 {
				other = append(other, stores.Target{Path: "llm/other", Field: "key-0"})
			}
			got := texts(t, r.store, append(fields(tc.fields), other...))
			if (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// TestForgets: what Forgets says is so, and what is staged stays where a former value does not.
func TestForgets(t *testing.T) {
	t.Parallel()
	for version, want := range map[int]bool{1: false, 2: true} {
		r := newRig(t, version, Options{})
		if got, err := r.store.Forgets(t.Context(), r.target); got != want || err != nil {
			t.Errorf("KV %d forgets: %t, %v", version, got, err)
		}
	}
	r := newRig(t, 2, Options{})
	set(t, r, "metadata/llm/chat", map[string]any{"max_versions": 3})
	r.seed(t, `{"key-0":"old-0","key-1":"old-1","key-2":"old-2","key-3":"old-3"}`)
	old := secret.New("old-0")
	is(t, r.store.Stage(t.Context(), fields(1)[0], attempt, old), nil)
	for _, target := range fields(4) {
		now, err := r.store.Current(t.Context(), target)
		is(t, errors.Join(err, r.store.Promote(t.Context(), target, attempt, newKey, now.Fingerprint())), nil)
	}
	_, err := r.store.Previous(t.Context(), fields(1)[0], old.Fingerprint())
	is(t, err, stores.ErrNotFound)
	if v, err := r.store.Staged(t.Context(), fields(1)[0], attempt); err != nil || !v.Equal(old) {
		t.Errorf("staged: %v", err)
	}
	is(t, r.store.Discard(t.Context(), fields(1)[0], attempt), nil)
	_, err = r.store.Staged(t.Context(), fields(1)[0], attempt)
	is(t, err, stores.ErrNotFound)
}

// TestHiddenRetention: what the least rights do not show is taken for the default.
func TestHiddenRetention(t *testing.T) {
	t.Parallel()
	server := vaulttest.Shared(t)
	o := Options{Mount: server.Mount(t, 2)}
	least := document(t, o, fields(1)...)
	set(t, &rig{Server: server, mount: o.Mount}, "metadata/llm/chat", map[string]any{"max_versions": 1})
	if got := texts(t, granting(t, server, o, least), fields(1)); got != "" {
		t.Error(got)
	}
	more := granting(t, server, o, least+fmt.Sprintf("path \"%[1]s/metadata/llm/chat\" { capabilities = [\"read\"] }\npath \"%[1]s/config\" { capabilities = [\"read\"] }\n", o.Mount))
	if got := texts(t, more, fields(1)); !strings.Contains(got, "max_versions is 1") {
		t.Error(got)
	}
}

// TestDeleteAfter: a version that deletes itself is reported, whoever set it.
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
