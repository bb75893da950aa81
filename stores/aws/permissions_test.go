package aws

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"rotator/internal/testenv/awstest"
	"rotator/stores"
)

// documents are the policies for the targets, those for the login itself last.
func documents(t *testing.T, o Options, targets ...stores.Target) (all []string) {
	t.Helper()
	made, err := o.Permissions(targets)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range made {
		all = append(all, d.Text)
	}
	return all
}

// entitlement is the policies of the access key, which grow with its targets.
type entitlement struct {
	server *awstest.Server

	mu      sync.Mutex
	targets []stores.Target // guarded by mu
}

// add names a new target of which nothing is there yet.
func (e *entitlement) add(t *testing.T, field string) stores.Target {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	target := stores.Target{Path: fmt.Sprintf("team/secret+%d", len(e.targets)), Field: field}
	e.targets = append(e.targets, target)
	if err := e.server.Attach(accessKey, documents(t, Options{Region: region, KMSKeyID: "alias/rotator"}, e.targets...)...); err != nil {
		t.Fatal(err)
	}
	return target
}

// rotate fills or creates the target, and takes it on and back.
func rotate(ctx context.Context, s *Store, target stores.Target) error {
	for _, step := range []func() error{
		func() error { return s.Promote(ctx, target, attempt, old, "") },
		func() error { return s.Stage(ctx, target, attempt, value) },
		func() error { _, err := s.Staged(ctx, target, attempt); return err },
		func() error { return s.Promote(ctx, target, attempt, value, old.Fingerprint()) },
		func() error { return s.Discard(ctx, target, attempt) },
		func() error { return s.Promote(ctx, target, attempt, theirs, value.Fingerprint()) },
		func() error { _, err := s.Previous(ctx, target, old.Fingerprint()); return err },
		func() error { _, err := s.Current(ctx, target); return err },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// lines lists the policy less each action and each resource of each statement in turn: what is gone → the rest.
func lines(t *testing.T, document string) map[string]string {
	t.Helper()
	var whole policy
	if err := json.Unmarshal([]byte(document), &whole); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for i, st := range whole.Statement {
		for _, member := range slices.Concat(st.Action, st.Resource) {
			left := st
			other := func(m string) bool { return m == member }
			left.Action = slices.DeleteFunc(slices.Clone(st.Action), other)
			left.Resource = slices.DeleteFunc(slices.Clone(st.Resource), other)
			rest := policy{whole.Version, slices.Clone(whole.Statement)}
			if rest.Statement[i] = left; len(left.Action) == 0 || len(left.Resource) == 0 {
				rest.Statement = slices.Delete(rest.Statement, i, i+1)
			}
			if len(rest.Statement) == 0 { // AWS takes no empty policy
				rest = newPolicy(allow("Other", []string{"*"}, "ec2:DescribeTags"))
			}
			all[st.Sid+" without "+member] = rest.text()
		}
	}
	return all
}

// TestPermissions gives the login exactly the policies, with which everything must go well, and then the policies less
// one line at a time, with which something must not.
func TestPermissions(t *testing.T) {
	t.Parallel()
	const alias, key = "alias/rotator", "0dd5a1b2-0000-4000-8000-000000000001"
	for name, o := range map[string]Options{
		"AWS's key":             {},
		"tags":                  {Tags: []Tag{{"Owner", "a"}}},
		"a key by its alias":    {KMSKeyID: alias},
		"by its alias's ARN":    {KMSKeyID: "arn:aws:kms:" + region + ":123456789012:" + alias},
		"a key by its id":       {KMSKeyID: key},
		"a key by its ARN":      {KMSKeyID: "arn:aws:kms:" + region + ":123456789012:key/" + key},
		"a role":                {Role: Role{ARN: roleARN}},
		"a role, and the alias": {Role: Role{ARN: roleARN}, KMSKeyID: alias},
	} {
		o.Region = region
		// life is a check and a rotation of two targets: one to be created, one that is there, and named by its ARN.
		life := func(t *testing.T, replaced, by string) error {
			server := awstest.New()
			server.AddRole(roleARN, "")
			r := server.Region(region)
			r.CreateEmpty("team/there")
			targets := []stores.Target{{Path: "team/absent", Field: "api_key"}, {Path: r.ARN("team/there")}}
			all := documents(t, o, targets...)
			if i := slices.Index(all, replaced); replaced != "" && i < 0 {
				t.Fatal("the policy changed")
			} else if replaced != "" {
				all[i] = by
			}
			login, secrets := all[0], all
			if o.Role.ARN != "" {
				login, secrets = all[len(all)-1], all[:len(all)-1]
			}
			if err := errors.Join(server.Attach(awstest.RoleKey, secrets...), server.Attach(accessKey, login)); err != nil {
				t.Fatal(err)
			}
			s := openWith(t, server, o)
			var found []error
			for _, target := range targets {
				found = append(found, s.Check(t.Context(), target), rotate(t.Context(), s, target), s.Check(t.Context(), target))
			}
			return errors.Join(found...)
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := life(t, "", ""); err != nil {
				t.Fatal(err)
			}
			r := awstest.New().Region(region)
			r.CreateEmpty("team/there") // with the same ARN as in each life
			for _, document := range documents(t, o, stores.Target{Path: "team/absent", Field: "api_key"}, stores.Target{Path: r.ARN("team/there")}) {
				for gone, rest := range lines(t, document) {
					if err := life(t, document, rest); !errors.Is(err, stores.ErrDenied) {
						t.Errorf("%s: %v", gone, err)
					}
				}
			}
		})
	}
}

// TestPermissionsAreNarrow: what has a similar name stays closed.
func TestPermissionsAreNarrow(t *testing.T) {
	t.Parallel()
	server := awstest.New()
	r, s := server.Region(region), open(t, server)
	for _, other := range []string{path + "x", path + "-abcdef", path + "/x", "x" + path, path[:len(path)-1]} {
		r.Put(other, old.Reveal())
		if err := server.Attach(accessKey, documents(t, Options{Region: region, KMSKeyID: "alias/rotator"}, target)...); err != nil {
			t.Fatal(err)
		}
		_, err := s.Current(t.Context(), stores.Target{Path: other})
		is(t, err, stores.ErrDenied)
		is(t, s.Promote(t.Context(), stores.Target{Path: other + "-new"}, attempt, value, ""), stores.ErrDenied)
	}
}

// TestPermissionsOf: the resources of odd and plain targets and regions, and what there is no policy for.
func TestPermissionsOf(t *testing.T) {
	t.Parallel()
	const arn = "arn:aws:secretsmanager:eu-west-1:210987654321:secret:"
	for _, tc := range []struct {
		o          Options
		path, want string // "": refused
	}{
		{Options{Region: region}, "prod/grok", "arn:aws:secretsmanager:eu-west-1:*:secret:prod/grok-??????"},
		{Options{}, "prod/grok", "arn:aws:secretsmanager:*:*:secret:prod/grok-??????"},
		{Options{Region: "cn-north-1"}, "a", "arn:aws-cn:secretsmanager:cn-north-1:*:secret:a-??????"},
		{Options{Region: region, Role: Role{ARN: roleARN}}, "a", "arn:aws:secretsmanager:eu-west-1:123456789012:secret:a-??????"},
		{Options{}, arn + "a-AbCd12", arn + "a-AbCd12"},
		{Options{}, arn + "prod/a", arn + "prod/a-??????"},
		{Options{}, "prod/*", ""}, {Options{}, "prod/gro?", ""}, {Options{}, "${aws:username}", ""},
		{Options{}, arn + "*", ""}, {Options{}, "arn:aws:secretsmanager:*:1:secret:a-AbCd12", ""}, {Options{}, "arn:aws:s3:::bucket", ""},
		{Options{KMSKeyID: "*"}, "a", ""}, {Options{KMSKeyID: "arn:aws:kms:eu-west-1:1:key/*"}, "a", ""},
	} {
		made, err := tc.o.Permissions([]stores.Target{{Path: tc.path}})
		if tc.want == "" {
			if !errors.Is(err, stores.ErrInvalid) {
				t.Errorf("%s: %v, %v", tc.path, made, err)
			}
			continue
		}
		if err != nil || !strings.Contains(made[0].Text, `"`+tc.want+`"`) {
			t.Errorf("%s: %v, %v", tc.path, made, err)
		}
	}
}

// TestPermissionsOfMany: each part is as long as AWS takes, and together they name every target once in each statement.
func TestPermissionsOfMany(t *testing.T) {
	t.Parallel()
	var targets []stores.Target
	for n := range 200 {
		targets = append(targets, stores.Target{Path: fmt.Sprintf("prod/service-%03d/grok", n)})
	}
	server := awstest.New()
	all := documents(t, Options{Region: region, KMSKeyID: "alias/rotator"}, targets...)
	if err := server.Attach(accessKey, all...); err != nil || len(all) < 2 || len(all) > 10 {
		t.Fatalf("%d policies: %v", len(all), err)
	}
	for i, document := range all {
		if n := len(strings.Join(strings.Fields(document), "")); i < len(all)-1 && n < maxPolicy-400 {
			t.Errorf("part %d of %d characters has room left", i+1, n)
		}
	}
	for _, target := range targets {
		if n := strings.Count(strings.Join(all, ""), target.Path+anyDrawn); n != 3 {
			t.Errorf("%s is named %d times", target.Path, n)
		}
	}
	slices.Reverse(targets)
	if again := documents(t, Options{Region: region, KMSKeyID: "alias/rotator"}, targets...); !slices.Equal(again, all) {
		t.Error("the order of the targets makes other policies")
	}
}
