package aws

import (
	"errors"
	"testing"

	"rotator/internal/testenv/awstest"
	"rotator/stores"
)

// TestReadPermissions gives the login exactly the policies for observe mode: what is asked there works, and nothing can be
// changed. Less one line at a time, something must fail.
func TestReadPermissions(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]Options{
		"AWS's key": {}, "a key by its alias": {KMSKeyID: "alias/rotator"}, "a role": {Role: Role{ARN: roleARN}},
	} {
		o.Region = region
		there := stores.Target{Path: "team/there"}
		reading := func(t *testing.T) (all []string) {
			made, err := o.ReadPermissions([]stores.Target{there})
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range made {
				all = append(all, d.Text)
			}
			return all
		}
		life := func(t *testing.T, replaced int, by string) (*Store, error) {
			server := awstest.New()
			server.AddRole(roleARN, "")
			server.Region(region).Put(there.Path, old.Reveal())
			all := reading(t)
			if by != "" {
				all[replaced] = by
			}
			login, secrets := all[0], all
			if o.Role.ARN != "" {
				login, secrets = all[len(all)-1], all[:len(all)-1]
			}
			if err := errors.Join(server.Attach(awstest.RoleKey, secrets...), server.Attach(accessKey, login)); err != nil {
				t.Fatal(err)
			}
			s := openWith(t, server, o)
			v, err := s.Current(t.Context(), there)
			if err == nil && !v.Equal(old) {
				t.Error("it reads another value")
			}
			_, place := s.Place(t.Context(), there)
			return s, errors.Join(err, place)
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := life(t, 0, "")
			if err != nil {
				t.Fatal(err)
			}
			is(t, s.Promote(t.Context(), there, attempt, value, old.Fingerprint()), stores.ErrDenied)
			is(t, s.Stage(t.Context(), there, attempt, value), stores.ErrDenied)
			for i, document := range reading(t) {
				for gone, rest := range lines(t, document) {
					if _, err := life(t, i, rest); o.KMSKeyID == "" && !errors.Is(err, stores.ErrDenied) {
						t.Errorf("%s: %v", gone, err)
					}
				}
			}
		})
	}
}
