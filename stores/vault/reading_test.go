package vault

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"rotator/internal/testenv/vaulttest"
	"rotator/stores"
)

// TestReadPermissions gives a token exactly the policy for observe mode: all that is asked there works, and nothing can be
// changed. Less one capability at a time, something must fail.
func TestReadPermissions(t *testing.T) {
	t.Parallel()
	server := vaulttest.Shared(t)
	for _, version := range []int{1, 2} {
		reading := func(t *testing.T, mount string) (Options, string) {
			t.Helper()
			o := Options{Mount: mount, KVVersion: version}
			made, err := o.ReadPermissions([]stores.Target{chat})
			if err != nil || len(made) != 1 {
				t.Fatal(made, err)
			}
			return o, made[0].Text
		}
		life := func(t *testing.T, gone granted) (s *Store, err error) {
			t.Helper()
			mount := server.Mount(t, version)
			full := Options{Mount: mount, KVVersion: version}
			writer := granting(t, server, full, document(t, full, chat))
			if err := writer.Promote(t.Context(), chat, attempt, oldKey, ""); err != nil {
				t.Fatal(err)
			}
			gone.path = strings.Replace(gone.path, "MOUNT", mount, 1)
			o, hcl := reading(t, mount)
			s = granting(t, server, o, without(hcl, gone))
			v, err := s.Current(t.Context(), chat)
			if err == nil && !v.Equal(oldKey) {
				t.Error("it reads another value")
			}
			_, place := s.Place(t.Context(), chat)
			_, warn := s.Warnings(t.Context(), []stores.Target{chat})
			return s, errors.Join(err, place, warn, outlive(t.Context(), s))
		}
		t.Run(fmt.Sprint("KV ", version), func(t *testing.T) {
			t.Parallel()
			s, err := life(t, granted{})
			if err != nil {
				t.Error(err)
			}
			is(t, s.Promote(t.Context(), chat, attempt, newKey, oldKey.Fingerprint()), stores.ErrDenied)
			is(t, s.Stage(t.Context(), chat, attempt, newKey), stores.ErrDenied)
			_, hcl := reading(t, "MOUNT")
			for _, one := range each(hcl) {
				if one.capability != "read" && one.path != "auth/token/renew-self" {
					t.Errorf("it grants %s on %s", one.capability, one.path)
				}
				if _, err := life(t, one); err == nil {
					t.Errorf("nothing fails without %s on %s", one.capability, one.path)
				}
			}
		})
	}
}
